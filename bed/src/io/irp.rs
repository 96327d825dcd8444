//! Requests: how an IRP goes down a stack of drivers, comes back up by completion routines, and is
//! cancelled.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use wdm_interrupt_model::hal::Event;
use wdm_interrupt_model::nt::{
    DISPATCH_LEVEL, DISPATCHER_TYPE, DRIVER_CANCEL, IO_STACK_LOCATION, IO_TYPE_IRP, IRP, KEVENT,
    NTSTATUS, PASSIVE_LEVEL, PDEVICE_OBJECT, PIO_STACK_LOCATION, PIRP, PVOID, SL_INVOKE_ON_CANCEL,
    SL_INVOKE_ON_ERROR, SL_INVOKE_ON_SUCCESS, SL_PENDING_RETURNED, STATUS_MORE_PROCESSING_REQUIRED,
    STATUS_PENDING,
};

use super::device;
use crate::kernel::{cancel_lock, event};
use crate::sync::Lock;
use crate::verify::{Rule, at_most, broken};
use crate::{image, irql, trace};

/// What is called when an IRP has gone all the way up.
type Completed = Box<dyn FnOnce(PIRP) + Send>;

/// What the bed knows of an IRP.
struct Known {
    bytes: usize,
    completed: bool,
    gone: bool,
    then: Option<Completed>,
}

static IRPS: Lock<BTreeMap<usize, Known>> = Lock::new(BTreeMap::new());

const POISON: u8 = 0xdd;

/// The IRPs that are gone and whose memory is kept, the oldest first.
static KEPT: Lock<VecDeque<usize>> = Lock::new(VecDeque::new());
const KEPT_AT_MOST: usize = 4_096;

/// How IRPs of so many bytes lie in memory.
fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 16).expect("an IRP is a valid layout")
}

/// Makes an IRP for a stack of so many drivers.
pub(crate) fn allocate(stack_size: i8, then: Option<Completed>) -> PIRP {
    let bytes = size_of::<IRP>() + stack_size as usize * size_of::<IO_STACK_LOCATION>();
    // SAFETY: the layout is not empty.
    let memory = unsafe { alloc_zeroed(layout(bytes)) };
    assert!(!memory.is_null(), "there is no memory for an IRP");
    let irp = memory.cast::<IRP>();
    // SAFETY: zeroed memory of an IRP's size that nobody else has.
    let object = unsafe { &mut *irp };
    object.Type = IO_TYPE_IRP as i16;
    object.Size = bytes as u16;
    object.StackCount = stack_size;
    object.CurrentLocation = stack_size + 1;
    // SAFETY: the stack locations follow the IRP in the same allocation.
    let first = unsafe { irp.add(1) }.cast::<IO_STACK_LOCATION>();
    // SAFETY: there are so many of them; this is one past the last.
    let past_last = unsafe { first.add(stack_size as usize) };
    set_current(irp, past_last);
    IRPS.lock().insert(irp.addr(), Known { bytes, completed: false, gone: false, then });
    irp
}

/// Ends an IRP. Its memory is poisoned and kept until many others are gone, so that writing to it is noticed.
pub(crate) fn free(irp: PIRP) {
    let mut irps = IRPS.lock();
    let Some(known) = irps.get_mut(&irp.addr()).filter(|known| !known.gone) else {
        drop(irps);
        broken(Rule::IrpFreed, "IoFreeIrp", format_args!("{irp:p} is no IRP, or is gone already"));
    };
    known.gone = true;
    let bytes = known.bytes;
    drop(irps);
    // SAFETY: the IRP's own memory, which is not given back before it is among those that are kept.
    unsafe { core::ptr::write_bytes(irp.cast::<u8>(), POISON, bytes) };
    let mut kept = KEPT.lock();
    kept.push_back(irp.addr());
    let oldest = if kept.len() > KEPT_AT_MOST { kept.pop_front() } else { None };
    drop(kept);
    if let Some(address) = oldest {
        give_back(address);
    }
}

