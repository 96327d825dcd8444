//! One message of a registration.

use core::fmt;

use super::registration::MessageRegistration;
use super::{MessageHalf, laid};
use crate::deferred::sealed::Parts;
use crate::deferred::{self, NoDeferred, sealed};
use crate::handler::InterruptHandler;
use crate::irql::Irql;
use crate::link::Way;
use crate::nt;
use crate::table::MessageEntry;

/// One message of a [`MessageRegistration`], or its line.
///
/// # Examples
///
/// ```
#[doc = include_str!("../examples/handler.txt")]
#[doc = include_str!("../examples/messages.txt")]
/// /// Takes what the message's ISR has counted.
/// fn take(message: &Message<'_, Handler>) -> u32 {
///     message.synchronize(|handler| std::mem::take(&mut handler.events))
/// }
///
/// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
/// model.raise_message(0);
/// assert_eq!(registration.messages().map(|message| take(&message)).sum::<u32>(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Message<'a, H, D = NoDeferred>
where
    H: InterruptHandler<D>,
    D: MessageHalf<H>,
{
    pub(super) registration: &'a MessageRegistration<H, D>,
    pub(super) index: u32,
}

impl<H: InterruptHandler<D>, D: MessageHalf<H>> Message<'_, H, D> {
    const fn way(&self) -> Way<'_, H> {
        // SAFETY: checked when this was made; published and connected while it is borrowed.
        unsafe { self.registration.block().way(self.index) }
    }

    /// Its index. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// assert!(registration.messages().map(|message| message.index()).eq([0, 1]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index as usize
    }

    /// What the kernel tells of it; `None` on a line. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// for message in registration.messages() {
    ///     let entry = message.entry().ok_or("it is a line")?;
    ///     println!("message {}: vector {:#x} at {}", message.index(), entry.vector, entry.irql);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn entry(&self) -> Option<MessageEntry> {
        self.registration.message_table()?.get(self.index())
    }

    /// The interrupt object, for a debugger or a routine in C to look at. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// let objects: Vec<_> = registration.messages().map(|it| it.interrupt_object()).collect();
    /// assert_ne!(objects[0], objects[1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn interrupt_object(&self) -> *mut nt::KINTERRUPT {
        self.way().link().object.as_ptr()
    }

    /// The IRQL at which its ISR runs, and to which [`synchronize`](Self::synchronize) raises. Any
    /// IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// let second = registration.message(1).ok_or("there is one message only")?;
    /// let irql = second.synchronize(|_handler| Irql::current());
    /// assert_eq!(irql, second.synchronize_irql());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn synchronize_irql(&self) -> Irql {
        self.way().link().synchronize_irql
    }

    /// Calls `with_handler` with this message's handler, under this message's lock and at its
    /// synchronize IRQL, and returns what it returns: `KeSynchronizeExecution`.
    ///
    /// Other messages are serviced meanwhile. See
    /// [`InterruptRegistration::synchronize`](crate::InterruptRegistration::synchronize).
    ///
    /// # Panics
    ///
    /// Above the synchronize IRQL: `KeSynchronizeExecution` would lower the IRQL there.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2).connect(|_message| Handler::default())?;
    /// model.raise_message(1);
    /// let second = registration.message(1).ok_or("there is one message only")?;
    /// let events = second.synchronize(|handler| std::mem::take(&mut handler.events));
    /// assert_eq!(events, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn synchronize<R>(&self, with_handler: impl FnOnce(&mut H) -> R) -> R {
        self.way().synchronize(with_handler)
    }
}

impl<H, D> Message<'_, H, D>
where
    H: InterruptHandler<D>,
    D: MessageHalf<H> + sealed::Queued + laid::LaidEach<H, Shared = NoDeferred>,
{
    const fn parts(&self) -> &D::OwnParts {
        // SAFETY: checked when this was made.
        unsafe { &self.registration.block().cell(self.index).deferred }
    }

    /// This message's deferred half. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2)
    ///     .connect_with_deferred(|_| (Handler::default(), Dpc::new(Completion::default())))?;
    /// model.raise_message(1);
    /// let second = registration.message(1).ok_or("there is one message only")?;
    /// assert_eq!(second.deferred().completed.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn deferred(&self) -> &D::OwnInner {
        self.parts().inner()
    }

    /// Queues this message's deferred half. Any IRQL. Returns `false` when it is queued already.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../examples/handler.txt")]
    #[doc = include_str!("../examples/messages.txt")]
    /// let registration = EachMessage::new(device, 2)
    ///     .connect_with_deferred(|_| (Handler::default(), Dpc::new(Completion::default())))?;
    /// // Work that did not come by an interrupt.
    /// let first = registration.message(0).ok_or("there are no messages")?;
    /// first.synchronize(|handler| handler.events += 1);
    /// first.queue_deferred();
    /// # machine.poll();
    /// assert_eq!(first.deferred().completed.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::must_use_candidate, reason = "queued already is as good as queued")]
    pub fn queue_deferred(&self) -> bool {
        // SAFETY: the DPC is initialised and lies in the block, which lives at least as long as
        // this borrow.
        unsafe { deferred::queue(self.parts().dpc()) }
    }
}

impl<H: InterruptHandler<D>, D: MessageHalf<H>> fmt::Debug for Message<'_, H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("index", &self.index).finish_non_exhaustive()
    }
}
