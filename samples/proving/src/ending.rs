//! A service routine that runs on one processor while another disconnects it.
//!
//! That disconnecting waits for it is nowhere documented, and everyone relies on it: the memory is freed
//! afterwards.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use wdk_sys::{NTSTATUS, STATUS_IO_TIMEOUT};
use wdm_interrupt::{Interrupt, InterruptHandler, InterruptRegistration, MessageBased, Serviced};
use wdm_support::Start;

use crate::clock::{spin, spin_until, wait_until};
use crate::edu::{BIT, Edu, Shared};

/// How long the service routine waits for a disconnect to begin, and how long it takes after that, in
/// milliseconds.
const PATIENCE: u32 = 5_000;
const LONG: u32 = 30;

/// The next service routine takes long.
static LONG_ONE: AtomicBool = AtomicBool::new(false);
/// Calls of the service routine.
static CALLS: AtomicU32 = AtomicU32::new(0);
/// A clock that ticks when it is read.
static CLOCK: AtomicU32 = AtomicU32::new(0);
/// When the service routine was entered, when disconnecting was begun, and when the routine was about to
/// return; 0 is never.
static ENTERED: AtomicU32 = AtomicU32::new(0);
static BEGUN: AtomicU32 = AtomicU32::new(0);
static RETURNS: AtomicU32 = AtomicU32::new(0);

fn tick() -> u32 {
    CLOCK.fetch_add(1, Ordering::SeqCst) + 1
}

/// The three ways to disconnect.
#[derive(Clone, Copy, Debug)]
enum Way {
    Disconnect,
    DisconnectRemoved,
    Drop,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnect => "disconnect",
            Self::DisconnectRemoved => "disconnect_removed",
            Self::Drop => "drop",
        })
    }
}

impl Way {
    fn end(self, registration: InterruptRegistration<Handler>) {
        let ended = match self {
            Self::Disconnect => registration.disconnect(),
            Self::DisconnectRemoved => registration.disconnect_removed(),
            Self::Drop => return drop(registration),
        };
        if ended.is_err() {
            wdk::println!("proving: ending: {self} failed");
        }
    }
}

#[derive(Debug)]
struct Handler {
    registers: Shared,
}

impl InterruptHandler for Handler {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        CALLS.fetch_add(1, Ordering::SeqCst);
        if self.registers.take().is_none() {
            return Serviced::NotMine;
        }
        if LONG_ONE.swap(false, Ordering::SeqCst) {
            ENTERED.store(tick(), Ordering::SeqCst);
            spin_until(PATIENCE, || BEGUN.load(Ordering::SeqCst) != 0);
            spin(LONG);
            RETURNS.store(tick(), Ordering::SeqCst);
        }
        Serviced::Claimed
    }

    fn disable(&mut self) {
        self.registers.silence();
    }
}

/// Disconnects in each way while the service routine runs on another processor, and interrupts
/// afterwards.
pub(crate) fn play(start: &Start<'_>) -> Result<(), NTSTATUS> {
    let device = Edu::map(start)?;
    for way in [Way::Disconnect, Way::DisconnectRemoved, Way::Drop] {
        ENTERED.store(0, Ordering::SeqCst);
        BEGUN.store(0, Ordering::SeqCst);
        LONG_ONE.store(true, Ordering::SeqCst);
        // SAFETY: the registration ends below, before the device is dropped.
        let handler = Handler { registers: unsafe { device.share() } };
        let request = MessageBased::new(start.physical).fall_back_to_line();
        let registration = request.connect(handler).map_err(|error| {
            wdk::println!("proving: {error}");
            error.status()
        })?;
        device.raise(BIT);
        let entered = wait_until(|| ENTERED.load(Ordering::SeqCst) != 0);
        let begun = tick();
        BEGUN.store(begun, Ordering::SeqCst);
        way.end(registration);
        let ended = tick();
        let calls = CALLS.load(Ordering::SeqCst);
        for _ in 0..10 {
            device.raise(BIT);
            spin(1);
        }
        let late = CALLS.load(Ordering::SeqCst) - calls;
        device.acknowledge_all();
        if !entered {
            wdk::println!("proving: ending: no interrupt was served");
            return Err(STATUS_IO_TIMEOUT);
        }
        let (entered, returns) = (ENTERED.load(Ordering::SeqCst), RETURNS.load(Ordering::SeqCst));
        wdk::println!(
            "proving: ending by {way}: {}, {late} calls after it",
            match (entered < begun, begun < returns, returns < ended) {
                (true, true, true) => "begun inside the service routine, ended after it",
                (true, true, false) => "ENDED BEFORE THE SERVICE ROUTINE",
                _ => "not begun inside the service routine",
            }
        );
    }
    Ok(())
}