/// Gives the memory of an IRP back that is gone, and was kept for long enough.
fn give_back(address: usize) {
    let Some(known) = IRPS.lock().remove(&address) else { return };
    require_poisoned(address, known.bytes, "IoFreeIrp");
    // SAFETY: allocated with this layout; nobody knows of it any more.
    unsafe { dealloc(core::ptr::with_exposed_provenance_mut(address), layout(known.bytes)) };
}

/// Nobody may have written to an IRP that is gone.
fn require_poisoned(address: usize, length: usize, call: &str) {
    // SAFETY: the memory of an IRP that is gone is there as long as the bed knows of it, or gives it back.
    let bytes = unsafe { core::slice::from_raw_parts(address as *const u8, length) };
    if let Some(offset) = bytes.iter().position(|byte| *byte != POISON) {
        broken(Rule::IrpFreed, call, format_args!("byte {offset} of IRP {address:#x} was written"));
    }
}

/// Checks at the end of a run that nobody wrote to an IRP that was gone; says how many are not gone.
pub(crate) fn left() -> usize {
    let irps = IRPS.lock();
    for (address, known) in irps.iter().filter(|(_, known)| known.gone) {
        require_poisoned(*address, known.bytes, "the check at the end");
    }
    irps.values().filter(|known| !known.gone).count()
}

/// The IRP's current stack location.
pub(crate) fn current(irp: PIRP) -> PIO_STACK_LOCATION {
    // SAFETY: the IRP exists.
    let tail = unsafe { (*irp).Tail };
    // SAFETY: the overlay is the member in use outside APCs.
    let overlay = unsafe { tail.Overlay };
    // SAFETY: the stack location is the member in use outside completion packets.
    unsafe { overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation }
}

fn set_current(irp: PIRP, location: PIO_STACK_LOCATION) {
    // SAFETY: the IRP exists.
    let tail = unsafe { &mut (*irp).Tail };
    // SAFETY: the overlay is the member in use outside APCs.
    let overlay = unsafe { &mut tail.Overlay };
    overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation = location;
}

/// The stack location of the next lower driver.
pub(crate) fn next(irp: PIRP) -> PIO_STACK_LOCATION {
    // SAFETY: the caller has checked, or knows, that there is a lower location.
    unsafe { current(irp).sub(1) }
}

/// The status in an IRP's status block.
pub(crate) fn status(irp: PIRP) -> NTSTATUS {
    // SAFETY: the IRP exists.
    let block = unsafe { (*irp).IoStatus };
    // SAFETY: the status is the member that kernel code uses.
    unsafe { block.__bindgen_anon_1.Status }
}

/// What `IofCallDriver` does.
///
/// # Safety
///
/// `device` and `irp` exist, and the caller has the IRP.
pub(crate) unsafe fn call(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    const CALL: &str = "IofCallDriver";
    at_most(DISPATCH_LEVEL as u8, CALL);
    device::check(device, CALL);
    check(irp, CALL);
    // SAFETY: the IRP exists and is the caller's.
    let object = unsafe { &mut *irp };
    if object.CancelRoutine.is_some() {
        broken(Rule::IrpCancel, CALL, format_args!("the cancel routine is still set"));
    }
    if object.CurrentLocation <= 1 {
        broken(Rule::IrpStack, CALL, format_args!("the IRP has no stack location left"));
    }
    object.CurrentLocation -= 1;
    let location = next(irp);
    set_current(irp, location);
    // SAFETY: the location is within the IRP, as `CurrentLocation` said.
    let location = unsafe { &mut *location };
    location.DeviceObject = device;
    let major = usize::from(location.MajorFunction);
    // SAFETY: the device exists.
    let driver = unsafe { (*device).DriverObject };
    // SAFETY: driver objects stay for ever.
    let routine = unsafe { (*driver).MajorFunction.get(major).copied().flatten() };
    let Some(routine) = routine else {
        broken(Rule::IrpStack, CALL, format_args!("there is no major function {major}"));
    };
    let before = irql::current();
    // What the bed's own bus driver is asked is nobody's business.
    let told = image::contains(routine as usize);
    if told {
        let (major, minor) = (location.MajorFunction, location.MinorFunction);
        trace::record(Event::RequestEntered { major, minor });
    }
    // SAFETY: the driver registered the routine for these arguments.
    let status = unsafe { routine(device, irp) };
    if told {
        trace::record(Event::RequestLeft { status });
    }
    if irql::current() != before {
        broken(
            Rule::DispatchState,
            CALL,
            format_args!("the routine for major function {major} was called at IRQL {before}"),
        );
    }
    status
}

