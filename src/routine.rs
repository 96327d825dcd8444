//! The routines that the kernel calls.
//!
//! Each takes its context for what it was registered with and hands on at once. The
//! type parameters are the only link between a context and its type, so every routine is named
//! together with the context it gets, in one expression, where it is registered.

use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::ptr::{self, NonNull};

use crate::block::Block;
use crate::connection::Slot;
use crate::deferred::{
    DeferredHalf, DeferredHandler, DpcParts, Home, PassiveWorkParts, SharedDeferredHandler,
    SharedDpc, ThreadedParts, WorkHandler, WorkParts,
};
use crate::handler::{InterruptHandler, Serviced, Source};
use crate::messages::{MessageBlock, MessageHalf};
use crate::nt::{self, kernel_routine};
use crate::passive::{PassiveBlock, PassiveHalf, PassiveInterruptHandler};

impl Serviced {
    const fn to_boolean(self) -> nt::BOOLEAN {
        self as nt::BOOLEAN
    }
}

kernel_routine! {
    /// `KSERVICE_ROUTINE` of a line.
    ///
    /// # Safety
    ///
    /// Called by the kernel for an interrupt that was connected with this routine, the block as
    /// service context and the block's lock. The block is complete since before the connect and
    /// stays until after the disconnect.
    pub(crate) unsafe fn line[H: InterruptHandler<D>, D: DeferredHalf<H>](
        _interrupt: nt::PKINTERRUPT,
        context: nt::PVOID,
    ) -> nt::BOOLEAN {
        // SAFETY: the context is the block, complete and in place; all its users share it.
        let block = unsafe { &*context.cast::<Block<H, D>>() };
        // SAFETY: the kernel calls this as the block's ISR, its lock held.
        unsafe { block.service(Source::Line) }.to_boolean()
    }
}

kernel_routine! {
    /// `KMESSAGE_SERVICE_ROUTINE` of all messages.
    ///
    /// # Safety
    ///
    /// As for [`line`].
    pub(crate) unsafe fn message[H: InterruptHandler<D>, D: DeferredHalf<H>](
        _interrupt: nt::PKINTERRUPT,
        context: nt::PVOID,
        message: nt::ULONG,
    ) -> nt::BOOLEAN {
        // SAFETY: the context is the block, complete and in place; all its users share it.
        let block = unsafe { &*context.cast::<Block<H, D>>() };
        // SAFETY: the kernel calls this as the block's ISR, its lock held.
        unsafe { block.service_message(message) }.to_boolean()
    }
}

kernel_routine! {
    /// `KSERVICE_ROUTINE` of a line fallback that nobody asked for.
    ///
    /// Given all the same, so that a device without messages comes back as a connection that says
    /// so, and `connect` can undo it with an error of its own; and so that no kernel has a NULL
    /// routine to call. Meanwhile, whatever comes on the line is another device's: this one has not
    /// been enabled.
    ///
    /// # Safety
    ///
    /// None needed: it touches nothing.
    pub(crate) unsafe fn refused_line[](
        _interrupt: nt::PKINTERRUPT,
        _context: nt::PVOID,
    ) -> nt::BOOLEAN {
        nt::FALSE
    }
}

kernel_routine! {
    /// `KSERVICE_ROUTINE` of one of several vectors.
    ///
    /// # Safety
    ///
    /// As for [`line`], with a slot of the block's as service context.
    pub(crate) unsafe fn vector[H: InterruptHandler<D>, D: DeferredHalf<H>](
        _interrupt: nt::PKINTERRUPT,
        context: nt::PVOID,
    ) -> nt::BOOLEAN {
        let slot = context.cast::<Slot>();
        // SAFETY: the context is the slot, complete and in place.
        let block = unsafe { (*slot).block };
        // SAFETY: as above.
        let index = unsafe { (*slot).index };
        // SAFETY: the slot's block, complete and in place; all its users share it.
        let block = unsafe { block.cast::<Block<H, D>>().as_ref() };
        // SAFETY: the kernel calls this as the block's ISR, its lock held.
        unsafe { block.service(Source::Vector(index)) }.to_boolean()
    }
}

kernel_routine! {
    /// `KMESSAGE_SERVICE_ROUTINE` of messages with a handler each.
    ///
    /// # Safety
    ///
    /// Called by the kernel for an interrupt that was connected with this routine and the block as
    /// service context, with the lock of this message. The block is complete since before the
    /// connect and stays until after the disconnect.
    pub(crate) unsafe fn each_message[H: InterruptHandler<D>, D: MessageHalf<H>](
        _interrupt: nt::PKINTERRUPT,
        context: nt::PVOID,
        message: nt::ULONG,
    ) -> nt::BOOLEAN {
        // SAFETY: the context is the block, hence not null.
        let block = unsafe { NonNull::new_unchecked(context.cast::<MessageBlock<H, D>>()) };
        // SAFETY: the kernel calls this as the message's ISR, its lock held.
        unsafe { MessageBlock::service_message(block, message) }.to_boolean()
    }
}

