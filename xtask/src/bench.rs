//! Measures drivers in Rust beside the same drivers in C, on the bed: what a service routine costs, a deferred routine,
//! connecting, synchronising and disconnecting, in instructions that repeat exactly; memory and size; and how many
//! interrupts there are in a second.

mod clock;
mod listing;
mod memory;
mod rate;
mod regions;
mod scale;
mod size;
mod table;
mod versions;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use self::clock::Agreement;
use self::memory::Memory;
use self::rate::Rates;
use self::regions::{Pass, Regions, Subject};
use self::scale::Scale;
use self::size::Size;
use self::table::{Goal, Method, Row, Table};
use self::versions::Versions;
use crate::driver::{self, Profile};
use crate::layout::Layout;
use crate::qemu::{Boot, Interrupt};
use crate::setup::Host;
use crate::{bed, setup, text, twin};

pub(crate) use regions::{compare_isr, count};

/// What is asked for on the command line.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// Writes all numbers to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the instructions of each region, in the order in which they were executed, to files in this folder.
    #[arg(long, value_name = "FOLDER")]
    listing: Option<PathBuf>,
}

/// What an interrupt may be given as.
const BOTH: [Interrupt; 2] = [Interrupt::Message, Interrupt::Line];

/// More than C's, connecting and disconnecting may take.
const CONNECT: f64 = 1.05;
/// More than C's, an image may be.
const IMAGE: f64 = 1.2;
/// A registration may take so much more than what it is given.
const BLOCK: u64 = 256;
/// What a message with a deferred half of its own may take: its handler in a cache line, and a KDPC.
const A_MESSAGE: u64 = 64 + 64;

/// A driver in both languages.
#[derive(Debug)]
struct Pair {
    rust: PathBuf,
    c: PathBuf,
}

impl Pair {
    fn build(layout: &Layout, host: &Host, folder: &str, name: &str) -> Result<Self> {
        let built = driver::build(layout, host, &layout.root().join(folder), Profile::Release)?;
        let rust = built.drivers.into_iter().next().context("no driver was built")?;
        Ok(Self { rust, c: twin::build(layout, host, name)? })
    }
}

/// One driver, measured in all the ways that instructions are.
#[derive(Debug)]
struct Measured {
    /// All three by message and by line, in the order of [`BOTH`].
    regions: [Regions; 2],
    boots: [Boot; 2],
    agreements: [Agreement; 2],
}

/// By which of [`BOTH`] something is.
const MESSAGE: usize = 0;
const LINE: usize = 1;

impl Measured {
    fn measure(subject: Subject<'_>) -> Result<Self> {
        let [message, line] = BOTH.map(|interrupt| subject.steps(interrupt));
        let boots = [message?, line?];
        let passes = boots.each_ref().map(Pass::all);
        let compare = |index: usize| clock::compare(subject, BOTH[index], &passes[index]);
        let regions = |index: usize| {
            Regions::of(&passes[index]).with_context(|| subject.driver.display().to_string())
        };
        Ok(Self {
            regions: [regions(MESSAGE)?, regions(LINE)?],
            agreements: [compare(MESSAGE)?, compare(LINE)?],
            boots,
        })
    }

    /// The driver's own instructions in a region.
    fn own(&self, by: usize, name: &str) -> Result<u64> {
        Ok(self.regions[by].get(name)?.own)
    }

    /// The same between markers, which take a few instructions themselves.
    fn marked(&self, by: usize, name: &str) -> Result<u64> {
        let nothing = self.own(by, "nothing")?;
        let all = self.own(by, name)?;
        all.checked_sub(nothing).with_context(|| format!("{name} is less than nothing"))
    }
}

/// Both languages of one driver, measured.
#[derive(Debug)]
struct Both {
    rust: Measured,
    c: Measured,
}

impl Both {
    fn measure(bed: &Path, pair: &Pair, listing: Option<&Path>) -> Result<Self> {
        let measure = |driver: &Path, language| -> Result<Measured> {
            let measured = Measured::measure(Subject { bed, driver })?;
            if let Some(folder) = listing {
                for (boot, interrupt) in measured.boots.iter().zip(BOTH) {
                    listing::write(folder, language, driver, boot, interrupt)?;
                }
            }
            Ok(measured)
        };
        Ok(Self { rust: measure(&pair.rust, "rust")?, c: measure(&pair.c, "c")? })
    }

    /// A row of what `look` finds in both.
    fn row(
        &self,
        name: &str,
        method: Method,
        goal: Goal,
        look: impl Fn(&Measured) -> Result<u64>,
    ) -> Result<Row> {
        Ok(Row::new(name, method, look(&self.rust)?, look(&self.c)?, goal))
    }
}

