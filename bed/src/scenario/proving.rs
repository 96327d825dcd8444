//! Experiments of the driver `proving` that take more than a START: two devices on a line, and one that goes
//! in the middle of something.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use super::edu::{Edu, Outcome, load, require};
use super::status::Status;
use super::{Test, test};
use crate::image::Image;
use crate::pnp::Driver;
use crate::pnp::requests::File;
use crate::pnp::resources::Kind;
use crate::sync::Lock;
use crate::{processor, smp, time};

pub(super) const TESTS: &[Test] = &[
    test!("proving", two_devices_of_a_driver_on_a_line_the_first_connected_first),
    test!("proving", two_devices_of_a_driver_on_a_line_the_second_connected_first),
    test!("proving", a_device_goes_in_the_middle_by_message),
    test!("proving", a_device_goes_in_the_middle_by_line),
];

/// A bit of the device's status that only a driver raises.
pub(super) const BIT: u32 = 1 << 4;

/// `CTL_CODE(FILE_DEVICE_UNKNOWN, function, METHOD_BUFFERED, FILE_ANY_ACCESS)`.
const fn code(function: u32) -> u32 {
    0x22 << 16 | function << 2
}

/// The driver's private IOCTLs.
const COUNTS: u32 = code(0x900);
pub(super) const WORK: u32 = code(0x901);
pub(super) const CYCLE: u32 = code(0x902);

/// What the driver has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) claimed: u64,
    pub(super) not_mine: u64,
    pub(super) runs: u64,
    pub(super) accounted: u64,
    pub(super) returned: u64,
    pub(super) connections: u64,
}

impl Counts {
    /// Asks for them.
    pub(super) fn of(file: &File) -> Outcome<Self> {
        const FIELDS: usize = 6;
        let outcome = file.control(COUNTS, &[], FIELDS * 8).wait();
        require!(outcome.status >= 0, "COUNTS returned {}", Status(outcome.status));
        let mut fields = [0; FIELDS];
        for (field, bytes) in fields.iter_mut().zip(outcome.buffer.as_chunks().0) {
            *field = u64::from_ne_bytes(*bytes);
        }
        let [claimed, not_mine, runs, accounted, returned, connections] = fields;
        Ok(Self { claimed, not_mine, runs, accounted, returned, connections })
    }
}

/// Waits until something is so, for up to five seconds.
pub(super) fn wait_until(what: &str, mut is_so: impl FnMut() -> Outcome<bool>) -> Outcome {
    let end = time::now() + time::microseconds(5_000_000);
    while !is_so()? {
        require!(time::now() < end, "{what}: not within 5 seconds");
        smp::relax_passive();
    }
    Ok(())
}

/// Starts a device of the driver, which has no interface by which programs would find it.
pub(super) fn start(edu: &Edu, kind: Kind, irql: u8, processor: usize) -> Outcome {
    let status = edu.try_start(kind, irql, processor);
    require!(status.0 >= 0, "START returned {status}");
    Ok(())
}

/// Opens a device of the driver.
pub(super) fn open(edu: &Edu) -> Outcome<File> {
    File::open(edu.node.top())
        .map_err(|status| format!("opening the device returned {}", Status(status)))
}

/// Removes a device in order.
pub(super) fn remove(edu: &Edu) -> Outcome {
    let status = Status(edu.node.query_remove());
    require!(status.0 >= 0, "QUERY_REMOVE returned {status}");
    edu.node.remove();
    Ok(())
}

/// Something with an outcome that runs on another processor.
pub(super) struct Running {
    running: smp::Running,
    outcome: Arc<Lock<Outcome>>,
}

impl Running {
    /// Begins it.
    pub(super) fn on(processor: usize, job: impl FnOnce() -> Outcome + Send + 'static) -> Self {
        let outcome = Arc::new(Lock::new(Ok(())));
        let place = Arc::clone(&outcome);
        let running = smp::run_on(processor, move || *place.lock() = job());
        Self { running, outcome }
    }

    /// Whether it has ended.
    pub(super) fn is_done(&self) -> bool {
        self.running.is_done()
    }

    /// Waits for its end.
    pub(super) fn wait(self) -> Outcome {
        self.running.wait();
        self.outcome.lock().clone()
    }
}

/// Has a device interrupt again and again, each time when the last time has been served.
pub(super) fn raise_one_by_one(edu: &Edu, times: u64) -> Outcome {
    for _ in 0..times {
        edu.raise_directly(BIT);
        wait_until("a service routine acknowledges", || Ok(edu.raised() == 0))?;
    }
    Ok(())
}

