//! The misdeeds, and when each is done.
//!
//! Their `unsafe` blocks have no argument why they are sound, because some are not: those say which rule they
//! break.

mod dpcs;
mod failures;
mod interrupts;
mod memory;
mod requests;
mod threads;

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use wdk_sys::ntddk::KeRaiseIrqlToDpcLevel;

use crate::device::Device;

/// When a misdeed is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// At the end of `AddDevice`.
    Added,
    /// In START, with the registers mapped, before the interrupt is connected.
    Connecting,
    /// In START, after connecting the interrupt has failed.
    NotConnected,
    /// In START, after an interrupt has been served.
    Started,
    /// In the service routine.
    Serving,
    /// After START was completed, before its dispatch routine returns.
    Completed,
    /// In REMOVE, with the hardware released, before the device is detached.
    Removing,
}

/// A misdeed: the service that it is chosen by, when and what is done.
struct Misdeed {
    name: &'static str,
    moment: Moment,
    done: fn(&Device),
}

/// A misdeed named as its function.
macro_rules! misdeed {
    ($moment:ident, $subject:ident::$name:ident) => {
        Misdeed { name: stringify!($name), moment: Moment::$moment, done: $subject::$name }
    };
}

/// All misdeeds. `cargo xtask test` looks for these rows.
static MISDEEDS: &[Misdeed] = &[
    misdeed!(Started, self::none),
    misdeed!(Connecting, interrupts::connects_at_dispatch_level),
    misdeed!(Connecting, interrupts::connects_for_its_own_device_object),
    misdeed!(Connecting, interrupts::never_claims),
    misdeed!(Connecting, interrupts::never_acknowledges),
    misdeed!(Started, interrupts::disconnects_with_another_version),
    misdeed!(Started, interrupts::disconnects_twice),
    misdeed!(Started, interrupts::disconnects_at_dispatch_level),
    misdeed!(Started, interrupts::stays_connected_at_remove),
    misdeed!(Started, interrupts::synchronizes_above_its_irql),
    misdeed!(Started, interrupts::synchronizes_with_what_is_disconnected),
    misdeed!(Started, interrupts::reads_an_interrupt_object_that_it_disconnected),
    misdeed!(Started, interrupts::connects_its_line_twice),
    misdeed!(Serving, interrupts::sets_an_event_in_its_service_routine),
    misdeed!(Serving, interrupts::allocates_in_its_service_routine),
    misdeed!(Serving, interrupts::leaves_its_service_routine_at_another_irql),
    misdeed!(Started, dpcs::queues_a_dpc_that_it_did_not_initialise),
    misdeed!(Started, dpcs::queues_a_dpc_that_it_freed),
    misdeed!(Started, dpcs::leaves_its_dpc_at_another_irql),
    misdeed!(Started, dpcs::acquires_a_lock_that_it_did_not_initialise),
    misdeed!(Started, dpcs::releases_a_lock_that_it_does_not_hold),
    misdeed!(Started, memory::frees_a_queued_dpc),
    misdeed!(Started, memory::leaves_pool_behind),
    misdeed!(Started, memory::writes_behind_its_pool),
    misdeed!(Started, memory::writes_to_pool_that_it_freed),
    misdeed!(Started, memory::frees_pool_twice),
    misdeed!(Started, memory::frees_pool_with_another_tag),
    misdeed!(Started, memory::leaves_registers_mapped),
    misdeed!(Started, memory::reads_registers_that_it_unmapped),
    misdeed!(Started, memory::unmaps_another_length),
    misdeed!(Added, requests::leaves_its_device_initializing),
    misdeed!(Started, requests::waits_at_dispatch_level),
    misdeed!(Started, requests::acquires_a_lock_twice),
    misdeed!(Started, requests::marks_pending_and_returns_success),
    misdeed!(Started, requests::completes_with_a_cancel_routine),
    misdeed!(Started, requests::passes_down_with_a_cancel_routine),
    misdeed!(Started, requests::sends_an_irp_without_stack_locations),
    misdeed!(Started, requests::frees_an_irp_twice),
    misdeed!(Started, requests::writes_to_an_irp_that_it_freed),
    misdeed!(Started, requests::releases_a_remove_lock_that_it_does_not_hold),
    misdeed!(Started, requests::panics),
    misdeed!(Started, threads::delays_at_dispatch_level),
    misdeed!(Started, threads::waits_for_a_mutex_at_dispatch_level),
    misdeed!(Started, threads::acquires_a_fast_mutex_twice),
    misdeed!(Serving, threads::waits_in_its_service_routine),
    misdeed!(Serving, threads::waits_for_a_work_item_in_its_service_routine),
    misdeed!(Started, threads::frees_a_queued_work_item),
    misdeed!(Started, threads::leaves_a_work_item_behind),
    misdeed!(Started, threads::acquires_the_spin_lock_of_its_interrupt),
    misdeed!(Started, threads::runs_a_threaded_dpc),
    misdeed!(Started, threads::flushes_dpcs_in_a_threaded_dpc),
    misdeed!(Started, threads::waits_in_a_threaded_dpc),
    misdeed!(Connecting, failures::believes_a_connect_that_failed),
    misdeed!(NotConnected, failures::keeps_pool_when_it_cannot_connect),
    misdeed!(NotConnected, failures::keeps_registers_mapped_when_it_cannot_connect),
    misdeed!(NotConnected, failures::forgets_to_complete_when_it_cannot_connect),
    misdeed!(Started, failures::forgets_to_disconnect_when_an_allocation_fails),
    misdeed!(Completed, requests::completes_twice),
    misdeed!(Completed, requests::returns_at_raised_irql),
    misdeed!(Removing, requests::deletes_an_attached_device),
    misdeed!(Removing, requests::fails_its_removal),
];

/// The one that was chosen.
static CHOSEN: AtomicPtr<Misdeed> = AtomicPtr::new(ptr::null_mut());

/// Chooses the misdeed of this name, in UTF-16, and returns its name.
pub(crate) fn choose(name: &[u16]) -> Option<&'static str> {
    let misdeed = MISDEEDS.iter().find(|one| one.name.encode_utf16().eq(name.iter().copied()))?;
    CHOSEN.store(ptr::from_ref(misdeed).cast_mut(), Ordering::Relaxed);
    Some(misdeed.name)
}

/// Does the misdeed that was chosen, if this is its moment.
pub(crate) fn commit(moment: Moment, device: &Device) {
    // SAFETY: NULL, or one of the table, which is never changed.
    let chosen = unsafe { CHOSEN.load(Ordering::Relaxed).as_ref() };
    if let Some(misdeed) = chosen.filter(|misdeed| misdeed.moment == moment) {
        (misdeed.done)(device);
    }
}

/// What a sound driver does.
const fn none(_: &Device) {}

/// Raises the IRQL and leaves it there.
fn raise_to_dispatch_level() {
    // SAFETY: raising is legal; what misdeeds then do, or do not do, is not.
    let _before = unsafe { KeRaiseIrqlToDpcLevel() };
}
