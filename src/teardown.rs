//! The teardown of a registration: one function, one order, whatever the registration.

/// A registration's memory, as the teardown sees it.
///
/// It is shared with ISRs and deferred halves until the teardown is through.
pub(crate) trait Body {
    /// Whether there is a deferred half.
    const DEFERS: bool;

    /// Silences the device: `disable` of each handler, under its lock, unless the interrupt has
    /// been reported inactive.
    ///
    /// # Safety
    ///
    /// `PASSIVE_LEVEL`; connected and published.
    unsafe fn disable(&self);

    /// Waits for all deferred work that was queued before.
    ///
    /// # Safety
    ///
    /// `PASSIVE_LEVEL`, not inside the deferred half, by one thread at a time.
    unsafe fn flush(&self);

    /// Refuses deferred work from here on.
    fn close(&self);

    /// `IoDisconnectInterruptEx` for all there is.
    ///
    /// # Safety
    ///
    /// `PASSIVE_LEVEL`; connected; nobody synchronises any more, or will. Once.
    unsafe fn disconnect(&self);

    /// Takes deferred work off its queues.
    ///
    /// # Safety
    ///
    /// `PASSIVE_LEVEL`, not connected, and the deferred half has been closed or was never opened.
    unsafe fn remove(&self);
}

/// Whether the device is there to be silenced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hardware {
    Present,
    Removed,
}

/// The teardown. The numbers are those of
/// [`InterruptRegistration`](crate::InterruptRegistration#teardown)'s documentation.
///
/// Afterwards nothing of the kernel's has `body` any more: no ISR, no DPC, no work item.
///
/// # Safety
///
/// - `PASSIVE_LEVEL`, not inside the registration's own deferred half or lock;
/// - `body` is connected, published and open;
/// - nobody else uses it but its own ISR and deferred half, or will. Once.
pub(crate) unsafe fn tear_down(body: &impl Body, hardware: Hardware) {
    // 1
    if hardware == Hardware::Present {
        // SAFETY: PASSIVE_LEVEL, connected and published (caller).
        unsafe { body.disable() };
    }
    // SAFETY: as the caller promises.
    let deferred = unsafe { end_deferred(body) };
    if deferred && hardware == Hardware::Present {
        // SAFETY: PASSIVE_LEVEL, connected and published still.
        unsafe { body.disable() };
    }
    // SAFETY:
    // - PASSIVE_LEVEL and once (caller);
    // - nobody synchronises: a thread would hold a borrow of the registration, which is gone, and
    //   the deferred half has been ended.
    unsafe { dismantle(body) };
}

/// Steps 2 to 4: lets the deferred half complete what was claimed, and ends it, still connected.
///
/// Returns whether there is one. Afterwards none of its user code runs or can begin.
///
/// # Safety
///
/// As for [`tear_down`].
unsafe fn end_deferred<B: Body>(body: &B) -> bool {
    if !B::DEFERS {
        return false;
    }
    // 2
    // SAFETY: as the caller promises.
    unsafe { body.flush() };
    // 3
    body.close();
    // 4
    // SAFETY: as above.
    unsafe { body.flush() };
    true
}

/// Steps 5 and 6: from connected to nothing left.
///
/// # Safety
///
/// `PASSIVE_LEVEL`. `body` is connected; its deferred half is closed, or was never opened, so that
/// it runs no user code; nobody else uses it. Once.
pub(crate) unsafe fn dismantle(body: &impl Body) {
    // 5
    // SAFETY: PASSIVE_LEVEL, and nobody synchronises or will (caller).
    unsafe { body.disconnect() };
    // SAFETY: PASSIVE_LEVEL, no longer connected, and no user code of the deferred half (caller).
    unsafe { drain(body) };
}

/// Step 6: from not connected to nothing left.
///
/// # Safety
///
/// `PASSIVE_LEVEL`. `body` is not connected, or not any more; its deferred half is closed, or was
/// never opened, so that what an ISR may have queued runs no user code; nobody else uses it.
pub(crate) unsafe fn drain<B: Body>(body: &B) {
    if B::DEFERS {
        // 6
        // SAFETY: as the caller promises.
        unsafe { body.remove() };
    }
}
