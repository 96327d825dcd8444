//! Which sequences there are: what a state allows, with what matters more often.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;
use proptest_state_machine::ReferenceStateMachine;

use crate::sequence::operation::{
    DURING, Failure, HALVES, Half, Kind, NUMBERS, Number, Operation, PLACES, Place, Refused,
    Request, SLOTS, Slot, Step,
};
use crate::sequence::reference::Reference;

/// The sequences that the reference allows.
pub(crate) struct Sequences;

impl ReferenceStateMachine for Sequences {
    type State = Reference;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Reference> {
        Just(Reference::default()).boxed()
    }

    fn transitions(state: &Reference) -> BoxedStrategy<Step> {
        let state = state.clone();
        operation()
            .prop_filter("not possible now", move |&it| state.allows(it))
            .prop_map(Step)
            .boxed()
    }

    /// A sequence that was shortened can have what is not possible any more. Nothing is done then,
    /// so that of a connect and its disconnect one can be left out after the other.
    fn apply(mut state: Reference, &Step(operation): &Step) -> Reference {
        if state.allows(operation) {
            state.apply(operation);
        }
        state
    }
}

fn slot() -> impl Strategy<Value = Slot> + Clone {
    select(&SLOTS)
}

fn number() -> impl Strategy<Value = Number> + Clone {
    select(&NUMBERS)
}

fn kind() -> impl Strategy<Value = Kind> {
    let messages =
        (number(), number()).prop_map(|(promised, assigned)| Kind::Messages { promised, assigned });
    prop_oneof![
        1 => Just(Kind::None),
        3 => select(vec![Kind::Line, Kind::LatchedLine, Kind::TwoLines]),
        3 => Just(Kind::SharedLine),
        3 => Just(Kind::PassiveLine),
        5 => messages,
        2 => number().prop_map(Kind::Msi),
    ]
}

fn request() -> impl Strategy<Value = Request> + Clone {
    prop_oneof![
        Just(Request::LineBased),
        number().prop_map(Request::FullySpecified),
        Just(Request::SeveralFullySpecified),
        any::<bool>().prop_map(|fall_back| Request::MessageBased { fall_back }),
        any::<bool>().prop_map(|fall_back| Request::EachMessage { fall_back }),
        select(vec![
            Request::PassiveLineBased,
            Request::PassiveFullySpecified,
            Request::PassiveMessageBased
        ]),
    ]
}

fn half() -> impl Strategy<Value = Half> + Clone {
    select(&HALVES)
}

fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        number().prop_map(Failure::NoPool),
        Just(Failure::NoWorkItem),
        number().prop_map(Failure::Refused),
        (number(), number()).prop_map(|(nth, live)| Failure::RefusedLate(nth, live)),
        number().prop_map(Failure::WritesNothing),
        number().prop_map(Failure::StoresNull),
    ]
}

fn place() -> impl Strategy<Value = Place> + Clone {
    select(&PLACES)
}

fn refused() -> impl Strategy<Value = Refused> {
    prop_oneof![
        (request(), half()).prop_map(|(request, half)| Refused::Connect(request, half)),
        select(vec![Refused::Disconnect, Refused::DisconnectRemoved]),
    ]
}

/// Any operation. Each strategy begins with what is simplest, which is what shrinking goes for.
fn operation() -> impl Strategy<Value = Operation> {
    let raise = (slot(), number(), place());
    let at_slot = |weight, operations: [fn(Slot) -> Operation; 3]| {
        let strategy = (slot(), select(operations.to_vec()));
        (weight, strategy.prop_map(|(slot, operation)| operation(slot)).boxed())
    };
    let during = select(&DURING);
    Union::new_weighted(vec![
        (6, (slot(), kind()).prop_map(|(slot, kind)| Operation::Plug(slot, kind)).boxed()),
        (
            10,
            (slot(), request(), half())
                .prop_map(|(slot, request, half)| Operation::Connect(slot, request, half))
                .boxed(),
        ),
        (
            4,
            (slot(), request(), half(), failure())
                .prop_map(|(slot, request, half, failure)| {
                    Operation::ConnectFailing(slot, request, half, failure)
                })
                .boxed(),
        ),
        (
            12,
            raise
                .clone()
                .prop_map(|(slot, number, place)| Operation::Raise(slot, number, place))
                .boxed(),
        ),
        (
            2,
            raise
                .prop_map(|(slot, number, place)| Operation::RaiseSpurious(slot, number, place))
                .boxed(),
        ),
        at_slot(3, [Operation::Disconnect, Operation::DisconnectRemoved, Operation::Drop]),
        at_slot(3, [Operation::Stop, Operation::Start, Operation::Start]),
        at_slot(1, [Operation::SurpriseRemoval, Operation::Remove, Operation::Remove]),
        at_slot(4, [Operation::ReportInactive, Operation::ReportActive, Operation::ReportActive]),
        at_slot(4, [Operation::Defer, Operation::IntoRaw, Operation::FromRaw]),
        at_slot(6, [Operation::RaiseForeign, Operation::RaiseForeign, Operation::ReconnectForeign]),
        (4, (slot(), number()).prop_map(|(slot, it)| Operation::Pend(slot, it)).boxed()),
        (2, (slot(), refused()).prop_map(|(slot, it)| Operation::AtRaisedIrql(slot, it)).boxed()),
        (3, any::<bool>().prop_map(Operation::HoldDpcs).boxed()),
        (2, any::<bool>().prop_map(Operation::HoldWorkItems).boxed()),
        (1, any::<bool>().prop_map(Operation::ThreadedDpcsAtDispatchLevel).boxed()),
        (2, during.prop_map(Operation::InterruptDuringConnect).boxed()),
        (2, any::<bool>().prop_map(Operation::InterruptDuringDisconnect).boxed()),
    ])
}
