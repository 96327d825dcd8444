//! Ending a registration, or synchronising with it, where that would wait for itself.

#[expect(dead_code, reason = "the diary is for other tests")]
mod common;
#[expect(dead_code, reason = "nothing here is counted")]
#[path = "common/counter.rs"]
mod counter;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use common::physical_device;
use counter::{function_device, shared};
use wdm_interrupt::{
    Deferred, DeferredHandler, DisconnectError, DisconnectErrorKind, Dpc, EachMessage, Interrupt,
    InterruptHandler, InterruptRegistration, Irql, LineBased, MessageRegistration,
    PassiveInterrupt, PassiveInterruptHandler, PassiveInterruptRegistration, PassiveLineBased,
    Serviced, ThreadedDpc, Work, WorkHandler, WorkItem,
};
use wdm_interrupt_model::host::{Delivery, Device, Entered, Machine};

use DisconnectErrorKind::{InsideItself, RaisedIrql};

/// How a registration is ended where it cannot be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    Disconnect,
    DisconnectRemoved,
    Drop,
}

/// Where it is ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Isr,
    Deferred,
    /// In a closure that the deferred half synchronises.
    Synchronised,
}

/// A registration that its own routines can get at, and what came of ending it there.
#[derive(Debug)]
struct Slot<R> {
    registration: Mutex<Option<R>>,
    wanted: Mutex<Option<(Place, Ending)>>,
    outcome: Mutex<Option<DisconnectErrorKind>>,
}

impl<R> Default for Slot<R> {
    fn default() -> Self {
        Self { registration: Mutex::default(), wanted: Mutex::default(), outcome: Mutex::default() }
    }
}

/// A registration that can be ended.
trait End: Sized {
    fn end(self, ending: Ending) -> Result<(), DisconnectError<Self>>;
}

macro_rules! end {
    ($($registration:ty)*) => { $(
        impl End for $registration {
            fn end(self, ending: Ending) -> Result<(), DisconnectError<Self>> {
                match ending {
                    Ending::Disconnect => self.disconnect().map(drop),
                    Ending::DisconnectRemoved => self.disconnect_removed().map(drop),
                    Ending::Drop => {
                        drop(self);
                        Ok(())
                    }
                }
            }
        }
    )* };
}

end! {
    InterruptRegistration<Own, Dpc<Own>>
    InterruptRegistration<Own, ThreadedDpc<Own>>
    InterruptRegistration<Own, WorkItem<Own>>
    PassiveInterruptRegistration<Own, WorkItem<Own>>
    MessageRegistration<Own, ThreadedDpc<Own>>
}

impl<R: End> Slot<R> {
    /// Ends the registration, if that is to be done at this place.
    fn reach(&self, place: Place) {
        let ending = self.wanted.lock().unwrap().take_if(|(wanted, _)| *wanted == place);
        let Some((_, ending)) = ending else { return };
        let registration = self.registration.lock().unwrap().take().expect("it is connected");
        let error = registration.end(ending).expect_err("it ended inside itself");
        *self.outcome.lock().unwrap() = Some(error.kind());
        *self.registration.lock().unwrap() = Some(error.into_registration());
    }
}

/// What a routine does at its place.
trait Reach: Send + Sync {
    fn reach(&self, place: Place);
}

impl<R: End + Send> Reach for Slot<R> {
    fn reach(&self, place: Place) {
        Self::reach(self, place);
    }
}

/// Both the handler and the deferred half, which get at their own registration.
#[derive(Clone, Copy)]
struct Own(&'static dyn Reach);

macro_rules! isr {
    ($($half:ident)*) => { $(
        impl InterruptHandler<$half<Self>> for Own {
            fn service(&mut self, interrupt: &Interrupt<'_, $half<Self>>) -> Serviced {
                interrupt.queue_deferred();
                self.0.reach(Place::Isr);
                Serviced::Claimed
            }
        }
    )* };
}

isr!(Dpc ThreadedDpc WorkItem);

impl PassiveInterruptHandler<WorkItem<Self>> for Own {
    fn service(&mut self, interrupt: &PassiveInterrupt<'_, WorkItem<Self>>) -> Serviced {
        interrupt.queue_deferred();
        self.0.reach(Place::Isr);
        Serviced::Claimed
    }
}

impl DeferredHandler<Self> for Own {
    fn run(&self, deferred: &Deferred<'_, Self>) {
        self.0.reach(Place::Deferred);
        deferred.synchronize(|own| own.0.reach(Place::Synchronised));
    }
}

impl WorkHandler<Self> for Own {
    fn run(&self, work: &Work<'_, Self>) {
        self.0.reach(Place::Deferred);
        work.synchronize(|own| own.0.reach(Place::Synchronised));
    }
}

/// What `f` panics with.
fn panic_of(f: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(f)).expect_err("it should have panicked");
    *panic.downcast::<String>().expect("a message")
}

