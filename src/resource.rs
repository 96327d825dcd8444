//! Interrupt resources: from the PnP manager's CM resource lists to typed values.
//!
//! `IRP_MN_START_DEVICE` brings two lists, raw and translated, with the same descriptors in the
//! same order. Connecting takes the translated one; only the raw one tells how many messages a
//! descriptor stands for. The two are therefore read as a pair.

use core::{error, fmt};

use crate::irql::Irql;
use crate::nt;
use crate::resource_list::{Descriptor, Kind, List};

/// One interrupt that the PnP manager assigned: a line, or a message. A copy of what the lists say,
/// to be read at any IRQL.
///
/// See [`CM_PARTIAL_RESOURCE_DESCRIPTOR`][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_cm_partial_resource_descriptor
///
/// # Examples
///
/// What a driver decides on before it connects:
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/line.txt")]
/// for interrupt in resources.iter() {
///     println!("vector {:#x} at {}", interrupt.vector(), interrupt.irql());
/// }
/// assert_eq!(resources.iter().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InterruptResource {
    message: bool,
    vector: u32,
    irql: Irql,
    group: u16,
    affinity: u64,
    mode: InterruptMode,
    shared: bool,
}

/// How an interrupt is signalled: `KINTERRUPT_MODE`.
///
/// See [`KINTERRUPT_MODE`][page].
///
/// [page]: https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ne-wdm-_kinterrupt_mode
///
/// # Examples
///
/// ```
#[doc = include_str!("examples/handler.txt")]
#[doc = include_str!("examples/messages.txt")]
/// // Messages are edges.
/// assert!(resources.iter().all(|interrupt| interrupt.mode() == InterruptMode::Latched));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum InterruptMode {
    /// The request stands as long as the line is asserted.
    LevelSensitive,
    /// The request is an edge; messages are.
    Latched,
}

impl InterruptResource {
    /// Whether it is a message (MSI, MSI-X), not a line.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// assert!(resources.iter().all(|interrupt| interrupt.is_message()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn is_message(&self) -> bool {
        self.message
    }

    /// The system's vector.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// let vectors: Vec<_> = resources.iter().map(|interrupt| interrupt.vector()).collect();
    /// assert_eq!(vectors.len(), 2);
    /// assert_ne!(vectors[0], vectors[1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn vector(&self) -> u32 {
        self.vector
    }

    /// The IRQL at which it interrupts. `PASSIVE_LEVEL` means a passive-level interrupt.
    ///
    /// # Examples
    ///
    /// The kinds of request differ by it:
    ///
    /// ```
    /// use wdm_interrupt::{InterruptResource, Irql};
    ///
    /// /// Whether the request is a `PassiveFullySpecified`, and not a `FullySpecified`.
    /// fn is_passive(interrupt: &InterruptResource) -> bool {
    ///     interrupt.irql() == Irql::PASSIVE
    /// }
    #[doc = include_str!("examples/passive.txt")]
    /// assert!(resources.iter().all(|interrupt| is_passive(&interrupt)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn irql(&self) -> Irql {
        self.irql
    }

    /// The processor group that [`affinity`](Self::affinity) is in.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    /// # let model = machine.device().line().group(1).build();
    /// # let (raw, translated) = (model.raw_resources(), model.translated_resources());
    /// # // SAFETY: the device is started while the example lasts.
    /// # let resources = unsafe { InterruptResources::from_start_device(raw, translated) }?;
    /// let line = resources.iter().next().ok_or("no interrupt is assigned")?;
    /// assert_eq!(line.group(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn group(&self) -> u16 {
        self.group
    }

    /// The processors that it can interrupt, a bit each: a `KAFFINITY`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let line = resources.iter().next().ok_or("no interrupt is assigned")?;
    /// // A machine with one processor.
    /// assert_eq!(line.affinity(), 0b1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn affinity(&self) -> u64 {
        self.affinity
    }

    /// How it is signalled.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/line.txt")]
    /// let line = resources.iter().next().ok_or("no interrupt is assigned")?;
    /// assert_eq!(line.mode(), InterruptMode::LevelSensitive);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn mode(&self) -> InterruptMode {
        self.mode
    }

    /// Whether other devices may interrupt on the same vector (`CmResourceShareShared`).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    /// # let model = machine.device().shareable_line().build();
    /// # let (raw, translated) = (model.raw_resources(), model.translated_resources());
    /// # // SAFETY: the device is started while the example lasts.
    /// # let resources = unsafe { InterruptResources::from_start_device(raw, translated) }?;
    /// let line = resources.iter().next().ok_or("no interrupt is assigned")?;
    /// // The ISR is called for the others' interrupts as well.
    /// assert!(line.is_shared());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.shared
    }
}

