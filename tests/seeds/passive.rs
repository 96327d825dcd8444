//! A passive-level interrupt, with a work item.

use wdm_interrupt::{DisconnectError, PassiveInterruptRegistration, PassiveLineBased, WorkItem};

use super::fake::{Half, Handler, Hardware, Watch};
use super::{Ends, explore, interrupted, with_some};

impl Ends for PassiveInterruptRegistration<Handler, WorkItem<Half>> {
    type Halves = (Handler, Half);

    fn disconnects(self) -> Result<Self::Halves, DisconnectError<Self>> {
        self.disconnect()
    }

    fn disconnects_removed(self) -> Result<Self::Halves, DisconnectError<Self>> {
        self.disconnect_removed()
    }
}

#[test]
fn a_passive_isr_and_a_work_item_and_synchronised_accesses_and_the_end() {
    let claimed = explore().run(|machine| {
        let hardware = Hardware::new(machine.device().passive_line().build());
        let watch = Watch::new();
        // With some seeds it interrupts before connecting has returned.
        hardware.set_interrupts(machine.choose(2) == 1);
        interrupted(machine, &hardware, 4, || {
            let registration = PassiveLineBased::new(hardware.physical())
                .deferred(WorkItem::new(hardware.function(), Half::new(&watch)))
                .connect(Handler::new(&hardware, &watch))
                .unwrap_or_else(|error| panic!("{error}"));
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