kernel_routine! {
    /// `KSERVICE_ROUTINE` of the line, where there was to be a handler for each message.
    ///
    /// # Safety
    ///
    /// As for [`each_message`], with the block's lock.
    pub(crate) unsafe fn each_line[H: InterruptHandler<D>, D: MessageHalf<H>](
        _interrupt: nt::PKINTERRUPT,
        context: nt::PVOID,
    ) -> nt::BOOLEAN {
        // SAFETY: the context is the block, hence not null.
        let block = unsafe { NonNull::new_unchecked(context.cast::<MessageBlock<H, D>>()) };
        // SAFETY: the kernel calls this as the block's ISR, its lock held.
        unsafe { MessageBlock::service_line(block) }.to_boolean()
    }
}

kernel_routine! {
    /// `KSERVICE_ROUTINE` of a passive-level line or vector.
    ///
    /// # Safety
    ///
    /// Called by the kernel for an interrupt that was connected with this routine and the block as
    /// service context. The block is complete since before the connect and stays until after the
    /// disconnect.
    pub(crate) unsafe fn passive_line[H: PassiveInterruptHandler<D>, D: PassiveHalf<H>](
        _interrupt: nt::PKINTERRUPT,
        context: nt::PVOID,
    ) -> nt::BOOLEAN {
        // SAFETY: the context is the block, complete and in place; all its users share it.
        let block = unsafe { &*context.cast::<PassiveBlock<H, D>>() };
        block.service(None).to_boolean()
    }
}

kernel_routine! {
    /// `KMESSAGE_SERVICE_ROUTINE` of passive-level messages.
    ///
    /// # Safety
    ///
    /// As for [`passive_line`].
    pub(crate) unsafe fn passive_message[H: PassiveInterruptHandler<D>, D: PassiveHalf<H>](
        _interrupt: nt::PKINTERRUPT,
        context: nt::PVOID,
        message: nt::ULONG,
    ) -> nt::BOOLEAN {
        // SAFETY: the context is the block, complete and in place; all its users share it.
        let block = unsafe { &*context.cast::<PassiveBlock<H, D>>() };
        block.service(Some(message)).to_boolean()
    }
}

