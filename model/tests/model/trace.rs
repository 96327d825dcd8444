//! What is recorded of a machine, and what somebody sees who looks at it.

mod viewer;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use wdm_interrupt_model::{
    hal::Event,
    host::Machine,
    trace::{Record, Recorder, Trace, chrome, svg},
};

use self::viewer::Viewed;
use super::raw::{self, Dpc, Service, WorkItem, at, flush};

/// A device with two messages, whose service routine queues a DPC, which synchronises; three
/// interrupts, a work item, and the end.
fn a_short_life() -> Trace {
    let machine = Machine::new(2).enter();
    let device = machine.device().messages_at(&[5, 8]).build();
    let dpc = Dpc::new(|_, _| ());
    let service = Service::new(|_| {
        dpc.queue();
        true
    });
    let connection = raw::messages(&device, &service);
    for message in [0, 1, 0] {
        device.raise_message(message);
    }
    raw::synchronize(connection.entries()[1].InterruptObject, || ());
    let item = WorkItem::new(&device, |_| ());
    item.queue();
    machine.settle();
    item.free();
    flush();
    connection.disconnect();
    let trace = Trace { name: "a short life".into(), ..machine.trace() };
    machine.leave();
    trace
}

/// What a viewer makes of a trace.
fn view(trace: Trace) -> Viewed {
    Viewed::of(&chrome::document(&[trace]))
}

#[test]
fn a_viewer_finds_each_thing_that_took_time_and_what_it_was() {
    let viewed = view(a_short_life());
    let count = |name: &str| viewed.slices.iter().filter(|slice| slice.name == name).count();
    for (name, expected) in [
        ("IoConnectInterruptEx", 1),
        ("ISR, message 0", 2),
        ("ISR, message 1", 1),
        ("DPC", 3),
        ("KeSynchronizeExecution", 1),
        ("work item", 1),
        ("KeFlushQueuedDpcs", 1),
        ("IoDisconnectInterruptEx", 1),
    ] {
        assert_eq!(count(name), expected, "{name}: {viewed:#?}");
    }
    assert_eq!(viewed.process, "a short life");
    assert_eq!(viewed.threads[&0], "processor 0");
    assert_eq!(viewed.moments.iter().filter(|it| it.starts_with("connected: message")).count(), 2);
    assert_eq!(viewed.moments.iter().filter(|it| it.starts_with("disconnected: ")).count(), 2);
}

#[test]
fn an_arrow_leads_from_the_service_routine_to_each_dpc_that_it_queued() {
    let viewed = view(a_short_life());
    let mut arrows = viewed.arrows.iter().filter(|arrow| arrow.name == "DPC").collect::<Vec<_>>();
    assert_eq!(arrows.len(), 3);
    arrows.retain(|arrow| {
        let from = viewed.innermost(arrow.from).is_some_and(|it| it.name.starts_with("ISR"));
        from && viewed.innermost(arrow.to).is_some_and(|it| it.name == "DPC")
    });
    assert_eq!(arrows.len(), 3, "{viewed:#?}");
    assert_eq!(viewed.arrows.iter().filter(|arrow| arrow.name == "work item").count(), 1);
}

#[test]
fn a_dpc_that_is_removed_or_queued_twice_has_no_arrow_of_its_own() {
    let machine = Machine::new(1).enter();
    let dpc = Dpc::new(|_, _| ());
    at(2, || {
        dpc.queue();
        dpc.queue();
        dpc.remove();
        dpc.queue();
    });
    let viewed = view(machine.trace());
    assert_eq!(viewed.arrows.len(), 1, "{viewed:#?}");
    for expected in ["DPC is queued already", "DPC removed"] {
        assert!(viewed.moments.iter().any(|moment| moment == expected), "{viewed:#?}");
    }
    machine.leave();
}

#[test]
fn the_counter_of_a_processor_has_the_irql_of_each_service_routine_and_dpc() {
    let viewed = view(a_short_life());
    for slice in &viewed.slices {
        let expected = match slice.name.as_str() {
            "ISR, message 0" => 5,
            "ISR, message 1" | "KeSynchronizeExecution" => 8,
            "DPC" => 2,
            _ => 0,
        };
        assert_eq!(viewed.irql_at(slice.start), expected, "{slice:?}");
    }
}

