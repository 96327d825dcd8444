//! A handler a message, in parallel, with one DPC for all and with one each.

use std::sync::Arc;

use wdm_interrupt::{
    ConnectEachError, DisconnectError, Dpc, EachMessage, InterruptHandler, MessageHalf,
    MessageHalves, MessageRegistration, SharedDpc,
};
use wdm_interrupt_model::executive::{Call, Fault};
use wdm_interrupt_model::host::Machine;
use wdm_interrupt_model::nt;

use super::fake::{Half, Handler, Hardware, Watch};
use super::{Ends, explore, interrupted, with_some};

const MESSAGES: u32 = 2;

impl<D: MessageHalf<Handler>> Ends for MessageRegistration<Handler, D>
where
    Handler: InterruptHandler<D>,
{
    type Halves = MessageHalves<Handler, D>;

    fn disconnects(self) -> Result<Self::Halves, DisconnectError<Self>> {
        self.disconnect()
    }

    fn disconnects_removed(self) -> Result<Self::Halves, DisconnectError<Self>> {
        self.disconnect_removed()
    }
}

fn hardware(machine: &Machine) -> Arc<Hardware> {
    Hardware::new(machine.device().messages_at(&[4, 9]).build())
}

/// Puts what is left in all handlers on the account.
fn hand_back<D: MessageHalf<Handler>>(halves: &mut MessageHalves<Handler, D>) -> u32 {
    (0..halves.count()).map(|index| halves.handler_mut(index).unwrap().hand_back()).sum()
}

/// Interrupts on both messages and synchronised accesses to both handlers at the same time, and
/// then the registration ends while interrupts go on.
fn life<D>(
    machine: &Machine,
    hardware: &Arc<Hardware>,
    watch: &Arc<Watch>,
    registration: MessageRegistration<Handler, D>,
) where
    D: MessageHalf<Handler>,
    Handler: InterruptHandler<D>,
{
    interrupted(machine, hardware, 4, || {
        machine.scope(|scope| {
            let synchronize = |index| {
                registration.message(index).unwrap().synchronize(|handler| {
                    handler.hand_back();
                });
            };
            scope.spawn_system_thread(move || synchronize(0));
            synchronize(1);
        });
        registration.end(machine, |mut halves| hand_back(&mut halves));
        watch.is_over();
    });
}

#[test]
fn messages_in_parallel_and_one_dpc_for_all() {
    let claimed = explore().run(|machine| {
        let (hardware, watch) = (hardware(machine), Watch::new());
        let registration = EachMessage::new(hardware.physical(), MESSAGES)
            .deferred(SharedDpc::new(Half::new(&watch)))
            .connect(|message| Handler::new(&hardware, &watch).of_message(message))
            .unwrap_or_else(|error| panic!("{error}"));
        life(machine, &hardware, &watch, registration);
        watch.require_accounts(MESSAGES, 1);
        watch.claimed()
    });
    assert!(with_some(&claimed, |claimed| *claimed > 1), "never two were claimed");
}

#[test]
fn messages_in_parallel_and_a_dpc_each() {
    let claimed = explore().run(|machine| {
        let (hardware, watch) = (hardware(machine), Watch::new());
        let registration = EachMessage::new(hardware.physical(), MESSAGES)
            .connect_with_deferred(|message| {
                let handler = Handler::new(&hardware, &watch).of_message(message);
                (handler, Dpc::new(Half::new(&watch)))
            })
            .unwrap_or_else(|error| panic!("{error}"));
        life(machine, &hardware, &watch, registration);
        watch.require_accounts(MESSAGES, MESSAGES);
        watch.claimed()
    });
    assert!(with_some(&claimed, |claimed| *claimed > 1), "never two were claimed");
}

#[test]
fn a_connect_that_fails_late_gives_all_halves_back_and_nothing_runs_after_it() {
    let status = nt::STATUS_INSUFFICIENT_RESOURCES;
    let claimed = explore().run(move |machine| {
        let (hardware, watch) = (hardware(machine), Watch::new());
        hardware.set_interrupts(true);
        machine.fail(Call::IoConnectInterruptEx, 0, Fault::StatusAt { interrupt: 1, status });
        interrupted(machine, &hardware, 3, || {
            let error = EachMessage::new(hardware.physical(), MESSAGES)
                .deferred(SharedDpc::new(Half::new(&watch)))
                .connect(|message| Handler::new(&hardware, &watch).of_message(message))
                .unwrap_err();
            watch.is_over();
            let ConnectEachError::NotConnected { mut halves, .. } = error else {
                panic!("the handlers had been made");
            };
            hand_back(&mut halves);
        });
        watch.require_accounts(MESSAGES, 1);
        watch.claimed() > 0
    });
    assert!(with_some(&claimed, |claimed| *claimed), "no service routine ever ran");
}
