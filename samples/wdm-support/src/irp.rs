//! IRPs: an owned one that cannot be forgotten unnoticed, and what `wdm.h` has as inline functions
//! and macros, which bindings do not have.

use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};
use core::slice;

use wdk_sys::{
    _EVENT_TYPE, DEVICE_OBJECT, IO_STACK_LOCATION, IRP, NTSTATUS, PDEVICE_OBJECT,
    PIO_COMPLETION_ROUTINE, PIRP, PVOID, SL_INVOKE_ON_CANCEL, SL_INVOKE_ON_ERROR,
    SL_INVOKE_ON_SUCCESS, SL_PENDING_RETURNED, STATUS_MORE_PROCESSING_REQUIRED, STATUS_PENDING,
    ntddk::{IofCallDriver, IofCompleteRequest},
};

use crate::sync::{Event, RemoveLock};

/// `Control` of a stack location, which is a byte: the answer will come later.
#[expect(clippy::cast_possible_truncation, reason = "bit 0")]
const PENDING_RETURNED: u8 = SL_PENDING_RETURNED as u8;

/// `Control`: the completion routine is called, whatever the outcome.
#[expect(clippy::cast_possible_truncation, reason = "bits 5 to 7")]
const INVOKE_ALWAYS: u8 = (SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR | SL_INVOKE_ON_CANCEL) as u8;

/// An IRP that the driver has been given and owes an answer, under the device's remove lock.
///
/// Every way to give the answer takes it by value and releases the remove lock: completing it,
/// forwarding it. Queueing it keeps the lock. Dropping it is a mistake, and panics.
///
/// # Invariants
///
/// `raw` is an IRP whose current stack location is this driver's, and nobody else touches it. The
/// remove lock is acquired with its address as the tag.
#[derive(Debug)]
#[must_use = "an IRP that is neither completed nor forwarded is lost"]
pub(crate) struct Irp<'d> {
    raw: NonNull<IRP>,
    lock: &'d RemoveLock,
}

/// The next device object down the stack.
///
/// # Invariants
///
/// Below this driver's device in the stack, and so valid, as long as that is attached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LowerDevice(NonNull<DEVICE_OBJECT>);

// SAFETY: device objects are not tied to a thread.
unsafe impl Send for LowerDevice {}

// SAFETY: as above; IoCallDriver may be called from anywhere at once.
unsafe impl Sync for LowerDevice {}

impl LowerDevice {
    /// # Safety
    ///
    /// It is below this driver's device in the stack, which is detached after the last use of this.
    pub(crate) const unsafe fn new(device: NonNull<DEVICE_OBJECT>) -> Self {
        // INVARIANT: as the caller says.
        Self(device)
    }

    pub(crate) const fn as_ptr(self) -> PDEVICE_OBJECT {
        self.0.as_ptr()
    }
}

impl<'d> Irp<'d> {
    /// Takes an IRP that the I/O manager passes to a dispatch routine.
    ///
    /// # Errors
    ///
    /// The device is being deleted, and the IRP has been completed with the status that the
    /// dispatch routine returns.
    ///
    /// # Safety
    ///
    /// `raw` is the argument of a dispatch routine, which does not touch it itself.
    pub(crate) unsafe fn receive(raw: PIRP, lock: &'d RemoveLock) -> Result<Self, NTSTATUS> {
        // SAFETY: the I/O manager never passes NULL.
        let raw = unsafe { NonNull::new_unchecked(raw) };
        match lock.acquire(raw.as_ptr().cast()) {
            // INVARIANT: it is this driver's (caller), and the lock has just been acquired.
            Ok(()) => Ok(Self { raw, lock }),
            Err(status) => {
                // SAFETY: this driver's to complete (caller).
                unsafe { complete(raw, status, 0) };
                Err(status)
            }
        }
    }

    /// Takes an IRP back that [`into_raw`](Self::into_raw) gave away.
    ///
    /// # Safety
    ///
    /// It is the driver's again, and nobody else takes it back.
    pub(crate) const unsafe fn from_raw(raw: NonNull<IRP>, lock: &'d RemoveLock) -> Self {
        // INVARIANT: as the caller says; the lock has been held since.
        Self { raw, lock }
    }

