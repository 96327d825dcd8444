//! `IoDisconnectInterruptEx`.

use alloc::vec::Vec;

use super::Executive;
use crate::{
    hal::{Event, Hal},
    nt::{PASSIVE_LEVEL, PIO_DISCONNECT_INTERRUPT_PARAMETERS},
    report::Rule,
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
        if parameters.is_null() || !parameters.is_aligned() {
            self.violate(Rule::ConnectParameters, CALL, format_args!("at {parameters:p}"));
        }
        // SAFETY: the caller's promise.
        let block = unsafe { parameters.read() };
        // SAFETY: every member of the union is a pointer.
        let context = unsafe { block.ConnectionContext.Generic }.addr();
        self.require_connection(context, block.Version, CALL);
        let vectors = self.require_outside(context, CALL);
        self.hal.disconnecting(&vectors);

        let mut registry = self.registry.lock(&self.hal);
        let connection = registry.connections.remove(&context);
        registry.remember(context);
        drop(registry);
        // Two processors that disconnect the same: the second finds it gone.
        let Some(connection) = connection else {
            self.violate(
                Rule::InterruptObject,
                CALL,
                format_args!("{context:#x} was just removed"),
            );
        };
        for object in &connection.objects {
            self.unwire(object);
            self.hal.trace(&Event::Disconnected { vector: object.vector });
        }
        if let Some(table) = connection.table {
            self.discard(table);
        }
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
            .map(|object| object.vector);
        drop(dispatch);
        let vectors = objects.iter().map(|object| object.vector).collect();
        drop(registry);
        if let Some(vector) = inside {
            self.violate(
                Rule::DisconnectInside,
                call,
                format_args!("this processor holds the lock of vector {vector:#x}"),
            );
        }
        vectors
    }
}
