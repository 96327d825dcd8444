//! The one block of pool that a registration of many handlers is.

use std::time::{Duration, Instant};

use wdm_interrupt::{EachMessage, Interrupt, InterruptHandler, Serviced};
use wdm_interrupt_model::host::{Delivery, Machine};

use super::common::physical_device;

const CACHE_LINE: usize = 64;

/// A handler of `N` bytes.
struct Sized<const N: usize>([u8; N]);

impl<const N: usize> InterruptHandler for Sized<N> {
    fn service(&mut self, _interrupt: &Interrupt<'_>) -> Serviced {
        self.0[0] += 1;
        Serviced::Claimed
    }
}

/// How many bytes of pool `messages` handlers of `N` bytes take.
fn pool_bytes<const N: usize>(messages: u32) -> usize {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(messages.try_into().unwrap()).build();
    let registration =
        EachMessage::new(physical_device(&device), messages).connect(|_| Sized([0; N])).unwrap();
    let pool = machine.left_behind().pool;
    drop(registration);
    let [pool] = pool[..] else { panic!("{pool:?}") };
    assert_eq!((pool.blocks, &pool.tag.to_le_bytes()), (1, b"WInt"));
    pool.bytes
}

/// How many bytes of pool one more handler of `N` bytes takes.
fn bytes_a_message<const N: usize>() -> usize {
    let (few, many) = (pool_bytes::<N>(2), pool_bytes::<N>(12));
    assert_eq!((many - few) % 10, 0);
    (many - few) / 10
}

#[test]
fn a_message_takes_cache_lines_for_its_handler_and_the_way_to_it() {
    // The way is the interrupt object, its IRQL, and whether it has been reported inactive.
    const WAY: usize = 16;
    assert_eq!(bytes_a_message::<1>(), CACHE_LINE);
    assert_eq!(bytes_a_message::<{ CACHE_LINE - WAY }>(), CACHE_LINE);
    assert_eq!(bytes_a_message::<{ CACHE_LINE - WAY + 1 }>(), 2 * CACHE_LINE);
    assert_eq!(bytes_a_message::<{ 10 * CACHE_LINE - WAY }>(), 10 * CACHE_LINE);
}

#[test]
fn what_all_messages_share_is_at_most_256_bytes() {
    assert!(pool_bytes::<1>(2) - 2 * bytes_a_message::<1>() <= 256);
}

#[test]
fn handlers_of_different_messages_share_no_cache_line() {
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(16).build();
    // The model aligns pool of less than a page by 16 and no more.
    for _ in 0..8 {
        let registration =
            EachMessage::new(physical_device(&device), 16).connect(|_| Sized([0; 70])).unwrap();
        let mut lines: Vec<_> = registration
            .messages()
            .flat_map(|message| {
                let handler = message.synchronize(|handler| std::ptr::from_mut(handler).addr());
                handler / CACHE_LINE..=(handler + 127) / CACHE_LINE
            })
            .collect();
        let all = lines.len();
        assert_eq!(all, 2 * 16, "a handler of 128 bytes lies in two lines, not three");
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), all);
        drop(registration);
    }
}

#[test]
fn two_thousand_and_forty_eight_messages_are_one_block() {
    const MESSAGES: u32 = 2048;
    let machine = Machine::new(1).enter();
    let device = machine.device().messages(MESSAGES.try_into().unwrap()).build();
    let start = Instant::now();
    let registration = EachMessage::new(physical_device(&device), MESSAGES)
        .connect(|message| Sized([u8::try_from(message.index() % 256).unwrap() / 2; 16]))
        .unwrap();
    assert_eq!(registration.count(), 2048);
    let pool = machine.left_behind().pool;
    assert_eq!((pool.len(), pool[0].blocks), (1, 1));
    for number in 0..2048 {
        assert_eq!(device.raise_message(number), Delivery::Claimed);
    }
    for message in registration.messages() {
        let [first, second] = message.synchronize(|handler| [handler.0[0], handler.0[1]]);
        // Its own, and it came once.
        assert_eq!(usize::from(second), message.index() % 256 / 2);
        assert_eq!(first, second + 1);
    }
    let table = registration.message_table().unwrap();
    assert_eq!(table.len(), 2048);
    let ((), handlers) = registration.disconnect().unwrap().into_inner();
    assert_eq!(handlers.count(), 2048);
    // It takes a fraction of a second; what is quadratic in the messages would take minutes.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}
