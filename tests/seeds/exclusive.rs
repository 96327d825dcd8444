//! One handler, with each kind of deferred half.

use std::sync::Arc;

use wdm_interrupt::{
    DeferredHalf, DisconnectError, Dpc, InterruptHandler, InterruptRegistration, LineBased,
    MessageBased, ThreadedDpc, WorkItem,
};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::host::{Device, Machine};
use wdm_interrupt_model::nt;

use super::fake::{Half, Handler, Hardware, Watch};
use super::{Ends, explore, interrupted, with_some};

impl<D: DeferredHalf<Handler, Inner = Half>> Ends for InterruptRegistration<Handler, D>
where
    Handler: InterruptHandler<D>,
{
    type Halves = (Handler, Half);

    fn disconnects(self) -> Result<Self::Halves, DisconnectError<Self>> {
        self.disconnect()
    }

    fn disconnects_removed(self) -> Result<Self::Halves, DisconnectError<Self>> {
        self.disconnect_removed()
    }
}

/// Makes a deferred half of a kind.
type Make<D> = fn(&Hardware, &Arc<Watch>) -> D;

fn dpc(_hardware: &Hardware, watch: &Arc<Watch>) -> Dpc<Half> {
    Dpc::new(Half::new(watch))
}

fn threaded(_hardware: &Hardware, watch: &Arc<Watch>) -> ThreadedDpc<Half> {
    ThreadedDpc::new(Half::new(watch))
}

fn work(hardware: &Hardware, watch: &Arc<Watch>) -> WorkItem<Half> {
    WorkItem::new(hardware.function(), Half::new(watch))
}

fn line(machine: &Machine) -> Device {
    machine.device().line().build()
}

fn messages(machine: &Machine) -> Device {
    machine.device().messages_at(&[4, 9]).build()
}

