//! The queue of factorials: cancel-safe, by the I/O manager's own `IoCsq` routines.
//!
//! A request is in the queue from its arrival to its completion, also while the device computes
//! for it, so that it can be cancelled all the time. Whoever takes it out of the queue completes
//! it, and `IoCsq` sees to it that only one does: the deferred half with the result, the I/O
//! manager when it is cancelled, CLEANUP when its file is closed, or the device's removal.
//!
//! See [Cancel-Safe IRP Queues][page].
//!
//! [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/cancel-safe-irp-queues

use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};

use edu_device::{Engine, Hold};
use edu_interface::{FactorialReply, FactorialRequest};
use wdk_sys::{
    IO_CSQ, IRP, KIRQL, NT_SUCCESS, NTSTATUS, PFILE_OBJECT, PIO_CSQ, PIRP, PKIRQL, PVOID,
    STATUS_CANCELLED, STATUS_DEVICE_NOT_READY, STATUS_SUCCESS,
    ntddk::{IoCsqInitializeEx, IoCsqInsertIrpEx, IoCsqRemoveNextIrp},
};

use crate::irp::{Irp, current_stack_location};
use crate::list::IrpList;
use crate::sync::{Event, RemoveLock, SpinLock};

/// The factorials that are waiting or being computed.
///
/// # Invariants
///
/// Each IRP in it was given away with `Irp::into_raw`, under `lock`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Queue {
    /// First, so that the callbacks get from it to the rest.
    csq: UnsafeCell<IO_CSQ>,
    state: SpinLock<State>,
    /// Signalled while the engine is idle.
    idle: Event,
    /// The device's remove lock, for the callback that completes a cancelled IRP.
    removal: NonNull<RemoveLock>,
}

/// What the queue's spin lock guards.
#[derive(Debug)]
struct State {
    irps: IrpList,
    engine: Engine<NonNull<IRP>>,
    counters: Counters,
}

/// What has become of the requests since the driver was attached to the device.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) pending: u32,
    pub(crate) computed: u64,
    pub(crate) cancelled: u64,
}

/// Which IRP to take out of the queue: the `PeekContext` of `IoCsq`.
#[derive(Clone, Copy, Debug)]
enum Which {
    /// The first.
    First,
    /// The one that the device computes for.
    Current,
    /// The first that came through this file.
    OfFile(PFILE_OBJECT),
}

// SAFETY: the kernel's routines synchronise what they do with the IO_CSQ by the queue's lock, the
// remove lock is Sync, and so are the other fields.
unsafe impl Sync for Queue {}

// SAFETY: IRPs are not tied to a thread.
unsafe impl Send for State {}

impl Queue {
    /// Room for a queue, of a device with this remove lock.
    ///
    /// # Safety
    ///
    /// [`initialize`](Self::initialize) is called, in the queue's final place, before any other
    /// method. The remove lock is initialised before that, and outlives the queue.
    pub(crate) unsafe fn uninitialized(removal: NonNull<RemoveLock>) -> Self {
        let irps = IrpList::new();
        let engine = Engine::stopped(STATUS_DEVICE_NOT_READY);
        Self {
            csq: UnsafeCell::new(IO_CSQ::default()),
            state: SpinLock::new(State { irps, engine, counters: Counters::default() }),
            // SAFETY: initialised together with the queue (caller).
            idle: unsafe { Event::uninitialized() },
            removal,
        }
    }

    /// Makes the queue, empty and refusing.
    ///
    /// # Errors
    ///
    /// What `IoCsqInitializeEx` fails with.
    ///
    /// # Safety
    ///
    /// Before any other use; the queue does not move from here on.
    pub(crate) unsafe fn initialize(&self) -> Result<(), NTSTATUS> {
        // SAFETY: nobody uses it yet, and it stays where it is (caller).
        unsafe { self.idle.initialize(true) };
        // SAFETY: nobody uses it yet, and it stays where it is (caller). The callbacks get to the
        // rest of the queue from it, because it is the first field.
        let status = unsafe {
            IoCsqInitializeEx(
                self.csq(),
                Some(insert),
                Some(remove),
                Some(peek_next),
                Some(acquire_lock),
                Some(release_lock),
                Some(complete_cancelled),
            )
        };
        if NT_SUCCESS(status) { Ok(()) } else { Err(status) }
    }

