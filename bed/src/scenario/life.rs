//! Tests of a device's life: stop, other resources, removal, power, shared lines.

use alloc::vec::Vec;

use wdm_interrupt_model::nt::{
    PowerSystemSleeping3, PowerSystemWorking, STATUS_DELETE_PENDING, STATUS_DEVICE_NOT_READY,
    STATUS_DEVICE_REMOVED,
};

use super::edu::{Edu, GREATEST, Handle, Outcome, check_factorial, load, require};
use super::status::Status;
use super::traffic::{finish, with_device};
use super::{Test, test};
use crate::image::Image;
use crate::kernel::EXECUTIVE;
use crate::pnp::bus_is_slow;
use crate::pnp::requests::Sent;
use crate::pnp::resources::Kind;
use crate::{hal, processor};

pub(super) const TESTS: &[Test] = &[
    test!(requests_wait_through_a_stop_for_other_resources),
    test!(a_message_can_become_a_line_at_the_next_start),
    test!(many_stops_and_starts_leave_nothing),
    test!(a_cancelled_stop_changes_nothing),
    test!(a_cancelled_removal_changes_nothing),
    test!(lower_drivers_that_finish_late_are_waited_for),
    test!(requests_pending_at_surprise_removal_end_removed),
    test!(hardware_that_is_gone_unannounced_is_survived),
    test!(a_removed_device_that_never_started_leaves_nothing),
    test!(requests_wait_through_a_sleep),
    test!(a_device_that_still_computes_when_it_wakes_gives_right_results_by_message),
    test!(a_device_that_still_computes_when_it_wakes_gives_right_results_by_line),
    test!(nobody_opens_a_device_whose_removal_is_pending),
    test!(the_interrupt_is_inactive_while_the_device_sleeps),
    test!(removal_while_asleep_leaves_nothing),
    test!(two_devices_share_a_line),
    test!(one_of_two_on_a_line_goes_and_the_other_works_on),
];

fn send_some(handle: &Handle) -> Vec<(u32, Sent)> {
    (0..=GREATEST).map(|number| (number, handle.send_factorial(number))).collect()
}

fn check_all(sent: &[(u32, Sent)]) -> Outcome {
    sent.iter().try_for_each(|(number, sent)| check_factorial(*number, sent).map(drop))
}

fn query_stop_and_stop(edu: &Edu) -> Outcome {
    let status = Status(edu.node.query_stop());
    require!(status.0 >= 0, "QUERY_STOP returned {status}");
    edu.node.stop();
    Ok(())
}

fn requests_wait_through_a_stop_for_other_resources(image: Image) -> Outcome {
    with_device(image, Kind::Message, |edu, handle| {
        let before = send_some(handle);
        let status = Status(edu.node.query_stop());
        require!(status.0 >= 0, "QUERY_STOP returned {status}");
        let meanwhile = send_some(handle);
        edu.node.stop();
        let early = meanwhile.iter().filter(|(_, sent)| sent.is_done()).count();
        require!(early == 0, "{early} requests were completed while the device was stopped");
        let late = Status(handle.send_factorial(1).wait().status);
        require!(late.0 == STATUS_DEVICE_NOT_READY, "FACTORIAL while stopped returned {late}");
        let status = handle.raise(2);
        require!(status.0 == STATUS_DEVICE_NOT_READY, "RAISE while stopped returned {status}");
        let last = processor::count() - 1;
        edu.start(Kind::Message, 11, last)?;
        check_all(&before)?;
        check_all(&meanwhile)?;
        handle.factorial(GREATEST)?;
        let served = hal::last_served();
        require!(
            (served.irql, served.processor) == (11, last),
            "after the second START {served:?} served the interrupt"
        );
        Ok(())
    })
}

fn a_message_can_become_a_line_at_the_next_start(image: Image) -> Outcome {
    with_device(image, Kind::Message, |edu, handle| {
        for kind in [Kind::Line, Kind::Message, Kind::Line] {
            query_stop_and_stop(edu)?;
            edu.start(kind, 7, 1)?;
            handle.factorial(GREATEST)?;
        }
        Ok(())
    })
}

fn many_stops_and_starts_leave_nothing(image: Image) -> Outcome {
    with_device(image, Kind::Message, |edu, handle| {
        for round in 0..30 {
            let sent = send_some(handle);
            query_stop_and_stop(edu)?;
            let irql = 3 + round % 10;
            edu.start(Kind::Message, irql as u8, round)?;
            check_all(&sent)?;
        }
        Ok(())
    })
}