/// Connects with whatever the device has.
fn connect<D: DeferredHalf<Handler, Inner = Half>>(
    hardware: &Arc<Hardware>,
    watch: &Arc<Watch>,
    make: Make<D>,
) -> InterruptRegistration<Handler, D>
where
    Handler: InterruptHandler<D>,
{
    MessageBased::new(hardware.physical())
        .fall_back_to_line()
        .deferred(make(hardware, watch))
        .connect(Handler::new(hardware, watch))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Interrupts, synchronised accesses on two threads and deferred runs at the same time, and then
/// the registration ends while interrupts go on.
fn life<D>(make: Make<D>, device: fn(&Machine) -> Device)
where
    D: DeferredHalf<Handler, Inner = Half> + 'static,
    Handler: InterruptHandler<D>,
{
    let claimed = explore().run(move |machine| {
        let (hardware, watch) = (Hardware::new(device(machine)), Watch::new());
        let registration = connect(&hardware, &watch, make);
        interrupted(machine, &hardware, 4, || {
            machine.scope(|scope| {
                scope.spawn_system_thread(|| {
                    registration.synchronize(|handler| {
                        handler.hand_back();
                    });
                });
                registration.synchronize(|handler| {
                    handler.hand_back();
                });
            });
            registration.end(machine, |(mut handler, _half)| handler.hand_back());
            watch.is_over();
        });
        machine.settle();
        watch.require_accounts(1, 1);
        watch.claimed()
    });
    assert!(with_some(&claimed, |claimed| *claimed > 0), "nothing was ever claimed");
}

#[test]
fn an_isr_and_a_dpc_and_synchronised_accesses_and_the_end() {
    life(dpc, line);
    life(dpc, messages);
}

#[test]
fn an_isr_and_a_threaded_dpc_and_synchronised_accesses_and_the_end() {
    life(threaded, line);
    life(threaded, messages);
}

#[test]
fn an_isr_and_a_work_item_and_synchronised_accesses_and_the_end() {
    life(work, line);
    life(work, messages);
}

/// A device that interrupts already when the driver connects.
fn early<D>(make: Make<D>, device: fn(&Machine) -> Device)
where
    D: DeferredHalf<Handler, Inner = Half> + 'static,
    Handler: InterruptHandler<D>,
{
    let early = explore().run(move |machine| {
        let (hardware, watch) = (Hardware::new(device(machine)), Watch::new());
        hardware.set_interrupts(true);
        let early = interrupted(machine, &hardware, 3, || {
            let registration = connect(&hardware, &watch, make);
            let early = watch.claimed() > 0;
            drop(registration);
            watch.is_over();
            early
        });
        machine.settle();
        watch.require_accounts(1, 1);
        early
    });
    assert!(with_some(&early, |early| *early), "no interrupt was ever early");
    assert!(with_some(&early, |early| !early), "each was");
}

#[test]
fn what_is_claimed_before_connecting_returns_is_completed() {
    early(dpc, messages);
    early(threaded, messages);
    early(work, line);
}

#[test]
fn a_shared_line_that_others_interrupt_on() {
    let claimed = explore().run(|machine| {
        let theirs = Hardware::new(machine.device().shareable_line().build());
        let ours = Hardware::new(machine.device().line_shared_with(&theirs.device).build());
        let (their_watch, our_watch) = (Watch::new(), Watch::new());
        let connect = |hardware: &Arc<Hardware>, watch: &Arc<Watch>| {
            LineBased::new(hardware.physical())
                .deferred(dpc(hardware, watch))
                .connect(Handler::new(hardware, watch))
                .unwrap_or_else(|error| panic!("{error}"))
        };
        let others = connect(&theirs, &their_watch);
        interrupted(machine, &theirs, 3, || {
            let registration = connect(&ours, &our_watch);
            ours.raise(machine, 0);
            registration.end(machine, |(mut handler, _half)| handler.hand_back());
            our_watch.is_over();
        });
        drop(others);
        their_watch.is_over();
        our_watch.require_accounts(1, 1);
        their_watch.require_accounts(1, 1);
        (our_watch.claimed() > 0, our_watch.not_mine() > 0, their_watch.claimed() > 0)
    });
    assert!(with_some(&claimed, |claimed| *claimed == (true, true, true)), "never all at once");
}

/// Connecting fails when its service routines have been reachable.
fn late_failure<D>(make: Make<D>, device: fn(&Machine) -> Device, fault: Fault)
where
    D: DeferredHalf<Handler, Inner = Half> + 'static,
    Handler: InterruptHandler<D>,
{
    let claimed = explore().run(move |machine| {
        let (hardware, watch) = (Hardware::new(device(machine)), Watch::new());
        hardware.set_interrupts(true);
        machine.fail(Call::IoConnectInterruptEx, 0, fault);
        interrupted(machine, &hardware, 3, || {
            let request = MessageBased::new(hardware.physical()).fall_back_to_line();
            let request = request.deferred(make(&hardware, &watch));
            let error = request.connect(Handler::new(&hardware, &watch)).unwrap_err();
            watch.is_over();
            let (mut handler, _half) = error.into_halves();
            handler.hand_back();
        });
        machine.settle();
        watch.require_accounts(1, 1);
        watch.claimed() > 0
    });
    assert!(with_some(&claimed, |claimed| *claimed), "no service routine ever ran");
}

#[test]
fn a_connect_that_fails_late_gives_both_halves_back_and_nothing_runs_after_it() {
    let status = nt::STATUS_INSUFFICIENT_RESOURCES;
    late_failure(dpc, line, Fault::StatusAfterService(status));
    late_failure(dpc, messages, Fault::StatusAt { interrupt: 1, status });
    late_failure(threaded, messages, Fault::StatusAfterService(status));
    late_failure(work, messages, Fault::StatusAfterService(status));
}

#[test]
fn the_interrupt_is_reported_inactive_and_active_again() {
    let claimed = explore().run(|machine| {
        let (hardware, watch) = (Hardware::new(messages(machine)), Watch::new());
        let registration = connect(&hardware, &watch, dpc);
        interrupted(machine, &hardware, 4, || {
            registration.report_inactive();
            registration.report_active();
            drop(registration);
            watch.is_over();
        });
        watch.require_accounts(1, 1);
        watch.claimed()
    });
    assert!(with_some(&claimed, |claimed| *claimed > 0), "nothing was ever claimed");
}
