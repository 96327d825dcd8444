//! Leaving D0 and coming back: reporting interrupts inactive and active.

#[expect(dead_code, reason = "these tests need a part of it")]
mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use common::Happened::{Disable, Enable, Run, Service};
use common::{Completion, Diary, Handler, physical_device};
use wdm_interrupt::{
    Dpc, EachMessage, ExperimentalPassiveMessageBased, FullySpecified, Interrupt, InterruptHandler,
    InterruptRegistration, InterruptResource, InterruptResources, Irql, LineBased, MessageBased,
    MessageRegistration, PassiveFullySpecified, PassiveInterrupt, PassiveInterruptHandler,
    PassiveInterruptRegistration, PassiveLineBased, Serviced,
};
use wdm_interrupt_model::host::{Delivery, Device, Machine, kernel};

/// What was called, and whether all of the device's interrupts were active then.
type Calls = Arc<Mutex<Vec<(&'static str, bool)>>>;

/// A handler that looks at how its device's interrupts have been reported.
struct Watching {
    device: Arc<Device>,
    calls: Calls,
}

impl Watching {
    fn note(&self, call: &'static str) {
        let activity = activity(&self.device);
        assert!(activity.iter().all(|active| *active == activity[0]), "{call}: {activity:?}");
        self.calls.lock().unwrap().push((call, activity[0].expect("connected")));
    }
}

impl InterruptHandler for Watching {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        self.note("service");
        Serviced::Claimed
    }

    fn enable(&mut self) {
        self.note("enable");
    }

    fn disable(&mut self) {
        self.note("disable");
    }
}

impl PassiveInterruptHandler for Watching {
    fn service(&mut self, _interrupt: &PassiveInterrupt<'_>) -> Serviced {
        self.note("service");
        Serviced::Claimed
    }

    fn enable(&mut self) {
        self.note("enable");
    }

    fn disable(&mut self) {
        self.note("disable");
    }
}

/// Each interrupt's activity, as the model's kernel sees it.
fn activity(device: &Device) -> Vec<Option<bool>> {
    (0..device.interrupts().len()).map(|index| device.is_active(index)).collect()
}

fn resources(device: &Device) -> Vec<InterruptResource> {
    // SAFETY: the model's lists are complete and stay until the device is stopped.
    let resources = unsafe {
        InterruptResources::from_start_device(device.raw_resources(), device.translated_resources())
    };
    resources.unwrap().iter().collect()
}

/// Any registration of watching handlers.
trait Registration: Sized {
    fn report_inactive(&self);
    fn report_active(&self);
    fn disconnect(self);
    fn disconnect_removed(self);
}

macro_rules! registration {
    ($registration:ty) => {
        impl Registration for $registration {
            fn report_inactive(&self) {
                self.report_inactive();
            }
            fn report_active(&self) {
                self.report_active();
            }
            fn disconnect(self) {
                drop(self.disconnect().unwrap());
            }
            fn disconnect_removed(self) {
                drop(self.disconnect_removed().unwrap());
            }
        }
    };
}

registration!(InterruptRegistration<Watching>);
registration!(MessageRegistration<Watching>);
registration!(PassiveInterruptRegistration<Watching>);

/// Goes through D0 exit and entry with registrations of `handlers` handlers each.
fn goes_through_its_states<R: Registration>(
    machine: &Machine,
    device: &Arc<Device>,
    handlers: usize,
    connect: impl Fn(&dyn Fn() -> Watching) -> R,
) {
    let calls = Calls::default();
    let watching = || Watching { device: Arc::clone(device), calls: Arc::clone(&calls) };
    // What was called since this was asked last.
    let called = || std::mem::take(&mut *calls.lock().unwrap());
    let each = |call, active| vec![(call, active); handlers];
    let interrupt = || {
        let deliveries: Vec<_> = (0..activity(device).len()).map(|it| device.raise(it)).collect();
        machine.settle();
        deliveries
    };
    let all_are = |active| activity(device).iter().all(|it| *it == active);

    // Disconnected while inactive, by each of the three ways.
    let ends: [fn(R); 3] = [R::disconnect, R::disconnect_removed, drop];
    for end in ends {
        let registration = connect(&watching);
        assert!(all_are(Some(true)), "active right after connecting");
        assert_eq!(called(), each("enable", true));

        registration.report_inactive();
        assert_eq!(called(), each("disable", true), "before it is reported");
        assert!(all_are(Some(false)));
        registration.report_inactive();
        assert_eq!(called(), []);
        // Nobody hears it.
        assert!(!interrupt().contains(&Delivery::Claimed));
        assert_eq!(called(), []);

        registration.report_active();
        assert_eq!(called(), each("enable", true), "after it is reported");
        registration.report_active();
        assert_eq!(called(), []);
        let interrupts = interrupt().len();
        assert_eq!(called(), vec![("service", true); interrupts]);

        registration.report_inactive();
        assert_eq!(called(), each("disable", true));
        end(registration);
        assert_eq!(called(), [], "the device does not answer");
        assert!(all_are(None));
    }

    // Disconnected while active, after a time when it was not.
    let registration = connect(&watching);
    registration.report_inactive();
    registration.report_active();
    called();
    registration.disconnect();
    assert_eq!(called(), each("disable", true));
    assert!(machine.left_behind().is_empty());
}

#[test]
fn a_line_goes_through_its_states() {
    let machine = Machine::new(1).enter();
    let device = Arc::new(machine.device().line().build());
    goes_through_its_states(&machine, &device, 1, |watching| {
        LineBased::new(physical_device(&device)).connect(watching()).unwrap()
    });
}

