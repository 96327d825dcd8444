//! The block of pool that a registration with one handler a message is.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;

use super::MessageHalf;
use super::halves::MessageHalves;
use crate::connection::Connection;
use crate::deferred::sealed::Parts;
use crate::deferred::{AllGuarded, Home, SharedDeferredHandler, SharedDpc};
use crate::handler::{Interrupt, InterruptHandler, MessageId, Serviced, Source};
use crate::link::{Guarded, Way};
use crate::nt::AtomicU32;
use crate::teardown::Body;
use crate::{nt, pool};

/// A cache line on the processors that Windows runs on.
const CACHE_LINE: usize = 64;

/// A handler and its own deferred half, in cache lines of their own, because messages run in
/// parallel.
#[repr(C, align(64))]
pub(super) struct Cell<H, D: MessageHalf<H>> {
    pub(super) guarded: Guarded<H>,
    pub(super) deferred: D::OwnParts,
}

// SAFETY: the cell stays where it is until the halves have been taken out, and the handler is
// touched by the holder of its message's lock only.
unsafe impl<H, D: MessageHalf<H>> Home<H, D::OwnParts> for Cell<H, D> {
    fn guarded(&self) -> &Guarded<H> {
        &self.guarded
    }

    fn parts(&self) -> &D::OwnParts {
        &self.deferred
    }
}

/// A registration's memory: this, and the cells behind it.
///
/// # Invariants
///
/// - It lies on a cache line, and `made` complete cells lie from [`CELLS`](Self::CELLS) on;
///   `count` is at most `made` from when it is published.
/// - From before the connect until after the disconnect there is no `&mut` to it or a cell.
#[repr(C)]
pub struct MessageBlock<H, D: MessageHalf<H>> {
    /// How many messages the ISR takes: `made` until it is known how many are connected. First, so
    /// that the ISR finds it at its service context.
    count: AtomicU32,
    pub(super) state: MessageState<H, D>,
    pub(super) shared: D::SharedParts,
}

/// What of a block concerns neither the ISR nor the deferred half.
pub(super) struct MessageState<H, D: MessageHalf<H>> {
    /// How many cells are complete. Changed only by the connecting thread.
    made: UnsafeCell<u32>,
    /// The lock of the line, when that is what was connected; the messages' are the system's.
    pub(super) lock: UnsafeCell<nt::KSPIN_LOCK>,
    /// Written while connecting, taken by the teardown, and read in between.
    pub(super) connection: UnsafeCell<Option<Connection>>,
    /// What pool returned, which need not lie on a cache line.
    memory: NonNull<u8>,
    cells: NonNull<Cell<H, D>>,
}

impl<H, D: MessageHalf<H>> fmt::Debug for MessageBlock<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageBlock").finish_non_exhaustive()
    }
}

impl<H, D: MessageHalf<H>> MessageBlock<H, D> {
    /// Where the cells begin.
    const CELLS: usize = size_of::<Self>().next_multiple_of(CACHE_LINE);

    /// Refuses at compile time what is not aligned by a cache line.
    const ALIGNED: () = assert!(
        align_of::<Cell<H, D>>() == CACHE_LINE && align_of::<Self>() <= CACHE_LINE,
        "the handler or its deferred half has a larger alignment than a cache line (64 bytes)"
    );