fn a_cancelled_stop_changes_nothing(image: Image) -> Outcome {
    with_device(image, Kind::Message, |edu, handle| {
        let sent = send_some(handle);
        let status = Status(edu.node.query_stop());
        require!(status.0 >= 0, "QUERY_STOP returned {status}");
        edu.node.cancel_stop();
        check_all(&sent)?;
        handle.factorial(GREATEST).map(drop)
    })
}

fn a_cancelled_removal_changes_nothing(image: Image) -> Outcome {
    with_device(image, Kind::Message, |edu, handle| {
        let sent = send_some(handle);
        let status = Status(edu.node.query_remove());
        require!(status.0 >= 0, "QUERY_REMOVE returned {status}");
        edu.node.cancel_remove();
        check_all(&sent)?;
        handle.factorial(GREATEST).map(drop)
    })
}

fn lower_drivers_that_finish_late_are_waited_for(image: Image) -> Outcome {
    bus_is_slow(true);
    with_device(image, Kind::Message, |edu, handle| {
        handle.factorial(GREATEST)?;
        query_stop_and_stop(edu)?;
        edu.start(Kind::Line, 6, 1)?;
        handle.factorial(GREATEST).map(drop)
    })
}

/// How requests ended that were pending when the device went: removed, or right.
fn removed_or_right(sent: Vec<(u32, Sent)>) -> Outcome<usize> {
    let mut removed = 0;
    for (number, sent) in sent {
        let status = Status(sent.wait().status);
        if status.0 == STATUS_DEVICE_REMOVED {
            removed += 1;
        } else {
            check_factorial(number, &sent)?;
        }
    }
    Ok(removed)
}

fn requests_pending_at_surprise_removal_end_removed(image: Image) -> Outcome {
    let driver = load(image)?;
    let edu = Edu::started(&driver, Kind::Message)?;
    let handle = edu.open()?;
    // Some are being computed when the device goes, some are certain to be pending.
    let mut sent: Vec<_> = (0..4).flat_map(|_| send_some(&handle)).collect();
    edu.node.mute();
    sent.extend(send_some(&handle));
    edu.node.unplug();
    edu.node.surprise_removal();
    let removed = removed_or_right(sent)?;
    require!(removed > GREATEST as usize, "only {removed} requests ended removed");
    let late = Status(handle.send_factorial(1).wait().status);
    require!(
        matches!(late.0, STATUS_DEVICE_REMOVED | STATUS_DELETE_PENDING),
        "a request after the surprise removal ended with {late}"
    );
    handle.0.close();
    edu.node.remove();
    driver.unload();
    Ok(())
}

fn hardware_that_is_gone_unannounced_is_survived(image: Image) -> Outcome {
    let driver = load(image)?;
    let edu = Edu::started(&driver, Kind::Line)?;
    let handle = edu.open()?;
    edu.node.unplug();
    // Nobody has told the driver: it finds out by itself, or these wait for the announcement.
    let sent = send_some(&handle);
    handle.raise(2);
    drop(handle.statistics());
    edu.node.surprise_removal();
    let removed = removed_or_right(sent)?;
    require!(removed as u32 == GREATEST + 1, "{removed} of {} ended removed", GREATEST + 1);
    handle.0.close();
    edu.node.remove();
    driver.unload();
    Ok(())
}

fn a_removed_device_that_never_started_leaves_nothing(image: Image) -> Outcome {
    let driver = load(image)?;
    let edu = Edu::add(&driver, 0)?;
    finish(driver, &edu)
}

fn requests_wait_through_a_sleep(image: Image) -> Outcome {
    bus_is_slow(true);
    with_device(image, Kind::Message, |edu, handle| {
        for _ in 0..5 {
            let sent = send_some(handle);
            edu.node.set_system_power(PowerSystemSleeping3);
            let asleep = handle.raise(2);
            require!(
                asleep.0 == STATUS_DEVICE_NOT_READY,
                "RAISE while the device sleeps returned {asleep}"
            );
            let meanwhile = send_some(handle);
            let early = meanwhile.iter().filter(|(_, sent)| sent.is_done()).count();
            require!(early == 0, "{early} requests were completed while the device slept");
            edu.node.set_system_power(PowerSystemWorking);
            check_all(&sent)?;
            check_all(&meanwhile)?;
        }
        Ok(())
    })
}

