//! What safe code can try at raised IRQL, and where it ends: in a panic, before the kernel is asked
//! for what it does not allow there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use wdm_interrupt::{
    EachMessage, FunctionDevice, Interrupt, InterruptHandler, Irql, LineBased, PassiveInterrupt,
    PassiveInterruptHandler, PassiveLineBased, PhysicalDevice, Serviced, SharedDeferred,
    SharedDeferredHandler, SharedDpc, Work, WorkHandler, WorkItem,
};
use wdm_interrupt_model::host::{Device, Machine, kernel};

/// Not `DISPATCH_LEVEL`, where most of this is allowed.
const DEVICE_IRQL: u8 = 6;

/// The message of the panic that `with` ends in at device IRQL.
fn panic_at_device_irql(with: impl FnOnce()) -> String {
    // SAFETY: raises, and lowers below.
    let old = unsafe { kernel::KfRaiseIrql(DEVICE_IRQL) };
    let panic = catch_unwind(AssertUnwindSafe(with));
    assert_eq!(Irql::current(), Irql::from_raw(DEVICE_IRQL));
    // SAFETY: lowers to what it was.
    unsafe { kernel::KeLowerIrql(old) };
    *panic.expect_err("it panics").downcast::<String>().expect("with a message")
}

struct Nothing;

impl<D: 'static> InterruptHandler<D> for Nothing {
    fn service(&mut self, _interrupt: &Interrupt<'_, D>) -> Serviced {
        Serviced::NotMine
    }
}

impl<D: 'static> PassiveInterruptHandler<D> for Nothing {
    fn service(&mut self, _interrupt: &PassiveInterrupt<'_, D>) -> Serviced {
        Serviced::NotMine
    }
}

impl<H> WorkHandler<H> for Nothing {
    fn run(&self, _work: &Work<'_, H>) {}
}

fn physical_device(device: &Device) -> PhysicalDevice {
    // SAFETY: the tests end their registrations before the device is stopped, and a device of the
    // model is there as long as its machine.
    unsafe { PhysicalDevice::new(device.physical_device_object()) }.unwrap()
}

fn work_item(device: &Device) -> WorkItem<Nothing> {
    // SAFETY: a device of the model is there as long as its machine.
    let function = unsafe { FunctionDevice::new(device.function_device_object()) }.unwrap();
    WorkItem::new(function, Nothing)
}

#[test]
fn halves_dropped_at_device_irql_panic_before_anything_is_freed() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let device = machine.device().line().build();
    let request = LineBased::new(physical_device(&device)).deferred(work_item(&device));
    let halves = request.connect(Nothing).unwrap().disconnect_in_place().unwrap();
    let message = panic_at_device_irql(|| drop(halves));
    assert!(message.contains("freed at IRQL 6"), "{message}");
    assert_eq!(machine.violations(), []);
}

#[test]
fn the_halves_of_all_messages_dropped_at_device_irql_panic_before_anything_is_freed() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let device = machine.device().messages(2).build();
    let request = EachMessage::new(physical_device(&device), 2);
    let halves = request.connect(|_message| Nothing).unwrap().disconnect().unwrap();
    let message = panic_at_device_irql(|| drop(halves));
    assert!(message.contains("freed at IRQL 6"), "{message}");
    assert_eq!(machine.violations(), []);
}

#[test]
fn a_passive_registration_queues_no_work_at_device_irql() {
    let machine = Machine::new(1).enter();
    let device = machine.device().passive_line().build();
    let request = PassiveLineBased::new(physical_device(&device)).deferred(work_item(&device));
    let registration = request.connect(Nothing).unwrap();
    let message = panic_at_device_irql(|| {
        registration.queue_deferred();
    });
    assert!(message.contains("queued at IRQL 6"), "{message}");
    assert_eq!(machine.violations(), []);
    drop(registration);
}

/// Queues its work item under another interrupt's lock.
struct Careless(wdm_interrupt::InterruptRegistration<Nothing>);

impl PassiveInterruptHandler<WorkItem<Nothing>> for Careless {
    fn service(&mut self, interrupt: &PassiveInterrupt<'_, WorkItem<Nothing>>) -> Serviced {
        let queue = || self.0.synchronize(|_nothing| interrupt.queue_deferred());
        let panic = catch_unwind(AssertUnwindSafe(queue)).expect_err("it panics");
        let message = panic.downcast_ref::<String>().expect("with a message");
        assert!(message.contains("a work item was queued at IRQL"), "{message}");
        Serviced::Claimed
    }
}

#[test]
fn a_passive_isr_queues_no_work_under_a_spin_lock() {
    let machine = Machine::new(1).enter();
    let (ordinary, passive) =
        (machine.device().line().build(), machine.device().passive_line().build());
    let other = LineBased::new(physical_device(&ordinary)).connect(Nothing).unwrap();
    let request = PassiveLineBased::new(physical_device(&passive)).deferred(work_item(&passive));
    let registration = request.connect(Careless(other)).unwrap();
    passive.raise_line();
    machine.settle();
    assert_eq!(machine.violations(), []);
    drop(registration);
}

#[test]
fn reporting_at_device_irql_panics() {
    let machine = Machine::new(1).enter();
    let device = machine.device().line().build();
    let registration = LineBased::new(physical_device(&device)).connect(Nothing).unwrap();
    for report in [
        wdm_interrupt::InterruptRegistration::report_inactive,
        wdm_interrupt::InterruptRegistration::report_active,
    ] {
        let message = panic_at_device_irql(|| report(&registration));
        assert!(message.contains("reported active or inactive at IRQL 6"), "{message}");
    }
    assert_eq!(machine.violations(), []);
    drop(registration);
}

#[test]
fn handlers_of_all_messages_that_are_left_over_at_device_irql_panic_before_anything_is_freed() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let device = machine.device().messages(2).build();
    let request = EachMessage::new(physical_device(&device), 2);
    let halves = request.connect(|_message| Nothing).unwrap().disconnect().unwrap();
    let ((), handlers) = halves.into_inner();
    let message = panic_at_device_irql(|| drop(handlers));
    assert!(message.contains("freed at IRQL 6"), "{message}");
    assert_eq!(machine.violations(), []);
}

#[test]
fn halves_taken_apart_at_device_irql_panic_before_anything_is_freed() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let device = machine.device().line().build();
    let request = LineBased::new(physical_device(&device)).deferred(work_item(&device));
    let halves = request.connect(Nothing).unwrap().disconnect_in_place().unwrap();
    let message = panic_at_device_irql(|| drop(halves.into_inner()));
    assert!(message.contains("freed at IRQL 6"), "{message}");
    assert_eq!(machine.violations(), []);
}

/// What says when it is dropped.
struct Dropped {
    _counted: Arc<()>,
}

impl<H> SharedDeferredHandler<H> for Dropped {
    fn run(&self, _deferred: &SharedDeferred<'_, H>) {}
}

#[test]
fn the_half_that_all_messages_share_is_not_dropped_at_device_irql() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let device = machine.device().messages(2).build();
    let there = Arc::new(());
    let request = EachMessage::new(physical_device(&device), 2);
    let request = request.deferred(SharedDpc::new(Dropped { _counted: Arc::clone(&there) }));
    let halves = request.connect(|_message| Nothing).unwrap().disconnect().unwrap();
    panic_at_device_irql(|| drop(halves));
    assert_eq!(Arc::strong_count(&there), 2);
}
