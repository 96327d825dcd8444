//! The device of all explorations, and what a test knows of it.
//!
//! What is counted is in atomics of the standard library's, which `loom` neither sees nor orders
//! anything by.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use loom::cell::UnsafeCell;
use wdm_interrupt::PhysicalDevice;
use wdm_interrupt_model::machine::{self, Delivery};

/// The device interrupts.
const ENABLED: u8 = 1;
/// Something has happened that nobody has acknowledged.
const PENDING: u8 = 2;

/// The device, and what the test knows of it.
#[derive(Debug)]
pub(crate) struct Hardware {
    /// The device's one register. Each access of it is one step, and orders nothing.
    register: loom::sync::atomic::AtomicU8,
    /// Written by `enable` and read by the deferred half, without a lock: connecting orders the two.
    published: Published,
    claimed: AtomicU32,
    completed: AtomicU32,
    came_back: AtomicU32,
    torn_down: AtomicBool,
}

#[derive(Debug)]
struct Published(UnsafeCell<bool>);

// SAFETY: `loom` fails the exploration in which it is not accessed in turn.
unsafe impl Sync for Published {}

// SAFETY: a `bool` is.
unsafe impl Send for Published {}

impl Hardware {
    fn with(register: u8) -> Arc<Self> {
        Arc::new(Self {
            register: loom::sync::atomic::AtomicU8::new(register),
            published: Published(UnsafeCell::new(false)),
            claimed: AtomicU32::new(0),
            completed: AtomicU32::new(0),
            came_back: AtomicU32::new(0),
            torn_down: AtomicBool::new(false),
        })
    }

    /// A device that is silent until it is enabled.
    pub(crate) fn silent() -> Arc<Self> {
        Self::with(0)
    }

    /// A device that somebody enabled before there was a driver.
    pub(crate) fn enabled_by_firmware() -> Arc<Self> {
        Self::with(ENABLED)
    }

    /// Something happens: the device interrupts on `vector`, if it is enabled.
    pub(crate) fn interrupt_on(&self, vector: usize) -> Delivery {
        if self.register.fetch_or(PENDING, Ordering::Relaxed) & ENABLED == 0 {
            return Delivery::Nobody;
        }
        machine::interrupt(vector)
    }

    /// Something happens, on the first vector.
    pub(crate) fn interrupt(&self) -> Delivery {
        self.interrupt_on(0)
    }

    /// Whether it interrupted, as its ISR finds out by acknowledging it, and claims it then.
    pub(crate) fn acknowledge(&self) -> bool {
        assert!(!self.torn_down.load(Ordering::Relaxed), "serviced after the teardown");
        let before = self.register.fetch_and(!PENDING, Ordering::Relaxed);
        let interrupted = before & (ENABLED | PENDING) == ENABLED | PENDING;
        self.claimed.fetch_add(interrupted.into(), Ordering::Relaxed);
        interrupted
    }

    /// Lets it interrupt.
    pub(crate) fn unmask(&self) {
        self.register.fetch_or(ENABLED, Ordering::Relaxed);
    }

    /// Silences it. What was pending is forgotten.
    pub(crate) fn silence(&self) {
        self.register.fetch_and(0, Ordering::Relaxed);
    }

    /// What `enable` writes.
    pub(crate) fn publish(&self) {
        // SAFETY: written once, before anybody reads it, which `loom` checks.
        self.published.0.with_mut(|published| unsafe { *published = true });
    }

    /// What the deferred half calls when it begins.
    pub(crate) fn assert_published(&self) {
        assert!(!self.torn_down.load(Ordering::Relaxed), "deferred work after the teardown");
        // SAFETY: nobody writes it any more, which `loom` checks.
        let published = self.published.0.with(|published| unsafe { *published });
        assert!(published, "deferred work before the connection was complete");
    }

    /// Notes that so many of what was claimed have been completed.
    pub(crate) fn complete(&self, requests: u32) {
        self.completed.fetch_add(requests, Ordering::Relaxed);
    }

    /// Notes that so many of what was claimed came back with the handler.
    pub(crate) fn give_back(&self, requests: u32) {
        self.came_back.fetch_add(requests, Ordering::Relaxed);
    }

    /// Says that the registration is gone: nothing is called from here on.
    pub(crate) fn torn_down(&self) {
        self.torn_down.store(true, Ordering::Relaxed);
    }

    /// Panics unless the device has been told to be silent.
    pub(crate) fn assert_silent(&self) {
        let register = self.register.load(Ordering::Relaxed);
        assert_eq!(register & ENABLED, 0, "the device was not silenced");
    }

    /// Panics unless what was claimed was completed, or came back with the handler.
    pub(crate) fn assert_nothing_lost(&self) {
        let [claimed, completed, came_back] =
            [&self.claimed, &self.completed, &self.came_back].map(|n| n.load(Ordering::Relaxed));
        assert_eq!(
            claimed,
            completed + came_back,
            "lost: claimed, but neither completed nor given back"
        );
    }

    /// Panics unless all that was claimed was completed.
    pub(crate) fn assert_all_completed(&self) {
        let [claimed, completed] =
            [&self.claimed, &self.completed].map(|n| n.load(Ordering::Relaxed));
        assert_eq!(claimed, completed, "claimed, but not completed");
    }
}

/// The device, as the requests take it.
pub(crate) fn physical_device() -> PhysicalDevice {
    // SAFETY: nobody asks anything of it, and it stays.
    unsafe { PhysicalDevice::new(machine::device()) }.expect("it is not null")
}
