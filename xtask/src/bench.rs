//! Counts the instructions of drivers in Rust and of their twins in C, on the bed, which has the processor stop
//! after each: exact numbers that repeat.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::driver::{self, Profile};
use crate::layout::Layout;
use crate::qemu::{Interrupt, Machine};
use crate::{bed, qemu, setup, twin};

/// What was counted in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Count {
    /// The region.
    pub(crate) name: String,
    /// Instructions of the driver's own.
    pub(crate) instructions: u64,
    /// Bytes of stack from the driver's first instruction on, with the kernel's share where it calls back.
    pub(crate) stack: u64,
}

impl Count {
    /// What a line of the bed's says, if it says what was counted.
    fn read(line: &str) -> Option<Self> {
        let (name, numbers) = line.strip_prefix("counted ")?.rsplit_once(": ")?;
        let mut numbers = numbers.split(", ").map(|part| part.split(' ').next()?.parse().ok());
        let instructions = numbers.next()??;
        let _of_the_kernels: u64 = numbers.next()??;
        let stack = numbers.next()??;
        Some(Self { name: name.to_owned(), instructions, stack })
    }
}

/// Boots a driver once by message and once by line, on one processor, and gives what was counted.
pub(crate) fn count(bed: &Path, driver: &Path, interrupts: &[Interrupt]) -> Result<Vec<Count>> {
    let mut counts: Vec<Count> = Vec::new();
    for interrupt in interrupts {
        let machine = Machine { smp: 1, ..Machine::with_edu(1, *interrupt) };
        let boot =
            qemu::boot(bed, driver, &machine, &format!("bench interrupt={interrupt}"), |_| ())?;
        if !boot.passed() {
            bail!("{} was not counted: {boot}", driver.display());
        }
        for count in boot.lines.iter().filter_map(|line| Count::read(&line.text)) {
            match counts.iter().find(|other| other.name == count.name) {
                None => counts.push(count),
                Some(other) if *other == count => {}
                Some(other) => bail!("{}: it was {other:?}, and then {count:?}", count.name),
            }
        }
    }
    if counts.is_empty() {
        bail!("nothing was counted in {}", driver.display());
    }
    Ok(counts)
}

/// The regions of both, with Rust's count first.
fn pairs<'a>(rust: &'a [Count], c: &'a [Count]) -> Result<Vec<(&'a Count, &'a Count)>> {
    if rust.len() != c.len() {
        bail!("{} regions were counted in Rust and {} in C", rust.len(), c.len());
    }
    let partner = |one: &'a Count| {
        let other = c.iter().find(|other| other.name == one.name);
        other.map(|other| (one, other)).with_context(|| format!("{} is not in C", one.name))
    };
    rust.iter().map(partner).collect()
}

/// Fails if a service routine takes more instructions than in C.
pub(crate) fn compare_isr(rust: &[Count], c: &[Count]) -> Result<()> {
    let mut compared = 0;
    for (rust, c) in pairs(rust, c)? {
        if rust.name.starts_with("ISR") {
            compared += 1;
            if rust.instructions > c.instructions {
                bail!(
                    "{}: {} instructions, and {} in C",
                    rust.name,
                    rust.instructions,
                    c.instructions
                );
            }
        }
    }
    // Claimed and not, by message and by line.
    if compared == 4 {
        Ok(())
    } else {
        bail!("{compared} ways into the service routine, and not 4")
    }
}

/// Builds both drivers in both languages, counts, and prints a table.
pub(crate) fn run(layout: &Layout) -> Result<bool> {
    let host = setup::run(layout)?;
    let bed = bed::build(layout, &host)?;
    let both = [Interrupt::Message, Interrupt::Line];
    let drivers =
        [("samples/edu", "edu", &both[..]), ("benches/probe", "probe", &[Interrupt::Message])];
    println!("{:32} {:>8} {:>8}", "instructions of the driver's", "Rust", "C");
    let mut of_edu = None;
    for (folder, name, interrupts) in drivers {
        let built = driver::build(layout, &host, &layout.root().join(folder), Profile::Release)?;
        let driver = built.drivers.first().context("no driver was built")?;
        let rust = count(&bed, driver, interrupts)?;
        let c = count(&bed, &twin::build(layout, &host, name)?, interrupts)?;
        for (rust, c) in pairs(&rust, &c)? {
            println!("{:32} {:>8} {:>8}", rust.name, rust.instructions, c.instructions);
        }
        of_edu.get_or_insert((rust, c));
    }
    let (rust, c) = of_edu.context("nothing was counted")?;
    match compare_isr(&rust, &c) {
        Ok(()) => Ok(true),
        Err(error) => {
            println!("{error:#}");
            Ok(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, instructions: u64) -> Count {
        Count { name: name.to_owned(), instructions, stack: 0 }
    }

    fn four(last: u64) -> Vec<Count> {
        vec![count("ISR, a", 3), count("ISR, b", 4), count("ISR, c", 5), count("ISR, d", last)]
    }

    #[test]
    fn a_count_is_read_from_a_line() {
        let line = "counted ISR, line: 24 instructions, 920 of the kernel's, 40 bytes of stack";
        let expected = Count { name: "ISR, line".to_owned(), instructions: 24, stack: 40 };
        assert_eq!(Count::read(line), Some(expected));
        assert_eq!(Count::read("edu: connected by line"), None);
        assert_eq!(Count::read("counted ISR, line: no instructions"), None);
    }

    #[test]
    fn an_isr_may_be_as_long_as_in_c_and_no_longer() {
        assert!(compare_isr(&four(6), &four(6)).is_ok());
        assert!(compare_isr(&four(6), &four(7)).is_ok());
        let error = compare_isr(&four(7), &four(6)).map_err(|error| error.to_string());
        assert_eq!(error, Err("ISR, d: 7 instructions, and 6 in C".to_owned()));
    }

    #[test]
    fn a_region_that_was_not_counted_is_missed() {
        assert!(compare_isr(&four(6)[..3], &four(6)[..3]).is_err());
        assert!(compare_isr(&four(6), &four(6)[..3]).is_err());
        let other =
            [count("ISR, x", 1), count("ISR, b", 9), count("ISR, c", 9), count("ISR, d", 9)];
        assert!(compare_isr(&four(6), &other).is_err());
    }
}