#[test]
fn each_event_has_the_irql_that_it_happened_at() {
    for record in a_short_life().records {
        let expected = match record.event {
            Event::IsrEntered { irql, .. } | Event::SynchronizeEntered { irql, .. } => irql,
            Event::DpcEntered { .. } => 2,
            Event::Irql { to, .. } => to,
            Event::ConnectEntered { .. } | Event::DisconnectLeft | Event::FlushEntered => 0,
            _ => continue,
        };
        assert_eq!(record.irql, expected, "{record:?}");
    }
}

#[test]
fn what_a_broken_rule_ended_is_still_shown_and_said_not_to_have_been_left() {
    let machine = Machine::new(1).enter();
    machine.expect_leftovers();
    let device = machine.device().line().build();
    let service = Service::new(|_| panic!("a service routine that breaks a rule"));
    raw::line(&device, &service);
    let dpc = Dpc::new(|_, _| {
        let outcome = catch_unwind(AssertUnwindSafe(|| device.raise_line()));
        assert!(outcome.is_err());
    });
    dpc.queue();
    let viewed = view(machine.trace());
    let left = |name| viewed.slices.iter().find(|it| it.name == name).map(|it| it.left);
    let (isr, dpc) = (left("ISR, line"), left("DPC"));
    assert_eq!((isr, dpc), (Some(false), Some(true)), "{viewed:#?}");
}

#[test]
fn what_there_was_no_room_for_is_counted_and_said() {
    let machine = Machine::new(1).enter();
    for _ in 0..(1 << 15) {
        at(2, || ());
    }
    assert_eq!(machine.trace().lost, 0);
    at(2, || ());
    let trace = machine.trace();
    machine.leave();
    assert_eq!((trace.records.len(), trace.lost), (1 << 16, 2));
    let said = "2 events";
    assert!(view(trace.clone()).process.contains(said));
    assert!(svg::document(&[trace]).contains("and 2 more that there was no room for"));
}

#[test]
fn of_what_several_processors_record_at_once_nothing_is_lost_and_nothing_kept_twice() {
    const EACH: u64 = 5_000;
    let recorder = Recorder::new(4 * 5_000);
    thread::scope(|scope| {
        for processor in 0..4 {
            let recorder = &recorder;
            scope.spawn(move || {
                for time in 0..EACH {
                    let event = Event::FlushEntered;
                    recorder.record(Record { time, processor, context: processor, irql: 0, event });
                }
            });
        }
    });
    for processor in 0..4 {
        let times = recorder.records().filter(|it| it.processor == processor).map(|it| it.time);
        assert!(times.eq(0..EACH), "processor {processor}");
    }
    assert_eq!(recorder.lost(), 0);
}

#[test]
fn two_traces_in_one_file_are_two_processes_whose_arrows_do_not_mix() {
    let traces = [a_short_life(), Trace { name: "another".into(), ..a_short_life() }];
    let document = chrome::document(&traces);
    let viewed = Viewed::of(&document);
    assert_eq!(viewed.arrows.len(), 2 * 4);
    assert!(document.contains("a short life") && document.contains("another"));
}

#[test]
fn a_picture_is_whole_and_names_each_thing_that_is_in_it() {
    let picture = svg::document(&[a_short_life()]);
    let mut open = Vec::new();
    let mut bars = 0;
    for event in ::svg::read(&picture).expect("it is text") {
        use ::svg::{node::element::tag::Type, parser::Event};
        match event {
            Event::Tag(name, Type::Start, _) => open.push(name),
            Event::Tag(name, Type::End, _) => assert_eq!(open.pop(), Some(name)),
            Event::Error(error) => panic!("{error}"),
            Event::Tag("rect", Type::Empty, attributes) => {
                bars += usize::from(attributes.get("class").is_some_and(|class| **class == *"isr"));
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?} is open at the end");
    // Three in the picture, and one in the legend.
    assert_eq!(bars, 4);
    for name in ["IoConnectInterruptEx, ", "ISR, message 0, ", "ISR, message 1, ", "DPC, "] {
        assert!(picture.contains(name), "{name}");
    }
}