/// The interrupts of a pair of resource lists, in their order.
///
/// Made by [`from_start_device`](Self::from_start_device) in a driver and by
/// [`parse`](Self::parse) from bytes; both check the lists whole, so that iterating cannot fail.
/// There may be none: a device can be started without an interrupt.
///
/// # Examples
///
/// ```
/// use wdm_interrupt::{InterruptResources, Irql};
///
/// // One full descriptor with one line: vector 0x51, IRQL 5, processors 0 and 1, shared.
/// let list = [
///     &1_u32.to_le_bytes()[..],                             // CM_RESOURCE_LIST.Count
///     &[0; 12],                                             // bus, version, revision
///     &1_u32.to_le_bytes(),                                 // partial descriptors
///     &[2, 3, 0, 0],                                        // interrupt, shared, level
///     &5_u32.to_le_bytes(), &0x51_u32.to_le_bytes(),        // Level, Vector
///     &3_u64.to_le_bytes(),                                 // Affinity
/// ].concat();
///
/// let interrupts = InterruptResources::parse(&list, &list)?;
/// let line = interrupts.iter().next().expect("there is one");
/// assert!(!line.is_message());
/// assert_eq!((line.vector(), line.irql()), (0x51, Irql::from_raw(5)));
/// assert!(line.is_shared());
/// # Ok::<(), wdm_interrupt::ResourceError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct InterruptResources<'a> {
    raw: List<'a>,
    translated: List<'a>,
}

impl<'a> InterruptResources<'a> {
    /// Reads the lists of an `IRP_MN_START_DEVICE`: `Parameters.StartDevice.AllocatedResources`
    /// and `AllocatedResourcesTranslated`.
    ///
    /// Both NULL are no resources. IRQL: the lists are pageable, so at most `APC_LEVEL`.
    ///
    /// See [`IRP_MN_START_DEVICE`][page].
    ///
    /// [page]: https://learn.microsoft.com/windows-hardware/drivers/kernel/irp-mn-start-device
    ///
    /// # Errors
    ///
    /// The lists do not go together; see [`ResourceError`].
    ///
    /// # Safety
    ///
    /// Each pointer is NULL or to a complete `CM_RESOURCE_LIST`, every byte of it initialised: as
    /// many descriptors as its counts say, which cannot be checked here. Both stay as they are
    /// during `'a`, which ends with the IRP at the latest; an [`InterruptResource`] is a copy.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{CM_RESOURCE_LIST, InterruptResource, InterruptResources, ResourceError};
    ///
    /// /// The first interrupt of an `IRP_MN_START_DEVICE`, from `Parameters.StartDevice`.
    /// ///
    /// /// # Safety
    /// ///
    /// /// The lists are those of an IRP that is not completed yet.
    /// unsafe fn first_interrupt(
    ///     allocated: *const CM_RESOURCE_LIST,
    ///     translated: *const CM_RESOURCE_LIST,
    /// ) -> Result<Option<InterruptResource>, ResourceError> {
    ///     // SAFETY: as the caller promises, and what is returned is a copy.
    ///     let lists = unsafe { InterruptResources::from_start_device(allocated, translated) }?;
    ///     Ok(lists.iter().next())
    /// }
    /// # let machine = wdm_interrupt_model::host::Machine::new(1).enter();
    /// # let model = machine.device().line().build();
    /// # let (allocated, translated) = (model.raw_resources(), model.translated_resources());
    /// // SAFETY: the device is being started.
    /// let line = unsafe { first_interrupt(allocated, translated) }?;
    /// assert!(line.is_some_and(|line| !line.is_message()));
    /// # Ok::<(), ResourceError>(())
    /// ```
    pub unsafe fn from_start_device(
        raw: *const nt::CM_RESOURCE_LIST,
        translated: *const nt::CM_RESOURCE_LIST,
    ) -> Result<Self, ResourceError> {
        // SAFETY: as the caller says.
        let raw = unsafe { List::bytes_of(raw) };
        // SAFETY: as the caller says.
        let translated = unsafe { List::bytes_of(translated) };
        Self::parse(raw, translated)
    }

