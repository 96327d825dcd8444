//! Vectors: which are assigned, to which processor they go, from where they come, and how what is served at
//! `PASSIVE_LEVEL` gets from its vector to a thread.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use wdm_interrupt_model::hal::Source;

use super::node::Node;
use crate::kernel::EXECUTIVE;
use crate::sync::Lock;
use crate::{apic, hal, processor, smp};

/// Where a vector's interrupts go, and who sends them.
#[derive(Debug, Clone)]
struct Route {
    processor: usize,
    /// Devices with this vector: several only on a shared line.
    users: Vec<Arc<Node>>,
    sender: Sender,
    /// The vector that drivers and the executive know: another one for a line of `PASSIVE_LEVEL`, which has
    /// none of the processor's.
    known_as: u32,
    service: Arc<Lock<Service>>,
}

/// What happens with a vector.
#[derive(Debug, Default)]
struct Service {
    /// A service routine is connected.
    open: bool,
    /// A thread serves it at `PASSIVE_LEVEL`, and a line is masked for so long.
    served: bool,
    /// A message has come meanwhile.
    again: bool,
    /// How often on end nobody claimed it there.
    unclaimed: u32,
}

/// What of a device a vector is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// A pin of the I/O APIC.
    Line(u32),
    /// One of the messages that the device was given.
    Message { number: u16, count: usize },
}

static ROUTES: Lock<BTreeMap<u32, Route>> = Lock::new(BTreeMap::new());

/// What a message's address and data are for a processor and a vector.
pub(crate) fn message(vector: u32, processor: usize) -> (u64, u32) {
    let apic_id = processor::by_number(processor).map_or(0, crate::processor::Processor::apic_id);
    (0xfee0_0000 | u64::from(apic_id) << 12, vector)
}

/// A vector that was taken for a message, and the processor it goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) vector: u32,
    pub(crate) processor: usize,
}

/// The device IRQLs.
const LOWEST_IRQL: u8 = 3;
const HIGHEST_IRQL: u8 = 12;

/// Takes vectors for messages: the first of this IRQL for this processor, each further one of the next
/// IRQL for the next processor, so that no driver gets away with thinking that they are equal.
pub(crate) fn take_messages(
    node: &Arc<Node>,
    irql: u8,
    processor: usize,
    count: usize,
) -> Option<Vec<Taken>> {
    let mut routes = ROUTES.lock();
    let irqls = (LOWEST_IRQL..=HIGHEST_IRQL).cycle().skip(usize::from(irql - LOWEST_IRQL));
    irqls
        .take(count)
        .enumerate()
        .map(|(number, irql)| {
            let vector = free(&routes, irql, 1)?;
            let processor = (processor + number) % processor::count();
            Some(take(&mut routes, node, number, count, Taken { vector, processor }))
        })
        .collect()
}

/// Takes as many vectors for messages, all of this IRQL and for this processor, that follow each other:
/// the device changes the low bits of the first.
pub(crate) fn take_block(
    node: &Arc<Node>,
    irql: u8,
    processor: usize,
    count: usize,
) -> Option<Vec<Taken>> {
    let mut routes = ROUTES.lock();
    let first = free(&routes, irql, count as u32)?;
    let vectors = (first..first + count as u32).enumerate();
    Some(
        vectors
            .map(|(number, vector)| {
                take(&mut routes, node, number, count, Taken { vector, processor })
            })
            .collect(),
    )
}

fn take(
    routes: &mut BTreeMap<u32, Route>,
    node: &Arc<Node>,
    number: usize,
    count: usize,
    taken: Taken,
) -> Taken {
    let sender = Sender::Message { number: number as u16, count };
    routes.insert(taken.vector, Route::new(node, taken.processor, sender, taken.vector));
    taken
}

impl Route {
    fn new(node: &Arc<Node>, processor: usize, sender: Sender, known_as: u32) -> Self {
        let users = alloc::vec![Arc::clone(node)];
        Self { processor, users, sender, known_as, service: Arc::default() }
    }

    /// Routes a line to its vector, which unmasks it.
    fn let_in(&self, pin: u32, vector: u32, latched: bool) {
        let target = processor::by_number(self.processor);
        let apic_id = target.map_or(0, crate::processor::Processor::apic_id);
        apic::route(pin, vector as u8, apic_id, !latched);
    }
}

/// The route that the executive knows by this vector, with the processor's vector.
fn known(vector: u32) -> Option<(u32, Route)> {
    let routes = ROUTES.lock();
    let found = routes.iter().find(|(_, route)| route.known_as == vector);
    found.map(|(vector, route)| (*vector, route.clone()))
}

