//! Vectors: which are assigned, to which processor they go, and from where they come.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use wdm_interrupt_model::hal::Source;

use super::node::Node;
use crate::sync::Lock;
use crate::{apic, processor};

/// Where a vector's interrupts go, and who sends them.
#[derive(Debug, Clone)]
struct Route {
    processor: usize,
    /// Devices with this vector: several only on a shared line.
    users: alloc::vec::Vec<Arc<Node>>,
    /// The line's pin.
    line: Option<u32>,
}

static ROUTES: Lock<BTreeMap<u32, Route>> = Lock::new(BTreeMap::new());

/// What a message's address and data are for a processor and a vector.
pub(crate) fn message(vector: u32, processor: usize) -> (u64, u32) {
    let apic_id = processor::by_number(processor).map_or(0, crate::processor::Processor::apic_id);
    (0xfee0_0000 | u64::from(apic_id) << 12, vector)
}

/// Takes a vector of this IRQL for a message.
pub(crate) fn take_message(node: &Arc<Node>, irql: u8, processor: usize) -> Option<u32> {
    let mut routes = ROUTES.lock();
    let vector = free(&routes, irql)?;
    let route = Route { processor, users: alloc::vec![Arc::clone(node)], line: None };
    routes.insert(vector, route);
    Some(vector)
}

/// Takes a vector for a line: that of the devices that have the line already, if there are any.
/// Returns the vector and the processor.
pub(crate) fn take_line(
    node: &Arc<Node>,
    pin: u32,
    irql: u8,
    processor: usize,
) -> Option<(u32, usize)> {
    let mut routes = ROUTES.lock();
    let found = routes.iter_mut().find(|(_, route)| route.line == Some(pin));
    if let Some((vector, route)) = found {
        route.users.push(Arc::clone(node));
        return Some((*vector, route.processor));
    }
    let vector = free(&routes, irql)?;
    let route = Route { processor, users: alloc::vec![Arc::clone(node)], line: Some(pin) };
    routes.insert(vector, route);
    Some((vector, processor))
}

/// A vector of this IRQL that nobody has. The last one of each class stays free, so that vectors change
/// from start to start.
fn free(routes: &BTreeMap<u32, Route>, irql: u8) -> Option<u32> {
    let first = u32::from(irql) << 4;
    (first..first + 16).find(|vector| !routes.contains_key(vector))
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
    let Some(route) = ROUTES.lock().get(&vector).cloned() else { return };
    match source {
        Source::Line { gsi, latched } => {
            let target = processor::by_number(route.processor);
            let apic_id = target.map_or(0, crate::processor::Processor::apic_id);
            apic::route(gsi, vector as u8, apic_id, !latched);
        }
        Source::Message { address, data } => {
            for user in &route.users {
                user.function().enable_message(address, data);
            }
        }
    }
}

/// Masks: the last service routine is disconnected.
pub(crate) fn mask(vector: u32, source: Source) {
    let Some(route) = ROUTES.lock().get(&vector).cloned() else { return };
    match source {
        Source::Line { gsi, .. } => apic::mask(gsi),
        Source::Message { .. } => {
            for user in &route.users {
                user.function().disable_message();
            }
        }
    }
}
