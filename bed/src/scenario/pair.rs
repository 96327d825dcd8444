//! Two drivers at once: `proving`, as the service `shared`, and `edu`, on two devices of one line. Neither knows of
//! the other.
//!
//! On a level the system asks service routines in the order in which they were connected, until one claims. So the
//! first is asked for every interrupt of the second, and says that it is not its; restarted, it becomes the second.

use super::edu::{Edu, GREATEST, Handle, Outcome, load, require};
use super::proving::{
    Counts, Running, open, raise_one_by_one, raising, remove, settled, start, unload,
};
use super::status::Status;
use super::{Test, test};
use crate::image::Image;
use crate::pnp::Driver;
use crate::pnp::requests::File;
use crate::pnp::resources::Kind;
use crate::processor;

pub(super) const TESTS: &[Test] = &[
    test!("pair", Pair, two_drivers_share_a_line_and_the_first_is_unloaded),
    test!("pair", Pair, two_drivers_share_a_line_and_the_second_is_unloaded),
];

/// How often a device interrupts in each part.
const TIMES: u64 = 300;

/// Two drivers, each with its device.
struct Pair {
    drivers: [Driver; 2],
    /// The device that is counted, of `proving`.
    counting: Edu,
    file: File,
    /// The device that computes, of `edu`.
    computing: Edu,
    handle: Handle,
}

/// What the service routines of both have counted.
#[derive(Debug, Clone, Copy)]
struct Both {
    counting: Counts,
    /// Of `edu`: claimed, and not its.
    claimed: u64,
    not_mine: u64,
}

impl Pair {
    /// Starts both, `proving` first, each on a line of the same number.
    fn started(proving: Image, edu: Image) -> Outcome<Self> {
        require!(processor::count() > 3, "this takes four processors");
        let drivers = [load(proving)?, load(edu)?];
        let (counting, computing) = (Edu::add(&drivers[0], 0)?, Edu::add(&drivers[1], 1)?);
        start(&counting, Kind::Line, 5, 1)?;
        computing.start(Kind::Line, 5, 1)?;
        require!(
            counting.node.interrupts() == computing.node.interrupts(),
            "the two devices do not have the same line: put them into slots that are equal modulo 4"
        );
        let (file, handle) = (open(&counting)?, computing.open()?);
        Ok(Self { drivers, counting, file, computing, handle })
    }

    fn counts(&self) -> Outcome<Both> {
        let counting = settled(&self.file)?;
        let statistics = self.handle.statistics()?;
        Ok(Both { counting, claimed: statistics.claimed, not_mine: statistics.not_mine })
    }

    /// Only the device of `edu` interrupts, while `proving` is asked first.
    fn the_second_interrupts(&self) -> Outcome {
        let before = self.counts()?;
        raise_one_by_one(&self.computing, TIMES)?;
        let after = self.counts()?;
        require!(
            after.claimed - before.claimed == TIMES && after.counting.claimed == 0,
            "edu's device interrupted {TIMES} times: {before:?}, then {after:?}"
        );
        require!(
            after.counting.not_mine - before.counting.not_mine >= TIMES,
            "proving was not asked for each interrupt of edu's device: {before:?}, then {after:?}"
        );
        crate::say!("bed: only edu's device interrupts: {after:?}");
        Ok(())
    }

    /// `proving` is stopped and started, after which it is asked last; then only its device interrupts.
    fn the_first_interrupts(&self) -> Outcome {
        let status = Status(self.counting.node.query_stop());
        require!(status.0 >= 0, "QUERY_STOP returned {status}");
        self.counting.node.stop();
        self.handle.factorial(GREATEST)?;
        start(&self.counting, Kind::Line, 5, 1)?;
        let before = self.counts()?;
        raise_one_by_one(&self.counting, TIMES)?;
        let after = self.counts()?;
        require!(
            after.counting.claimed == TIMES && after.claimed == before.claimed,
            "proving's device interrupted {TIMES} times: {before:?}, then {after:?}"
        );
        require!(
            after.not_mine - before.not_mine >= TIMES,
            "edu was not asked for each interrupt of proving's device: {before:?}, then {after:?}"
        );
        crate::say!("bed: only proving's device interrupts: {after:?}");
        Ok(())
    }

    /// Both devices interrupt at once, from two processors, and a third has one compute.
    fn both_interrupt(&self) -> Outcome {
        let before = self.counts()?;
        let both = [raising(2, &self.counting, TIMES), raising(3, &self.computing, TIMES)];
        let mut computed = 0;
        while !both.iter().all(Running::is_done) {
            self.handle.factorial(computed as u32 % (GREATEST + 1))?;
            computed += 1;
        }
        for running in both {
            running.wait()?;
        }
        let after = self.counts()?;
        let claimed = after.counting.claimed - before.counting.claimed;
        require!(claimed == TIMES, "proving claimed {claimed} of {TIMES}: {before:?}, {after:?}");
        // What is raised and what is computed can come as one.
        let claimed = after.claimed - before.claimed;
        require!(
            (TIMES.max(computed)..=TIMES + computed).contains(&claimed),
            "edu claimed {claimed} of {TIMES} and {computed}: {before:?}, {after:?}"
        );
        require!(computed > 0, "nothing was computed meanwhile");
        crate::say!("bed: both interrupt, {computed} computed meanwhile: {after:?}");
        Ok(())
    }
}

/// All of it, up to where one of the two goes.
fn two_drivers_share_a_line(proving: Image, edu: Image) -> Outcome<Pair> {
    let pair = Pair::started(proving, edu)?;
    pair.the_second_interrupts()?;
    pair.the_first_interrupts()?;
    pair.both_interrupt()?;
    Ok(pair)
}

fn two_drivers_share_a_line_and_the_first_is_unloaded(proving: Image, edu: Image) -> Outcome {
    let Pair { drivers: [proving, edu], counting, file, computing, handle } =
        two_drivers_share_a_line(proving, edu)?;
    let before = handle.statistics()?.claimed;
    let running = raising(3, &computing, TIMES);
    file.close();
    remove(&counting)?;
    proving.unload();
    handle.factorial(GREATEST)?;
    running.wait()?;
    // Alone on the line, and in memory.
    raise_one_by_one(&computing, TIMES)?;
    let claimed = handle.statistics()?.claimed - before;
    require!(
        (2 * TIMES..=2 * TIMES + 1).contains(&claimed),
        "edu claimed {claimed} of {} and one",
        2 * TIMES
    );
    crate::say!("bed: proving is gone, edu claimed {claimed}");
    handle.0.close();
    remove(&computing)?;
    unload(edu);
    Ok(())
}

fn two_drivers_share_a_line_and_the_second_is_unloaded(proving: Image, edu: Image) -> Outcome {
    let Pair { drivers: [proving, edu], counting, file, computing, handle } =
        two_drivers_share_a_line(proving, edu)?;
    let before = settled(&file)?.claimed;
    let running = raising(3, &counting, TIMES);
    handle.0.close();
    remove(&computing)?;
    edu.unload();
    running.wait()?;
    // Alone on the line, and in memory.
    raise_one_by_one(&counting, TIMES)?;
    let claimed = settled(&file)?.claimed - before;
    require!(claimed == 2 * TIMES, "proving claimed {claimed} of {}", 2 * TIMES);
    crate::say!("bed: edu is gone, proving claimed {claimed}");
    file.close();
    remove(&counting)?;
    unload(proving);
    Ok(())
}