/// Measures, prints the table, and says whether what must be is: the service routines' goals, steps and ticks that agree,
/// and costs that do not grow with the number of messages.
pub(crate) fn run(layout: &Layout, wanted: &Wanted) -> Result<bool> {
    let host = setup::run(layout)?;
    let versions = Versions::find(layout, &host)?;
    let bed = bed::build(layout, &host)?;
    let edu = Pair::build(layout, &host, "samples/edu", "edu")?;
    let probe = Pair::build(layout, &host, "benches/probe", "probe")?;
    if let Some(folder) = &wanted.listing {
        text::create_folder(folder)?;
    }
    let listing = wanted.listing.as_deref();
    let drivers = Both::measure(&bed, &edu, listing)?;
    let probes = Both::measure(&bed, &probe, listing)?;
    let scale = scale::measure(Subject { bed: &bed, driver: &probe.rust }, scale::ALL)?;
    let subject = |driver| Subject { bed: &bed, driver };
    let rates = rate::compare(subject(&edu.rust), subject(&edu.c), Interrupt::Message)?;

    let table = table(&edu, &drivers, &probes, &scale)?;
    let agreements = [&drivers.rust, &drivers.c, &probes.rust, &probes.c]
        .map(|measured| measured.agreements)
        .concat();
    print(&table, &agreements, &scale, rates, &versions);
    if let Some(file) = &wanted.json {
        let all = json!({
            "rows": table.json(),
            "cross_check": clock_json(&agreements),
            "scale": scale.json(),
            "interrupts_a_second": rates.json(),
            "built_with": versions.json(),
        });
        let content = serde_json::to_string_pretty(&all).context("cannot write JSON")?;
        text::write_if_changed(file, (content + "\n").as_bytes())?;
    }
    scale.check()?;
    let missed = table.0.iter().any(|row| row.name.starts_with("ISR") && row.met() == Some(false));
    Ok(!missed || !versions.are_of_ci())
}

/// Fails unless what is stepped through in a driver takes as many ticks as it has instructions, by message and by line.
pub(crate) fn check_clock(bed: &Path, driver: &Path) -> Result<()> {
    Measured::measure(Subject { bed, driver }).map(drop)
}

/// Fails if connecting a message, or its ISR, costs more among many than among few.
pub(crate) fn check_scale(bed: &Path, layout: &Layout, host: &Host) -> Result<()> {
    let probe =
        driver::build(layout, host, &layout.root().join("benches/probe"), Profile::Release)?;
    let driver = probe.drivers.first().context("no driver was built")?;
    scale::measure(Subject { bed, driver }, scale::FEW)?.check()
}

/// All rows.
fn table(edu: &Pair, drivers: &Both, probes: &Both, scale: &Scale) -> Result<Table> {
    let mut rows = Vec::new();
    rows.extend(interrupt_rows(drivers)?);
    rows.extend(registration_rows(probes)?);
    rows.extend(memory_rows(drivers, probes, scale)?);
    rows.extend(image_rows(&Size::of(&edu.rust)?, &Size::of(&edu.c)?));
    rows.sort_by_key(|row| row.method as u8);
    Ok(Table(rows))
}

/// Serving an interrupt: the whole drivers.
fn interrupt_rows(drivers: &Both) -> Result<Vec<Row>> {
    let isr = [
        (MESSAGE, "ISR, message", "ISR, message, claimed"),
        (MESSAGE, "ISR, message, nothing to do", "ISR, message, nothing to do"),
        (LINE, "ISR, line", "ISR, line, claimed"),
        (LINE, "ISR, line, not mine", "ISR, line, not mine"),
    ];
    let mut rows = Vec::new();
    for (by, region, name) in isr {
        let own = |one: &Measured| one.own(by, region);
        rows.push(drivers.row(name, Method::Steps, Goal::Times(1.0), own)?);
    }
    let deferred = |one: &Measured| one.own(MESSAGE, "DPC");
    rows.push(drivers.row("DPC, with nothing to complete", Method::Steps, Goal::None, deferred)?);
    for (by, region, name) in [
        (MESSAGE, "ISR, message", "ISR, message, and DPC"),
        (LINE, "ISR, line", "ISR, line, and DPC"),
    ] {
        let sum = |one: &Measured| Ok(one.own(by, region)? + one.own(by, "DPC")?);
        rows.push(drivers.row(name, Method::Sum, Goal::None, sum)?);
    }
    let stack = |one: &Measured| Ok(one.regions[MESSAGE].get("ISR, message")?.stack);
    rows.push(drivers.row("ISR, message, claimed", Method::Stack, Goal::None, stack)?);
    Ok(rows)
}

