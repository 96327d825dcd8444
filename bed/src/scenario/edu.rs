//! The edu device and its driver, as a program sees them: a device that can be started and opened, and
//! requests with numbers in and out.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use edu_interface::{
    FACTORIAL, FactorialReply, FactorialRequest, RAISE, RaiseRequest, STATISTICS, Statistics,
};

use super::status::Status;
use crate::image::Image;
use crate::io::interface;
use crate::pnp::Driver;
use crate::pnp::node::Node;
use crate::pnp::requests::{File, Sent};
use crate::pnp::resources::{Choice, Kind};
use crate::sync::Lock;
use crate::{memory, pci, processor, smp, time};

/// QEMU's edu device.
const EDU: (u16, u16) = (0x1234, 0x11e8);

/// What the factorials must be.
pub(crate) const FACTORIALS: [u32; 13] =
    [1, 1, 2, 6, 24, 120, 720, 5_040, 40_320, 362_880, 3_628_800, 39_916_800, 479_001_600];

/// What a scenario returns: a sentence that says what was not as it must be.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Requires something of the driver.
macro_rules! require {
    ($condition:expr, $($argument:tt)*) => {
        if !$condition {
            return Err(alloc::format!($($argument)*));
        }
    };
}
pub(crate) use require;

/// Starts the driver.
pub(crate) fn load(image: Image) -> Outcome<Driver> {
    Driver::start(image).map_err(|status| format!("DriverEntry returned {}", Status(status)))
}

/// The edu devices that QEMU has, in the order of their slots.
pub(crate) fn functions() -> impl Iterator<Item = pci::Function> {
    pci::functions().into_iter().filter(|function| (function.vendor, function.device) == EDU)
}

/// An edu device with the driver on it.
#[derive(Debug, Clone)]
pub(crate) struct Edu {
    pub(crate) node: Arc<Node>,
}

impl Edu {
    /// Adds the driver to the edu device number `index`; it is not started.
    pub(crate) fn add(driver: &Driver, index: usize) -> Outcome<Self> {
        let Some(function) = functions().nth(index) else {
            return Err(format!("QEMU has no edu device number {index}; add -device edu"));
        };
        let node = Node::new(function);
        node.add(driver).map_err(|status| format!("AddDevice returned {}", Status(status)))?;
        Ok(Self { node })
    }

    /// Adds the driver to the first device and starts it.
    pub(crate) fn started(driver: &Driver, kind: Kind) -> Outcome<Self> {
        let edu = Self::add(driver, 0)?;
        edu.start(kind, 5, 1)?;
        Ok(edu)
    }

    /// START, which must succeed.
    pub(crate) fn start(&self, kind: Kind, irql: u8, processor: usize) -> Outcome {
        let status = self.try_start(kind, irql, processor);
        require!(status.0 >= 0, "START returned {status}");
        let interfaces = interface::enabled(self.node.pdo());
        require!(!interfaces.is_empty(), "the started device has no enabled device interface");
        Ok(())
    }

    /// START.
    pub(crate) fn try_start(&self, kind: Kind, irql: u8, processor: usize) -> Status {
        let processor = processor % processor::count();
        let choice = Choice { kind, irql, processor, messages: Choice::ALL };
        Status(self.node.start(choice, |_| ()))
    }

    /// Opens the device.
    pub(crate) fn open(&self) -> Outcome<Handle> {
        File::open(self.node.top())
            .map(Handle)
            .map_err(|status| format!("opening the device returned {}", Status(status)))
    }

    /// Has the device compute something long, behind the driver's back: so many multiplications,
    /// whose result means nothing.
    pub(crate) fn keep_busy(&self, multiplications: u32) {
        const FACTORIAL_REGISTER: usize = 0x08;
        let register = self.register(FACTORIAL_REGISTER);
        // SAFETY: a register of the device, which decodes; writing it begins a computation.
        unsafe { register.write_volatile(multiplications) };
    }

    /// Whether the device is computing.
    pub(crate) fn is_busy(&self) -> bool {
        const STATUS_REGISTER: usize = 0x20;
        const COMPUTING: u32 = 1;
        let register = self.register(STATUS_REGISTER);
        // SAFETY: a register of the device, which decodes; reading it changes nothing.
        unsafe { register.read_volatile() & COMPUTING != 0 }
    }

    /// Raises bits of the device's interrupt status behind the driver's back.
    pub(crate) fn raise_directly(&self, bits: u32) {
        const RAISE_REGISTER: usize = 0x60;
        let register = self.register(RAISE_REGISTER);
        // SAFETY: a register of the device, which decodes; the driver must cope with raised bits.
        unsafe { register.write_volatile(bits) };
    }

