//! The same regions by the clock: QEMU counts time in instructions, and the bed reads the clock before and after.
//!
//! A region's ticks are the driver's instructions, the kernel's, and what it takes to read the clock, which is the same
//! everywhere. So the ticks say that no instruction was missed and none was counted twice, and the difference between
//! two drivers by the clock is the one by steps.

use anyhow::{Context, Result, bail};

use super::regions::{Pass, Subject, ticks};
use crate::qemu::Interrupt;

/// What the clock said of a driver's regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreement {
    /// How many times through regions were compared.
    pub(super) passes: usize,
    /// The ticks that are nobody's instructions.
    pub(super) overhead: i64,
}

/// Boots a driver twice, and compares what the clock says with what was counted, `passes`.
pub(super) fn compare(
    subject: Subject<'_>,
    interrupt: Interrupt,
    passes: &[Pass],
) -> Result<Agreement> {
    let command = format!("bench ticks interrupt={interrupt}");
    let [first, second] = [0, 1].map(|_| subject.boot(interrupt, &command, true));
    let (first, second) = (ticks(&first?), ticks(&second?));
    let place = || format!("{} by {interrupt}", subject.driver.display());
    if first != second {
        bail!("{}: the clock said {first:?}, and then {second:?}", place());
    }
    agree(passes, &first).with_context(place)
}

/// Compares instructions and ticks, region by region.
fn agree(passes: &[Pass], ticks: &[(String, u64)]) -> Result<Agreement> {
    let names = passes.iter().map(|pass| &pass.name);
    if !names.eq(ticks.iter().map(|(name, _)| name)) {
        bail!("{} regions were counted and others timed: {}", passes.len(), ticks.len());
    }
    let mut overheads = passes.iter().zip(ticks).map(|(pass, (_, ticks))| {
        let instructions = pass.own + pass.kernels;
        (pass, *ticks, ticks.cast_signed() - instructions.cast_signed())
    });
    let (_, _, overhead) = overheads.next().context("no region was timed")?;
    match overheads.find(|(_, _, other)| *other != overhead) {
        None => Ok(Agreement { passes: passes.len(), overhead }),
        Some((pass, ticks, other)) => bail!(
            "{}: {} instructions and {} of the kernel's took {ticks} ticks, {other} more; in the first region it were \
             {overhead} more",
            pass.name,
            pass.own,
            pass.kernels
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(name: &str, own: u64, kernels: u64) -> Pass {
        Pass { name: name.to_owned(), own, kernels, stack: 0 }
    }

    fn timed(name: &str, ticks: u64) -> (String, u64) {
        (name.to_owned(), ticks)
    }

    #[test]
    fn steps_and_ticks_agree_when_the_rest_is_the_same_everywhere() {
        let passes = [pass("a", 3, 10), pass("b", 70, 1000)];
        let agreement = agree(&passes, &[timed("a", 20), timed("b", 1077)]).ok();
        assert_eq!(agreement, Some(Agreement { passes: 2, overhead: 7 }));
    }

    #[test]
    fn an_instruction_that_was_not_counted_is_noticed() {
        let passes = [pass("a", 3, 10), pass("b", 69, 1000)];
        let outcome = agree(&passes, &[timed("a", 20), timed("b", 1077)]);
        assert!(outcome.is_err_and(|error| error.to_string().starts_with("b: 69 instructions")));
    }

    #[test]
    fn a_region_that_was_not_timed_is_noticed() {
        let passes = [pass("a", 3, 10), pass("b", 70, 1000)];
        assert!(agree(&passes, &[timed("a", 20)]).is_err());
        assert!(agree(&passes, &[timed("a", 20), timed("c", 1077)]).is_err());
        assert!(agree(&[], &[]).is_err());
    }
}