/// What `IoForwardIrpSynchronously` does; false if the IRP has no stack location for the lower driver.
///
/// # Safety
///
/// As for [`call`].
pub(crate) unsafe fn forward_and_wait(device: PDEVICE_OBJECT, irp: PIRP) -> bool {
    unsafe extern "win64" fn done(_: PDEVICE_OBJECT, _: PIRP, event: PVOID) -> NTSTATUS {
        // SAFETY: the event of the one who waits below.
        unsafe { event::set(event.cast()) };
        STATUS_MORE_PROCESSING_REQUIRED
    }

    at_most(PASSIVE_LEVEL as u8, "IoForwardIrpSynchronously");
    check(irp, "IoForwardIrpSynchronously");
    // SAFETY: the IRP exists and is the caller's.
    if unsafe { (*irp).CurrentLocation } <= 1 {
        return false;
    }
    let mut event = MaybeUninit::<KEVENT>::uninit();
    let event = event.as_mut_ptr();
    // SAFETY: memory of an event, which is here until the wait is over.
    unsafe { event::initialise(event, DISPATCHER_TYPE::EventNotificationObject, false) };
    // SAFETY: the current location is the caller's.
    let mut location = unsafe { current(irp).read() };
    location.Control = (SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR | SL_INVOKE_ON_CANCEL) as u8;
    location.CompletionRoutine = Some(done);
    location.Context = event.cast();
    // SAFETY: there is a next location, see above.
    unsafe { next(irp).write(location) };
    // SAFETY: as the caller says.
    unsafe { call(device, irp) };
    // SAFETY: the event is initialised, and here.
    unsafe { event::wait(event, None) };
    true
}

fn check(irp: PIRP, call: &str) {
    let irps = IRPS.lock();
    let state = irps.get(&irp.addr()).map(|known| (known.completed, known.gone));
    drop(irps);
    match state {
        Some((false, false)) => {}
        Some(_) => {
            broken(Rule::IrpCompletion, call, format_args!("the IRP {irp:p} was completed already"))
        }
        None => broken(Rule::IrpCompletion, call, format_args!("{irp:p} is no IRP")),
    }
}

/// Sets the result and completes, as a driver of the bed's own does; returns the status.
pub(crate) fn complete(irp: PIRP, status: NTSTATUS, information: u64) -> NTSTATUS {
    // SAFETY: the caller has the IRP.
    let object = unsafe { &mut *irp };
    object.IoStatus.__bindgen_anon_1.Status = status;
    object.IoStatus.Information = information;
    // SAFETY: as above.
    unsafe { finish(irp) };
    status
}

/// What `IofCompleteRequest` does.
///
/// # Safety
///
/// The caller has the IRP and gives it up.
pub(crate) unsafe fn finish(irp: PIRP) {
    const CALL: &str = "IofCompleteRequest";
    at_most(DISPATCH_LEVEL as u8, CALL);
    check(irp, CALL);
    // SAFETY: the IRP exists and is the caller's.
    let object = unsafe { &mut *irp };
    if status(irp) == STATUS_PENDING {
        broken(Rule::IrpCompletion, CALL, format_args!("the status is STATUS_PENDING"));
    }
    if object.CancelRoutine.is_some() {
        broken(Rule::IrpCancel, CALL, format_args!("the cancel routine is still set"));
    }
    if object.CurrentLocation > object.StackCount {
        broken(Rule::IrpCompletion, CALL, format_args!("no driver has this IRP"));
    }
    while object.CurrentLocation <= object.StackCount {
        let location = current(irp);
        // SAFETY: the location is within the IRP; it is copied because the routine may reuse it.
        let above = unsafe { *location };
        object.CurrentLocation += 1;
        // SAFETY: at most one past the last location.
        set_current(irp, unsafe { location.add(1) });
        let control = u32::from(above.Control);
        object.PendingReturned = u8::from(control & SL_PENDING_RETURNED != 0);
        let success = status(irp) >= 0;
        let invoke = (success && control & SL_INVOKE_ON_SUCCESS != 0)
            || (!success && control & SL_INVOKE_ON_ERROR != 0)
            || (object.Cancel != 0 && control & SL_INVOKE_ON_CANCEL != 0);
        let at_top = object.CurrentLocation > object.StackCount;
        match above.CompletionRoutine {
            Some(routine) if invoke => {
                let device = if at_top {
                    core::ptr::null_mut()
                } else {
                    // SAFETY: the current location is within the IRP.
                    unsafe { (*current(irp)).DeviceObject }
                };
                // SAFETY: the driver above set the routine and its context for this IRP.
                let result = unsafe { routine(device, irp, above.Context) };
                if result == STATUS_MORE_PROCESSING_REQUIRED {
                    return;
                }
            }
            _ if object.PendingReturned != 0 && !at_top => mark_pending(irp),
            _ => {}
        }
    }
    let then = IRPS.lock().get_mut(&irp.addr()).and_then(|known| {
        known.completed = true;
        known.then.take()
    });
    if let Some(then) = then {
        then(irp);
    }
}