    /// What is raised and not acknowledged, read behind the driver's back.
    pub(crate) fn raised(&self) -> u32 {
        const STATUS_REGISTER: usize = 0x24;
        let register = self.register(STATUS_REGISTER);
        // SAFETY: a register of the device; reading it changes nothing.
        unsafe { register.read_volatile() }
    }

    /// Acknowledges bits of the device's interrupt status behind the driver's back.
    pub(crate) fn acknowledge_directly(&self, bits: u32) {
        const ACKNOWLEDGE_REGISTER: usize = 0x64;
        let register = self.register(ACKNOWLEDGE_REGISTER);
        // SAFETY: a register of the device, which decodes; it takes bits back that a driver has seen.
        unsafe { register.write_volatile(bits) };
    }

    /// The number that the driver has told the device by its liveness register.
    pub(crate) fn told(&self) -> u32 {
        const LIVENESS_REGISTER: usize = 0x04;
        let register = self.register(LIVENESS_REGISTER);
        // SAFETY: a register of the device, which has the complement of what was written; reading it
        // changes nothing.
        unsafe { !register.read_volatile() }
    }

    /// The register at `offset` in the device's BAR 0.
    fn register(&self, offset: usize) -> *mut u32 {
        memory::physical(self.node.function().memory[0].start as usize + offset)
    }
}

/// An open edu device.
#[derive(Debug)]
pub(crate) struct Handle(pub(crate) File);

impl Handle {
    /// Sends a FACTORIAL request.
    pub(crate) fn send_factorial(&self, number: u32) -> Sent {
        self.0.control(FACTORIAL, &number.to_ne_bytes(), FactorialReply::SIZE)
    }

    /// Computes a factorial and checks it.
    pub(crate) fn factorial(&self, number: u32) -> Outcome<u32> {
        check_factorial(number, &self.send_factorial(number))
    }

    /// Sends RAISE; returns its status.
    pub(crate) fn raise(&self, bits: u32) -> Status {
        self.status(RAISE, &bits.to_ne_bytes(), 0)
    }

    /// Sends any request; returns its status.
    pub(crate) fn status(&self, code: u32, input: &[u8], output_length: usize) -> Status {
        Status(self.0.control(code, input, output_length).wait().status)
    }

    /// The driver's counters.
    pub(crate) fn statistics(&self) -> Outcome<Statistics> {
        let outcome = self.0.control(STATISTICS, &[], Statistics::SIZE).wait();
        require!(outcome.status >= 0, "STATISTICS returned {}", Status(outcome.status));
        Statistics::from_bytes(&outcome.buffer)
            .ok_or_else(|| String::from("STATISTICS returned something that is none"))
    }

    /// Waits until the driver's counters are as they must be.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        condition: impl Fn(&Statistics) -> bool,
    ) -> Outcome<Statistics> {
        let end = time::now() + time::microseconds(5_000_000);
        loop {
            let statistics = self.statistics()?;
            if condition(&statistics) {
                return Ok(statistics);
            }
            require!(time::now() < end, "{what}: not within 5 seconds; {statistics:?}");
            smp::relax_passive();
        }
    }
}

/// Waits for a FACTORIAL request and checks its reply.
pub(crate) fn check_factorial(number: u32, sent: &Sent) -> Outcome<u32> {
    let outcome = sent.wait();
    require!(outcome.status >= 0, "FACTORIAL of {number} returned {}", Status(outcome.status));
    require!(
        outcome.information == FactorialReply::SIZE as u64,
        "FACTORIAL of {number} returned {} bytes",
        outcome.information
    );
    let reply = FactorialReply::from_bytes(&outcome.buffer)
        .ok_or_else(|| String::from("FACTORIAL returned a reply that is too short"))?;
    let right = FACTORIALS[number as usize];
    require!(
        (reply.number, reply.factorial) == (number, right),
        "{}! = {} was returned for {number}! = {right}",
        reply.number,
        reply.factorial
    );
    Ok(reply.factorial)
}

/// Bits that RAISE lets a program raise.
pub(crate) const FREE_BITS: u32 = !RaiseRequest::RESERVED;

/// The greatest number whose factorial the device can give.
pub(crate) const GREATEST: u32 = FactorialRequest::MAX;

/// Runs on every processor at once; gives the first thing that was not right.
pub(crate) fn on_all_processors(
    play: impl Fn(usize) -> Outcome + Send + Sync + 'static,
) -> Outcome {
    let play = Arc::new(play);
    let failure = Arc::new(Lock::new(None));
    let running: Vec<_> = (1..processor::count())
        .map(|number| {
            let (play, failure) = (Arc::clone(&play), Arc::clone(&failure));
            smp::run_on(number, move || {
                if let Err(why) = play(number) {
                    failure.lock().get_or_insert(why);
                }
            })
        })
        .collect();
    let own = play(0);
    for running in running {
        running.wait();
    }
    let other = failure.lock().take();
    own.and_then(|()| other.map_or(Ok(()), Err))
}
