//! What must hold for any bytes that are said to be resource lists. Shared by the tests and the
//! fuzzer.
//!
//! `InterruptResources::parse` is safe and takes any bytes. `from_start_device` is not: its caller
//! promises two complete lists, so it is given those only, each in an allocation of exactly its
//! size, where `AddressSanitizer` sees what is read outside.

use std::ptr;

use wdm_interrupt::{CM_RESOURCE_LIST, InterruptMode, InterruptResource, InterruptResources};

use crate::naive::{self, Interrupt};

/// Two lists in one input: the length of the raw one in two bytes, then both. With a length of
/// 65535 the same bytes are both, as lists that agree are not found easily.
pub(crate) fn split(input: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, lists)) = input.split_first_chunk() else { return (&[], &[]) };
    match u16::from_le_bytes(*length) {
        u16::MAX => (lists, lists),
        length => lists.split_at(usize::from(length).min(lists.len())),
    }
}

/// Reads two lists in every way there is, and compares.
///
/// # Panics
///
/// If the library does not read them as the naive parser does.
pub(crate) fn check(raw: &[u8], translated: &[u8]) {
    // Of exactly this size each.
    let (raw, translated) = (Box::from(raw), Box::from(translated));
    let expected = naive::interrupts(&raw, &translated);
    match InterruptResources::parse(&raw, &translated) {
        Ok(resources) => {
            let expected = expected.expect("the library takes these lists");
            compare(&resources, &expected);
        }
        Err(error) => {
            assert_eq!(Err(error), expected);
            assert!(!error.to_string().is_empty());
        }
    }
    check_complete(&raw, &translated);
}

/// Lists behind pointers, if they are complete.
fn check_complete(raw: &[u8], translated: &[u8]) {
    let (Some(raw), Some(translated)) = (complete(raw), complete(translated)) else { return };
    let pointer = |list: &[u8]| -> *const CM_RESOURCE_LIST {
        if list.is_empty() { ptr::null() } else { list.as_ptr().cast() }
    };
    // SAFETY: each is NULL, or to a list that is complete and stays.
    let read =
        unsafe { InterruptResources::from_start_device(pointer(&raw), pointer(&translated)) };
    match (read, naive::interrupts(&raw, &translated)) {
        (Ok(resources), Ok(expected)) => compare(&resources, &expected),
        (read, expected) => assert_eq!(read.err(), expected.err()),
    }
}

/// As much of the bytes as are the list, if all of it is there.
fn complete(list: &[u8]) -> Option<Box<[u8]>> {
    let (_descriptors, end) = naive::descriptors(list);
    end.ok().map(|end| Box::from(&list[..end]))
}

/// The interrupts are those that are expected, in their order; there are no others.
fn compare(resources: &InterruptResources<'_>, expected: &[Interrupt]) {
    let mut found = resources.iter();
    let mut messages = 0;
    for expected in expected {
        for offset in 0..expected.count {
            let found = found.next().expect("an interrupt for each vector");
            compare_one(&found, expected, offset);
        }
        messages += if expected.is_message { expected.count } else { 0 };
    }
    assert_eq!(found.next(), None);
    assert_eq!(resources.message_count(), messages);
}

fn compare_one(found: &InterruptResource, expected: &Interrupt, offset: u32) {
    let mode =
        if expected.is_latched { InterruptMode::Latched } else { InterruptMode::LevelSensitive };
    assert_eq!(found.vector(), expected.vector + offset);
    assert_eq!(found.irql().to_raw(), expected.irql);
    assert_eq!(found.group(), expected.group);
    assert_eq!(found.affinity(), expected.affinity);
    assert_eq!(found.mode(), mode);
    assert_eq!(found.is_shared(), expected.is_shared);
    assert_eq!(found.is_message(), expected.is_message);
}
