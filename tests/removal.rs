//! Devices that go away: by STOP, by REMOVE, by surprise, in the middle of a start. Whatever the
//! order, the same clean state is left.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use common::Happened::{DeferredDropped, Disable, Enable, HandlerDropped, Run};
use common::{Completion, Diary, Handler, physical_device};
use wdm_interrupt::{
    ConnectErrorKind, Deferred, DeferredHandler, Dpc, EachMessage, Interrupt, InterruptHandler,
    InterruptRegistration, LineBased, MessageBased, Serviced,
};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::host::{Delivery, Device, Machine};
use wdm_interrupt_model::nt;

/// A driver's device extension, and what it does in its PnP dispatch routine.
struct Driver<'a> {
    device: &'a Device,
    diary: Diary,
    interrupt: Option<InterruptRegistration<Handler, Dpc<Completion>>>,
}

impl Driver<'_> {
    fn start(&mut self) -> Result<(), ConnectErrorKind> {
        let registration = MessageBased::new(physical_device(self.device))
            .fall_back_to_line()
            .deferred(Dpc::new(Completion::new(&self.diary)))
            .connect(Handler::new(&self.diary))
            .map_err(|error| error.kind())?;
        self.interrupt = Some(registration);
        Ok(())
    }

    /// `IRP_MN_STOP_DEVICE` or `IRP_MN_REMOVE_DEVICE`: twice, it does nothing.
    fn stop(&mut self) {
        drop(self.interrupt.take());
    }

    /// `IRP_MN_SURPRISE_REMOVAL`: twice, it does nothing.
    fn surprise_removal(&mut self) {
        if let Some(registration) = self.interrupt.take() {
            registration.disconnect_removed().unwrap();
        }
    }
}

/// What the PnP manager sends.
#[derive(Clone, Copy, Debug)]
enum Irp {
    Start,
    /// Which the driver fails, because the kernel does so in this way.
    FailedStart(Fault),
    Stop,
    SurpriseRemoval,
    Remove,
}

use Irp::{FailedStart, Remove, Start, Stop, SurpriseRemoval};

const REFUSED: Fault = Fault::Status(nt::STATUS_INSUFFICIENT_RESOURCES);
const HALF_WAY: Fault = Fault::StatusAt { interrupt: 1, status: nt::STATUS_INSUFFICIENT_RESOURCES };
const AT_THE_END: Fault = Fault::StatusAfterService(nt::STATUS_INSUFFICIENT_RESOURCES);
const NOTHING: Fault = Fault::WritesNothing;
const ANOTHER: Fault = Fault::Version(77);

#[test]
fn every_way_to_go_leaves_the_same_clean_state() {
    let lives: [&[Irp]; 12] = [
        &[Start, Stop, Remove],
        &[Start, Remove],
        &[Start, SurpriseRemoval, Remove],
        &[Start, SurpriseRemoval, SurpriseRemoval, Remove, Remove],
        &[Start, Stop, Start, Stop, Start, Remove],
        &[Start, Stop, FailedStart(REFUSED), SurpriseRemoval, Remove],
        &[Start, Stop, FailedStart(HALF_WAY), SurpriseRemoval, Remove],
        &[Start, Stop, FailedStart(AT_THE_END), SurpriseRemoval, Remove],
        &[Start, Stop, FailedStart(NOTHING), Remove],
        &[Start, Stop, FailedStart(ANOTHER), Remove],
        &[FailedStart(HALF_WAY), Start, SurpriseRemoval, Remove],
        &[FailedStart(REFUSED), FailedStart(HALF_WAY), Remove],
    ];
    let machine = Machine::new(1).enter();
    // What the contract allows at the worst moments.
    machine.interrupt_during_connect(true);
    machine.interrupt_during_disconnect(true);
    for life in lives {
        for device in [machine.device().messages(3).build(), machine.device().line().build()] {
            let diary = Diary::default();
            let mut driver = Driver { device: &device, diary: diary.clone(), interrupt: None };
            let (mut starts, mut connected) = (0, 0);
            for irp in life {
                match *irp {
                    Start => {
                        driver.start().unwrap();
                        starts += 1;
                        connected += 1;
                        assert_eq!(device.raise(0), Delivery::Claimed);
                    }
                    FailedStart(fault) => {
                        machine.fail(Call::IoConnectInterruptEx, 0, fault);
                        driver.start().unwrap_err();
                        starts += 1;
                        device.stop();
                        device.start();
                    }
                    Stop => {
                        driver.stop();
                        device.stop();
                        device.start();
                    }
                    SurpriseRemoval => driver.surprise_removal(),
                    Remove => driver.stop(),
                }
            }
            assert!(machine.left_behind().is_empty(), "{life:?}: {}", machine.left_behind());
            assert_eq!(device.raise(0), Delivery::NotConnected, "{life:?}");
            assert_eq!(diary.count(Enable), connected, "{life:?}");
            // Each handler and each deferred half that was made is dropped, once.
            let dropped = (diary.count(HandlerDropped), diary.count(DeferredDropped));
            assert_eq!(dropped, (starts, starts), "{life:?}");
        }
    }
    assert_eq!(machine.violations(), []);
}

