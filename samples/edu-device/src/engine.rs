//! The state of the one thing that computes: which request it has, whether it may begin another,
//! and whether new requests are let in.
//!
//! A plain state machine. The queue keeps it under its lock.

use core::ops::BitOrAssign;

/// What the device is doing for requests of type `R`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Work<R> {
    /// Nothing. It can begin.
    Idle,
    /// Computing for a request, which is still in the queue and can be cancelled there.
    Computing(R),
    /// Computing for nobody: the request has left the queue, or is to be begun again. The device
    /// cannot be told to give up: its result must be waited for and thrown away before the next can
    /// begin.
    Draining,
}

/// A reason not to begin anything new. Each is set and released on its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hold(u8);

impl Hold {
    /// The device is stopped, or may be soon.
    pub const STOP: Self = Self(1 << 0);
    /// The device is being removed, or may be soon.
    pub const REMOVE: Self = Self(1 << 1);
    /// The device sleeps.
    pub const SLEEP: Self = Self(1 << 2);

    const NONE: Self = Self(0);
}

impl BitOrAssign for Hold {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The state machine. `R` names a request: in the driver it is the IRP's address.
#[derive(Debug)]
pub struct Engine<R> {
    work: Work<R>,
    holds: Hold,
    /// The status with which new requests are refused, or `None` to let them in.
    refusal: Option<i32>,
}

impl<R: Copy + Eq> Engine<R> {
    /// An engine without a device: held, and refusing requests with `refusal`.
    #[must_use]
    pub const fn stopped(refusal: i32) -> Self {
        Self { work: Work::Idle, holds: Hold::STOP, refusal: Some(refusal) }
    }

    /// Whether a new request may be queued.
    ///
    /// A hold does not matter here: what arrives while the device may be stopped, or sleeps, waits.
    ///
    /// # Errors
    ///
    /// The status to fail it with.
    pub const fn admit(&self) -> Result<(), i32> {
        match self.refusal {
            None => Ok(()),
            Some(status) => Err(status),
        }
    }

    /// Lets new requests in.
    pub const fn open(&mut self) {
        self.refusal = None;
    }

    /// Refuses new requests with `status` from here on.
    pub const fn refuse(&mut self, status: i32) {
        self.refusal = Some(status);
    }

    /// Begins nothing new until `hold` is released.
    pub fn hold(&mut self, hold: Hold) {
        self.holds |= hold;
    }

    /// Takes back a hold; without it nothing happens.
    pub const fn release(&mut self, hold: Hold) {
        self.holds.0 &= !hold.0;
    }

    /// Chooses the request to begin: `next`, the first in the queue, if nothing is in the way.
    pub fn begin(&mut self, next: Option<R>) -> Option<R> {
        if self.work != Work::Idle || self.holds != Hold::NONE {
            return None;
        }
        let request = next?;
        self.work = Work::Computing(request);
        Some(request)
    }

    /// The request that the device is computing for, unless it has left the queue.
    #[must_use]
    pub const fn current(&self) -> Option<R> {
        match self.work {
            Work::Computing(request) => Some(request),
            Work::Idle | Work::Draining => None,
        }
    }

    /// `request` has left the queue, for whatever reason.
    pub fn left(&mut self, request: R) {
        if self.current() == Some(request) {
            self.work = Work::Draining;
        }
    }

    /// The device takes too long. Whatever it still computes is thrown away, and the current
    /// request, which stays in the queue, is begun again when the device is free.
    pub const fn disown(&mut self) {
        if self.current().is_some() {
            self.work = Work::Draining;
        }
    }

    /// Whether `hold` is in the way.
    #[must_use]
    pub const fn is_held(&self, hold: Hold) -> bool {
        self.holds.0 & hold.0 != 0
    }

    /// The device has computed, or never will: it can begin again. A current request stays in the
    /// queue and is begun again.
    pub const fn finish(&mut self) {
        self.work = Work::Idle;
    }
}

#[cfg(test)]
mod tests {
    use super::{Engine, Hold, Work};

    const NOT_READY: i32 = -1;

    fn started() -> Engine<u32> {
        let mut engine = Engine::stopped(NOT_READY);
        engine.open();
        engine.release(Hold::STOP);
        engine
    }