/// Takes a vector for a line: that of the devices that have the line already, if there are any. IRQL 0 is
/// that of a line which is served at `PASSIVE_LEVEL`: the processor's vector is then a low one.
pub(crate) fn take_line(node: &Arc<Node>, pin: u32, irql: u8, processor: usize) -> Option<Taken> {
    let mut routes = ROUTES.lock();
    let sender = Sender::Line(pin);
    let found = routes.iter_mut().find(|(_, route)| route.sender == sender);
    if let Some((_, route)) = found {
        route.users.push(Arc::clone(node));
        return Some(Taken { vector: route.known_as, processor: route.processor });
    }
    let vector = free(&routes, irql.max(LOWEST_IRQL), 1)?;
    let known_as = if irql == 0 {
        (1..16).find(|one| routes.values().all(|route| route.known_as != *one))?
    } else {
        vector
    };
    routes.insert(vector, Route::new(node, processor, sender, known_as));
    Some(Taken { vector: known_as, processor })
}

/// The first of so many vectors of this IRQL that nobody has, aligned to their number.
fn free(routes: &BTreeMap<u32, Route>, irql: u8, count: u32) -> Option<u32> {
    let first = u32::from(irql) << 4;
    let mut places = (first..first + 16).step_by(count.next_power_of_two() as usize);
    places.find(|place| routes.range(*place..place + count).next().is_none())
}

/// Gives a device's vectors back.
pub(crate) fn give_back(node: &Arc<Node>) {
    let mut routes = ROUTES.lock();
    for route in routes.values_mut() {
        route.users.retain(|user| !Arc::ptr_eq(user, node));
    }
    routes.retain(|_, route| !route.users.is_empty());
}

/// Routes and unmasks: the first service routine is connected.
pub(crate) fn unmask(vector: u32, source: Source) {
    let Some((hardware, route)) = known(vector) else { return };
    match (source, route.sender) {
        (Source::Line { gsi, latched }, _) => {
            let mut service = route.service.lock();
            service.open = true;
            if !service.served {
                route.let_in(gsi, hardware, latched);
            }
        }
        (Source::Message { address, data }, Sender::Message { number, count }) => {
            for user in &route.users {
                user.function().unmask_message(number, count, address, data);
            }
        }
        (Source::Message { .. }, Sender::Line(_)) => {}
    }
}

/// Masks: the last service routine is disconnected.
pub(crate) fn mask(vector: u32, source: Source) {
    let Some((_, route)) = known(vector) else { return };
    match (source, route.sender) {
        (Source::Line { gsi, .. }, _) => {
            let mut service = route.service.lock();
            service.open = false;
            apic::mask(gsi);
        }
        (Source::Message { .. }, Sender::Message { number, .. }) => {
            for user in &route.users {
                user.function().mask_message(number);
            }
        }
        (Source::Message { .. }, Sender::Line(_)) => {}
    }
}

/// An interrupt with this vector has come to the current processor: the service routines run, now or in a thread.
pub(crate) fn serve(vector: u32) {
    let route = ROUTES
        .lock()
        .get(&vector)
        .map(|route| (route.known_as, route.sender, Arc::clone(&route.service)));
    let Some((known_as, sender, service)) = route else { return };
    if !EXECUTIVE.is_passive(known_as) {
        EXECUTIVE.interrupt(known_as);
        return;
    }
    if let Sender::Line(pin) = sender {
        apic::mask(pin);
    }
    let mut state = service.lock();
    if state.served {
        state.again = true;
        return;
    }
    state.served = true;
    drop(state);
    smp::queue_work(move || serve_in_thread(vector, known_as, &service));
}

/// Serves a vector at `PASSIVE_LEVEL`, and lets its interrupts in again.
fn serve_in_thread(vector: u32, known_as: u32, service: &Arc<Lock<Service>>) {
    loop {
        let claimed = EXECUTIVE.interrupt(known_as);
        let route = ROUTES.lock().get(&vector).cloned();
        let mut state = service.lock();
        state.unclaimed = if claimed { 0 } else { state.unclaimed + 1 };
        if state.unclaimed > hal::STORM {
            drop(state);
            hal::storm(known_as);
        }
        if core::mem::take(&mut state.again) {
            continue;
        }
        state.served = false;
        // The vector may be another device's by now, or nobody's.
        if let Some(route) = route
            && Arc::ptr_eq(&route.service, service)
            && let Sender::Line(pin) = route.sender
            && state.open
        {
            route.let_in(pin, vector, false);
        }
        return;
    }
}
