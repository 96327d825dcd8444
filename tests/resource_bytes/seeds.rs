//! The lists that the fuzzer begins with: what devices get, and what is wrong in one place.

/// A `CM_PARTIAL_RESOURCE_DESCRIPTOR`.
type Descriptor = [u8; 20];

const EXCLUSIVE: u8 = 1;
const SHARED: u8 = 3;
const LEVEL: u16 = 0;
const LATCHED: u16 = 1;
const MESSAGE: u16 = 2 | LATCHED;

/// Type, share disposition and flags; then four words.
fn descriptor(kind: u8, share: u8, flags: u16, words: [u32; 4]) -> Descriptor {
    let mut bytes = [0; 20];
    bytes[..2].copy_from_slice(&[kind, share]);
    bytes[2..4].copy_from_slice(&flags.to_le_bytes());
    for (place, word) in bytes[4..].as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *place = word.to_le_bytes();
    }
    bytes
}

fn memory(start: u32, length: u32) -> Descriptor {
    descriptor(3, EXCLUSIVE, 0, [start, 0, length, 0])
}

fn port(start: u32, length: u32) -> Descriptor {
    descriptor(1, EXCLUSIVE, 1, [start, 0, length, 0])
}

/// Raw: the same pin as level and vector. Translated: IRQL and vector.
fn line(level: u32, vector: u32) -> Descriptor {
    descriptor(2, SHARED, LEVEL, [level, vector, 0b1111, 0])
}

/// Raw: the count in the upper half of the first word. Translated: the group there, and the IRQL.
fn message(first: u32, vector: u32) -> Descriptor {
    descriptor(2, EXCLUSIVE, MESSAGE, [first, vector, 0b1111, 0])
}

fn device_specific(data: &[u8]) -> Vec<u8> {
    let size = u32::try_from(data.len()).expect("it is short");
    let mut bytes = descriptor(5, EXCLUSIVE, 0, [size, 0, 0, 0]).to_vec();
    bytes.extend(data);
    bytes
}

/// A `CM_RESOURCE_LIST` with a full descriptor for each bus, of so many descriptors.
fn buses(buses: &[(u32, &[u8])]) -> Vec<u8> {
    let mut bytes = u32::try_from(buses.len()).expect("few").to_le_bytes().to_vec();
    for (count, descriptors) in buses {
        // PCIBus, bus 0; version 1, revision 1.
        for word in [5, 0, 0x0001_0001, *count] {
            bytes.extend(u32::to_le_bytes(word));
        }
        bytes.extend(*descriptors);
    }
    bytes
}

fn list(descriptors: &[Descriptor]) -> Vec<u8> {
    buses(&[(u32::try_from(descriptors.len()).expect("few"), &descriptors.concat())])
}

fn pair(raw: &[u8], translated: &[u8]) -> Vec<u8> {
    let length = u16::try_from(raw.len()).expect("it is short").to_le_bytes();
    [&length, raw, translated].concat()
}

fn twice(list: &[u8]) -> Vec<u8> {
    [&u16::MAX.to_le_bytes(), list].concat()
}

/// Each seed, and the name of its file.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let registers = memory(0xFEA0_0000, 0x10_0000);
    let edu_message =
        [list(&[registers, message(0x0001_0000, 0)]), list(&[registers, message(5, 0x50)])];
    let e1000e = [
        vec![memory(0xFEB8_0000, 0x2_0000), memory(0xFEBA_0000, 0x2_0000), port(0xC000, 0x20)],
        vec![memory(0xFEBD_0000, 0x4000)],
    ]
    .concat();
    let messages = |first: fn(u32) -> Descriptor| {
        list(&[&e1000e[..], &(0..5).map(first).collect::<Vec<_>>()].concat())
    };
    let with_data = [&device_specific(b"seven b")[..], &line(5, 0x51)].concat();
    let too_much_data = descriptor(5, EXCLUSIVE, 0, [u32::MAX, 0, 0, 0]);
    let cut = &edu_message[1][..edu_message[1].len() - 3];
    vec![
        ("edu-line", pair(&list(&[registers, line(11, 11)]), &list(&[registers, line(5, 0x51)]))),
        ("edu-message", pair(&edu_message[0], &edu_message[1])),
        (
            "e1000e-five-messages",
            pair(
                &messages(|_| message(0x0001_0000, 0)),
                &messages(|index| message(6 + index, 0x60 + index * 0x10)),
            ),
        ),
        ("msi-four-in-one", pair(&list(&[message(0x0004_0000, 0)]), &list(&[message(7, 0x70)]))),
        (
            "msi-more-than-vectors",
            pair(&list(&[message(0xFFFF_0000, 0)]), &list(&[message(7, u32::MAX - 1)])),
        ),
        ("group-two", pair(&list(&[line(9, 9)]), &list(&[line(0x0002_0006, 0x60)]))),
        ("latched", twice(&list(&[descriptor(2, EXCLUSIVE, LATCHED, [7, 0x71, 1, 0])]))),
        ("no-irql", twice(&list(&[line(16, 0x51)]))),
        ("two-buses", twice(&buses(&[(1, &line(5, 0x51)), (0, &[]), (1, &line(6, 0x61))]))),
        ("device-specific", twice(&buses(&[(2, &with_data)]))),
        ("device-specific-past-the-end", twice(&list(&[too_much_data]))),
        ("other-kinds", pair(&list(&[registers]), &list(&[line(5, 0x51)]))),
        ("other-length", pair(&list(&[registers]), &list(&[registers, line(5, 0x51)]))),
        ("cut-raw", pair(cut, &edu_message[1])),
        ("cut-translated", pair(&edu_message[0], cut)),
        ("count-of-all-ones", twice(&buses(&[(u32::MAX, &line(5, 0x51))]))),
        ("buses-of-all-ones", twice(&[[0xFF; 4].as_slice(), &list(&[])[4..]].concat())),
        ("bytes-behind-the-end", twice(&[&edu_message[1][..], &[0xEE; 9]].concat())),
        ("no-descriptors", twice(&list(&[]))),
        ("no-buses", twice(&buses(&[]))),
        ("nothing", twice(&[])),
    ]
}
