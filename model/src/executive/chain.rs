//! Which objects are on which vector.

use alloc::{sync::Arc, vec, vec::Vec};

use super::{
    Executive,
    object::{Object, token_parts},
};
use crate::hal::Hal;

/// Vectors are a byte on x64.
pub(super) const VECTORS: usize = 256;
/// How many objects can share a vector.
const CHAIN: usize = 16;

/// How many locks drivers can have supplied at once.
const SUPPLIED: usize = 64;

/// For each vector the objects on it, in the order of their numbers. Its size never changes, so
/// nothing is allocated or freed while the dispatch lock is held.
pub(super) struct Chains {
    slots: Vec<[Option<Arc<Object>>; CHAIN]>,
    /// The locks that drivers supplied, by address, each with how many objects have it.
    supplied: [(usize, usize); SUPPLIED],
}

/// Why an object could not be put on its vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Full,
    NotShared,
}

impl Chains {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![const { [const { None }; CHAIN] }; VECTORS],
            supplied: [(0, 0); SUPPLIED],
        }
    }

    fn on(&self, vector: u32) -> impl Iterator<Item = &Arc<Object>> {
        self.slots.get(vector as usize).into_iter().flatten().flatten()
    }

    /// The first object on `vector` with a number above `after`.
    pub(super) fn next(&self, vector: u32, after: usize) -> Option<Arc<Object>> {
        self.on(vector).filter(|object| object.id > after).min_by_key(|object| object.id).cloned()
    }

    pub(super) fn count(&self, vector: u32) -> usize {
        self.on(vector).count()
    }

    pub(super) fn by_token(&self, token: usize) -> Option<Arc<Object>> {
        let (vector, id) = token_parts(token)?;
        let mut there = self.slots[vector].iter().flatten();
        there.find(|object| object.id == id).cloned()
    }

    /// Whether `lock` was supplied for a connected object.
    pub(super) fn is_supplied(&self, lock: *mut u64) -> bool {
        self.supplied.iter().any(|&(address, users)| users > 0 && address == lock.addr())
    }

    pub(super) fn insert(&mut self, object: Arc<Object>) -> Result<(), Refusal> {
        if self.on(object.vector).any(|other| !other.shared || !object.shared) {
            return Err(Refusal::NotShared);
        }
        let slots = &mut self.slots[object.vector as usize];
        let free = slots.iter_mut().find(|slot| slot.is_none()).ok_or(Refusal::Full)?;
        if !object.supplied.is_null() {
            let address = object.supplied.addr();
            let known = |&(other, users): &(usize, usize)| users > 0 && other == address;
            let index = (self.supplied.iter().position(known))
                .or_else(|| self.supplied.iter().position(|&(_, users)| users == 0))
                .ok_or(Refusal::Full)?;
            let users = self.supplied[index].1;
            self.supplied[index] = (address, users + 1);
        }
        *free = Some(object);
        Ok(())
    }

    /// Takes the object out. The caller drops what this gives outside of the lock.
    pub(super) fn remove(&mut self, object: &Object) -> Option<Arc<Object>> {
        let removed = self.slots[object.vector as usize]
            .iter_mut()
            .find(|slot| slot.as_ref().is_some_and(|other| other.id == object.id))
            .and_then(Option::take)?;
        let address = object.supplied.addr();
        let mut supplied = self.supplied.iter_mut();
        if let Some((_, users)) = supplied.find(|(other, users)| *users > 0 && *other == address) {
            *users -= 1;
        }
        Some(removed)
    }
}

impl<H: Hal> Executive<H> {
    /// Puts `object` on its vector, unmasking the source if it is the first.
    pub(super) fn wire(&self, object: &Arc<Object>) -> Result<(), Refusal> {
        let _turn = self.wiring.pass(&self.hal);
        let mut dispatch = self.dispatch.lock(&self.hal);
        let first = dispatch.chains.count(object.vector) == 0;
        let clone = Arc::clone(object);
        dispatch.chains.insert(clone)?;
        drop(dispatch);
        if first {
            self.hal.unmask(object.vector, object.source);
        }
        Ok(())
    }

    /// Takes `object` off its vector, masking the source if it is the last, and waits until no
    /// processor is inside its service routine.
    pub(super) fn unwire(&self, object: &Arc<Object>) {
        let turn = self.wiring.pass(&self.hal);
        let last = self.dispatch.lock(&self.hal).chains.count(object.vector) == 1;
        if last {
            // Masked before it is taken off: a level line that is still asserted would otherwise
            // find nobody to serve it.
            self.hal.mask(object.vector, object.source);
        }
        let removed = self.dispatch.lock(&self.hal).chains.remove(object);
        drop(removed);
        drop(turn);
        // One reference is the caller's connection. All others are those of calls under way, and
        // no new one can be made.
        while Arc::strong_count(object) > 1 {
            self.hal.relax();
        }
    }
}