    /// Queues `irp`, which asks for a factorial, as pending. It may be gone when this returns.
    ///
    /// # Errors
    ///
    /// New requests are refused with this status, and the IRP comes back.
    pub(crate) fn insert<'d>(
        &self,
        irp: Irp<'d>,
        request: FactorialRequest,
        lock: &'d RemoveLock,
    ) -> Result<(), (Irp<'d>, NTSTATUS)> {
        let raw = irp.into_raw();
        // SAFETY: still this driver's alone.
        unsafe { set_number(raw, request) };
        // SAFETY: initialised; the IRP is given away. IoCsq marks it pending, under the lock.
        let status =
            unsafe { IoCsqInsertIrpEx(self.csq(), raw.as_ptr(), ptr::null_mut(), ptr::null_mut()) };
        if NT_SUCCESS(status) {
            Ok(())
        } else {
            // SAFETY: refused, so it has stayed this driver's.
            Err((unsafe { Irp::from_raw(raw, lock) }, status))
        }
    }

    /// Chooses the request that the device computes next; `None` if there is none, the device is
    /// not free, or is held. Who gets a number must have the device compute it.
    pub(crate) fn begin(&self) -> Option<FactorialRequest> {
        self.state.with(|state| {
            let next = state.irps.first();
            let irp = state.engine.begin(next)?;
            self.idle.clear();
            // SAFETY: in the queue, under its lock.
            Some(unsafe { number(irp) })
        })
    }

    /// The device has computed: completes the request, unless it is gone, and makes the device
    /// free for the next.
    pub(crate) fn finish(&self, factorial: u32) {
        if let Some(irp) = self.take(Which::Current) {
            let raw = irp.into_raw();
            // SAFETY: taken out of the queue, so this driver's alone.
            let number = unsafe { number(raw) }.number();
            // SAFETY: given away just above.
            let irp = unsafe { Irp::from_raw(raw, self.removal()) };
            self.state.with(|state| state.counters.computed += 1);
            let reply = FactorialReply { number, factorial }.to_bytes();
            // SAFETY: a FACTORIAL, whose output was found to have room for the reply on arrival.
            let _completed = unsafe { irp.complete_with(&reply) };
        }
        self.abandon();
    }

    /// The device takes too long, and may never finish: what it computes is thrown away once it
    /// does, or [`abandon`](Self::abandon) says that it has lost it. The request stays in the
    /// queue and is begun again then.
    pub(crate) fn disown(&self) {
        self.state.with(|state| state.engine.disown());
    }

    /// The device has lost what it was computing. The request is still in the queue, if it has not
    /// left, and is begun again.
    pub(crate) fn abandon(&self) {
        self.state.with(|state| {
            state.engine.finish();
            self.idle.set();
        });
    }

    /// Whether new requests are let in.
    ///
    /// # Errors
    ///
    /// The status that refuses them.
    pub(crate) fn admit(&self) -> Result<(), NTSTATUS> {
        self.state.with(|state| state.engine.admit())
    }

    /// Lets new requests in.
    pub(crate) fn open(&self) {
        self.state.with(|state| state.engine.open());
    }

    /// Refuses new requests with `status` from here on. Those in the queue stay.
    pub(crate) fn refuse(&self, status: NTSTATUS) {
        self.state.with(|state| state.engine.refuse(status));
    }

    /// Begins no more requests until the hold is released.
    pub(crate) fn hold(&self, hold: Hold) {
        self.state.with(|state| state.engine.hold(hold));
    }

    /// Whether that hold is there.
    pub(crate) fn is_held(&self, hold: Hold) -> bool {
        self.state.with(|state| state.engine.is_held(hold))
    }

    /// Takes a hold back.
    pub(crate) fn release(&self, hold: Hold) {
        self.state.with(|state| state.engine.release(hold));
    }

    /// Waits until the device is done with what it computes, a cancelled request included. The
    /// caller holds the queue. Whether it is. `PASSIVE_LEVEL`.
    pub(crate) fn drain(&self) -> bool {
        /// Milliseconds. The device needs microseconds; one that takes longer is out of order.
        const PATIENCE: u32 = 1_000;
        self.idle.wait_at_most(PATIENCE)
    }

    /// Completes all requests with `status`.
    pub(crate) fn fail_all(&self, status: NTSTATUS) {
        while let Some(irp) = self.take(Which::First) {
            irp.complete(status, 0);
        }
    }

    /// Cancels the requests that came through `file`.
    pub(crate) fn cancel_of_file(&self, file: PFILE_OBJECT) {
        while let Some(irp) = self.take(Which::OfFile(file)) {
            self.state.with(|state| state.counters.cancelled += 1);
            irp.complete(STATUS_CANCELLED, 0);
        }
    }

    /// The counters as they are now.
    pub(crate) fn counters(&self) -> Counters {
        self.state.with(|state| state.counters)
    }

    /// Takes an IRP out of the queue; `None` if there is no such one, or it is being cancelled.
    fn take(&self, which: Which) -> Option<Irp<'_>> {
        let context: *const Which = &raw const which;
        // SAFETY: initialised; the context is what `peek_next` expects, and outlives the call.
        let irp = unsafe { IoCsqRemoveNextIrp(self.csq(), context.cast_mut().cast()) };
        // SAFETY: IoCsq gives an IRP to one taker only, so it is this driver's alone again.
        NonNull::new(irp).map(|irp| unsafe { Irp::from_raw(irp, self.removal()) })
    }

    const fn removal(&self) -> &RemoveLock {
        // SAFETY: initialised, and outlives the queue, as the caller of `uninitialized` promised.
        unsafe { self.removal.as_ref() }
    }

    /// The queue as the kernel knows it: by its first field, but with a pointer to the whole of it,
    /// which is what the callbacks make of it again.
    const fn csq(&self) -> PIO_CSQ {
        const { assert!(core::mem::offset_of!(Self, csq) == 0) };
        ptr::from_ref(self).cast_mut().cast()
    }

    /// The queue that `csq` is the first field of.
    ///
    /// # Safety
    ///
    /// `csq` is an argument of a callback that `initialize` gave to the kernel.
    const unsafe fn of<'a>(csq: PIO_CSQ) -> &'a Self {
        // SAFETY: made by `csq` (caller), and the queue stays as long as it is used.
        unsafe { &*csq.cast::<Self>() }
    }

    /// # Safety
    ///
    /// The lock is held, as it is in the callbacks `insert`, `remove` and `peek_next`, and the
    /// reference ends before it is released.
    #[expect(clippy::mut_from_ref, reason = "the lock makes it exclusive, as the caller promises")]
    unsafe fn locked(&self) -> &mut State {
        // SAFETY: as the caller says.
        unsafe { self.state.value() }
    }
}

