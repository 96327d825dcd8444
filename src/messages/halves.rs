//! Handlers and deferred halves of all messages that are not connected.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::block::{Cell, MessageBlock};
use super::{MessageHalf, laid};
use crate::deferred::NoDeferred;
use crate::deferred::sealed::Parts;
use crate::pool;

/// The handlers and deferred halves of all messages, in the memory of a registration that is not
/// connected: not yet, because connecting failed, or not any more.
///
/// Dropping it drops them where they are and frees the memory, which panics above
/// `DISPATCH_LEVEL`.
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/handler.txt")]
#[doc = include_str!("../examples/messages.txt")]
/// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
/// model.raise_message(0);
/// let halves = registration.disconnect()?;
/// // What was claimed, and never taken out of the handlers.
/// let (_shared, handlers) = halves.into_inner();
/// assert_eq!(handlers.map(|(handler, _deferred)| handler.events).sum::<u32>(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Invariants
///
/// The block is complete and nobody else's: not connected, no deferred half queued or running.
pub struct MessageHalves<H, D: MessageHalf<H> = NoDeferred> {
    pub(super) block: NonNull<MessageBlock<H, D>>,
}

// SAFETY: it owns handlers and what was handed in as deferred halves, which are `Send`.
unsafe impl<H: Send, D> Send for MessageHalves<H, D> where
    D: MessageHalf<H> + laid::LaidEach<H, SharedInner: Send, OwnInner: Send>
{
}

// SAFETY: it lends them as shared.
unsafe impl<H: Sync, D> Sync for MessageHalves<H, D> where
    D: MessageHalf<H> + laid::LaidEach<H, SharedInner: Sync, OwnInner: Sync>
{
}

impl<H, D: MessageHalf<H>> MessageHalves<H, D> {
    const fn block(&self) -> &MessageBlock<H, D> {
        // SAFETY: complete and there (invariant).
        unsafe { self.block.as_ref() }
    }

    /// Cell `index`; `None` past the last one.
    fn cell(&self, index: usize) -> Option<&Cell<H, D>> {
        let index = u32::try_from(index).ok().filter(|&index| index < self.block().made())?;
        // SAFETY: below `made`, hence complete.
        Some(unsafe { self.block().cell(index) })
    }

    /// How many handlers there are. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// let halves = registration.disconnect()?;
    /// assert_eq!(halves.count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn count(&self) -> usize {
        self.block().made() as usize
    }

    /// Handler `index`; `None` past the last one. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// model.raise_message(1);
    /// let halves = registration.disconnect()?;
    /// assert_eq!(halves.handler(1).map(|handler| handler.events), Some(1));
    /// assert!(halves.handler(2).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn handler(&self, index: usize) -> Option<&H> {
        let cell = self.cell(index)?;
        // SAFETY: nobody else has it (invariant), and `self` is borrowed.
        Some(unsafe { &*cell.guarded.handler() })
    }

    /// Handler `index`, to change; `None` past the last one. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// model.raise_message(1);
    /// let mut halves = registration.disconnect()?;
    /// if let Some(handler) = halves.handler_mut(1) {
    ///     assert_eq!(std::mem::take(&mut handler.events), 1);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn handler_mut(&mut self, index: usize) -> Option<&mut H> {
        let cell = self.cell(index)?;
        // SAFETY: nobody else has it (invariant), and `self` is borrowed.
        Some(unsafe { &mut *cell.guarded.handler() })
    }

    /// The deferred half of handler `index`; `None` past the last one. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2)
    ///     .connect_with_deferred(|_| (Handler::default(), Dpc::new(Completion::default())))?;
    /// model.raise_message(0);
    /// let halves = registration.disconnect()?;
    /// let completed = halves.deferred(0).map(|half| half.completed.load(Ordering::Relaxed));
    /// assert_eq!(completed, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn deferred(&self, index: usize) -> Option<&D::OwnInner> {
        self.cell(index).map(|cell| cell.deferred.inner())
    }

    /// What all share as deferred half. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2)
    ///     .deferred(SharedDpc::new(Completion::default()))
    ///     .connect(|_message| Handler::default())?;
    /// model.raise_message(0);
    /// let halves = registration.disconnect()?;
    /// assert_eq!(halves.shared().completed.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn shared(&self) -> &D::SharedInner {
        self.block().shared.inner()
    }

    /// Moves all out: what all share, and then one handler after another with its own deferred
    /// half.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2)
    ///     .deferred(SharedDpc::new(Completion::default()))
    ///     .connect(|_message| Handler::default())?;
    /// let (completion, handlers) = registration.disconnect()?.into_inner();
    /// assert_eq!(completion.completed.into_inner(), 0);
    /// assert_eq!(handlers.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "all halves are in it"]
    pub fn into_inner(self) -> (D::SharedInner, IntoHandlers<H, D>) {
        let block = ManuallyDrop::new(self).block;
        // SAFETY: nobody else has it (invariant), and it is taken once.
        let shared = unsafe { MessageBlock::take_shared(block) };
        // INVARIANT: complete but for what all share, and nobody else's.
        (shared, IntoHandlers { block, next: 0 })
    }
}

