//! The message table: what the kernel tells of the messages of a connection.

use core::fmt;
use core::iter::FusedIterator;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::irql::Irql;
use crate::nt;
use crate::resource::InterruptMode;

/// The messages of a message-based connection: `IO_INTERRUPT_MESSAGE_INFO`, read-only.
///
/// Borrowed from the registration. Numbers and vectors can differ at every START. Any IRQL.
///
/// See [`IO_INTERRUPT_MESSAGE_INFO`][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_interrupt_message_info
///
/// # Examples
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/messages.txt")]
/// let registration = MessageBased::new(device).connect(Handler::default())?;
/// let table = registration.message_table().ok_or("there are no messages")?;
/// // What goes into a device's own table of queues.
/// let vectors: Vec<_> = table.iter().map(|message| message.vector).collect();
/// assert_eq!(vectors.len(), table.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Invariants
///
/// The table is that of a connection which lasts during `'a`, and has `length` entries.
#[derive(Clone, Copy)]
pub struct MessageTable<'a> {
    table: NonNull<nt::IO_INTERRUPT_MESSAGE_INFO>,
    length: u32,
    connection: PhantomData<&'a ()>,
}

// SAFETY: the kernel does not change the table while it is connected.
unsafe impl Send for MessageTable<'_> {}

// SAFETY: as above.
unsafe impl Sync for MessageTable<'_> {}

/// One message of a [`MessageTable`]: `IO_INTERRUPT_MESSAGE_INFO_ENTRY`.
///
/// See [`IO_INTERRUPT_MESSAGE_INFO_ENTRY`][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_interrupt_message_info_entry
///
/// # Examples
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/messages.txt")]
/// let registration = MessageBased::new(device).connect(Handler::default())?;
/// let table = registration.message_table().ok_or("there are no messages")?;
/// let message = table.get(0).ok_or("there are no messages")?;
/// println!("vector {:#x} at {}, {:?}", message.vector, message.irql, message.mode);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct MessageEntry {
    /// The physical address that the device writes to.
    pub address: u64,
    /// What it writes.
    pub data: u32,
    /// The processors that it can interrupt, a bit each: a `KAFFINITY`.
    pub affinity: u64,
    /// The system's vector.
    pub vector: u32,
    /// The IRQL at which it interrupts.
    pub irql: Irql,
    /// How it is signalled.
    pub mode: InterruptMode,
    /// Which edge or level it is.
    pub polarity: InterruptPolarity,
}

/// Which edge or level of an interrupt is the request: `KINTERRUPT_POLARITY`.
///
/// See [`KINTERRUPT_POLARITY`][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ne-wdm-_kinterrupt_polarity
///
/// # Examples
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/messages.txt")]
/// let registration = MessageBased::new(device).connect(Handler::default())?;
/// let table = registration.message_table().ok_or("there are no messages")?;
/// // No message is active at a low level.
/// assert!(table.iter().all(|message| message.polarity != InterruptPolarity::ActiveLow));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum InterruptPolarity {
    /// The kernel does not say.
    Unknown,
    /// High, or the rising edge.
    ActiveHigh,
    /// Low, or the falling edge.
    ActiveLow,
    /// Both edges.
    ActiveBoth,
}

impl<'a> MessageTable<'a> {
    /// # Safety
    ///
    /// The invariant.
    pub(crate) const unsafe fn new(
        table: NonNull<nt::IO_INTERRUPT_MESSAGE_INFO>,
        length: u32,
    ) -> Self {
        // INVARIANT: the caller vouches for it.
        Self { table, length, connection: PhantomData }
    }

    /// How many messages are connected.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// let registration = MessageBased::new(device).connect(Handler::default())?;
    /// assert_eq!(registration.message_table().map(|table| table.len()), Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// The same, as the kernel counts.
    pub(crate) const fn count(&self) -> u32 {
        self.length
    }

