//! What a kernel that keeps to the documentation does for a request: the calls, one by one, and
//! what comes of them.

use wdm_interrupt::{ConnectErrorKind, ConnectionKind, Irql};
use wdm_interrupt_model::nt;

use super::operation::{Half, Kind, Request};

impl Kind {
    /// How many interrupts the resource lists have.
    pub(super) const fn promised(self) -> usize {
        match self {
            Self::None => 0,
            Self::Line | Self::LatchedLine | Self::SharedLine | Self::PassiveLine => 1,
            Self::TwoLines => 2,
            Self::Messages { promised: count, .. } | Self::Msi(count) => count.count(),
        }
    }

    /// How many interrupts the kernel connects.
    pub(super) const fn assigned(self) -> usize {
        match self {
            Self::Messages { assigned, .. } => assigned.count(),
            _ => self.promised(),
        }
    }

    pub(super) const fn has_messages(self) -> bool {
        matches!(self, Self::Messages { .. } | Self::Msi(_))
    }

    pub(super) const fn is_passive(self) -> bool {
        matches!(self, Self::PassiveLine)
    }

    /// A line-based connect, with a spin lock or without.
    fn connects_lines(self, lock: bool) -> Result<Vec<usize>, nt::NTSTATUS> {
        if self.has_messages() {
            Err(nt::STATUS_INVALID_DEVICE_REQUEST)
        } else if self.assigned() == 0 {
            Err(nt::STATUS_NOT_FOUND)
        } else if self.is_passive() && lock {
            Err(nt::STATUS_INVALID_PARAMETER)
        } else {
            Ok((0..self.assigned()).collect())
        }
    }

    /// A connect of one vector.
    fn connects_vector(self, index: usize) -> Result<Vec<usize>, nt::NTSTATUS> {
        if index < self.assigned() { Ok(vec![index]) } else { Err(nt::STATUS_NOT_FOUND) }
    }

    /// The IRQL of each interrupt that it is given, promised or not.
    pub(super) fn irqls(self) -> Vec<u8> {
        match self {
            Self::None => vec![],
            Self::Line | Self::LatchedLine | Self::SharedLine => vec![9],
            Self::TwoLines => vec![9, 5],
            Self::PassiveLine => vec![0],
            Self::Msi(count) => vec![7; count.count()],
            Self::Messages { .. } => {
                let mut irqls = vec![6, 11, 4, 8];
                irqls.truncate(self.promised());
                irqls.resize(self.promised().max(self.assigned()), 5);
                irqls
            }
        }
    }
}

impl Request {
    /// The half that a request which was asked for `half` has.
    pub(super) const fn half(self, half: Half) -> Half {
        match (self, half) {
            (_, Half::None) | (Self::EachMessage { .. }, Half::WorkItem) => Half::None,
            (Self::EachMessage { .. }, half) => half,
            (_, _) if self.is_passive() => Half::WorkItem,
            (_, Half::SharedDpc) => Half::Dpc,
            (_, half) => half,
        }
    }

    pub(super) const fn is_passive(self) -> bool {
        matches!(
            self,
            Self::PassiveLineBased | Self::PassiveFullySpecified | Self::PassiveMessageBased
        )
    }

    /// Whether it is made of a resource, so that there must be one.
    pub(super) const fn takes_resource(self) -> bool {
        matches!(self, Self::FullySpecified(_) | Self::PassiveFullySpecified)
    }
}

/// One call of `IoConnectInterruptEx`.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// The interrupts that it connects, or why it does not.
    pub(super) connects: Result<Vec<usize>, nt::NTSTATUS>,
    /// Whether the handler is called for them; there is a routine that claims nothing, too.
    pub(super) serves: bool,
    /// Whether the connection is undone at once, to make another.
    pub(super) is_undone: bool,
}

impl Call {
    const fn serve(connects: Result<Vec<usize>, nt::NTSTATUS>) -> Self {
        Self { connects, serves: true, is_undone: false }
    }

    const fn refuse(connects: Result<Vec<usize>, nt::NTSTATUS>) -> Self {
        Self { connects, serves: false, is_undone: false }
    }
}

/// What becomes of a request if nothing fails that need not.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Why nothing is even tried.
    pub(super) refusal: Option<ConnectErrorKind>,
    /// How many handlers there are, before and after.
    pub(super) made: usize,
    pub(super) handlers: usize,
    /// Pool that is allocated before the first call, and once there are halves in it.
    pub(super) allocations: usize,
    pub(super) late_allocations: usize,
    pub(super) calls: Vec<Call>,
    /// What comes of it if all calls succeed.
    pub(super) outcome: Result<ConnectionKind, ConnectErrorKind>,
}

