//! How much pool each tag has.

use alloc::{collections::BTreeMap, vec::Vec};
use core::fmt;

use super::{super::Executive, block::Extent};
use crate::{hal::Hal, nt::ULONG, report::Tag};

/// How much pool of one tag was allocated and freed, as poolmon shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolUse {
    /// The tag.
    pub tag: ULONG,
    /// How many allocations there were.
    pub allocations: usize,
    /// How many of them were freed.
    pub frees: usize,
    /// How many bytes of paged pool are allocated.
    pub paged: usize,
    /// How many bytes of nonpaged pool are allocated.
    pub nonpaged: usize,
    /// How many bytes were allocated when it was most.
    pub peak: usize,
}

impl PoolUse {
    /// How many allocations there are.
    #[must_use]
    pub const fn blocks(&self) -> usize {
        self.allocations - self.frees
    }

    /// How many bytes are allocated.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.paged + self.nonpaged
    }

    const fn of(&mut self, extent: &Extent) -> &mut usize {
        if extent.is_paged() { &mut self.paged } else { &mut self.nonpaged }
    }
}

impl fmt::Display for PoolUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}': {} allocations, {} frees, {} bytes, {} at most",
            Tag(self.tag),
            self.allocations,
            self.frees,
            self.bytes(),
            self.peak,
        )
    }
}

/// All tags there ever were.
#[derive(Default)]
pub(super) struct Tags(BTreeMap<ULONG, PoolUse>);

impl Tags {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn allocated(&mut self, extent: &Extent) {
        let tag = self.0.entry(extent.tag).or_default();
        tag.tag = extent.tag;
        tag.allocations += 1;
        *tag.of(extent) += extent.bytes;
        tag.peak = tag.peak.max(tag.bytes());
    }

    pub(super) fn freed(&mut self, extent: &Extent) {
        if let Some(tag) = self.0.get_mut(&extent.tag) {
            tag.frees += 1;
            *tag.of(extent) -= extent.bytes;
        }
    }
}

impl<H: Hal> Executive<H> {
    /// How much pool each tag has and had, by tag. At most `DISPATCH_LEVEL`.
    ///
    /// ```
    /// use wdm_interrupt_model::{
    ///     host::{Machine, kernel},
    ///     nt,
    /// };
    ///
    /// let machine = Machine::new(1).enter();
    /// let tag = u32::from_le_bytes(*b"Exam");
    /// // SAFETY: no obligation.
    /// let memory = unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_NON_PAGED, 100, tag) };
    /// // SAFETY: just allocated.
    /// unsafe { kernel::ExFreePoolWithTag(memory, tag) };
    /// let tags = machine.executive().pool_by_tag();
    /// assert_eq!(tags[0].to_string(), "'Exam': 1 allocations, 1 frees, 0 bytes, 100 at most");
    /// ```
    pub fn pool_by_tag(&self) -> Vec<PoolUse> {
        self.pool.lock(&self.hal).tags.0.values().copied().collect()
    }
}
