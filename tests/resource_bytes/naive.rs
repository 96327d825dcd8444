//! What two resource lists say, read from their bytes in the plainest way: everything is a vector,
//! and nothing is clever.

use wdm_interrupt::ResourceError;

/// A descriptor's bytes.
type Descriptor = [u8; 20];

/// An interrupt, as the descriptor words have it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Interrupt {
    pub(crate) is_message: bool,
    pub(crate) is_shared: bool,
    pub(crate) is_latched: bool,
    pub(crate) irql: u8,
    pub(crate) group: u16,
    pub(crate) vector: u32,
    pub(crate) affinity: u64,
    /// How many vectors from the first on.
    pub(crate) count: u32,
}

/// The descriptors of a list, and where more of it is missing, or where it ends.
pub(crate) fn descriptors(list: &[u8]) -> (Vec<Descriptor>, Result<usize, usize>) {
    let mut found = Vec::new();
    if list.is_empty() {
        return (found, Ok(0));
    }
    let end = walk(list, &mut found);
    (found, end)
}

/// Steps from structure to structure. The error is the offset of the first that is not all there.
fn walk(list: &[u8], found: &mut Vec<Descriptor>) -> Result<usize, usize> {
    let mut offset = 0;
    for _ in 0..word(list, offset)? {
        if offset == 0 {
            offset = 4;
        }
        // Interface type, bus number, version and revision; then how many there are.
        if offset + 16 > list.len() {
            return Err(offset);
        }
        let partial = word(list, offset + 12)?;
        offset += 16;
        for _ in 0..partial {
            let descriptor = list.get(offset..offset + 20).ok_or(offset)?;
            offset += 20;
            if descriptor[0] == 5 {
                // CmResourceTypeDeviceSpecific: so many bytes follow.
                let size = word(descriptor, 4)? as usize;
                if size > list.len() - offset {
                    return Err(offset);
                }
                offset += size;
            }
            found.push(descriptor.try_into().expect("20 bytes"));
        }
    }
    Ok(offset.max(4))
}

fn word(bytes: &[u8], offset: usize) -> Result<u32, usize> {
    let word = bytes.get(offset..offset + 4).ok_or(offset)?;
    Ok(u32::from_le_bytes(word.try_into().expect("4 bytes")))
}

/// Line, message, or neither.
fn kind(descriptor: &Descriptor) -> Option<bool> {
    (descriptor[0] == 2).then_some(descriptor[2] & 2 != 0)
}

/// The interrupts of a pair of lists.
pub(crate) fn interrupts(raw: &[u8], translated: &[u8]) -> Result<Vec<Interrupt>, ResourceError> {
    let ((raw, raw_end), (translated, translated_end)) =
        (descriptors(raw), descriptors(translated));
    let mut interrupts = Vec::new();
    for index in 0.. {
        let (raw, translated) = match (raw.get(index), translated.get(index)) {
            (Some(raw), Some(translated)) => (raw, translated),
            (first, second) => {
                return match (first, raw_end, second, translated_end) {
                    (None, Err(offset), ..) => Err(ResourceError::RawCutShort { offset }),
                    (.., None, Err(offset)) => Err(ResourceError::TranslatedCutShort { offset }),
                    (None, Ok(_), None, Ok(_)) => Ok(interrupts),
                    _ => Err(ResourceError::DifferentLengths { index }),
                };
            }
        };
        if kind(raw) != kind(translated) {
            return Err(ResourceError::DifferentKinds { index });
        }
        let Some(is_message) = kind(raw) else { continue };
        let level = u16::from_le_bytes([translated[4], translated[5]]);
        if level > 15 {
            return Err(ResourceError::NoIrql { index, level });
        }
        let vector = u32::from_le_bytes(translated[8..12].try_into().expect("4 bytes"));
        let messages = u32::from(u16::from_le_bytes([raw[6], raw[7]])).max(1);
        let count = if is_message { messages } else { 1 };
        if u64::from(vector) + u64::from(count) - 1 > u64::from(u32::MAX) {
            return Err(ResourceError::NoVectors { index });
        }
        interrupts.push(Interrupt {
            is_message,
            is_shared: translated[1] == 3,
            is_latched: translated[2] & 1 != 0,
            irql: translated[4],
            group: u16::from_le_bytes([translated[6], translated[7]]),
            vector,
            affinity: u64::from_le_bytes(translated[12..20].try_into().expect("8 bytes")),
            count,
        });
    }
    unreachable!("lists end")
}
