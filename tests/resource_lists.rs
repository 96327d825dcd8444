//! Reading the PnP manager's resource lists: what they say, and what is wrong with bad ones.

use wdm_interrupt::{InterruptMode, InterruptResource, InterruptResources, Irql, ResourceError};

/// A `CM_PARTIAL_RESOURCE_DESCRIPTOR`: type, share disposition, flags, then the union's 16 bytes.
type Descriptor = [u8; 20];

const INTERRUPT: u8 = 2;
const MEMORY: u8 = 3;
const DEVICE_SPECIFIC: u8 = 5;
const EXCLUSIVE: u8 = 1;
const SHARED: u8 = 3;
const LEVEL: u16 = 0;
const LATCHED: u16 = 1;
const MESSAGE: u16 = 2;

fn descriptor(
    kind: u8,
    share: u8,
    flags: u16,
    first: u32,
    vector: u32,
    affinity: u64,
) -> Descriptor {
    let mut bytes = [0; 20];
    bytes[0] = kind;
    bytes[1] = share;
    bytes[2..4].copy_from_slice(&flags.to_le_bytes());
    bytes[4..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..12].copy_from_slice(&vector.to_le_bytes());
    bytes[12..20].copy_from_slice(&affinity.to_le_bytes());
    bytes
}

fn line(irql: u32, vector: u32) -> Descriptor {
    descriptor(INTERRUPT, SHARED, LEVEL, irql, vector, 0b11)
}

fn messages_raw(count: u16) -> Descriptor {
    descriptor(INTERRUPT, EXCLUSIVE, LATCHED | MESSAGE, u32::from(count) << 16, 0, 0b1111)
}

fn messages_translated(irql: u32, vector: u32) -> Descriptor {
    descriptor(INTERRUPT, EXCLUSIVE, LATCHED | MESSAGE, irql, vector, 0b1111)
}

/// A `CM_RESOURCE_LIST` with one full descriptor.
fn list(descriptors: &[Descriptor]) -> Vec<u8> {
    lists(&[descriptors])
}

/// A `CM_RESOURCE_LIST` with a full descriptor for each of `buses`.
fn lists(buses: &[&[Descriptor]]) -> Vec<u8> {
    let mut bytes = u32::try_from(buses.len()).unwrap().to_le_bytes().to_vec();
    for descriptors in buses {
        bytes.extend([0; 12]);
        bytes.extend(u32::try_from(descriptors.len()).unwrap().to_le_bytes());
        bytes.extend(descriptors.concat());
    }
    bytes
}

fn read(raw: &[u8], translated: &[u8]) -> Result<Vec<InterruptResource>, ResourceError> {
    InterruptResources::parse(raw, translated).map(|interrupts| interrupts.iter().collect())
}

#[test]
fn a_line_is_read_from_the_translated_list() {
    let raw = list(&[line(11, 11)]);
    let translated = list(&[line(5, 0x51)]);
    let [line] = read(&raw, &translated).unwrap()[..] else { panic!("one interrupt") };
    assert!(!line.is_message());
    assert_eq!(line.vector(), 0x51);
    assert_eq!(line.irql(), Irql::from_raw(5));
    assert_eq!(line.affinity(), 0b11);
    assert_eq!(line.group(), 0);
    assert_eq!(line.mode(), InterruptMode::LevelSensitive);
    assert!(line.is_shared());
}

#[test]
fn exclusive_is_not_shared_though_it_is_not_zero() {
    let exclusive = list(&[descriptor(INTERRUPT, EXCLUSIVE, LEVEL, 5, 0x51, 1)]);
    assert!(!read(&exclusive, &exclusive).unwrap()[0].is_shared());
}

#[test]
fn the_message_count_comes_from_the_raw_list_and_the_rest_from_the_translated_one() {
    let raw = list(&[messages_raw(4)]);
    let translated = list(&[messages_translated(7, 0x70)]);
    let messages = read(&raw, &translated).unwrap();
    let vectors: Vec<_> = messages.iter().map(InterruptResource::vector).collect();
    assert_eq!(vectors, [0x70, 0x71, 0x72, 0x73]);
    assert!(messages.iter().all(InterruptResource::is_message));
    assert!(messages.iter().all(|message| message.mode() == InterruptMode::Latched));
}

#[test]
fn the_group_is_the_upper_half_of_the_level() {
    let translated = list(&[line(0x0002_0006, 0x60)]);
    let [line] = read(&translated, &translated).unwrap()[..] else { panic!("one interrupt") };
    assert_eq!((line.group(), line.irql()), (2, Irql::from_raw(6)));
}

#[test]
fn interrupts_are_found_among_other_resources_and_on_every_bus() {
    let memory = descriptor(MEMORY, EXCLUSIVE, 0, 0xFEA0_0000, 0, 0x10_0000);
    let raw = lists(&[&[memory, line(1, 1)], &[], &[memory, messages_raw(1)]]);
    let translated =
        lists(&[&[memory, line(5, 0x50)], &[], &[memory, messages_translated(6, 0x60)]]);
    let vectors: Vec<_> =
        read(&raw, &translated).unwrap().iter().map(InterruptResource::vector).collect();
    assert_eq!(vectors, [0x50, 0x60]);
}

#[test]
fn device_specific_data_is_stepped_over() {
    let mut bytes = list(&[descriptor(DEVICE_SPECIFIC, 0, 0, 6, 0, 0)]);
    bytes.extend([0xEE; 6]);
    bytes[0] = 2;
    bytes.extend([0; 12]);
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(line(5, 0x52));
    assert_eq!(read(&bytes, &bytes).unwrap()[0].vector(), 0x52);
}