    /// Whether no message is connected, which does not happen with a registration.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// let registration = MessageBased::new(device).connect(Handler::default())?;
    /// assert_eq!(registration.message_table().map(|table| table.is_empty()), Some(false));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The highest IRQL of the messages: `UnifiedIrql`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// let registration = MessageBased::new(device).connect(Handler::default())?;
    /// let table = registration.message_table().ok_or("there are no messages")?;
    /// assert!(table.iter().all(|message| message.irql <= table.unified_irql()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn unified_irql(&self) -> Irql {
        // SAFETY: the table is there (invariant).
        Irql::from_raw(unsafe { (*self.table.as_ptr()).UnifiedIrql })
    }

    /// Message `index`; `None` past the last one.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// let registration = MessageBased::new(device).connect(Handler::default())?;
    /// let table = registration.message_table().ok_or("there are no messages")?;
    /// assert!(table.get(1).is_some());
    /// assert_eq!(table.get(2), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn get(&self, index: usize) -> Option<MessageEntry> {
        let entry = self.entry(index)?;
        // SAFETY: an entry of the table, readable while connected (invariant).
        let entry = unsafe { entry.read() };
        Some(MessageEntry {
            // SAFETY: all members of a LARGE_INTEGER are its bits.
            address: unsafe { entry.MessageAddress.QuadPart }.cast_unsigned(),
            data: entry.MessageData,
            affinity: entry.TargetProcessorSet,
            vector: entry.Vector,
            irql: Irql::from_raw(entry.Irql),
            mode: if entry.Mode == nt::_KINTERRUPT_MODE::LevelSensitive {
                InterruptMode::LevelSensitive
            } else {
                InterruptMode::Latched
            },
            polarity: match entry.Polarity {
                nt::_KINTERRUPT_POLARITY::InterruptActiveHigh => InterruptPolarity::ActiveHigh,
                nt::_KINTERRUPT_POLARITY::InterruptActiveLow => InterruptPolarity::ActiveLow,
                nt::_KINTERRUPT_POLARITY::InterruptActiveBoth => InterruptPolarity::ActiveBoth,
                _ => InterruptPolarity::Unknown,
            },
        })
    }

    /// All messages, in order.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// let registration = MessageBased::new(device).connect(Handler::default())?;
    /// let table = registration.message_table().ok_or("there are no messages")?;
    /// // The processors that the device can interrupt: the only one of this machine.
    /// assert_eq!(table.iter().fold(0, |set, message| set | message.affinity), 0b1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn iter(&self) -> impl FusedIterator<Item = MessageEntry> + use<'a> {
        let table = *self;
        (0..self.len()).filter_map(move |index| table.get(index)).fuse()
    }

    /// The interrupt object of message `index`; `None` past the last one, or when it has none.
    pub(crate) fn object(&self, index: usize) -> Option<NonNull<nt::_KINTERRUPT>> {
        let entry = self.entry(index)?;
        // SAFETY: an entry of the table, readable while connected (invariant).
        NonNull::new(unsafe { (*entry).InterruptObject })
    }

    /// Where entry `index` lies.
    fn entry(&self, index: usize) -> Option<*const nt::IO_INTERRUPT_MESSAGE_INFO_ENTRY> {
        if index >= self.len() {
            return None;
        }
        let table = self.table.as_ptr();
        // SAFETY: within the table (invariant). It is a flexible array, hence the pointer to the
        // field and not the field.
        let first = unsafe { &raw const (*table).MessageInfo };
        let first = first.cast::<nt::IO_INTERRUPT_MESSAGE_INFO_ENTRY>();
        // SAFETY: within the table, which has `length` entries (invariant).
        Some(unsafe { first.add(index) })
    }
}

impl fmt::Debug for MessageTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_polarity_of_the_kernels_has_its_name() {
        use nt::_KINTERRUPT_POLARITY as Kernels;

        for (kernels, ours) in [
            (Kernels::InterruptPolarityUnknown, InterruptPolarity::Unknown),
            (Kernels::InterruptActiveHigh, InterruptPolarity::ActiveHigh),
            (Kernels::InterruptActiveLow, InterruptPolarity::ActiveLow),
            (Kernels::InterruptActiveBoth, InterruptPolarity::ActiveBoth),
        ] {
            let mut info = nt::IO_INTERRUPT_MESSAGE_INFO::default();
            info.MessageInfo[0].Polarity = kernels;
            // SAFETY: it has this one entry, and stays as it is.
            let table = unsafe { MessageTable::new(NonNull::from(&info), 1) };
            assert_eq!(table.get(0).map(|entry| entry.polarity), Some(ours));
        }
    }
    #[test]
    fn a_table_without_entries_is_empty() {
        let info = nt::IO_INTERRUPT_MESSAGE_INFO::default();
        // SAFETY: it has as many entries at least, and stays as it is.
        let table = unsafe { MessageTable::new(NonNull::from(&info), 0) };
        assert!(table.is_empty() && table.get(0).is_none());
    }
}