/// The same in the background.
pub(super) fn raising(processor: usize, edu: &Edu, times: u64) -> Running {
    let edu = edu.clone();
    Running::on(processor, move || raise_one_by_one(&edu, times))
}

/// Counts when everything that was claimed is accounted for.
pub(super) fn settled(file: &File) -> Outcome<Counts> {
    wait_until("what was claimed is accounted for", || {
        Counts::of(file).map(|counts| counts.claimed == counts.accounted)
    })?;
    Counts::of(file)
}

/// Two devices with a registration each on one line, both in flight; then one goes and the other goes on.
///
/// On a level the system asks service routines in the order in which they were connected, until one claims:
/// so the first is asked for every interrupt of the second, and says that it is not its.
fn two_devices_on_a_line(image: Image, first: usize) -> Outcome {
    const TIMES: u64 = 500;
    require!(processor::count() > 3, "this takes four processors");
    let driver = load(image)?;
    let devices = [Edu::add(&driver, 0)?, Edu::add(&driver, 1)?];
    let (first, second) = (&devices[first], &devices[1 - first]);
    start(first, Kind::Line, 5, 1)?;
    start(second, Kind::Line, 5, 1)?;
    require!(
        first.node.interrupts() == second.node.interrupts(),
        "the two devices do not have the same line: put them into slots that are equal modulo 4"
    );
    let (asked, last) = (open(first)?, open(second)?);
    let both = [raising(2, first, TIMES), raising(3, second, TIMES)];
    for running in both {
        running.wait()?;
    }
    let counts = [settled(&asked)?, settled(&last)?];
    require!(
        counts.iter().all(|one| one.claimed == TIMES),
        "each device interrupted {TIMES} times: {counts:?}"
    );
    require!(
        counts[0].not_mine >= counts[1].claimed,
        "the first was not asked for each interrupt of the second: {counts:?}"
    );
    // One disconnects, and the other goes on meanwhile.
    let running = raising(3, second, TIMES);
    asked.close();
    remove(first)?;
    running.wait()?;
    let after = settled(&last)?;
    require!(
        after.claimed == 2 * TIMES,
        "{TIMES} more interrupts: {:?}, then {after:?}",
        counts[1]
    );
    crate::say!("bed: on a line, both in flight: {counts:?}; alone: {after:?}");
    last.close();
    remove(second)?;
    unload(driver);
    Ok(())
}

pub(super) fn unload(driver: Driver) {
    driver.unload();
    crate::say!("bed: left behind: nothing");
}

fn two_devices_of_a_driver_on_a_line_the_first_connected_first(image: Image) -> Outcome {
    two_devices_on_a_line(image, 0)
}

fn two_devices_of_a_driver_on_a_line_the_second_connected_first(image: Image) -> Outcome {
    two_devices_on_a_line(image, 1)
}

/// Pulls the device out at the moment when the driver says that it is in the middle of something. The
/// driver's START returns afterwards.
fn a_device_goes_in_the_middle(image: Image, kind: Kind) -> Outcome {
    /// What the driver tells its device.
    const NOW: u32 = 0x4e4f_5721;
    require!(processor::count() > 3, "this takes four processors");
    let driver = load(image)?;
    let edu = Edu::add(&driver, 0)?;
    let watched = edu.clone();
    let puller = Running::on(3, move || {
        wait_until("the driver is in the middle of something", || Ok(watched.told() == NOW))?;
        watched.node.unplug();
        Ok(())
    });
    let status = edu.try_start(kind, 5, 1);
    puller.wait()?;
    require!(status.0 >= 0, "START returned {status}");
    edu.node.surprise_removal();
    edu.node.remove();
    unload(driver);
    Ok(())
}

fn a_device_goes_in_the_middle_by_message(image: Image) -> Outcome {
    a_device_goes_in_the_middle(image, Kind::Message)
}

fn a_device_goes_in_the_middle_by_line(image: Image) -> Outcome {
    a_device_goes_in_the_middle(image, Kind::Line)
}

/// The number that WORK is asked with next, and what must be answered.
pub(super) const fn exercise(random: &mut u32) -> (u32, u64) {
    // xorshift: any sequence that does not repeat soon will do.
    *random ^= *random << 13;
    *random ^= *random >> 17;
    *random ^= *random << 5;
    let number = *random as u64;
    (*random, number * number + number + 41)
}

/// A sentence that says what is wrong, of the sort that outcomes have.
pub(super) fn wrong(what: &str, status: Status) -> String {
    format!("{what} returned {status}")
}