/// The device is told to sleep, and woken, while it computes something for nobody: what it
/// then completes belongs to no request.
fn still_computing_when_woken(image: Image, kind: Kind) -> Outcome {
    with_device(image, kind, |edu, handle| {
        // The driver waits a second for the device before it lets it sleep. How long the device
        // takes is a matter of the host: if it was done by then, it gets more to do.
        let mut work = 1_500_000_000_u32;
        let mut cancelled = 0;
        while cancelled < 2 {
            handle.factorial(3)?;
            edu.keep_busy(work);
            let sent = send_some(handle);
            edu.node.set_system_power(PowerSystemSleeping3);
            let meanwhile = send_some(handle);
            edu.node.set_system_power(PowerSystemWorking);
            let still_computing = edu.is_busy();
            // The first is the one that the driver had begun when it gave up waiting.
            let left = if still_computing { cancelled } else { 0 };
            for (_, first) in sent.iter().take(left) {
                first.cancel();
            }
            check_all(&sent[left..])?;
            check_all(&meanwhile)?;
            if still_computing {
                cancelled += 1;
            } else {
                require!(work < u32::MAX, "the device is too fast for this test");
                work = work.saturating_mul(2);
            }
        }
        Ok(())
    })
}

fn a_device_that_still_computes_when_it_wakes_gives_right_results_by_message(
    image: Image,
) -> Outcome {
    still_computing_when_woken(image, Kind::Message)
}

fn a_device_that_still_computes_when_it_wakes_gives_right_results_by_line(image: Image) -> Outcome {
    still_computing_when_woken(image, Kind::Line)
}

fn nobody_opens_a_device_whose_removal_is_pending(image: Image) -> Outcome {
    with_device(image, Kind::Message, |edu, handle| {
        let status = Status(edu.node.query_remove());
        require!(status.0 >= 0, "QUERY_REMOVE returned {status}");
        let Err(why) = edu.open() else {
            return Err("the device was opened".into());
        };
        require!(why.contains("STATUS_DELETE_PENDING"), "{why}");
        edu.node.cancel_remove();
        edu.open()?.0.close();
        handle.factorial(GREATEST).map(drop)
    })
}

fn the_interrupt_is_inactive_while_the_device_sleeps(image: Image) -> Outcome {
    with_device(image, Kind::Line, |edu, handle| {
        let is_active = || {
            edu.node.interrupts().iter().all(|one| EXECUTIVE.is_active(one.vector()) == Some(true))
        };
        for _ in 0..3 {
            handle.factorial(GREATEST)?;
            require!(is_active(), "the interrupt of a device that is awake is inactive");
            edu.node.set_system_power(PowerSystemSleeping3);
            require!(!is_active(), "the interrupt of a device that sleeps is active");
            edu.node.set_system_power(PowerSystemWorking);
        }
        Ok(())
    })
}

fn removal_while_asleep_leaves_nothing(image: Image) -> Outcome {
    let driver = load(image)?;
    let edu = Edu::started(&driver, Kind::Message)?;
    let handle = edu.open()?;
    edu.node.set_system_power(PowerSystemSleeping3);
    let sent = send_some(&handle);
    edu.node.unplug();
    edu.node.surprise_removal();
    let removed = removed_or_right(sent)?;
    require!(removed > 0, "no request was pending when the device went");
    handle.0.close();
    edu.node.remove();
    driver.unload();
    Ok(())
}

fn two_devices_share_a_line(image: Image) -> Outcome {
    let driver = load(image)?;
    let first = Edu::started(&driver, Kind::Line)?;
    let second = Edu::add(&driver, 1)?;
    second.start(Kind::Line, 5, 1)?;
    require!(
        first.node.interrupts() == second.node.interrupts(),
        "the two devices do not have the same line: put them into slots that are equal modulo 4"
    );
    let handles = [first.open()?, second.open()?];
    for _ in 0..10 {
        let sent: Vec<_> = handles.iter().flat_map(send_some).collect();
        check_all(&sent)?;
    }
    let strange: u64 = handles
        .iter()
        .map(|handle| handle.statistics().map(|one| one.not_mine))
        .sum::<Outcome<_>>()?;
    require!(strange > 0, "neither service routine was ever called for the other's interrupt");
    for handle in handles {
        handle.0.close();
    }
    second.node.remove();
    finish(driver, &first)
}

fn one_of_two_on_a_line_goes_and_the_other_works_on(image: Image) -> Outcome {
    let driver = load(image)?;
    let first = Edu::started(&driver, Kind::Line)?;
    let second = Edu::add(&driver, 1)?;
    second.start(Kind::Line, 5, 1)?;
    let (handle, gone) = (first.open()?, second.open()?);
    let sent = send_some(&handle);
    let lost = send_some(&gone);
    second.node.unplug();
    second.node.surprise_removal();
    removed_or_right(lost)?;
    check_all(&sent)?;
    drop(sent);
    gone.0.close();
    second.node.remove();
    check_all(&send_some(&handle))?;
    handle.0.close();
    finish(driver, &first)
}