    #[test]
    fn without_a_device_requests_are_refused_and_none_is_begun() {
        let mut engine = Engine::stopped(NOT_READY);
        assert_eq!(engine.admit(), Err(NOT_READY));
        assert_eq!(engine.begin(Some(1)), None);
        assert_eq!(engine.work, Work::Idle);
    }

    #[test]
    fn one_request_is_computed_at_a_time() {
        let mut engine = started();
        assert_eq!(engine.begin(Some(1)), Some(1));
        assert_eq!(engine.begin(Some(2)), None);
        engine.left(1);
        engine.finish();
        assert_eq!(engine.begin(Some(2)), Some(2));
    }

    #[test]
    fn an_empty_queue_leaves_the_device_idle() {
        let mut engine = started();
        assert_eq!(engine.begin(None), None);
        assert_eq!(engine.work, Work::Idle);
    }

    #[test]
    fn a_cancelled_computation_is_drained_before_the_next_begins() {
        let mut engine = started();
        engine.begin(Some(1));
        engine.left(1);
        assert_eq!(engine.current(), None);
        assert_eq!(engine.work, Work::Draining);
        assert_eq!(engine.begin(Some(2)), None);
        engine.finish();
        assert_eq!(engine.begin(Some(2)), Some(2));
    }

    #[test]
    fn a_waiting_request_that_leaves_does_not_disturb_the_current_one() {
        let mut engine = started();
        engine.begin(Some(1));
        engine.left(2);
        assert_eq!(engine.current(), Some(1));
    }

    #[test]
    fn each_hold_must_be_released_on_its_own() {
        let mut engine = started();
        engine.hold(Hold::STOP);
        engine.hold(Hold::SLEEP);
        engine.hold(Hold::REMOVE);
        engine.release(Hold::STOP);
        engine.release(Hold::REMOVE);
        assert_eq!(engine.begin(Some(1)), None);
        engine.release(Hold::SLEEP);
        assert_eq!(engine.begin(Some(1)), Some(1));
    }

    #[test]
    fn releasing_what_was_not_held_does_nothing() {
        let mut engine = started();
        engine.release(Hold::STOP);
        assert_eq!(engine.begin(Some(1)), Some(1));
    }

    #[test]
    fn a_hold_lets_the_current_computation_end_and_new_requests_in() {
        let mut engine = started();
        engine.begin(Some(1));
        engine.hold(Hold::STOP);
        assert_eq!(engine.current(), Some(1));
        assert_eq!(engine.admit(), Ok(()));
        engine.finish();
        assert_eq!(engine.work, Work::Idle);
    }

    #[test]
    fn a_computation_that_takes_too_long_is_drained_and_begun_again() {
        let mut engine = started();
        engine.begin(Some(1));
        engine.disown();
        assert_eq!(engine.current(), None);
        assert_eq!(engine.begin(Some(1)), None);
        engine.finish();
        assert_eq!(engine.begin(Some(1)), Some(1));
    }

    #[test]
    fn a_device_that_has_finished_has_nothing_to_be_disowned() {
        let mut engine = started();
        engine.begin(Some(1));
        engine.left(1);
        engine.finish();
        engine.disown();
        assert_eq!(engine.work, Work::Idle);
    }

    #[test]
    fn a_hold_is_seen_until_it_is_released() {
        let mut engine = started();
        engine.hold(Hold::REMOVE);
        assert!(engine.is_held(Hold::REMOVE));
        assert!(!engine.is_held(Hold::SLEEP));
        engine.release(Hold::REMOVE);
        assert!(!engine.is_held(Hold::REMOVE));
    }

    #[test]
    fn a_computation_that_the_hardware_lost_is_begun_again() {
        let mut engine = started();
        engine.begin(Some(1));
        engine.hold(Hold::STOP);
        engine.finish();
        engine.release(Hold::STOP);
        assert_eq!(engine.begin(Some(1)), Some(1));
    }

    #[test]
    fn the_last_refusal_counts() {
        let mut engine = started();
        engine.refuse(-2);
        engine.refuse(-3);
        assert_eq!(engine.admit(), Err(-3));
        engine.open();
        assert_eq!(engine.admit(), Ok(()));
    }
}