/// What `IoMarkIrpPending` does.
pub(crate) fn mark_pending(irp: PIRP) {
    // SAFETY: the caller has the IRP, whose current location is a driver's.
    unsafe { (*current(irp)).Control |= SL_PENDING_RETURNED as u8 };
}

/// What `IoSetCancelRoutine` does: one atomic exchange.
///
/// # Safety
///
/// The IRP exists.
pub(crate) unsafe fn set_cancel_routine(
    irp: PIRP,
    routine: Option<DRIVER_CANCEL>,
) -> Option<DRIVER_CANCEL> {
    // SAFETY: the IRP exists.
    let member = unsafe { &raw mut (*irp).CancelRoutine };
    // SAFETY: the member is pointer-sized, aligned, and only accessed atomically while the IRP can
    // be cancelled.
    let member = unsafe { AtomicPtr::<()>::from_ptr(member.cast()) };
    let new = routine.map_or(core::ptr::null_mut(), |routine| routine as *mut ());
    let old = member.swap(new, Ordering::AcqRel);
    // SAFETY: the member holds NULL or a cancel routine, which is what the option is made of.
    unsafe { core::mem::transmute::<*mut (), Option<DRIVER_CANCEL>>(old) }
}

/// The flag that several processors look at.
///
/// # Safety
///
/// The IRP exists for as long as the flag is used.
unsafe fn cancel_flag<'a>(irp: PIRP) -> &'a AtomicU8 {
    // SAFETY: the IRP exists.
    let member = unsafe { &raw mut (*irp).Cancel };
    // SAFETY: the member is a byte, which is aligned; drivers that read it do so in one access.
    unsafe { AtomicU8::from_ptr(member) }
}

/// Whether the IRP was cancelled.
///
/// # Safety
///
/// The IRP exists.
pub(crate) unsafe fn is_cancelled(irp: PIRP) -> bool {
    // SAFETY: the IRP exists.
    unsafe { cancel_flag(irp) }.load(Ordering::Acquire) != 0
}

/// What `IoCancelIrp` does; says whether there was a cancel routine to call.
///
/// # Safety
///
/// The IRP stays until this returns.
pub(crate) unsafe fn cancel(irp: PIRP) -> bool {
    at_most(DISPATCH_LEVEL as u8, "IoCancelIrp");
    let irql = cancel_lock::acquire();
    // SAFETY: the caller keeps the IRP.
    unsafe { cancel_flag(irp) }.store(1, Ordering::Release);
    // SAFETY: the caller keeps the IRP.
    let Some(routine) = (unsafe { set_cancel_routine(irp, None) }) else {
        cancel_lock::release(irql);
        return false;
    };
    // SAFETY: the caller keeps the IRP; the routine belongs to the driver that has it.
    unsafe { (*irp).CancelIrql = irql };
    // SAFETY: the IRP is with a driver, so its current location is a driver's.
    let device = unsafe { (*current(irp)).DeviceObject };
    // SAFETY: the driver set the routine for this IRP; it releases the cancel lock.
    unsafe { routine(device, irp) };
    true
}
