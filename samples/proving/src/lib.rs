//! `proving.sys`: an experiment at a time, of what only real interrupts on several processors can show.
//! Which one, the last part of the registry path says: the name of the service.
//!
//! Most of them take place in START and print what came of them. Others are interrupted, and asked, from
//! elsewhere.
//!
//! | module | idea |
//! |---|---|
//! | here | the experiments by name |
//! | `messages` | e1000e's messages in parallel, nested, under one lock |
//! | `twice` | one DPC on two processors at once |
//! | `early` | an interrupt inside `IoConnectInterruptEx` |
//! | `ending` | a service routine that runs while another processor disconnects it |
//! | `counting` | what is counted on a shared line, and under more interrupts than can be served |
//! | `gone` | a device that goes at the worst moment |
//! | `soak` | connecting and disconnecting without end |
//! | `edu`, `e1000e` | the devices' registers |
//! | `meeting`, `clock` | how routines wait for each other, and never for ever |

#![no_std]

mod clock;
mod control;
mod counting;
mod e1000e;
mod early;
mod edu;
mod ending;
mod gone;
mod meeting;
mod messages;
mod soak;
mod twice;

// A panic is a bug check.
extern crate wdk_panic;

use core::slice;
use core::sync::atomic::{AtomicUsize, Ordering};

use wdk_sys::{
    GUID, NTSTATUS, PCUNICODE_STRING, PDRIVER_OBJECT, STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_PARAMETER, STATUS_OBJECT_NAME_NOT_FOUND,
};
use wdm_support::{Control, Function, Presence, Start, fill};

use crate::counting::Counting;
use crate::gone::{Gone, Moment};
use crate::soak::Soak;

/// An experiment.
#[derive(Clone, Copy, Debug)]
enum Experiment {
    /// It takes place in START.
    AtStart(fn(&Start<'_>) -> Result<(), NTSTATUS>),
    Counting,
    Gone(Moment),
    Soak,
}

/// All of them. `cargo xtask test` looks for these rows.
static EXPERIMENTS: [(&str, Experiment); 14] = [
    ("parallel", Experiment::AtStart(messages::parallel)),
    ("one_lock", Experiment::AtStart(messages::one_lock)),
    ("nested", Experiment::AtStart(messages::nested)),
    ("not_nested", Experiment::AtStart(messages::not_nested)),
    ("twice", Experiment::AtStart(twice::play)),
    ("early", Experiment::AtStart(early::play)),
    ("ending", Experiment::AtStart(ending::play)),
    ("hammered", Experiment::AtStart(counting::hammered)),
    ("unanswered", Experiment::AtStart(counting::unanswered)),
    ("shared", Experiment::Counting),
    ("gone_in_service", Experiment::Gone(Moment::Service)),
    ("gone_in_dpc", Experiment::Gone(Moment::Deferred)),
    ("gone_in_synchronize", Experiment::Gone(Moment::Synchronizing)),
    ("soak", Experiment::Soak),
];

/// The one that was chosen, by its place in the table.
static CHOSEN: AtomicUsize = AtomicUsize::new(0);

/// A started device.
#[derive(Debug)]
enum Proving {
    /// The experiment is over.
    Over,
    Counting(Counting),
    Gone(Gone),
    Soak(Soak),
}

// SAFETY: `stop` of each ends the registration and then the mapping; what fails has dropped both.
unsafe impl Function for Proving {
    const NAME: &'static str = "proving";

    const INTERFACE: Option<GUID> = None;

    fn start(start: &Start<'_>) -> Result<Self, NTSTATUS> {
        match EXPERIMENTS[CHOSEN.load(Ordering::Relaxed)].1 {
            Experiment::AtStart(play) => play(start).map(|()| Self::Over),
            Experiment::Counting => Counting::start(start).map(Self::Counting),
            Experiment::Gone(moment) => Gone::start(start, moment).map(Self::Gone),
            Experiment::Soak => Soak::start(start).map(Self::Soak),
        }
    }

    fn stop(self, presence: Presence) {
        match self {
            Self::Over => {}
            Self::Counting(counting) => counting.stop(presence),
            Self::Gone(gone) => gone.stop(presence),
            Self::Soak(soak) => soak.stop(presence),
        }
    }

    fn control(
        function: Result<&mut Self, NTSTATUS>,
        request: &mut Control<'_, '_>,
    ) -> Result<(), NTSTATUS> {
        match function? {
            Self::Counting(counting) => counting.control(request),
            Self::Soak(soak) => soak.control(request),
            Self::Over | Self::Gone(_) => Err(STATUS_INVALID_DEVICE_REQUEST),
        }
    }

    fn control_at_once(request: &mut Control<'_, '_>) -> Option<Result<(), NTSTATUS>> {
        Soak::control_at_once(request)
    }
}

/// Chooses the experiment and fills in the driver object.
///
/// # Safety
///
/// For the I/O manager only: `driver` is the driver object made for this image, `registry_path` the
/// path of its service's key. `PASSIVE_LEVEL`.
// SAFETY: no other item of the image has this name; it is the one that the linker makes the entry.
#[unsafe(export_name = "DriverEntry")]
pub unsafe extern "system" fn driver_entry(
    driver: PDRIVER_OBJECT,
    registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    // SAFETY: the I/O manager's string, which stays until this returns.
    let Some(path) = (unsafe { registry_path.as_ref() }) else {
        return STATUS_INVALID_PARAMETER;
    };
    // SAFETY: a string has as many bytes as it says, two for each character.
    let path = unsafe { slice::from_raw_parts(path.Buffer, usize::from(path.Length) / 2) };
    let service = path.rsplit(|unit| *unit == u16::from(b'\\')).next().unwrap_or_default();
    let same = |(name, _): &(&str, Experiment)| name.encode_utf16().eq(service.iter().copied());
    let Some(chosen) = EXPERIMENTS.iter().position(same) else {
        wdk::println!("proving: the name of the service is no experiment");
        return STATUS_OBJECT_NAME_NOT_FOUND;
    };
    CHOSEN.store(chosen, Ordering::Relaxed);
    // SAFETY: this driver's one function, and the argument of DriverEntry.
    unsafe { fill::<Proving>(driver) }
}
