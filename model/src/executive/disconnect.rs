//! `IoDisconnectInterruptEx`.

use alloc::vec::Vec;

use super::{Executive, breach::Breach};
use crate::{
    hal::{Event, Hal},
    nt::{PASSIVE_LEVEL, PIO_DISCONNECT_INTERRUPT_PARAMETERS},
    report::{Object as Reported, Rule},
};

impl<H: Hal> Executive<H> {
    /// `IoDisconnectInterruptEx`: returns when no service routine of the connection runs, nor can.
    ///
    /// That it waits for one that is running is nowhere said in Microsoft's documentation. It frees
    /// the interrupt object and its lock, so it must, and KMDF relies on it.
    ///
    /// # Safety
    ///
    /// `parameters` can be read.
    pub unsafe fn io_disconnect_interrupt_ex(
        &self,
        parameters: PIO_DISCONNECT_INTERRUPT_PARAMETERS,
    ) {
        const CALL: &str = "IoDisconnectInterruptEx";
        self.require_irql(Rule::IrqlPassive, CALL, PASSIVE_LEVEL);
        self.require_no_threaded_dpc(Rule::IrqlPassive, CALL);
        if parameters.is_null() || !parameters.is_aligned() {
            let breach = Breach::new(Rule::ConnectParameters, CALL);
            self.violate(breach, format_args!("at {parameters:p}"));
        }
        // SAFETY: the caller's promise.
        let block = unsafe { parameters.read() };
        self.hal.trace(&Event::DisconnectEntered { version: block.Version });
        // SAFETY: every member of the union is a pointer.
        let context = unsafe { block.ConnectionContext.Generic }.addr();
        self.require_connection(context, block.Version, CALL);
        let vectors = self.require_outside(context, CALL);
        self.hal.disconnecting(&vectors);

        let mut registry = self.registry.lock(&self.hal);
        let connection = registry.connections.remove(&context);
        if let Some(connection) = &connection {
            registry.remember(context, connection);
        }
        drop(registry);
        // Two processors that disconnect the same: the second finds it gone.
        let Some(connection) = connection else {
            self.refuse_context(context, "the connection context", CALL);
        };
        for object in &connection.objects {
            self.unwire(object);
            self.hal.trace(&Event::Disconnected { vector: object.vector });
        }
        if let Some(table) = connection.table {
            if !table.is_intact() {
                let breach = Breach::new(Rule::MessageTable, CALL);
                self.violate(
                    breach.of(&[Reported::MessageTable { address: context }]),
                    format_args!("the message table {context:#x} was written to"),
                );
            }
            self.discard(table);
        }
        self.hal.trace(&Event::DisconnectLeft);
    }

    /// Gives the vectors of a connection, none of whose routines runs on this processor.
    fn require_outside(&self, context: usize, call: &'static str) -> Vec<u32> {
        let processor = self.hal.processor();
        let registry = self.registry.lock(&self.hal);
        let objects =
            registry.connections.get(&context).map_or(&[][..], |connection| &connection.objects);
        let dispatch = self.dispatch.lock(&self.hal);
        let inside = objects
            .iter()
            .find(|object| dispatch.held.holds(processor, object.lock_word().addr()))
            .map(|object| (object.vector, object.report()));
        drop(dispatch);
        let vectors = objects.iter().map(|object| object.vector).collect();
        drop(registry);
        if let Some((vector, object)) = inside {
            self.violate(
                Breach::new(Rule::DisconnectInside, call).of(&[object]),
                format_args!("this processor holds the lock of vector {vector:#x}"),
            );
        }
        vectors
    }
}