#[test]
fn device_specific_data_may_be_the_last_there_is() {
    let mut bytes = list(&[line(5, 0x52), descriptor(DEVICE_SPECIFIC, 0, 0, 6, 0, 0)]);
    bytes.extend([0xEE; 6]);
    assert_eq!(read(&bytes, &bytes).unwrap().len(), 1);
}

#[test]
fn an_affinity_has_64_bits() {
    const AFFINITY: u64 = 0x8000_0001_4000_0002;
    let list = list(&[descriptor(INTERRUPT, SHARED, LEVEL, 5, 0x51, AFFINITY)]);
    assert_eq!(read(&list, &list).unwrap()[0].affinity(), AFFINITY);
}

#[test]
fn no_list_and_an_empty_list_have_no_interrupt() {
    assert_eq!(read(&[], &[]).unwrap(), []);
    assert_eq!(read(&list(&[]), &list(&[])).unwrap(), []);
    assert_eq!(read(&[], &list(&[])).unwrap(), []);
    // SAFETY: NULL is allowed for both.
    let none = unsafe { InterruptResources::from_start_device(std::ptr::null(), std::ptr::null()) };
    assert_eq!(none.unwrap().iter().count(), 0);
}

#[test]
fn lists_of_different_length_are_an_error() {
    let (one, two) = (list(&[line(5, 0x50)]), list(&[line(5, 0x50), line(5, 0x51)]));
    assert_eq!(read(&one, &two), Err(ResourceError::DifferentLengths { index: 1 }));
    assert_eq!(read(&two, &one), Err(ResourceError::DifferentLengths { index: 1 }));
    assert_eq!(read(&[], &one), Err(ResourceError::DifferentLengths { index: 0 }));
}

#[test]
fn lists_of_different_kinds_are_an_error() {
    let memory = descriptor(MEMORY, EXCLUSIVE, 0, 0xFEA0_0000, 0, 0x10_0000);
    let (line, memory, message) =
        (list(&[line(5, 0x50)]), list(&[memory]), list(&[messages_translated(5, 0x50)]));
    for (raw, translated) in [(&line, &memory), (&memory, &line), (&line, &message)] {
        assert_eq!(read(raw, translated), Err(ResourceError::DifferentKinds { index: 0 }));
    }
}

#[test]
fn a_list_cut_short_anywhere_is_an_error_and_nothing_is_read_outside() {
    let whole = lists(&[&[line(5, 0x50), line(6, 0x60)], &[messages_raw(1)]]);
    assert_eq!(read(&whole, &whole).unwrap().len(), 3);
    for length in 1..whole.len() {
        // A copy of its own, so that a sanitizer would see a read behind its end.
        let cut = whole[..length].to_vec();
        let error = read(&cut, &whole).unwrap_err();
        assert!(
            matches!(error, ResourceError::RawCutShort { offset } if offset <= length),
            "{error}"
        );
        let error = read(&whole, &cut).unwrap_err();
        assert!(matches!(error, ResourceError::TranslatedCutShort { .. }), "{error}");
    }
}

#[test]
fn counts_past_the_end_are_an_error() {
    let mut list = list(&[line(5, 0x50)]);
    list[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(read(&list, &list), Err(ResourceError::RawCutShort { offset: 40 }));
    list[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
    list[16..20].copy_from_slice(&1_u32.to_le_bytes());
    assert_eq!(read(&list, &list), Err(ResourceError::RawCutShort { offset: 40 }));
}

#[test]
fn device_specific_data_past_the_end_is_an_error() {
    let list = list(&[descriptor(DEVICE_SPECIFIC, 0, 0, u32::MAX, 0, 0)]);
    assert_eq!(read(&list, &list), Err(ResourceError::RawCutShort { offset: 40 }));
}

#[test]
fn a_level_that_is_no_irql_is_an_error() {
    let translated = list(&[line(16, 0x50)]);
    assert_eq!(read(&translated, &translated), Err(ResourceError::NoIrql { index: 0, level: 16 }));
}

#[test]
fn more_messages_than_there_are_vectors_are_an_error() {
    let raw = list(&[messages_raw(3)]);
    let fits = list(&[messages_translated(5, u32::MAX - 2)]);
    assert_eq!(read(&raw, &fits).unwrap().len(), 3);
    let too_high = list(&[messages_translated(5, u32::MAX - 1)]);
    assert_eq!(read(&raw, &too_high), Err(ResourceError::NoVectors { index: 0 }));
}

#[test]
fn a_complete_list_behind_a_pointer_is_read_whole_and_no_further() {
    let mut bytes = lists(&[&[line(5, 0x50)], &[descriptor(DEVICE_SPECIFIC, 0, 0, 6, 0, 0)]]);
    bytes.extend([0xEE; 6]);
    bytes[0] = 3;
    bytes.extend(&lists(&[&[line(6, 0x60), line(7, 0x70)]])[4..]);
    // Whatever is taken for a count behind the end, or before its place, is enormous.
    bytes.extend([0xFF; 4096]);
    // SAFETY: the list is complete and outlives the use.
    let interrupts = unsafe {
        InterruptResources::from_start_device(bytes.as_ptr().cast(), bytes.as_ptr().cast())
    };
    let vectors: Vec<_> = interrupts.unwrap().iter().map(|interrupt| interrupt.vector()).collect();
    assert_eq!(vectors, [0x50, 0x60, 0x70]);
}
