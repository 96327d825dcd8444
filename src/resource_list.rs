//! CM resource lists as bytes.
//!
//! A `CM_RESOURCE_LIST` is a sequence of structures of varying length, packed to four bytes, with
//! unions told apart by flags. It is read word by word, every length checked.

use core::slice;

use crate::irql::Irql;
use crate::nt;

/// Size of a `CM_RESOURCE_LIST` before its first full descriptor.
const LIST_HEADER: usize = 4;
/// Size of a `CM_FULL_RESOURCE_DESCRIPTOR` before its first partial descriptor.
const FULL_HEADER: usize = 16;
/// Offset of the partial descriptors' count in a `CM_FULL_RESOURCE_DESCRIPTOR`.
const FULL_COUNT: usize = 12;
/// Size of a `CM_PARTIAL_RESOURCE_DESCRIPTOR`.
const DESCRIPTOR: usize = 20;

const TYPE_INTERRUPT: u8 = 2;
const TYPE_DEVICE_SPECIFIC: u8 = 5;
const SHARE_SHARED: u8 = 3;
const FLAG_LATCHED: u16 = 1;
const FLAG_MESSAGE: u16 = 2;

// The figures above are those of the back end's headers.
const _: () = {
    assert!(LIST_HEADER == core::mem::offset_of!(nt::CM_RESOURCE_LIST, List));
    assert!(
        FULL_HEADER
            == core::mem::offset_of!(nt::CM_FULL_RESOURCE_DESCRIPTOR, PartialResourceList)
                + core::mem::offset_of!(nt::CM_PARTIAL_RESOURCE_LIST, PartialDescriptors)
    );
    assert!(
        FULL_COUNT
            == core::mem::offset_of!(nt::CM_FULL_RESOURCE_DESCRIPTOR, PartialResourceList)
                + core::mem::offset_of!(nt::CM_PARTIAL_RESOURCE_LIST, Count)
    );
    assert!(DESCRIPTOR == size_of::<nt::CM_PARTIAL_RESOURCE_DESCRIPTOR>());
    assert!(TYPE_INTERRUPT as u32 == nt::CmResourceTypeInterrupt);
    assert!(TYPE_DEVICE_SPECIFIC as u32 == nt::CmResourceTypeDeviceSpecific);
    assert!(SHARE_SHARED as i32 == nt::_CM_SHARE_DISPOSITION::CmResourceShareShared);
    assert!(FLAG_LATCHED as u32 == nt::CM_RESOURCE_INTERRUPT_LATCHED);
    assert!(FLAG_MESSAGE as u32 == nt::CM_RESOURCE_INTERRUPT_MESSAGE);
};

/// The bytes of a `CM_RESOURCE_LIST`, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List<'a>(&'a [u8]);

/// What of a descriptor the two lists must agree on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Line,
    Message,
    Other,
}

/// The bytes of a `CM_PARTIAL_RESOURCE_DESCRIPTOR`.
#[derive(Clone, Copy)]
pub(crate) struct Descriptor<'a>(&'a [u8; DESCRIPTOR]);

/// The descriptors of a list, in order; ends after an error, which is the offset it lies at.
pub(crate) struct Descriptors<'a> {
    bytes: &'a [u8],
    offset: usize,
    /// Full descriptors not begun yet; unknown until the list's header has been read.
    full: Option<u32>,
    /// Partial descriptors left in the current full descriptor.
    partial: u32,
}

impl<'a> List<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes of a complete list.
    ///
    /// # Safety
    ///
    /// `list` is NULL, or to a complete list that stays as it is during `'a`.
    pub(crate) const unsafe fn bytes_of(list: *const nt::CM_RESOURCE_LIST) -> &'a [u8] {
        if list.is_null() {
            return &[];
        }
        let mut length = LIST_HEADER;
        // SAFETY: a complete list has its count.
        let mut full = unsafe { read_u32(list.cast(), 0) };
        while full > 0 {
            // SAFETY: the list has another full descriptor, which begins here.
            let mut partial = unsafe { read_u32(list.cast(), length + FULL_COUNT) };
            length += FULL_HEADER;
            while partial > 0 {
                // SAFETY: the full descriptor has another partial one, which begins here.
                let head = unsafe { read_u32(list.cast(), length) };
                if head.to_le_bytes()[0] == TYPE_DEVICE_SPECIFIC {
                    // SAFETY: as above; the size of what follows is its second word.
                    length += unsafe { read_u32(list.cast(), length + 4) } as usize;
                }
                length += DESCRIPTOR;
                partial -= 1;
            }
            full -= 1;
        }
        // SAFETY: the list is as long as its counts say, and stays as it is (caller).
        unsafe { slice::from_raw_parts(list.cast(), length) }
    }

    pub(crate) const fn descriptors(self) -> Descriptors<'a> {
        Descriptors { bytes: self.0, offset: 0, full: None, partial: 0 }
    }
}