impl<H, D: MessageHalf<H>> Drop for MessageHalves<H, D> {
    fn drop(&mut self) {
        pool::assert_may_free();
        // SAFETY: nobody else has it (invariant), and it is taken once.
        drop(unsafe { MessageBlock::take_shared(self.block) });
        // INVARIANT: complete but for what all share, and nobody else's.
        drop(IntoHandlers { block: self.block, next: 0 });
    }
}

impl<H, D: MessageHalf<H>> fmt::Debug for MessageHalves<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageHalves").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// The handlers of [`MessageHalves`], one after another, each with its own deferred half.
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/handler.txt")]
#[doc = include_str!("../examples/messages.txt")]
/// let registration = EachMessage::new(device, 2)
///     .connect_with_deferred(|_| (Handler::default(), Dpc::new(Completion::default())))?;
/// model.raise_message(1);
/// let ((), handlers) = registration.disconnect()?.into_inner();
/// for (handler, completion) in handlers {
///     println!("{} left, {} completed", handler.events, completion.completed.into_inner());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Invariants
///
/// The block is nobody else's; its cells from `next` on are complete.
pub struct IntoHandlers<H, D: MessageHalf<H> = NoDeferred> {
    block: NonNull<MessageBlock<H, D>>,
    next: u32,
}

// SAFETY: as for `MessageHalves`.
unsafe impl<H: Send, D> Send for IntoHandlers<H, D> where
    D: MessageHalf<H> + laid::LaidEach<H, OwnInner: Send>
{
}

impl<H, D: MessageHalf<H>> IntoHandlers<H, D> {
    fn left(&self) -> usize {
        // SAFETY: there (invariant).
        let made = unsafe { self.block.as_ref() }.made();
        (made - self.next) as usize
    }
}

impl<H, D: MessageHalf<H>> Iterator for IntoHandlers<H, D> {
    type Item = (H, D::OwnInner);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left() == 0 {
            return None;
        }
        let index = self.next;
        self.next += 1;
        // SAFETY: complete until now (invariant), and taken once.
        Some(unsafe { MessageBlock::take(self.block, index) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left(), Some(self.left()))
    }
}

impl<H, D: MessageHalf<H>> ExactSizeIterator for IntoHandlers<H, D> {}

impl<H, D: MessageHalf<H>> Drop for IntoHandlers<H, D> {
    fn drop(&mut self) {
        pool::assert_may_free();
        self.by_ref().for_each(drop);
        // SAFETY: all has been taken out, and nobody else has it (invariant).
        unsafe { MessageBlock::free(self.block) };
    }
}

impl<H, D: MessageHalf<H>> fmt::Debug for IntoHandlers<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoHandlers").field("left", &self.left()).finish_non_exhaustive()
    }
}