/// Connecting, synchronising and disconnecting: the probes.
fn registration_rows(probes: &Both) -> Result<Vec<Row>> {
    let (nothing, in_c) = (probes.rust.own(MESSAGE, "nothing")?, probes.c.own(MESSAGE, "nothing")?);
    if nothing != in_c {
        bail!("a marker takes {nothing} instructions in Rust, and {in_c} in C");
    }
    let checked = probes.c.marked(MESSAGE, "synchronize, IRQL checked")?;
    let checked = Goal::AtMost(checked, "C's with the same check of the IRQL");
    let connect = Goal::Times(CONNECT);
    let regions = [
        (MESSAGE, "synchronize", "synchronize, with an empty body", checked),
        (MESSAGE, "connect", "connect, message", connect),
        (LINE, "connect", "connect, no message: line", connect),
        (MESSAGE, "disconnect", "disconnect, message", connect),
        (LINE, "disconnect", "disconnect, line", connect),
    ];
    let mut rows = Vec::new();
    for (by, region, name, goal) in regions {
        rows.push(probes.row(name, Method::Steps, goal, |one| one.marked(by, region))?);
    }
    let name = "between markers, subtracted above";
    rows.push(Row::new(name, Method::Steps, nothing, in_c, Goal::None));
    let stack = |one: &Measured| Ok(one.regions[MESSAGE].get("connect")?.stack);
    rows.push(probes.row("connect, message", Method::Stack, Goal::None, stack)?);
    Ok(rows)
}

/// Memory: of a registration, of a message, and of the whole drivers.
fn memory_rows(drivers: &Both, probes: &Both, scale: &Scale) -> Result<Vec<Row>> {
    let [by_message, by_line] = [0, 1].map(|index| {
        let name = format!("extension and pool, by {}", BOTH[index]);
        drivers.row(&name, Method::Memory, Goal::None, |one| {
            Memory::of(&one.boots[index]).map(Memory::bytes)
        })
    });
    let mut rows = vec![by_message?, by_line?];
    for (index, interrupt) in BOTH.iter().enumerate() {
        let stated = |one: &Measured, name: &str| memory::stated(&one.boots[index], name);
        let handler = stated(&probes.rust, "handler")?;
        let goal = Goal::AtMost(handler + BLOCK, "its handler and 256 more");
        let look = |one: &Measured| stated(one, "registration");
        rows.push(probes.row(
            &format!("a registration by {interrupt}, with DPC"),
            Method::Memory,
            goal,
            look,
        )?);
    }
    let [one, two, ..] = &scale.0[..] else { bail!("no number of messages was measured") };
    let each = two.bytes_each(one).context("no message more was measured")?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some hundred bytes"
    )]
    let rust = each.ceil() as u64;
    let goal = Goal::AtMost(A_MESSAGE, "a cache line and a KDPC");
    let name = "a message more, with handler and DPC".to_owned();
    rows.push(Row { name, method: Method::Memory, rust, c: None, goal });
    Ok(rows)
}

/// The images of the whole drivers.
fn image_rows(rust: &Size, c: &Size) -> Vec<Row> {
    let section = |name: &'static str| {
        Row::new(name, Method::File, rust.section(name), c.section(name), Goal::None)
    };
    vec![
        Row::new(
            "all sections but resources",
            Method::File,
            rust.loaded(),
            c.loaded(),
            Goal::Times(IMAGE),
        ),
        section(".text"),
        section(".rdata"),
        section(".data"),
        section(".pdata"),
        Row::new("the file, with resources", Method::File, rust.file, c.file, Goal::None),
    ]
}

fn print(
    table: &Table,
    agreements: &[Agreement],
    scale: &Scale,
    rates: Rates,
    versions: &Versions,
) {
    println!("{}", table.text());
    let passes: usize = agreements.iter().map(|agreement| agreement.passes).sum();
    println!(
        "By the clock (-icount shift=0,sleep=off, no stepping): two boots each gave the same ticks, and each of {passes} \
         passes through a region took as many ticks as instructions were stepped through, and {} for reading the clock.",
        overheads(agreements)
    );
    println!("\n{}", scale.text());
    println!("{}\n", rates.text());
    versions.print();
    match table.missed() {
        0 => println!("All goals are met."),
        missed => println!("{missed} goals are missed."),
    }
}

/// The overheads of reading the clock: one number, unless drivers differ.
fn overheads(agreements: &[Agreement]) -> String {
    let mut all: Vec<i64> = agreements.iter().map(|agreement| agreement.overhead).collect();
    all.sort_unstable();
    all.dedup();
    all.iter().map(i64::to_string).collect::<Vec<_>>().join(" or ")
}

fn clock_json(agreements: &[Agreement]) -> serde_json::Value {
    json!({
        "method": "-icount shift=0,sleep=off, time stamp counter",
        "boots_each": 2,
        "passes_compared": agreements.iter().map(|agreement| agreement.passes).sum::<usize>(),
        "ticks_beyond_instructions": overheads(agreements),
    })
}