/// `CsqInsertIrpEx`: appends, or refuses. Lock held.
unsafe extern "C" fn insert(csq: PIO_CSQ, irp: PIRP, _context: PVOID) -> NTSTATUS {
    // SAFETY: a callback's argument.
    let queue = unsafe { Queue::of(csq) };
    // SAFETY: IoCsq has acquired the lock.
    let state = unsafe { queue.locked() };
    if let Err(status) = state.engine.admit() {
        return status;
    }
    // SAFETY: never NULL.
    let irp = unsafe { NonNull::new_unchecked(irp) };
    // SAFETY: given away to the queue, which it leaves through `remove`.
    unsafe { state.irps.append(irp) };
    state.counters.pending += 1;
    STATUS_SUCCESS
}

/// `CsqRemoveIrp`: unlinks. Lock held.
unsafe extern "C" fn remove(csq: PIO_CSQ, irp: PIRP) {
    // SAFETY: a callback's argument.
    let queue = unsafe { Queue::of(csq) };
    // SAFETY: IoCsq has acquired the lock.
    let state = unsafe { queue.locked() };
    // SAFETY: never NULL.
    let irp = unsafe { NonNull::new_unchecked(irp) };
    // SAFETY: in the queue.
    unsafe { state.irps.remove(irp) };
    state.counters.pending -= 1;
    state.engine.left(irp);
}