/// Ends a registration at each place in each way, and checks that it is refused as `expected`.
fn is_refused<R: End + Send + 'static>(
    machine: impl Fn() -> Entered,
    line: impl Fn(&Machine) -> Device,
    connect: impl Fn(&Device, Own) -> R,
    expected: [(Place, DisconnectErrorKind); 3],
) {
    for (place, expected) in expected {
        let machine = machine();
        let device = line(&machine);
        let slot: &'static Slot<R> = shared();
        *slot.registration.lock().unwrap() = Some(connect(&device, Own(slot)));

        // It is handed back, and still works.
        for ending in [Ending::Disconnect, Ending::DisconnectRemoved] {
            *slot.wanted.lock().unwrap() = Some((place, ending));
            device.raise_line();
            machine.settle();
            let outcome = slot.outcome.lock().unwrap().take();
            assert_eq!(outcome, Some(expected), "{ending:?} at {place:?}");
        }
        assert_ne!(device.raise_line(), Delivery::NotConnected);
        machine.settle();
        let registration = slot.registration.lock().unwrap().take().unwrap();
        assert!(registration.end(Ending::Disconnect).is_ok());
        assert_eq!(device.raise_line(), Delivery::NotConnected);

        // Nobody can take it back from `Drop`, which says what happened.
        machine.expect_leftovers();
        *slot.registration.lock().unwrap() = Some(connect(&device, Own(slot)));
        *slot.wanted.lock().unwrap() = Some((place, Ending::Drop));
        let message = panic_of(|| {
            device.raise_line();
            machine.settle();
        });
        let expected = format!("Registration was dropped, which disconnects its ISR: {expected}");
        assert!(message.contains(&expected), "dropped at {place:?}: {message}");
        assert_ne!(device.raise_line(), Delivery::NotConnected, "it is connected still");
    }
}

const DIRQL: Irql = Irql::from_raw(9);

fn ordinary(machine: &Machine) -> Device {
    machine.device().line().build()
}

fn with_threaded_dpcs(at_dispatch_level: bool) -> Entered {
    let machine = Machine::new(1).enter();
    machine.threaded_dpcs_at_dispatch_level(at_dispatch_level);
    machine
}

#[test]
fn a_registration_does_not_end_in_its_isr_or_dpc() {
    let connect = |device: &Device, own| {
        let request = LineBased::new(physical_device(device));
        request.deferred(Dpc::new(own)).connect(own).unwrap()
    };
    let expected = [
        (Place::Isr, RaisedIrql(DIRQL)),
        (Place::Deferred, RaisedIrql(Irql::DISPATCH)),
        (Place::Synchronised, RaisedIrql(DIRQL)),
    ];
    is_refused(|| Machine::new(1).enter(), ordinary, connect, expected);
}

#[test]
fn a_registration_does_not_end_in_its_threaded_dpc_whatever_its_irql() {
    let connect = |device: &Device, own| {
        let request = LineBased::new(physical_device(device));
        request.deferred(ThreadedDpc::new(own)).connect(own).unwrap()
    };
    for (at_dispatch_level, deferred) in [(false, InsideItself), (true, RaisedIrql(Irql::DISPATCH))]
    {
        let expected = [
            (Place::Isr, RaisedIrql(DIRQL)),
            (Place::Deferred, deferred),
            (Place::Synchronised, RaisedIrql(DIRQL)),
        ];
        is_refused(|| with_threaded_dpcs(at_dispatch_level), ordinary, connect, expected);
    }
}

#[test]
fn a_registration_does_not_end_in_its_work_item() {
    let connect = |device: &Device, own| {
        let work = WorkItem::new(function_device(device), own);
        LineBased::new(physical_device(device)).deferred(work).connect(own).unwrap()
    };
    let expected = [
        (Place::Isr, RaisedIrql(DIRQL)),
        (Place::Deferred, InsideItself),
        (Place::Synchronised, RaisedIrql(DIRQL)),
    ];
    is_refused(|| Machine::new(1).enter(), ordinary, connect, expected);
}

#[test]
fn a_passive_registration_does_not_end_in_its_isr_or_work_item_or_synchronised_closure() {
    let passive = |machine: &Machine| machine.device().passive_line().build();
    let connect = |device: &Device, own| {
        let work = WorkItem::new(function_device(device), own);
        PassiveLineBased::new(physical_device(device)).deferred(work).connect(own).unwrap()
    };
    let expected = [
        (Place::Isr, InsideItself),
        (Place::Deferred, InsideItself),
        (Place::Synchronised, InsideItself),
    ];
    is_refused(|| Machine::new(1).enter(), passive, connect, expected);
}