impl Plan {
    pub(super) fn new(kind: Kind, request: Request) -> Self {
        let all: Vec<usize> = (0..kind.assigned()).collect();
        let (lines, messages) = (kind.assigned(), count(kind.assigned()));
        let line = ConnectionKind::LineBased;
        let not_passive = || ConnectErrorKind::NotPassive(Irql::from_raw(kind.irqls()[0]));
        let no_device_irql = ConnectErrorKind::NoDeviceIrql(Irql::PASSIVE);
        let mut plan = Self {
            refusal: None,
            made: 1,
            handlers: 1,
            allocations: 1,
            late_allocations: 0,
            calls: vec![],
            outcome: Ok(line),
        };
        let connects_lines = |lock| kind.connects_lines(lock);
        match request {
            Request::LineBased => plan.calls.push(Call::serve(connects_lines(true))),
            Request::FullySpecified(number) => {
                let index = number.index().min(kind.promised().saturating_sub(1));
                plan.refusal = kind.is_passive().then_some(no_device_irql);
                plan.calls.push(Call::serve(kind.connects_vector(index)));
                plan.outcome = Ok(ConnectionKind::FullySpecified { vectors: 1 });
            }
            Request::SeveralFullySpecified => {
                let vectors = kind.promised();
                plan.refusal = if vectors == 0 {
                    Some(ConnectErrorKind::NoVectors)
                } else {
                    kind.is_passive().then_some(no_device_irql)
                };
                plan.late_allocations = 1;
                plan.calls
                    .extend((0..vectors).map(|index| Call::serve(kind.connects_vector(index))));
                plan.outcome = Ok(ConnectionKind::FullySpecified { vectors });
            }
            Request::MessageBased { .. } | Request::PassiveMessageBased if kind.has_messages() => {
                plan.calls.push(Call::serve(Ok(all)));
                plan.outcome = Ok(ConnectionKind::MessageBased { messages });
            }
            Request::MessageBased { fall_back } => {
                let call = if fall_back { Call::serve } else { Call::refuse };
                plan.calls.push(call(connects_lines(true)));
                plan.outcome = if fall_back { Ok(line) } else { Err(ConnectErrorKind::NoMessages) };
            }
            Request::EachMessage { fall_back } => plan.connect_each(kind, fall_back),
            Request::PassiveLineBased => {
                let connects = connects_lines(false);
                if kind.is_passive() {
                    plan.calls.push(Call::serve(connects));
                } else {
                    plan.calls.push(Call::refuse(connects));
                    if lines > 0 {
                        plan.outcome = Err(not_passive());
                    }
                }
            }
            Request::PassiveFullySpecified => {
                if kind.is_passive() {
                    plan.calls.push(Call::serve(Ok(all)));
                    plan.outcome = Ok(ConnectionKind::FullySpecified { vectors: 1 });
                } else if lines > 0 {
                    plan.refusal = Some(not_passive());
                }
            }
            Request::PassiveMessageBased => {
                plan.calls.push(Call::refuse(connects_lines(false)));
                plan.outcome = Err(ConnectErrorKind::NoMessages);
            }
        }
        // What comes after a call that is refused does not happen.
        if let Some(last) = plan.calls.iter().position(|call| call.connects.is_err()) {
            plan.calls.truncate(last + 1);
        }
        plan
    }

    /// Of a request for a handler each message.
    fn connect_each(&mut self, kind: Kind, fall_back: bool) {
        let promised = if kind.has_messages() { kind.promised() } else { 0 };
        self.made = promised.max(fall_back.into());
        self.refusal = (self.made == 0).then_some(ConnectErrorKind::NoMessages);
        if kind.has_messages() {
            let (handlers, messages) = (count(self.made), count(kind.assigned()));
            self.calls.push(Call::serve(Ok((0..kind.assigned()).collect())));
            self.handlers = kind.assigned();
            self.outcome = if messages > handlers {
                Err(ConnectErrorKind::TooManyMessages { handlers, messages })
            } else {
                Ok(ConnectionKind::MessageBased { messages })
            };
        } else {
            // The line that comes instead of messages is connected by a call of its own.
            let first = Call::refuse(kind.connects_lines(false));
            self.calls.push(Call { is_undone: true, ..first });
            if fall_back {
                self.calls.push(Call::serve(kind.connects_lines(true)));
            }
        }
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("there are few")
}
