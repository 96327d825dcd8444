//! The routines that the kernel calls.
//!
//! Each takes its context for what it was registered with and hands on to safe code at once. The
//! type parameters are the only link between a context and its type, so every routine is named
//! together with the context it gets, in one expression, where it is registered.

use core::ptr::{self, NonNull};

use crate::block::Block;
use crate::deferred::DeferredHalf;
use crate::handler::{InterruptHandler, Serviced};
use crate::nt::{self, kernel_routine};

impl Serviced {
    const fn to_boolean(self) -> nt::BOOLEAN {
        match self {
            Self::NotMine => nt::FALSE,
            Self::Claimed => nt::TRUE,
        }
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
        unsafe { block.service(None) }.to_boolean()
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
        unsafe { block.service(Some(message)) }.to_boolean()
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
    /// `KDEFERRED_ROUTINE` of the registration's DPC.
    ///
    /// # Safety
    ///
    /// Called by the kernel for the block's KDPC, the block as deferred context. The block stays
    /// until the teardown has flushed the DPC.
    pub(crate) unsafe fn dpc[H: InterruptHandler<D>, D: DeferredHalf<H>](
        _dpc: *mut nt::KDPC,
        context: nt::PVOID,
        _first: nt::PVOID,
        _second: nt::PVOID,
    ) -> () {
        // SAFETY: the context is the block, complete and in place; all its users share it.
        let block = unsafe { &*context.cast::<Block<H, D>>() };
        block.run_deferred();
    }
}

/// Calls `with_state` with what `state` points to, under the lock of the interrupt `object`:
/// `KeSynchronizeExecution`.
///
/// # Safety
///
/// - `object` is connected, and stays so during the call;
/// - the IRQL is at most the object's synchronize IRQL;
/// - `state` is valid, and whoever else touches it holds the same lock meanwhile.
pub(crate) unsafe fn synchronize<S, R>(
    object: NonNull<nt::_KINTERRUPT>,
    state: *mut S,
    with_state: impl FnOnce(&mut S) -> R,
) -> R {
    let mut call = Synchronized { state, with_state: Some(with_state), result: None };
    let (routine, context) = call.routine();
    // SAFETY:
    // - the object is connected and the IRQL low enough (caller);
    // - the routine takes `call`, which stays in place during the call, and touches the state
    //   inside it only, thus under the lock.
    unsafe { nt::KeSynchronizeExecution(object.as_ptr(), routine, context) };
    call.result.expect("KeSynchronizeExecution calls its routine before it returns")
}

/// A closure on its way through `KeSynchronizeExecution`, and its result on the way back.
struct Synchronized<S, F, R> {
    state: *mut S,
    with_state: Option<F>,
    result: Option<R>,
}

impl<S, F: FnOnce(&mut S) -> R, R> Synchronized<S, F, R> {
    /// The routine for `KeSynchronizeExecution`, together with the context that is its.
    fn routine(&mut self) -> (nt::PKSYNCHRONIZE_ROUTINE, nt::PVOID) {
        (Some(synchronized::<S, F, R>), ptr::from_mut(self).cast())
    }
}

kernel_routine! {
    /// `KSYNCHRONIZE_ROUTINE`: calls the closure with the state.
    ///
    /// # Safety
    ///
    /// Called by `KeSynchronizeExecution` with a [`Synchronized`] of these types that nobody else
    /// uses meanwhile, under the lock that guards its state.
    unsafe fn synchronized[S, F: FnOnce(&mut S) -> R, R](context: nt::PVOID) -> nt::BOOLEAN {
        // SAFETY: the context is the call, alive and used by nobody else.
        let call = unsafe { &mut *context.cast::<Synchronized<S, F, R>>() };
        if let Some(with_state) = call.with_state.take() {
            // SAFETY: valid, and the lock that guards it is held.
            let state = unsafe { &mut *call.state };
            call.result = Some(with_state(state));
        }
        nt::TRUE
    }
}