/// A handler that only claims, and queues its deferred half.
struct Claims;

impl<T> InterruptHandler<Dpc<T>> for Claims {
    fn service(&mut self, interrupt: &Interrupt<'_, Dpc<T>>) -> Serviced {
        interrupt.queue_deferred();
        Serviced::Claimed
    }
}

impl<T> InterruptHandler<WorkItem<T>> for Claims {
    fn service(&mut self, interrupt: &Interrupt<'_, WorkItem<T>>) -> Serviced {
        interrupt.queue_deferred();
        Serviced::Claimed
    }
}

impl InterruptHandler for Claims {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        Serviced::Claimed
    }
}

#[test]
fn the_last_share_of_a_registration_is_not_dropped_in_its_dpc() {
    type Shared = InterruptRegistration<Claims, Dpc<Looks>>;
    /// Borrows its registration, which the driver lets go of meanwhile.
    struct Looks(&'static Mutex<Option<Arc<Shared>>>);
    impl DeferredHandler<Claims> for Looks {
        fn run(&self, _deferred: &Deferred<'_, Claims>) {
            let share = self.0.lock().unwrap().clone();
            // Another thread's part, when the driver stops the device.
            self.0.lock().unwrap().take();
            drop(share);
        }
    }

    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let device = ordinary(&machine);
    let owner: &Mutex<Option<Arc<Shared>>> = shared();
    let request = LineBased::new(physical_device(&device)).deferred(Dpc::new(Looks(owner)));
    *owner.lock().unwrap() = Some(Arc::new(request.connect(Claims).unwrap()));
    let message = panic_of(|| _ = device.raise_line());
    assert!(message.contains("was dropped"), "{message}");
    assert!(message.contains("this was DISPATCH_LEVEL"), "{message}");
}

#[test]
fn a_registration_may_end_in_the_work_item_of_another() {
    type Other = InterruptRegistration<Claims>;
    struct Ends(Mutex<Option<Other>>);
    impl WorkHandler<Claims> for Ends {
        fn run(&self, _work: &Work<'_, Claims>) {
            let other = self.0.lock().unwrap().take();
            if let Some(other) = other {
                let (Claims, ()) = other.disconnect().unwrap();
            }
        }
    }

    let machine = Machine::new(1).enter();
    let (device, other) = (ordinary(&machine), ordinary(&machine));
    let ends = LineBased::new(physical_device(&other)).connect(Claims).unwrap();
    let work = WorkItem::new(function_device(&device), Ends(Mutex::new(Some(ends))));
    let request = LineBased::new(physical_device(&device)).deferred(work);
    let registration = request.connect(Claims).unwrap();
    assert_eq!(other.raise_line(), Delivery::Claimed);
    device.raise_line();
    machine.settle();
    assert_eq!(other.raise_line(), Delivery::NotConnected);
    drop(registration);
}

#[test]
fn a_lower_interrupt_is_synchronised_with_outside_a_higher_one_and_not_inside() {
    let machine = Machine::new(1).enter();
    let low = machine.device().line_at(5, false, false).build();
    let high = machine.device().line_at(9, false, false).build();
    let low_registration = LineBased::new(physical_device(&low)).connect(Claims).unwrap();
    let high_registration = LineBased::new(physical_device(&high)).connect(Claims).unwrap();

    let irqls = low_registration.synchronize(|_| {
        let outside = Irql::current();
        let inside = high_registration.synchronize(|_| Irql::current());
        (outside, inside, Irql::current())
    });
    let [five, nine] = [5, 9].map(Irql::from_raw);
    assert_eq!(irqls, (five, nine, five));

    let message = panic_of(|| {
        high_registration.synchronize(|_| low_registration.synchronize(|_| ()));
    });
    assert!(message.contains("synchronize was called at IRQL 9, above"), "{message}");
    assert_eq!(machine.violations(), []);
    // The panic has left neither lock behind.
    assert_eq!(Irql::current(), Irql::PASSIVE);
    assert_eq!(high.raise_line(), Delivery::Claimed);
    assert_eq!(low.raise_line(), Delivery::Claimed);
    drop((low_registration, high_registration));
}

#[test]
fn a_registration_of_all_messages_does_not_end_in_the_threaded_dpc_of_one() {
    let connect = |device: &Device, own| {
        let request = EachMessage::new(physical_device(device), 1).fall_back_to_line();
        request.connect_with_deferred(|_message| (own, ThreadedDpc::new(own))).unwrap()
    };
    let expected = [
        (Place::Isr, RaisedIrql(DIRQL)),
        (Place::Deferred, InsideItself),
        (Place::Synchronised, RaisedIrql(DIRQL)),
    ];
    is_refused(|| with_threaded_dpcs(false), ordinary, connect, expected);
}
