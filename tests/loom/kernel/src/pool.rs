//! Nonpaged pool, in which nothing is used after it has been freed, and nothing freed twice.

use std::alloc::{self, Layout};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;

use crate::atomic::Atomic;
use crate::nt::{PVOID, ULONG};

/// What pool promises for a block smaller than a page.
const ALIGNMENT: usize = 16;

/// Memory, there until the execution is over.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    blocks: RefCell<Vec<Block>>,
    /// The atomics that have been used, by their addresses.
    atomics: RefCell<BTreeMap<usize, Atomic>>,
}

#[derive(Debug)]
struct Block {
    memory: *mut u8,
    layout: Layout,
    tag: ULONG,
    freed: Cell<bool>,
}

impl Block {
    fn range(&self) -> Range<usize> {
        self.memory.addr()..self.memory.addr() + self.layout.size()
    }
}

impl Pool {
    /// Zeroed memory.
    pub(crate) fn allocate(&self, size: usize, tag: ULONG) -> PVOID {
        let layout = Layout::from_size_align(size, ALIGNMENT).expect("a size that there can be");
        assert!(size > 0, "ExAllocatePool2: of no size");
        // SAFETY: the size is not 0.
        let memory = unsafe { alloc::alloc_zeroed(layout) };
        assert!(!memory.is_null(), "there is no memory");
        self.blocks.borrow_mut().push(Block { memory, layout, tag, freed: Cell::new(false) });
        memory.cast()
    }

    /// What the block that is freed there occupies.
    pub(crate) fn begin_free(&self, memory: PVOID, tag: ULONG) -> Range<usize> {
        let blocks = self.blocks.borrow();
        let block = blocks.iter().find(|block| block.memory.addr() == memory.addr());
        let block = block.expect("ExFreePoolWithTag: no block begins there");
        assert_eq!(block.tag, tag, "ExFreePoolWithTag: another tag");
        assert!(!block.freed.get(), "ExFreePoolWithTag: freed twice");
        block.range()
    }

    /// Marks the block in `range` as freed: all use of the atomics in it must have happened before.
    pub(crate) fn end_free(&self, range: &Range<usize>) {
        for atomic in self.atomics.borrow().range(range.clone()).map(|(_, atomic)| atomic) {
            // SAFETY: it was there when it was used, and the block has not been freed until now.
            unsafe { (atomic.retire)(atomic.address) };
        }
        let blocks = self.blocks.borrow();
        let block = blocks.iter().find(|block| block.range() == *range);
        block.expect("it was there a moment ago").freed.set(true);
    }

    /// Notes that an atomic has been used, which must be there.
    pub(crate) fn used(&self, atomic: Atomic, name: &str) {
        self.assert_there(atomic.address.addr(), name);
        self.atomics.borrow_mut().insert(atomic.address.addr(), atomic);
    }

    /// Panics when `address` lies in a block that has been freed.
    pub(crate) fn assert_there(&self, address: usize, user: &str) {
        let blocks = self.blocks.borrow();
        let freed =
            blocks.iter().any(|block| block.freed.get() && block.range().contains(&address));
        assert!(!freed, "use after free: {user} in a block of pool that has been freed");
    }

    /// Panics when a block has not been freed.
    pub(crate) fn assert_empty(&self) {
        let left = self.blocks.borrow().iter().filter(|block| !block.freed.get()).count();
        assert_eq!(left, 0, "left behind: blocks of pool");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for block in self.blocks.get_mut() {
            // SAFETY: allocated with this layout, and the execution is over.
            unsafe { alloc::dealloc(block.memory, block.layout) };
        }
    }
}