#[test]
fn hardware_that_is_gone_is_not_disabled_and_what_is_there_is() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let diary = Diary::default();
    let mut driver = Driver { device: &device, diary: diary.clone(), interrupt: None };
    driver.start().unwrap();
    driver.surprise_removal();
    assert_eq!(diary.count(Disable), 0);
    driver.start().unwrap();
    driver.stop();
    // Before the deferred half ends, and after.
    assert_eq!(diary.count(Disable), 2);
}

#[test]
fn a_surprise_removal_completes_what_was_claimed() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let diary = Diary::default();
    let mut driver = Driver { device: &device, diary: diary.clone(), interrupt: None };
    driver.start().unwrap();
    machine.hold_dpcs(true);
    device.raise_message(1);
    assert_eq!(diary.count(Run), 0);
    driver.surprise_removal();
    assert_eq!(diary.count(Run), 1);
    assert!(machine.left_behind().is_empty());
}

/// The registers of a device that can be pulled out.
#[derive(Debug, Default)]
struct Registers {
    gone: AtomicBool,
    status: AtomicU32,
    mask: AtomicU32,
    /// Writes to hardware that was gone, which nothing comes of.
    lost: AtomicU32,
}

const UNMASKED: u32 = 1;
const ALL_ONES: u32 = u32::MAX;

impl Registers {
    /// Reads the status register.
    fn status(&self) -> u32 {
        if self.gone.load(Ordering::SeqCst) { ALL_ONES } else { self.status.load(Ordering::SeqCst) }
    }

    fn write(&self, register: &AtomicU32, value: u32) {
        if self.gone.load(Ordering::SeqCst) {
            self.lost.fetch_add(1, Ordering::SeqCst);
        } else {
            register.store(value, Ordering::SeqCst);
        }
    }
}

/// A handler as a driver for those registers has it.
#[derive(Debug)]
struct Pluggable {
    registers: Arc<Registers>,
    events: u32,
}

impl Pluggable {
    fn serviced(&mut self) -> bool {
        let status = self.registers.status();
        if status == 0 || status == ALL_ONES {
            return false;
        }
        self.registers.write(&self.registers.status, 0);
        self.events += status;
        true
    }
}

impl InterruptHandler for Pluggable {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        self.serviced().into()
    }

    fn enable(&mut self) {
        self.registers.write(&self.registers.mask, UNMASKED);
    }

    fn disable(&mut self) {
        self.registers.write(&self.registers.mask, 0);
    }
}

impl InterruptHandler<Dpc<Drain>> for Pluggable {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<Drain>>) -> Serviced {
        let serviced = self.serviced();
        if serviced {
            interrupt.queue_deferred();
        }
        serviced.into()
    }

    fn enable(&mut self) {
        self.registers.write(&self.registers.mask, UNMASKED);
    }

    fn disable(&mut self) {
        self.registers.write(&self.registers.mask, 0);
    }
}

