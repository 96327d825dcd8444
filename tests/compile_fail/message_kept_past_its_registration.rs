//! The message table and the messages are gone with their registration.

use wdm_interrupt::{
    Interrupt, InterruptHandler, InterruptRegistration, Message, MessageRegistration, MessageTable,
    Serviced,
};

struct Handler;

impl InterruptHandler for Handler {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        Serviced::Claimed
    }
}

fn table(registration: InterruptRegistration<Handler>) -> usize {
    let table: Option<MessageTable<'_>> = registration.message_table();
    drop(registration);
    table.map_or(0, |table| table.len())
}

fn message(registration: MessageRegistration<Handler>) {
    let message: Option<Message<'_, Handler>> = registration.message(0);
    drop(registration);
    message.map(|message| message.synchronize(|_| ()));
}

fn main() {}