/// `CsqPeekNextIrp`: the first IRP after `irp`, or of all, that the context asks for. Lock held.
unsafe extern "C" fn peek_next(csq: PIO_CSQ, irp: PIRP, context: PVOID) -> PIRP {
    // SAFETY: a callback's argument.
    let queue = unsafe { Queue::of(csq) };
    // SAFETY: IoCsq has acquired the lock.
    let state = unsafe { queue.locked() };
    // SAFETY: `take` gives this context.
    let which = unsafe { *context.cast::<Which>() };
    let mut next = match NonNull::new(irp) {
        None => state.irps.first(),
        // SAFETY: in the queue.
        Some(irp) => unsafe { state.irps.after(irp) },
    };
    while let Some(candidate) = next {
        let wanted = match which {
            Which::First => true,
            Which::Current => state.engine.current() == Some(candidate),
            Which::OfFile(file) => {
                // SAFETY: in the queue, under its lock.
                let stack = unsafe { current_stack_location(candidate) };
                // SAFETY: as above; a stack location of a driver that has the IRP.
                unsafe { (*stack.as_ptr()).FileObject == file }
            }
        };
        if wanted {
            return candidate.as_ptr();
        }
        // SAFETY: in the queue.
        next = unsafe { state.irps.after(candidate) };
    }
    ptr::null_mut()
}

/// `CsqAcquireLock`.
unsafe extern "C" fn acquire_lock(csq: PIO_CSQ, irql: PKIRQL) {
    // SAFETY: a callback's argument.
    let queue = unsafe { Queue::of(csq) };
    // SAFETY: IoCsq ends what it begins here with `release_lock`.
    let acquired_at = unsafe { queue.state.acquire() };
    // SAFETY: IoCsq gives a place for it.
    unsafe { irql.write(acquired_at) };
}

/// `CsqReleaseLock`.
unsafe extern "C" fn release_lock(csq: PIO_CSQ, irql: KIRQL) {
    // SAFETY: a callback's argument.
    let queue = unsafe { Queue::of(csq) };
    // SAFETY: IoCsq ends what it began with `acquire_lock`.
    unsafe { queue.state.release(irql) };
}

/// `CsqCompleteCanceledIrp`: the IRP has left the queue. Lock not held.
unsafe extern "C" fn complete_cancelled(csq: PIO_CSQ, irp: PIRP) {
    // SAFETY: a callback's argument.
    let queue = unsafe { Queue::of(csq) };
    // SAFETY: never NULL.
    let irp = unsafe { NonNull::new_unchecked(irp) };
    // SAFETY: cancelled, so nobody else takes it out of the queue.
    let irp = unsafe { Irp::from_raw(irp, queue.removal()) };
    queue.state.with(|state| state.counters.cancelled += 1);
    irp.complete(STATUS_CANCELLED, 0);
}

/// `Tail.Overlay.DriverContext[0]`, which is the driver's while it has the IRP. The fourth is
/// `IoCsq`'s.
const fn driver_context(irp: NonNull<IRP>) -> *mut FactorialRequest {
    const OFFSET: usize =
        core::mem::offset_of!(IRP, Tail.Overlay.__bindgen_anon_1.__bindgen_anon_1.DriverContext);
    irp.as_ptr().wrapping_byte_add(OFFSET).cast()
}

/// Remembers in the IRP what it asks for.
///
/// # Safety
///
/// The IRP is this driver's.
const unsafe fn set_number(irp: NonNull<IRP>, request: FactorialRequest) {
    const { assert!(size_of::<FactorialRequest>() <= size_of::<PVOID>()) };
    // SAFETY: the driver's to use (caller).
    unsafe { driver_context(irp).write(request) };
}

/// What the IRP asks for.
///
/// # Safety
///
/// `set_number` was called for it, and it is in the queue or this driver's since.
const unsafe fn number(irp: NonNull<IRP>) -> FactorialRequest {
    // SAFETY: written by `set_number` (caller).
    unsafe { driver_context(irp).read() }
}
