//! What the bed says of a driver's regions: their instructions, one by one, or the ticks they took.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::qemu::{self, Boot, Interrupt, Machine};

/// A driver, and how to boot it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) bed: &'a Path,
    pub(crate) driver: &'a Path,
}

impl Subject<'_> {
    /// Boots it on one processor, with this on the bed's command line.
    pub(super) fn boot(self, interrupt: Interrupt, command: &str, icount: bool) -> Result<Boot> {
        let machine = Machine { smp: 1, icount, ..Machine::with_edu(1, interrupt) };
        let boot = qemu::boot(self.bed, self.driver, &machine, command, |_| ())?;
        if !boot.passed() {
            bail!("{} was not measured: {boot}", self.driver.display());
        }
        Ok(boot)
    }

    /// Has its instructions counted.
    pub(super) fn steps(self, interrupt: Interrupt) -> Result<Boot> {
        self.boot(interrupt, &format!("bench steps interrupt={interrupt}"), true)
    }
}

/// One time through a region, by its instructions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) name: String,
    /// Instructions of the driver's own.
    pub(super) own: u64,
    /// Instructions of the kernel's: what the driver called, and what called it.
    pub(super) kernels: u64,
    /// Bytes of stack from the driver's first instruction on, with the kernel's share where it calls back.
    pub(super) stack: u64,
}

impl Pass {
    /// What a line of the bed's says, if it says what was counted.
    fn read(line: &str) -> Option<Self> {
        let (name, numbers) = line.strip_prefix("counted ")?.rsplit_once(": ")?;
        let mut numbers = numbers.split(", ").map(|part| part.split(' ').next()?.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self { name: name.to_owned(), own: next()?, kernels: next()?, stack: next()? })
    }

    /// Each time through a region that was counted, in the order in which they came.
    pub(super) fn all(boot: &Boot) -> Vec<Self> {
        boot.lines.iter().filter_map(|line| Self::read(&line.text)).collect()
    }
}

/// The ticks of each time through a region, in the order in which they came.
pub(super) fn ticks(boot: &Boot) -> Vec<(String, u64)> {
    let read = |line: &str| {
        let (name, number) = line.strip_prefix("timed ")?.rsplit_once(": ")?;
        Some((name.to_owned(), number.strip_suffix(" ticks")?.parse().ok()?))
    };
    boot.lines.iter().filter_map(|line| read(&line.text)).collect()
}

/// What was counted in a region, the same each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    /// Instructions of the driver's own.
    pub(crate) own: u64,
    /// Bytes of stack.
    pub(crate) stack: u64,
}

/// The regions of a driver, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Regions(BTreeMap<String, Count>);

impl Regions {
    /// The regions of some boots. Each must cost the same each time.
    pub(super) fn of<'a>(passes: impl IntoIterator<Item = &'a Pass>) -> Result<Self> {
        let mut regions = BTreeMap::new();
        for Pass { name, own, stack, .. } in passes {
            let count = Count { own: *own, stack: *stack };
            let first = *regions.entry(name.clone()).or_insert(count);
            if first != count {
                bail!("{name}: it was {first:?}, and then {count:?}");
            }
        }
        if regions.is_empty() {
            bail!("nothing was counted");
        }
        Ok(Self(regions))
    }

    /// What was counted in the region of this name.
    pub(super) fn get(&self, name: &str) -> Result<Count> {
        self.0.get(name).copied().with_context(|| format!("{name:?} was not counted"))
    }

    fn service_routines(&self) -> impl Iterator<Item = (&str, Count)> {
        let all = self.0.iter().map(|(name, count)| (name.as_str(), *count));
        all.filter(|(name, _)| name.starts_with("ISR"))
    }
}

/// Boots a driver once for each of these interrupts, and gives what was counted.
pub(crate) fn count(bed: &Path, driver: &Path, interrupts: &[Interrupt]) -> Result<Regions> {
    let subject = Subject { bed, driver };
    let mut passes = Vec::new();
    for interrupt in interrupts {
        passes.extend(Pass::all(&subject.steps(*interrupt)?));
    }
    Regions::of(&passes).with_context(|| format!("{}", driver.display()))
}

/// Fails if a service routine takes more instructions than in C.
pub(crate) fn compare_isr(rust: &Regions, c: &Regions) -> Result<()> {
    let mut compared = 0;
    for (name, rust) in rust.service_routines() {
        let c = c.get(name)?;
        compared += 1;
        if rust.own > c.own {
            bail!("{name}: {} instructions, and {} in C", rust.own, c.own);
        }
    }
    // Claimed and not, by message and by line.
    if compared == 4 {
        Ok(())
    } else {
        bail!("{compared} ways into the service routine, and not 4")
    }
}

#[cfg(test)]
impl Regions {
    /// Regions of which only the instructions matter.
    pub(super) fn of_counts(counts: &[(&str, u64)]) -> Self {
        let region =
            |(name, own): &(&str, u64)| ((*name).to_owned(), Count { own: *own, stack: 0 });
        Self(counts.iter().map(region).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "counted ISR, line: 24 instructions, 920 of the kernel's, 40 bytes of stack";

    fn four(last: u64) -> Regions {
        Regions::of_counts(&[("ISR, a", 3), ("ISR, b", 4), ("ISR, c", 5), ("ISR, d", last)])
    }

    #[test]
    fn a_pass_is_read_from_a_line() {
        let expected = Pass { name: "ISR, line".to_owned(), own: 24, kernels: 920, stack: 40 };
        assert_eq!(Pass::read(LINE), Some(expected));
        assert_eq!(Pass::read("edu: connected by line"), None);
        assert_eq!(Pass::read("counted ISR, line: no instructions"), None);
    }

    #[test]
    fn ticks_are_read_from_lines() {
        let boot = Boot::of_lines(&["timed DPC: 70 ticks", LINE, "timed a: b: 1 ticks"], true);
        assert_eq!(ticks(&boot), [("DPC".to_owned(), 70), ("a: b".to_owned(), 1)]);
    }

    #[test]
    fn a_region_that_costs_another_number_the_second_time_is_an_error() {
        let first = Boot::of_lines(&[LINE, LINE, &LINE.replace("920", "930")], true);
        assert!(Regions::of(&Pass::all(&first)).is_ok());
        let second = Boot::of_lines(&[LINE, &LINE.replace("24", "25")], true);
        assert!(Regions::of(&Pass::all(&second)).is_err());
        assert!(Regions::of(&[]).is_err());
    }

    #[test]
    fn an_isr_may_be_as_long_as_in_c_and_no_longer() {
        assert!(compare_isr(&four(6), &four(6)).is_ok());
        assert!(compare_isr(&four(6), &four(7)).is_ok());
        let error = compare_isr(&four(7), &four(6)).map_err(|error| error.to_string());
        assert_eq!(error, Err("ISR, d: 7 instructions, and 6 in C".to_owned()));
    }

    #[test]
    fn a_way_into_the_service_routine_that_was_not_counted_is_missed() {
        let three = Regions::of_counts(&[("ISR, a", 3), ("ISR, b", 4), ("ISR, c", 5), ("DPC", 6)]);
        assert!(compare_isr(&three, &four(6)).is_err());
        assert!(compare_isr(&four(6), &three).is_err());
    }
}