    /// Allocates a block for `messages` handlers, which `make` makes.
    pub(super) fn allocate(
        messages: u32,
        shared: D::Shared,
        mut make: impl FnMut(MessageId) -> (H, D::Own),
    ) -> Result<MessageHalves<H, D>, D::Shared> {
        const { Self::ALIGNED };
        let count = messages as usize;
        let size = count
            .checked_mul(size_of::<Cell<H, D>>())
            .and_then(|cells| cells.checked_add(Self::CELLS + CACHE_LINE));
        let layout = size.and_then(|size| Layout::from_size_align(size, pool::ALIGNMENT).ok());
        let Some(memory) = layout.and_then(pool::allocate) else {
            return Err(shared);
        };
        let padding = memory.align_offset(CACHE_LINE);
        // SAFETY: less than a cache line, which was added to the size.
        let block = unsafe { memory.add(padding) }.cast::<Self>();
        // SAFETY: within the memory, whose size is the sum of these.
        let cells = unsafe { block.byte_add(Self::CELLS) }.cast::<Cell<H, D>>();
        // The memory is zeroes, and so begins what is not written here.
        for index in 0..messages {
            let (handler, own) = make(MessageId::from_raw(index));
            // SAFETY: within the cells.
            let cell = unsafe { cells.add(index as usize) };
            // SAFETY: within the cell.
            let guarded = unsafe { &raw mut (*cell.as_ptr()).guarded };
            let make = |place: *mut H| {
                // SAFETY: in the cell, valid for writing.
                unsafe { place.write(handler) };
            };
            // SAFETY: fresh memory, zeroed, aligned; this writes a handler.
            unsafe { Guarded::lay_out(guarded, make) };
            // SAFETY: within the cell.
            let parts = unsafe { &raw mut (*cell.as_ptr()).deferred };
            // SAFETY: as above, hence not null.
            let parts = unsafe { NonNull::new_unchecked(parts) };
            // SAFETY: fresh memory, zeroed, aligned, resident, and it stays put; the parts are this
            // cell's, which is complete before it is connected.
            unsafe { D::lay_out_own(own, parts, cell) };
        }
        let at = block.as_ptr();
        // SAFETY: within the memory.
        let parts = unsafe { &raw mut (*at).shared };
        // SAFETY: as above, hence not null.
        let parts = unsafe { NonNull::new_unchecked(parts) };
        // SAFETY: as for a cell's parts.
        unsafe { D::lay_out_shared(shared, parts, block) };
        let state = MessageState {
            made: UnsafeCell::new(messages),
            // KeInitializeSpinLock does nothing but this.
            lock: UnsafeCell::new(0),
            connection: UnsafeCell::new(None),
            memory,
            cells,
        };
        // SAFETY: within the memory.
        let place = unsafe { &raw mut (*at).state };
        // SAFETY: fresh memory, aligned.
        unsafe { place.write(state) };
        // SAFETY: within the memory.
        let place = unsafe { &raw mut (*at).count };
        // SAFETY: fresh memory, aligned.
        unsafe { place.write(AtomicU32::new(messages)) };
        // INVARIANT: all has been written, or begins as zeroes; nobody else has the block.
        Ok(MessageHalves { block })
    }

    /// How many cells there are.
    pub(super) fn made(&self) -> u32 {
        // SAFETY: changed only by the connecting thread, before there is a registration and before
        // the shared DPC is opened, which ask.
        unsafe { *self.state.made.get() }
    }

    /// Cell `index`.
    ///
    /// # Safety
    ///
    /// There is one, and it is complete.
    pub(super) const unsafe fn cell(&self, index: u32) -> &Cell<H, D> {
        // SAFETY: within the cells (caller).
        let cell = unsafe { self.state.cells.add(index as usize) };
        // SAFETY: complete (caller), and shared.
        unsafe { cell.as_ref() }
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = &Cell<H, D>> {
        (0..self.made()).map(|index| {
            // SAFETY: below `made`, hence complete.
            unsafe { self.cell(index) }
        })
    }

    /// The way to handler `index`.
    ///
    /// # Safety
    ///
    /// There is one; it is connected and published, and both during the borrow.
    pub(super) const unsafe fn way(&self, index: u32) -> Way<'_, H> {
        // SAFETY: there is one (caller).
        let cell = unsafe { self.cell(index) };
        // SAFETY: published and connected (caller), and its lock guards the handler.
        unsafe { Way::new(&cell.guarded) }
    }

