//! Resource lists, as the PnP manager would hand them to a driver.

use std::vec::Vec;

use crate::{
    executive::Assigned,
    nt::{
        _CM_SHARE_DISPOSITION, _INTERFACE_TYPE, CM_RESOURCE_INTERRUPT_LATCHED,
        CM_RESOURCE_INTERRUPT_MESSAGE, CM_RESOURCE_LIST, CmResourceTypeInterrupt,
        CmResourceTypeMemory,
    },
};

/// A `CM_RESOURCE_LIST` with all its descriptors, aligned as one.
pub(super) struct ResourceList {
    words: Vec<u32>,
}

impl ResourceList {
    pub(super) const fn pointer(&self) -> *const CM_RESOURCE_LIST {
        self.words.as_ptr().cast()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// A list with the device's registers and these interrupts.
    fn new(interrupts: impl Iterator<Item = [u32; 5]>) -> Self {
        let memory = [head(CmResourceTypeMemory, 1, 0), 0xFEBF_0000, 0, 0x1000, 0];
        let descriptors: Vec<_> = core::iter::once(memory).chain(interrupts).collect();
        let count = descriptors.iter().map(|_| 1).sum();
        let interface = _INTERFACE_TYPE::PCIBus.cast_unsigned();
        let mut words: Vec<u32> = [1, interface, 0, 0x0001_0001, count].into();
        words.extend(descriptors.iter().flatten());
        Self { words }
    }

    /// The list of what the bus knows: pins and message counts.
    pub(super) fn raw(promised: &[Promised]) -> Self {
        Self::new(promised.iter().map(|promised| {
            let [low, high] = halves(promised.first.affinity());
            let flags = flags(&promised.first);
            let first = match promised.first {
                Assigned::Line { gsi, .. } => [gsi, gsi],
                // Reserved and MessageCount share the word where a line has its level.
                Assigned::Message { vector, .. } => [u32::from(promised.count) << 16, vector],
            };
            [flags, first[0], first[1], low, high]
        }))
    }

    /// The list of what the processors know: levels and vectors.
    pub(super) fn translated(promised: &[Promised]) -> Self {
        Self::new(promised.iter().map(|promised| {
            let first = &promised.first;
            let [low, high] = halves(first.affinity());
            let level = u32::from(first.irql()) | u32::from(first.group()) << 16;
            [flags(first), level, first.vector(), low, high]
        }))
    }
}

/// A descriptor's worth: a line, or so many messages from the first on.
pub(super) struct Promised {
    pub(super) first: Assigned,
    pub(super) count: u16,
}

const fn head(kind: u32, share: i32, flags: u32) -> u32 {
    kind | share.cast_unsigned() << 8 | flags << 16
}

const fn flags(interrupt: &Assigned) -> u32 {
    let share = if interrupt.shared() {
        _CM_SHARE_DISPOSITION::CmResourceShareShared
    } else {
        _CM_SHARE_DISPOSITION::CmResourceShareDeviceExclusive
    };
    let mut flags = 0;
    if interrupt.latched() {
        flags |= CM_RESOURCE_INTERRUPT_LATCHED;
    }
    if interrupt.is_message() {
        flags |= CM_RESOURCE_INTERRUPT_MESSAGE;
    }
    head(CmResourceTypeInterrupt, share, flags)
}

const fn halves(value: u64) -> [u32; 2] {
    [(value & 0xFFFF_FFFF) as u32, (value >> 32) as u32]
}