    /// Gives the IRP away, into a queue or to a lower driver that calls a routine of this driver
    /// when it is done. The remove lock stays acquired.
    pub(crate) const fn into_raw(self) -> NonNull<IRP> {
        let raw = self.raw;
        let _given_away = ManuallyDrop::new(self);
        raw
    }

    /// The minor function.
    pub(crate) fn minor(&self) -> u32 {
        self.stack().MinorFunction.into()
    }

    /// What the caller wants: this driver's stack location.
    ///
    /// Which member of its `Parameters` is meant, depends on major and minor function.
    pub(crate) const fn stack(&self) -> &IO_STACK_LOCATION {
        // SAFETY: an IRP that is the driver's (invariant).
        let stack = unsafe { current_stack_location(self.raw) };
        // SAFETY: nobody changes the location while the IRP is here.
        unsafe { stack.as_ref() }
    }

    /// The system buffer of a `METHOD_BUFFERED` request: `length` bytes of input.
    ///
    /// # Safety
    ///
    /// The IRP is such a request, and its buffer has `length` bytes.
    pub(crate) unsafe fn input(&self, length: u32) -> &[u8] {
        let buffer = self.system_buffer();
        if buffer.is_null() || length == 0 {
            return &[];
        }
        // SAFETY: as long as the caller says; the I/O manager's own copy, which no program sees.
        unsafe { slice::from_raw_parts(buffer.cast(), length as usize) }
    }

    fn system_buffer(&self) -> PVOID {
        // SAFETY: the IRP is valid (invariant).
        let associated = unsafe { &(*self.raw.as_ptr()).AssociatedIrp };
        // SAFETY: every member of the union is as good as a pointer that nobody follows.
        unsafe { associated.SystemBuffer }
    }

    /// Stores the status that lower drivers find in a plug-and-play or power IRP.
    pub(crate) fn set_status(&mut self, status: NTSTATUS) {
        // SAFETY: the IRP is valid and this driver's (invariant).
        unsafe { set_io_status(self.raw, status, None) };
    }

    /// Says that the answer will come later: `IoMarkIrpPending`. The dispatch routine must return
    /// `STATUS_PENDING`.
    pub(crate) fn mark_pending(&mut self) {
        // SAFETY: an IRP that is the driver's (invariant).
        let stack = unsafe { current_stack_location(self.raw) };
        // SAFETY: nobody else touches the location while the IRP is here.
        unsafe { (*stack.as_ptr()).Control |= PENDING_RETURNED };
    }

    /// Completes the IRP. Returns the status, for a dispatch routine to return.
    pub(crate) fn complete(self, status: NTSTATUS, information: usize) -> NTSTATUS {
        let (raw, lock) = (self.raw, self.lock);
        let _answered = ManuallyDrop::new(self);
        // SAFETY: the IRP is this driver's (invariant), and is given up here.
        unsafe { complete(raw, status, information) };
        // SAFETY: acquired with this tag (invariant).
        unsafe { lock.release(raw.as_ptr().cast()) };
        status
    }

    /// Writes the output of a `METHOD_BUFFERED` request.
    ///
    /// # Safety
    ///
    /// The IRP is such a request, and its output buffer has room for `reply`.
    pub(crate) unsafe fn write_output(&mut self, reply: &[u8]) {
        let buffer = self.system_buffer().cast::<u8>();
        // SAFETY: the system buffer is as long as the longer of input and output (caller).
        unsafe { ptr::copy_nonoverlapping(reply.as_ptr(), buffer, reply.len()) };
    }

    /// Passes the IRP down as it is, and is done with it: `IoSkipCurrentIrpStackLocation` and
    /// `IoCallDriver`.
    pub(crate) fn forward(self, lower: LowerDevice) -> NTSTATUS {
        let (raw, lock) = (self.raw, self.lock);
        let _passed_on = ManuallyDrop::new(self);
        // SAFETY: the IRP is this driver's (invariant), and is given up here.
        let status = unsafe { skip_and_call(raw, lower) };
        // SAFETY: acquired with this tag (invariant).
        unsafe { lock.release(raw.as_ptr().cast()) };
        status
    }

