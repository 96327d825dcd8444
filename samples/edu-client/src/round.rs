//! A round of requests: all that `edu.sys` can be asked, and whether its counters agree.

use core::fmt;

use edu_interface::{Connection, FactorialRequest, Statistics};

use crate::control::{Device, Failure, factorial, raise, statistics, too_large_a_factorial};

/// The status bit that a round raises. No computation raises it, so only this program can have.
pub const RAISED: u32 = 1 << 1;

/// How many different factorials there are.
const FACTORIALS: usize = FactorialRequest::MAX as usize + 1;

/// A round of requests that were all answered rightly.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Round {
    /// The factorials of 0, 1, 2 and so on, as the device computed them.
    pub factorials: [u32; FACTORIALS],
    /// The driver's counters before.
    pub before: Statistics,
    /// The driver's counters after.
    pub after: Statistics,
}

/// Asks for every factorial there is, for one too many, raises a status bit, and looks whether the driver's
/// counters fit. Others may use the device meanwhile; it must not be stopped.
///
/// # Errors
///
/// The first thing that was not as it must be.
pub fn play<D: Device>(device: &D) -> Result<Round, Failure<D::Error>> {
    let before = statistics(device)?;
    let mut factorials = [0; FACTORIALS];
    for (number, place) in (0..).zip(&mut factorials) {
        *place = factorial(device, number)?;
    }
    too_large_a_factorial(device)?;
    raise(device, RAISED)?;
    // The service routine reads the whole status: once this has come back, it has seen the raised bit.
    factorial(device, FactorialRequest::MAX)?;
    let after = statistics(device)?;
    let round = Round { factorials, before, after };
    round.check().map_or(Ok(round), |what| Err(Failure::Counted(what)))
}

impl Round {
    /// How many factorials a round has the device compute: each once, and the last once more.
    pub const COMPUTED: u64 = FACTORIALS as u64 + 1;

    /// Interrupts of the device that the service routine has claimed meanwhile.
    #[must_use]
    pub const fn interrupts(&self) -> u64 {
        self.after.claimed - self.before.claimed
    }

    /// What of the counters does not fit.
    fn check(&self) -> Option<&'static str> {
        let rises = [
            (self.before.computed, self.after.computed, Self::COMPUTED),
            // The device computes one factorial at a time, and interrupts for each.
            (self.before.claimed, self.after.claimed, Self::COMPUTED),
            (self.before.deferred_runs, self.after.deferred_runs, 1),
            (self.before.not_mine, self.after.not_mine, 0),
        ];
        let by_way = self.after.line + self.after.messages.iter().sum::<u64>();
        if self.after.connection != self.before.connection {
            Some("the interrupt was connected in another way meanwhile")
        } else if rises.iter().any(|&(before, after, least)| after < before.saturating_add(least)) {
            Some("the driver counted fewer computations or interrupts than there were")
        } else if by_way != self.after.claimed {
            Some("the interrupts by line and by message are not those that were claimed")
        } else if self.after.connection == Connection::Line && self.after.line != by_way {
            Some("an interrupt came by message, and the line is connected")
        } else if self.after.connection != Connection::Line && self.after.line != 0 {
            Some("an interrupt came by line, and messages are connected")
        } else if self.after.status_seen & RAISED == 0 {
            Some("the service routine has not seen the status bit that was raised")
        } else {
            None
        }
    }
}

impl fmt::Display for Round {
    /// Four lines for a person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.after.connection {
            Connection::Line => f.write_str("connected   by line")?,
            Connection::Messages(count) => write!(f, "connected   by message ({count} of them)")?,
        }
        f.write_str("\nfactorials  ")?;
        for (number, factorial) in self.factorials.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{number}! = {factorial}")?;
        }
        let others = self.after.not_mine - self.before.not_mine;
        let deferred = self.after.deferred_runs - self.before.deferred_runs;
        write!(
            f,
            "\nrefused     13!, as it must be\n\
             interrupts  {} claimed, {others} not the device's; {deferred} runs of the deferred half; \
             status bits seen {:#x}",
            self.interrupts(),
            self.after.status_seen,
        )
    }
}
