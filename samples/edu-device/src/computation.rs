//! Whether the device has completed what it was asked for.
//!
//! Neither an interrupt nor a device at rest is enough to tell. The interrupt can be of an earlier
//! factorial, whose result was taken on the occasion of another interrupt: then the device is busy
//! with this one, or nothing has been asked for since. And a device at rest, without its interrupt,
//! has that still to come.
//!
//! The interrupt handler has it, under the interrupt's lock.

/// What the device has been asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Computation {
    /// Nothing. A completion that the device still signals is of a factorial that was taken or
    /// given up.
    None,
    /// A factorial, for which no interrupt has come.
    Asked,
    /// A factorial, and since then an interrupt has said that one is complete.
    Signalled,
}

impl Computation {
    /// The device is asked for a factorial.
    pub(crate) const fn ask(&mut self) {
        *self = Self::Asked;
    }

    /// An interrupt has said that a factorial is complete.
    pub(crate) fn signal(&mut self) {
        if *self == Self::Asked {
            *self = Self::Signalled;
        }
    }

    /// Whether the device has completed what it was asked for. Whether it is `busy` is looked up
    /// only if that matters: it may be asleep.
    pub(crate) fn is_complete(self, busy: impl FnOnce() -> bool) -> bool {
        self == Self::Signalled && !busy()
    }

    /// The result has been taken, or is given up.
    pub(crate) const fn end(&mut self) {
        *self = Self::None;
    }
}

#[cfg(test)]
mod tests {
    use super::Computation;

    const BUSY: fn() -> bool = || true;
    const AT_REST: fn() -> bool = || false;

    #[test]
    fn it_takes_the_interrupt_and_a_device_at_rest() {
        let mut computation = Computation::None;
        computation.ask();
        assert!(!computation.is_complete(BUSY));
        assert!(!computation.is_complete(AT_REST));
        computation.signal();
        assert!(!computation.is_complete(BUSY));
        assert!(computation.is_complete(AT_REST));
    }

    #[test]
    fn a_second_interrupt_for_one_computation_completes_nothing() {
        let mut computation = Computation::None;
        computation.ask();
        computation.signal();
        computation.end();
        computation.signal();
        assert!(!computation.is_complete(AT_REST));
    }

    #[test]
    fn a_late_interrupt_does_not_complete_the_computation_that_runs() {
        let mut computation = Computation::None;
        computation.ask();
        computation.signal();
        computation.end();
        computation.ask();
        computation.signal();
        assert!(!computation.is_complete(BUSY));
    }

    #[test]
    fn what_was_signalled_before_does_not_count_for_the_next() {
        let mut computation = Computation::None;
        computation.ask();
        computation.signal();
        computation.ask();
        assert!(!computation.is_complete(AT_REST));
    }

    #[test]
    fn a_device_that_was_asked_for_nothing_is_not_looked_at() {
        let looked_at = || panic!("its registers were read");
        assert!(!Computation::None.is_complete(looked_at));
    }

    #[test]
    fn what_was_given_up_never_completes() {
        let mut computation = Computation::None;
        computation.ask();
        computation.end();
        computation.signal();
        assert!(!computation.is_complete(AT_REST));
    }
}