    /// Passes the IRP down, and then waits for all who hold the remove lock: the last thing that
    /// happens to a device before it is deleted. `PASSIVE_LEVEL`.
    pub(crate) fn forward_and_drain(self, lower: LowerDevice) -> NTSTATUS {
        let (raw, lock) = (self.raw, self.lock);
        let _passed_on = ManuallyDrop::new(self);
        // SAFETY: the IRP is this driver's (invariant), and is given up here.
        let status = unsafe { skip_and_call(raw, lower) };
        // SAFETY: acquired with this tag (invariant); a device is removed once.
        unsafe { lock.release_and_wait(raw.as_ptr().cast()) };
        status
    }

    /// Lets the lower drivers have the IRP first, waits for them, and takes it back. Returns their
    /// status. `PASSIVE_LEVEL`.
    pub(crate) fn forward_and_wait(&mut self, lower: LowerDevice) -> NTSTATUS {
        // SAFETY: initialised next.
        let done = unsafe { Event::uninitialized() };
        // SAFETY: it stays in this frame, which outlives every use.
        unsafe { done.initialize(_EVENT_TYPE::NotificationEvent, false) };
        // SAFETY:
        // - the IRP is this driver's (invariant);
        // - the routine gets a pointer to the event, for which this frame waits;
        // - it stops the completion, so the IRP is this driver's again afterwards.
        let status = unsafe {
            copy_and_call(self.raw, lower, Some(signal), (&raw const done).cast_mut().cast())
        };
        if status != STATUS_PENDING {
            return status;
        }
        done.wait();
        // SAFETY: the IRP is this driver's again.
        unsafe { io_status(self.raw) }
    }

    /// Passes the IRP down; `routine` gets it when the lower drivers are done, with `context`.
    /// Returns `STATUS_PENDING`, which the dispatch routine must return.
    ///
    /// # Safety
    ///
    /// `routine` takes the IRP back with [`from_raw`](Self::from_raw), and `context` is what it
    /// expects.
    pub(crate) unsafe fn forward_then(
        mut self,
        lower: LowerDevice,
        routine: PIO_COMPLETION_ROUTINE,
        context: PVOID,
    ) -> NTSTATUS {
        self.mark_pending();
        // SAFETY: the IRP is this driver's (invariant) and is given up; the rest says the caller.
        unsafe { copy_and_call(self.into_raw(), lower, routine, context) };
        STATUS_PENDING
    }
}

impl Drop for Irp<'_> {
    fn drop(&mut self) {
        panic!("an IRP was dropped: its sender would wait for ever");
    }
}

/// Completion routine of `forward_and_wait`.
unsafe extern "C" fn signal(_: PDEVICE_OBJECT, _: PIRP, context: PVOID) -> NTSTATUS {
    // SAFETY: the event of the frame that waits for it.
    unsafe { &*context.cast::<Event>() }.set();
    STATUS_MORE_PROCESSING_REQUIRED
}

/// Stores the status and completes: `IoCompleteRequest`, without a boost.
///
/// # Safety
///
/// The IRP is this driver's to complete, and is not touched afterwards.
unsafe fn complete(irp: NonNull<IRP>, status: NTSTATUS, information: usize) {
    // SAFETY: the IRP is this driver's (caller).
    unsafe { set_io_status(irp, status, Some(information)) };
    // SAFETY: the same, and not touched afterwards.
    unsafe { IofCompleteRequest(irp.as_ptr(), 0) };
}

/// # Safety
///
/// The IRP is this driver's, and is given up.
unsafe fn skip_and_call(irp: NonNull<IRP>, lower: LowerDevice) -> NTSTATUS {
    // SAFETY: this driver's (caller), so there is a current stack location to step back from.
    unsafe { skip_current_stack_location(irp) };
    // SAFETY: given up (caller); the lower device is valid (invariant).
    unsafe { IofCallDriver(lower.as_ptr(), irp.as_ptr()) }
}