/// Defines a `KDEFERRED_ROUTINE` whose context is what the deferred half lies in.
macro_rules! deferred_routine {
    ($(#[$meta:meta])* $name:ident[$handler:ident] $parts:ident::$method:ident) => {
        kernel_routine! {
            $(#[$meta])*
            ///
            /// # Safety
            ///
            /// Called by the kernel for the KDPC of the home's parts, the home as deferred context.
            /// It stays until the teardown has flushed the DPC.
            pub(crate) unsafe fn $name[H, T: $handler<H>, C: Home<H, $parts<T>>](
                _dpc: *mut nt::KDPC,
                context: nt::PVOID,
                _first: nt::PVOID,
                _second: nt::PVOID,
            ) -> () {
                // SAFETY: the context is the home, complete and in place; all users share it.
                let home = unsafe { &*context.cast::<C>() };
                // SAFETY: this is the routine of the parts' DPC, with their home.
                unsafe { $parts::$method(home) };
            }
        }
    };
}

deferred_routine! {
    /// Of a [`Dpc`](crate::Dpc).
    dpc[DeferredHandler] DpcParts::run
}

deferred_routine! {
    /// Of a [`ThreadedDpc`](crate::ThreadedDpc).
    threaded_dpc[DeferredHandler] ThreadedParts::run
}

deferred_routine! {
    /// Of the DPC that queues a [`WorkItem`](crate::WorkItem).
    work_dpc[WorkHandler] WorkParts::request
}

kernel_routine! {
    /// `KDEFERRED_ROUTINE` of a [`SharedDpc`](crate::SharedDpc).
    ///
    /// # Safety
    ///
    /// Called by the kernel for the KDPC of the block's shared parts, the block as deferred context.
    /// It stays until the teardown has flushed the DPC.
    pub(crate) unsafe fn shared_dpc[H, T: SharedDeferredHandler<H>](
        _dpc: *mut nt::KDPC,
        context: nt::PVOID,
        _first: nt::PVOID,
        _second: nt::PVOID,
    ) -> () {
        // SAFETY: the context is the block, hence not null.
        let block = unsafe { NonNull::new_unchecked(context.cast::<MessageBlock<H, SharedDpc<T>>>()) };
        // SAFETY: complete and in place; all its users share it.
        unsafe { MessageBlock::run_shared(block) };
    }
}

/// Defines an `IO_WORKITEM_ROUTINE`.
macro_rules! work_routine {
    ($(#[$meta:meta])* $name:ident[$($generics:tt)*] $home:ty, $run:path) => {
        kernel_routine! {
            $(#[$meta])*
            ///
            /// # Safety
            ///
            /// Called by the kernel for a work item, with the context that goes with it. That stays
            /// until the item is idle.
            pub(crate) unsafe fn $name[$($generics)*](
                _device: *mut nt::DEVICE_OBJECT,
                context: nt::PVOID,
            ) -> () {
                if let Some(home) = NonNull::new(context.cast::<$home>()) {
                    // SAFETY: this is the item's routine, and that its context.
                    unsafe { $run(home) };
                }
            }
        }
    };
}

work_routine! {
    /// Of a [`WorkItem`](crate::WorkItem) that a DPC queues. The context is what it lies in.
    work[H, T: WorkHandler<H>, C: Home<H, WorkParts<T>>] C, WorkParts::run
}

work_routine! {
    /// Of a [`WorkItem`](crate::WorkItem) that a passive-level ISR queues. The context are its parts.
    passive_work[H, T: WorkHandler<H>] PassiveWorkParts<H, T>, PassiveWorkParts::run
}

/// Calls `with_state` with `state`, under the lock of the interrupt `object`:
/// `KeSynchronizeExecution`.
///
/// # Safety
///
/// - `object` is connected, and stays so during the call;
/// - the IRQL is at most the object's synchronize IRQL.
#[inline]
pub(crate) unsafe fn synchronize<S, F: FnOnce(*mut S) -> R, R>(
    object: NonNull<nt::_KINTERRUPT>,
    state: *mut S,
    with_state: F,
) -> R {
    let with_state = ManuallyDrop::new(with_state);
    if const { size_of::<F>() == 0 && size_of::<R>() == 0 } {
        // Nothing but the state goes in, and nothing comes out.
        let routine: nt::PKSYNCHRONIZE_ROUTINE = Some(synchronized_state::<S, F, R>);
        // SAFETY:
        // - the object is connected and the IRQL low enough (caller);
        // - the routine takes the state, and a closure without bytes, which is this one.
        let called = unsafe { nt::KeSynchronizeExecution(object.as_ptr(), routine, state.cast()) };
        // In a release the kernel is trusted to do what the call is for: nothing unwritten would be
        // read if it had not, as it would below.
        debug_assert!(called != nt::FALSE, "KeSynchronizeExecution has not called its routine");
        let result = MaybeUninit::<R>::uninit();
        // SAFETY: it has no bytes that could be missing, and the routine, which the call has called,
        // has left this one behind.
        return unsafe { result.assume_init() };
    }
    let mut call = Synchronized { state, with_state, result: MaybeUninit::uninit() };
    let (routine, context) = call.routine();
    // SAFETY:
    // - the object is connected and the IRQL low enough (caller);
    // - the routine takes `call`, which stays in place during the call.
    let called = unsafe { nt::KeSynchronizeExecution(object.as_ptr(), routine, context) };
    // What the call returns is what its routine has returned, which is TRUE.
    assert!(called != nt::FALSE, "KeSynchronizeExecution has not called its routine");
    // SAFETY: the routine has been called, and writes the result before it returns.
    unsafe { call.result.assume_init() }
}

kernel_routine! {
    /// `KSYNCHRONIZE_ROUTINE`: calls a closure without bytes with the state, and leaves its result,
    /// which has none either, to whoever called `KeSynchronizeExecution`.
    ///
    /// # Safety
    ///
    /// `F` and `R` have no bytes. Called once, by `KeSynchronizeExecution`, with what the closure
    /// takes, on behalf of somebody who has such a closure and does not use it any more.
    unsafe fn synchronized_state[S, F: FnOnce(*mut S) -> R, R](context: nt::PVOID) -> nt::BOOLEAN {
        // SAFETY: nothing is read, since it has no bytes; the one that there is, is taken over.
        let with_state = unsafe { NonNull::<F>::dangling().read() };
        mem::forget(with_state(context.cast()));
        nt::TRUE
    }
}

/// A closure on its way through `KeSynchronizeExecution`, and its result on the way back.
///
/// Should that call unwind, which the model's does when it reports a violation, they are leaked.
struct Synchronized<S, F, R> {
    state: *mut S,
    /// Taken by the routine.
    with_state: ManuallyDrop<F>,
    /// Written by the routine.
    result: MaybeUninit<R>,
}

impl<S, F: FnOnce(*mut S) -> R, R> Synchronized<S, F, R> {
    /// The routine for `KeSynchronizeExecution`, together with the context that is its.
    const fn routine(&mut self) -> (nt::PKSYNCHRONIZE_ROUTINE, nt::PVOID) {
        (Some(synchronized::<S, F, R>), ptr::from_mut(self).cast())
    }
}

kernel_routine! {
    /// `KSYNCHRONIZE_ROUTINE`: calls the closure with the state.
    ///
    /// # Safety
    ///
    /// Called once, by `KeSynchronizeExecution`, with a [`Synchronized`] of these types that nobody
    /// else uses meanwhile.
    unsafe fn synchronized[S, F: FnOnce(*mut S) -> R, R](context: nt::PVOID) -> nt::BOOLEAN {
        // SAFETY: the context is the call, alive and used by nobody else.
        let call = unsafe { &mut *context.cast::<Synchronized<S, F, R>>() };
        // SAFETY: taken this once, since the kernel calls this once.
        let with_state = unsafe { ManuallyDrop::take(&mut call.with_state) };
        call.result.write(with_state(call.state));
        nt::TRUE
    }
}