/// Reads the word at `offset` behind `base`.
///
/// # Safety
///
/// It is there, initialised.
const unsafe fn read_u32(base: *const u8, offset: usize) -> u32 {
    // SAFETY: the word is there (caller), so its address is within the object.
    let word = unsafe { base.add(offset) };
    // SAFETY: readable (caller); nothing is promised of its alignment.
    unsafe { word.cast::<u32>().read_unaligned() }
}

impl<'a> Descriptors<'a> {
    /// The next `N` bytes, or the offset at which they are missing.
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], usize> {
        let taken = self.bytes.get(self.offset..).and_then(<[u8]>::first_chunk).ok_or(self.offset);
        self.offset += N;
        taken
    }

    fn advance(&mut self) -> Result<Option<Descriptor<'a>>, usize> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        while self.partial == 0 {
            let full = match self.full {
                Some(full) => full,
                None => u32::from_le_bytes(*self.take()?),
            };
            self.full = Some(full.saturating_sub(1));
            if full == 0 {
                return Ok(None);
            }
            let header = self.take::<FULL_HEADER>()?;
            self.partial = word(header, FULL_COUNT);
        }
        self.partial -= 1;
        let descriptor = Descriptor(self.take()?);
        if descriptor.0[0] == TYPE_DEVICE_SPECIFIC {
            let begin = self.offset;
            let end = begin.saturating_add(word(descriptor.0, 4) as usize);
            if end > self.bytes.len() {
                return Err(begin);
            }
            self.offset = end;
        }
        Ok(Some(descriptor))
    }
}

impl<'a> Iterator for Descriptors<'a> {
    type Item = Result<Descriptor<'a>, usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if matches!(next, Some(Err(_)) | None) {
            *self = List(&[]).descriptors();
        }
        next
    }
}

/// The little-endian word at a constant `offset` in a header or descriptor.
fn word<const N: usize>(bytes: &[u8; N], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(word)
}

impl Descriptor<'_> {
    fn flags(self) -> u16 {
        word(self.0, 0).to_le_bytes().last_chunk().map_or(0, |&flags| u16::from_le_bytes(flags))
    }

    pub(crate) fn kind(self) -> Kind {
        if self.0[0] != TYPE_INTERRUPT {
            Kind::Other
        } else if self.flags() & FLAG_MESSAGE == 0 {
            Kind::Line
        } else {
            Kind::Message
        }
    }

    /// Of a translated interrupt descriptor: the lower half of its level word.
    pub(crate) fn level(self) -> u16 {
        (word(self.0, 4) & 0xFFFF) as u16
    }

    /// Of a translated interrupt descriptor: the processor group.
    ///
    /// With `NT_PROCESSOR_GROUPS`, which wdk-sys does not define, it is the upper half of the
    /// level word.
    pub(crate) fn group(self) -> u16 {
        (word(self.0, 4) >> 16) as u16
    }

    /// Of a raw interrupt descriptor: how many consecutive vectors it stands for, at least one.
    ///
    /// A message descriptor's count is the upper half of its first word. In a translated one these
    /// bytes are the group.
    pub(crate) fn vector_count(self) -> u32 {
        match self.kind() {
            Kind::Message => (word(self.0, 4) >> 16).max(1),
            Kind::Line | Kind::Other => 1,
        }
    }

    /// Of a translated interrupt descriptor: the (first) vector.
    pub(crate) fn vector(self) -> u32 {
        word(self.0, 8)
    }

    /// Of a translated interrupt descriptor: the processors that it can interrupt.
    pub(crate) fn affinity(self) -> u64 {
        u64::from(word(self.0, 12)) | u64::from(word(self.0, 16)) << 32
    }

    /// Of a translated interrupt descriptor: latched, not level-sensitive.
    pub(crate) fn is_latched(self) -> bool {
        self.flags() & FLAG_LATCHED != 0
    }

    /// Whether the share disposition is `CmResourceShareShared`. The others are not zero either.
    pub(crate) const fn is_shared(self) -> bool {
        self.0[1] == SHARE_SHARED
    }

    /// Of a translated interrupt descriptor; `None` if its level is no IRQL.
    pub(crate) fn irql(self) -> Option<Irql> {
        u8::try_from(self.level()).ok().filter(|&level| level <= HIGH_LEVEL).map(Irql::from_raw)
    }
}

/// The highest IRQL there is, on x64 and Arm64.
const HIGH_LEVEL: u8 = 15;