    /// The ways to all handlers.
    ///
    /// # Safety
    ///
    /// All are connected and published, and both during the borrow.
    pub(super) unsafe fn ways(&self) -> impl Iterator<Item = Way<'_, H>> {
        (0..self.made()).map(|index| {
            // SAFETY: below `made`; published and connected (caller).
            unsafe { self.way(index) }
        })
    }

    /// What the kernel returned.
    ///
    /// # Safety
    ///
    /// Between connecting and the teardown, when it does not change.
    pub(super) const unsafe fn connection(&self) -> Option<&Connection> {
        // SAFETY: nobody writes it (caller).
        unsafe { &*self.state.connection.get() }.as_ref()
    }

    /// Drops the cells from `connected` on, whose messages are not connected.
    ///
    /// # Safety
    ///
    /// `PASSIVE_LEVEL`; the connecting thread; no ISR uses them, and their deferred halves have not
    /// been opened.
    pub(super) unsafe fn drop_surplus(this: NonNull<Self>, connected: u32) {
        // SAFETY: complete and there.
        let block = unsafe { this.as_ref() };
        block.count.store(connected, Ordering::Relaxed);
        let made = block.made();
        if connected >= made {
            return;
        }
        for index in connected..made {
            // SAFETY: below `made`.
            let cell = unsafe { block.cell(index) };
            // SAFETY: PASSIVE_LEVEL, and never opened (caller).
            unsafe { cell.deferred.remove() };
        }
        if <D::OwnParts as Parts<D::OwnInner>>::DEFERS {
            // SAFETY: PASSIVE_LEVEL (caller).
            unsafe { nt::KeFlushQueuedDpcs() };
        }
        // SAFETY: the connecting thread's alone (caller).
        unsafe { *block.state.made.get() = connected };
        for index in connected..made {
            // SAFETY: complete until now, and nobody has it any more.
            drop(unsafe { Self::take(this, index) });
        }
    }

    /// Moves the halves out of cell `index`.
    ///
    /// # Safety
    ///
    /// It is complete, nobody else has it, and it is taken once. At most `DISPATCH_LEVEL` if its
    /// deferred half has anything of the kernel's; none of them has.
    pub(super) unsafe fn take(this: NonNull<Self>, index: u32) -> (H, D::OwnInner) {
        // SAFETY: complete and there.
        let cells = unsafe { this.as_ref() }.state.cells;
        // SAFETY: within the cells (caller).
        let cell = unsafe { cells.add(index as usize) }.as_ptr();
        // SAFETY: complete (caller).
        let handler = unsafe { (*cell).guarded.handler() };
        // SAFETY: complete, and read once (caller).
        let handler = unsafe { ptr::read(handler) };
        // SAFETY: within the cell.
        let parts = unsafe { &raw mut (*cell).deferred };
        // SAFETY: as above, hence not null.
        let parts = unsafe { NonNull::new_unchecked(parts) };
        // SAFETY: as the caller promises.
        (handler, unsafe { D::OwnParts::take(parts) })
    }

    /// Moves out what all share.
    ///
    /// # Safety
    ///
    /// Nobody else has it, and it is taken once.
    pub(super) unsafe fn take_shared(this: NonNull<Self>) -> D::SharedInner {
        // SAFETY: within the block.
        let parts = unsafe { &raw mut (*this.as_ptr()).shared };
        // SAFETY: as above, hence not null.
        let parts = unsafe { NonNull::new_unchecked(parts) };
        // SAFETY: as the caller promises.
        unsafe { D::SharedParts::take(parts) }
    }

    /// Frees the memory.
    ///
    /// # Safety
    ///
    /// All has been taken out, and nobody has it.
    pub(super) unsafe fn free(this: NonNull<Self>) {
        // SAFETY: there still.
        let memory = unsafe { this.as_ref() }.state.memory;
        // SAFETY: what `allocate` got.
        unsafe { pool::free(memory) };
    }
}

impl<H: InterruptHandler<D>, D: MessageHalf<H>> MessageBlock<H, D> {
    /// The ISR of a message: calls its handler, if the message can be one.
    ///
    /// Takes a pointer, from which the cells behind the block can be reached without a look at
    /// where they are.
    ///
    /// # Safety
    ///
    /// Called by the kernel as an ISR of this block's connection, with the message's lock held.
    pub(crate) unsafe fn service_message(this: NonNull<Self>, message: nt::ULONG) -> Serviced {
        // SAFETY: complete and in place; all its users share it.
        let block = unsafe { this.as_ref() };
        if message >= block.count.load(Ordering::Relaxed) {
            return Serviced::NotMine;
        }
        // SAFETY: below the count, so it is complete; its lock is held (caller).
        unsafe { Self::service(this, message, Source::Message(MessageId::from_raw(message))) }
    }