    /// Reads a raw and a translated `CM_RESOURCE_LIST` from their bytes. An empty slice is an empty
    /// list; bytes behind a list's end are ignored. Any IRQL, if the bytes are resident.
    ///
    /// # Errors
    ///
    /// A list is cut short, or the two do not go together; see [`ResourceError`]. Nothing is read
    /// outside the slices.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::{InterruptResources, ResourceError};
    ///
    /// assert_eq!(InterruptResources::parse(&[], &[])?.iter().count(), 0);
    ///
    /// // A list that ends within its first count.
    /// let cut = InterruptResources::parse(&[1, 0], &[]);
    /// assert_eq!(cut.err(), Some(ResourceError::RawCutShort { offset: 0 }));
    /// # Ok::<(), ResourceError>(())
    /// ```
    pub fn parse(raw: &'a [u8], translated: &'a [u8]) -> Result<Self, ResourceError> {
        let (raw, translated) = (List::new(raw), List::new(translated));
        let mut raw_descriptors = raw.descriptors();
        let mut translated_descriptors = translated.descriptors();
        for index in 0.. {
            match (raw_descriptors.next(), translated_descriptors.next()) {
                (Some(Ok(raw)), Some(Ok(translated))) => {
                    Pair { raw, translated }.check(index)?;
                }
                (Some(Err(offset)), _) => return Err(ResourceError::RawCutShort { offset }),
                (_, Some(Err(offset))) => return Err(ResourceError::TranslatedCutShort { offset }),
                (None, None) => break,
                (Some(Ok(_)), None) | (None, Some(Ok(_))) => {
                    return Err(ResourceError::DifferentLengths { index });
                }
            }
        }
        Ok(Self { raw, translated })
    }

    /// The interrupts, in the lists' order, one for each vector: a descriptor that stands for
    /// several messages is as many interrupts, with consecutive vectors.
    ///
    /// Any IRQL, if the lists are resident.
    ///
    /// # Examples
    ///
    /// A request for each, with a handler of its own:
    ///
    /// ```
    #[doc = include_str!("examples/handler.txt")]
    #[doc = include_str!("examples/messages.txt")]
    /// let mut registrations = Vec::new();
    /// for interrupt in resources.iter() {
    ///     registrations.push(FullySpecified::new(device, interrupt).connect(Handler::default())?);
    /// }
    /// assert_eq!(registrations.len(), 2);
    /// # drop(registrations);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = InterruptResource> + use<'a> {
        // `parse` has seen that both lists are whole, equally long, and of the same kinds.
        let pairs = self.raw.descriptors().zip(self.translated.descriptors());
        pairs.flat_map(|(raw, translated)| {
            let pair = raw.ok().zip(translated.ok());
            pair.into_iter().flat_map(|(raw, translated)| Pair { raw, translated }.interrupts())
        })
    }

    /// How many of the interrupts are messages: what [`EachMessage`](crate::EachMessage) is told.
    ///
    /// Any IRQL, if the lists are resident.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::InterruptResources;
    ///
    /// // A device without resources.
    /// assert_eq!(InterruptResources::parse(&[], &[])?.message_count(), 0);
    /// # Ok::<(), wdm_interrupt::ResourceError>(())
    /// ```
    #[must_use]
    pub fn message_count(&self) -> u32 {
        self.iter().filter(InterruptResource::is_message).map(|_message| 1).sum()
    }
}