#[test]
fn messages_with_one_handler_go_through_their_states() {
    let machine = Machine::new(1).enter();
    let device = Arc::new(machine.device().messages(3).build());
    goes_through_its_states(&machine, &device, 1, |watching| {
        MessageBased::new(physical_device(&device)).connect(watching()).unwrap()
    });
}

#[test]
fn messages_with_a_handler_each_go_through_their_states() {
    let machine = Machine::new(1).enter();
    let device = Arc::new(machine.device().messages(3).build());
    goes_through_its_states(&machine, &device, 3, |watching| {
        EachMessage::new(physical_device(&device), 3).connect(|_| watching()).unwrap()
    });
}

#[test]
fn a_line_that_messages_fell_back_to_goes_through_its_states() {
    let machine = Machine::new(1).enter();
    let device = Arc::new(machine.device().line().build());
    goes_through_its_states(&machine, &device, 1, |watching| {
        let request = EachMessage::new(physical_device(&device), 1).fall_back_to_line();
        request.connect(|_| watching()).unwrap()
    });
    goes_through_its_states(&machine, &device, 1, |watching| {
        let request = MessageBased::new(physical_device(&device)).fall_back_to_line();
        request.connect(watching()).unwrap()
    });
}

#[test]
fn vectors_go_through_their_states_together() {
    let machine = Machine::new(1).enter();
    for group in [0, 1] {
        let device = Arc::new(machine.device().messages(2).group(group).build());
        let resources = resources(&device);
        goes_through_its_states(&machine, &device, 1, |watching| {
            FullySpecified::several(physical_device(&device), &resources)
                .connect(watching())
                .unwrap()
        });
    }
    let device = Arc::new(machine.device().line().build());
    goes_through_its_states(&machine, &device, 1, |watching| {
        let resource = resources(&device)[0];
        FullySpecified::new(physical_device(&device), resource).connect(watching()).unwrap()
    });
}

#[test]
fn passive_interrupts_go_through_their_states() {
    let machine = Machine::new(1).enter();
    let device = Arc::new(machine.device().passive_line().build());
    goes_through_its_states(&machine, &device, 1, |watching| {
        PassiveLineBased::new(physical_device(&device)).connect(watching()).unwrap()
    });
    goes_through_its_states(&machine, &device, 1, |watching| {
        let resource = resources(&device)[0];
        PassiveFullySpecified::new(physical_device(&device), resource).connect(watching()).unwrap()
    });
    let device = Arc::new(machine.device().messages(2).build());
    goes_through_its_states(&machine, &device, 1, |watching| {
        let request = ExperimentalPassiveMessageBased::new(physical_device(&device));
        request.connect(watching()).unwrap()
    });
}

#[test]
fn what_was_claimed_before_is_completed_at_a_disconnect_while_inactive() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let diary = Diary::default();
    let registration = LineBased::new(physical_device(&device))
        .deferred(Dpc::new(Completion::new(&diary)))
        .connect(Handler::new(&diary))
        .unwrap();
    machine.hold_dpcs(true);
    device.raise_line();
    registration.report_inactive();
    let (handler, completion) = registration.disconnect().unwrap();
    assert_eq!((handler.events, *completion.taken.lock().unwrap()), (0, 1));
    // `disable` is not repeated after the deferred half: it was called when D0 was left.
    assert_eq!(diary.read(), [Enable, Service(None), Disable, Run]);
}

#[test]
fn reporting_is_possible_up_to_dispatch_level() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(2).build();
    let diary = Diary::default();
    let registration =
        MessageBased::new(physical_device(&device)).connect(Handler::new(&diary)).unwrap();
    // SAFETY: raises, and lowers below.
    let old = unsafe { kernel::KfRaiseIrql(Irql::DISPATCH.to_raw()) };
    registration.report_inactive();
    registration.report_active();
    // SAFETY: raises, and lowers below.
    let dispatch = unsafe { kernel::KfRaiseIrql(3) };
    let panics = [
        catch_unwind(AssertUnwindSafe(|| registration.report_inactive())),
        catch_unwind(AssertUnwindSafe(|| registration.report_active())),
    ];
    // SAFETY: lowers to what it was.
    unsafe { kernel::KeLowerIrql(dispatch) };
    // SAFETY: lowers to what it was.
    unsafe { kernel::KeLowerIrql(old) };
    for panic in panics {
        let panic = panic.unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("DISPATCH_LEVEL only"), "{message}");
    }
    // Nothing was done but what was done below.
    assert_eq!(diary.read(), [Enable, Disable, Enable]);
    assert_eq!(machine.violations(), []);
    drop(registration);
}

#[test]
fn a_passive_interrupt_is_reported_at_passive_level_only() {
    let machine = Machine::new(1).enter();
    let device = Arc::new(machine.device().passive_line().build());
    let calls = Calls::default();
    let watching = Watching { device: Arc::clone(&device), calls: Arc::clone(&calls) };
    let registration = PassiveLineBased::new(physical_device(&device)).connect(watching).unwrap();
    // SAFETY: raises, and lowers below.
    let old = unsafe { kernel::KfRaiseIrql(Irql::DISPATCH.to_raw()) };
    let panics = [
        catch_unwind(AssertUnwindSafe(|| registration.report_inactive())),
        catch_unwind(AssertUnwindSafe(|| registration.report_active())),
    ];
    // SAFETY: lowers to what it was.
    unsafe { kernel::KeLowerIrql(old) };
    assert!(panics.iter().all(Result::is_err));
    assert_eq!(*calls.lock().unwrap(), [("enable", true)]);
    assert_eq!(machine.violations(), []);
    drop(registration);
}