    /// The ISR of the line: calls the first handler.
    ///
    /// # Safety
    ///
    /// Called by the kernel as an ISR of this block's connection, with the block's lock held.
    pub(crate) unsafe fn service_line(this: NonNull<Self>) -> Serviced {
        // SAFETY: there is at least one cell; the lock is held (caller).
        unsafe { Self::service(this, 0, Source::Line) }
    }

    /// # Safety
    ///
    /// There is such a cell, and the lock that guards its handler is held.
    #[inline]
    pub(super) unsafe fn service(this: NonNull<Self>, index: u32, source: Source) -> Serviced {
        // SAFETY: the cells are there, in the same memory.
        let cells = unsafe { this.byte_add(Self::CELLS) }.cast::<Cell<H, D>>();
        // SAFETY: within the cells (caller).
        let cell = unsafe { cells.add(index as usize) };
        // SAFETY: complete (caller), and shared.
        let cell = unsafe { cell.as_ref() };
        let dpc = if <D::OwnParts as Parts<D::OwnInner>>::DEFERS {
            cell.deferred.dpc()
        } else {
            // SAFETY: complete and in place; all its users share it.
            unsafe { this.as_ref() }.shared.dpc()
        };
        // SAFETY: the DPC, if `D` has one, is initialised and lies in the block, which outlives
        // the ISR.
        let interrupt = unsafe { Interrupt::new(source, dpc) };
        // SAFETY: the lock is held (caller), and only its holder touches the handler.
        let handler = unsafe { &mut *cell.guarded.handler() };
        handler.service(&interrupt)
    }
}

impl<H, T: SharedDeferredHandler<H>> MessageBlock<H, SharedDpc<T>> {
    /// The shared DPC's routine.
    ///
    /// # Safety
    ///
    /// The block is complete and in place, and no `&mut` to it exists.
    pub(crate) unsafe fn run_shared(this: NonNull<Self>) {
        // SAFETY: complete and in place (caller); all its users share it.
        let block = unsafe { this.as_ref() };
        block.shared.run(|| {
            // SAFETY: the cells are there, in the same memory.
            let first = unsafe { this.byte_add(Self::CELLS) }.cast::<Guarded<H>>();
            let stride = size_of::<Cell<H, SharedDpc<T>>>();
            // SAFETY: as many cells lie there, and each begins with what is guarded. All is published
            // before this is opened, and the teardown does not disconnect before it has closed it
            // and waited for those let in before.
            unsafe { AllGuarded::new(first, stride, block.made() as usize) }
        });
    }
}

impl<H: InterruptHandler<D>, D: MessageHalf<H>> Body for MessageBlock<H, D> {
    const DEFERS: bool = <D::OwnParts as Parts<D::OwnInner>>::DEFERS
        || <D::SharedParts as Parts<D::SharedInner>>::DEFERS;

    unsafe fn disable(&self) {
        // SAFETY: connected and published (caller).
        for way in unsafe { self.ways() } {
            // SAFETY: PASSIVE_LEVEL (caller).
            unsafe { way.disable() };
        }
    }

    unsafe fn flush(&self) {
        // SAFETY: PASSIVE_LEVEL (caller).
        unsafe { nt::KeFlushQueuedDpcs() };
    }

    fn close(&self) {
        self.shared.close();
        self.cells().for_each(|cell| cell.deferred.close());
    }

    unsafe fn disconnect(&self) {
        // SAFETY: nobody reads it any more, and it is taken once (caller).
        let connection = unsafe { (*self.state.connection.get()).take() };
        if let Some(connection) = connection {
            // SAFETY: PASSIVE_LEVEL, and nobody uses the interrupt objects any more (caller).
            unsafe { connection.disconnect() };
        }
    }

    unsafe fn remove(&self) {
        // SAFETY: as the caller promises.
        unsafe { self.shared.remove() };
        for cell in self.cells() {
            // SAFETY: as the caller promises.
            unsafe { cell.deferred.remove() };
        }
        // SAFETY: PASSIVE_LEVEL (caller).
        unsafe { nt::KeFlushQueuedDpcs() };
    }
}