/// # Safety
///
/// The IRP is this driver's, and is given up until `routine` gets it with `context`.
unsafe fn copy_and_call(
    irp: NonNull<IRP>,
    lower: LowerDevice,
    routine: PIO_COMPLETION_ROUTINE,
    context: PVOID,
) -> NTSTATUS {
    // SAFETY: this driver's (caller), and the lower device's stack has a location for itself.
    unsafe { copy_to_next_stack_location(irp, routine, context) };
    // SAFETY: given up (caller); the lower device is valid (invariant).
    unsafe { IofCallDriver(lower.as_ptr(), irp.as_ptr()) }
}

// What follows is inline in wdm.h.

/// `IoStatus.Status`.
///
/// # Safety
///
/// The IRP is this driver's.
pub(crate) unsafe fn io_status(irp: NonNull<IRP>) -> NTSTATUS {
    // SAFETY: valid (caller).
    let block = unsafe { &(*irp.as_ptr()).IoStatus };
    // SAFETY: any bytes are a status.
    unsafe { block.__bindgen_anon_1.Status }
}

/// # Safety
///
/// The IRP is this driver's.
unsafe fn set_io_status(irp: NonNull<IRP>, status: NTSTATUS, information: Option<usize>) {
    // SAFETY: valid, and nobody else touches it (caller).
    let block = unsafe { &mut (*irp.as_ptr()).IoStatus };
    block.__bindgen_anon_1.Status = status;
    if let Some(information) = information {
        block.Information = information as u64;
    }
}

/// Where an IRP keeps the pointer to its current stack location.
const fn stack_pointer(irp: NonNull<IRP>) -> *mut *mut IO_STACK_LOCATION {
    const OFFSET: usize = core::mem::offset_of!(
        IRP,
        Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation
    );
    irp.as_ptr().wrapping_byte_add(OFFSET).cast()
}

/// `IoGetCurrentIrpStackLocation`.
///
/// # Safety
///
/// The IRP is this driver's.
pub(crate) const unsafe fn current_stack_location(irp: NonNull<IRP>) -> NonNull<IO_STACK_LOCATION> {
    // SAFETY: valid (caller).
    let stack = unsafe { stack_pointer(irp).read() };
    // SAFETY: an IRP that is a driver's has a current stack location.
    unsafe { NonNull::new_unchecked(stack) }
}

/// `IoSkipCurrentIrpStackLocation`: the next driver gets this driver's location.
///
/// # Safety
///
/// The IRP is this driver's, and is passed down next.
unsafe fn skip_current_stack_location(irp: NonNull<IRP>) {
    // SAFETY: valid (caller).
    unsafe { (*irp.as_ptr()).CurrentLocation += 1 };
    // SAFETY: as above.
    let current = unsafe { current_stack_location(irp) };
    // SAFETY: the caller's location, one up, is there or is the array's end.
    let above = unsafe { current.add(1) };
    // SAFETY: valid (caller).
    unsafe { stack_pointer(irp).write(above.as_ptr()) };
}

/// `IoCopyCurrentIrpStackLocationToNext` and `IoSetCompletionRoutine`, for every outcome.
///
/// # Safety
///
/// The IRP is this driver's, and has a location for the next driver.
unsafe fn copy_to_next_stack_location(
    irp: NonNull<IRP>,
    routine: PIO_COMPLETION_ROUTINE,
    context: PVOID,
) {
    // SAFETY: the IRP is this driver's (caller).
    let current = unsafe { current_stack_location(irp) };
    // SAFETY: there is a next location (caller).
    let next = unsafe { current.sub(1) };
    // SAFETY: readable (caller).
    let current = unsafe { current.read() };
    let next_location = IO_STACK_LOCATION {
        CompletionRoutine: routine,
        Context: context,
        Control: INVOKE_ALWAYS,
        ..current
    };
    // SAFETY: writable, and nobody else's (caller).
    unsafe { next.write(next_location) };
}