/// A deferred half that goes on until the device has nothing more: for ever, if it took all ones
/// for an answer.
#[derive(Debug, Default)]
struct Drain {
    drained: AtomicU32,
    found_it_gone: AtomicBool,
}

impl DeferredHandler<Pluggable> for Drain {
    fn run(&self, deferred: &Deferred<'_, Pluggable>) {
        loop {
            let (events, status) = deferred.synchronize(|handler| {
                (std::mem::take(&mut handler.events), handler.registers.status())
            });
            self.drained.fetch_add(events, Ordering::SeqCst);
            if status == ALL_ONES {
                self.found_it_gone.store(true, Ordering::SeqCst);
            }
            if status == 0 || status == ALL_ONES {
                return;
            }
            deferred.synchronize(Pluggable::serviced);
        }
    }
}

#[test]
fn a_device_that_reads_as_all_ones_leaves_the_line_to_the_others() {
    let machine = Machine::new(1).enter();
    let pulled_out = machine.device().shareable_line().build();
    let other = machine.device().line_shared_with(&pulled_out).build();
    let diary = Diary::default();
    let registers = Arc::new(Registers::default());
    let pluggable = Pluggable { registers: Arc::clone(&registers), events: 0 };
    let first = LineBased::new(physical_device(&pulled_out)).connect(pluggable).unwrap();
    let second = LineBased::new(physical_device(&other)).connect(Handler::new(&diary)).unwrap();

    registers.gone.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(other.raise_line(), Delivery::Claimed);
    }
    assert_eq!(second.synchronize(|handler| handler.events), 3);
    assert_eq!(first.synchronize(|handler| handler.events), 0);
    // Nobody has told the driver yet, so it is an ordinary end.
    let (pluggable, ()) = first.disconnect().unwrap();
    assert_eq!((pluggable.events, registers.lost.load(Ordering::SeqCst)), (0, 1));
    drop(second);
}

#[test]
fn a_device_that_goes_between_isr_and_dpc_does_not_hold_up_its_removal() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(1).build();
    for told in [true, false] {
        let registers = Arc::new(Registers::default());
        let pluggable = Pluggable { registers: Arc::clone(&registers), events: 0 };
        let registration = MessageBased::new(physical_device(&device))
            .deferred(Dpc::new(Drain::default()))
            .connect(pluggable)
            .unwrap();
        machine.hold_dpcs(true);
        registers.status.store(5, Ordering::SeqCst);
        assert_eq!(device.raise_message(0), Delivery::Claimed);
        registers.gone.store(true, Ordering::SeqCst);
        // A message that was on its way.
        assert_eq!(device.raise_message(0), Delivery::Unclaimed);
        let (pluggable, drain) = if told {
            registration.disconnect_removed().unwrap()
        } else {
            registration.disconnect().unwrap()
        };
        assert_eq!((pluggable.events, drain.drained.load(Ordering::SeqCst)), (0, 5));
        assert!(drain.found_it_gone.load(Ordering::SeqCst));
        // Told that it is gone, nobody writes to it; else two `disable`s come to nothing.
        assert_eq!(registers.lost.load(Ordering::SeqCst), if told { 0 } else { 2 });
        assert!(machine.left_behind().is_empty());
    }
}

#[test]
fn a_device_that_goes_while_it_is_started_is_started_and_removed() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(3).build();
    let registers = Arc::new(Registers::default());
    registers.gone.store(true, Ordering::SeqCst);
    machine.interrupt_during_connect(true);
    let registration = EachMessage::new(physical_device(&device), 3)
        .connect(|_| Pluggable { registers: Arc::clone(&registers), events: 0 })
        .unwrap();
    // `enable` of each came to nothing, and so did the early ISRs.
    assert_eq!(registers.lost.load(Ordering::SeqCst), 3);
    let ((), mut handlers) = registration.disconnect_removed().unwrap().into_inner();
    assert!(handlers.all(|(handler, ())| handler.events == 0));
    assert_eq!(registers.lost.load(Ordering::SeqCst), 3);
    drop(handlers);
    assert!(machine.left_behind().is_empty());
}