/// A pair of resource lists that cannot be read. `index` counts descriptors from 0, `offset` bytes.
///
/// # Examples
///
/// ```
/// use wdm_interrupt::{InterruptResources, ResourceError};
///
/// // One list of a START, and none of the other.
/// let list = [
///     &1_u32.to_le_bytes()[..],           // CM_RESOURCE_LIST.Count
///     &[0; 12],                           // bus, version, revision
///     &1_u32.to_le_bytes(), &[0; 20],     // one partial descriptor
/// ].concat();
/// let error = InterruptResources::parse(&list, &[]).unwrap_err();
/// assert_eq!(error, ResourceError::DifferentLengths { index: 0 });
/// assert!(error.to_string().starts_with("only one of the resource lists has a descriptor 0"));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ResourceError {
    /// The raw list's counts say more than its bytes hold.
    RawCutShort {
        /// Where the missing part begins.
        offset: usize,
    },
    /// The translated list's counts say more than its bytes hold.
    TranslatedCutShort {
        /// Where the missing part begins.
        offset: usize,
    },
    /// One list ends before the other.
    DifferentLengths {
        /// The first descriptor that only one list has.
        index: usize,
    },
    /// The lists do not describe the same resources in the same order.
    DifferentKinds {
        /// The first descriptor that differs.
        index: usize,
    },
    /// A translated interrupt descriptor's level is no IRQL.
    NoIrql {
        /// The descriptor.
        index: usize,
        /// Its level.
        level: u16,
    },
    /// A message descriptor's count goes past the highest vector number.
    NoVectors {
        /// The descriptor.
        index: usize,
    },
}

impl ResourceError {
    /// The `NTSTATUS` to return to the PnP manager: `STATUS_INVALID_PARAMETER`. Any IRQL.
    ///
    /// # Examples
    ///
    /// ```
    /// use wdm_interrupt::ResourceError;
    ///
    /// let error = ResourceError::DifferentKinds { index: 2 };
    /// assert_eq!(error.status(), 0xC000_000D_u32.cast_signed());
    /// ```
    #[must_use]
    pub const fn status(self) -> nt::NTSTATUS {
        nt::STATUS_INVALID_PARAMETER
    }
}

impl fmt::Display for ResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RawCutShort { offset } => {
                write!(f, "the raw resource list is cut short at byte {offset}")?;
            }
            Self::TranslatedCutShort { offset } => {
                write!(f, "the translated resource list is cut short at byte {offset}")?;
            }
            Self::DifferentLengths { index } => {
                write!(f, "only one of the resource lists has a descriptor {index}")?;
            }
            Self::DifferentKinds { index } => {
                write!(f, "descriptor {index} is another kind of resource in each list")?;
            }
            Self::NoIrql { index, level } => {
                write!(f, "descriptor {index} has the level {level}, which is no IRQL")?;
            }
            Self::NoVectors { index } => {
                write!(f, "descriptor {index} stands for more messages than there are vectors")?;
            }
        }
        f.write_str(
            "; were AllocatedResources and AllocatedResourcesTranslated of the same \
             IRP_MN_START_DEVICE given, in this order?",
        )
    }
}

impl error::Error for ResourceError {}

/// A raw descriptor and the translated one of the same resource.
#[derive(Clone, Copy)]
struct Pair<'a> {
    raw: Descriptor<'a>,
    translated: Descriptor<'a>,
}

impl Pair<'_> {
    /// Whether the two, number `index` of their lists, go together.
    fn check(self, index: usize) -> Result<(), ResourceError> {
        let Self { raw, translated } = self;
        if raw.kind() != translated.kind() {
            return Err(ResourceError::DifferentKinds { index });
        }
        if raw.kind() == Kind::Other {
            return Ok(());
        }
        if translated.irql().is_none() {
            let level = translated.level();
            return Err(ResourceError::NoIrql { index, level });
        }
        let last = translated.vector().checked_add(raw.vector_count() - 1);
        last.map_or(Err(ResourceError::NoVectors { index }), |_last| Ok(()))
    }

    /// The interrupts that the two stand for; none if they are another resource.
    fn interrupts(self) -> impl Iterator<Item = InterruptResource> {
        let Self { raw, translated } = self;
        let first = (raw.kind() != Kind::Other).then_some(()).and_then(|()| {
            Some(InterruptResource {
                message: raw.kind() == Kind::Message,
                vector: translated.vector(),
                irql: translated.irql()?,
                group: translated.group(),
                affinity: translated.affinity(),
                mode: if translated.is_latched() {
                    InterruptMode::Latched
                } else {
                    InterruptMode::LevelSensitive
                },
                shared: translated.is_shared(),
            })
        });
        first.into_iter().flat_map(move |first| {
            (0..raw.vector_count())
                .map(move |index| InterruptResource { vector: first.vector + index, ..first })
        })
    }
}
