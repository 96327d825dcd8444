//! Which objects are on which vector.

use alloc::{sync::Arc, vec, vec::Vec};
use core::{iter, slice, sync::atomic::Ordering};

use super::{
    Executive,
    object::{Object, token_parts},
};
use crate::hal::Hal;

/// Vectors are a byte on x64, and a processor's. Here the byte says what the vector is, and what is
/// above it makes room for the thousands of messages that a device can have on many processors.
pub(super) const VECTORS: usize = 1 << 16;
/// Vectors below this can be shared.
const SHAREABLE: usize = 256;
/// How many objects can share a vector.
const CHAIN: usize = 16;

/// How many locks drivers can have supplied at once.
const SUPPLIED: usize = 64;

/// For each vector the objects on it, in the order of their numbers. Nothing is allocated or freed
/// while the dispatch lock is held: [`Executive::assign`] makes room before.
pub(super) struct Chains {
    slots: Vec<[Option<Arc<Object>>; CHAIN]>,
    /// The vectors from `SHAREABLE` on, as far as they were ever assigned.
    single: Vec<Option<Arc<Object>>>,
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
            slots: vec![const { [const { None }; CHAIN] }; SHAREABLE],
            single: Vec::new(),
            supplied: [(0, 0); SUPPLIED],
        }
    }

    /// The slots of a vector: none, if it was never assigned.
    fn slots(&self, vector: u32) -> &[Option<Arc<Object>>] {
        let vector = vector as usize;
        match vector.checked_sub(SHAREABLE) {
            None => &self.slots[vector],
            Some(index) => self.single.get(index).map_or(&[], slice::from_ref),
        }
    }

    fn slots_mut(&mut self, vector: u32) -> &mut [Option<Arc<Object>>] {
        let vector = vector as usize;
        match vector.checked_sub(SHAREABLE) {
            None => &mut self.slots[vector],
            Some(index) => self.single.get_mut(index).map_or(&mut [], slice::from_mut),
        }
    }

    fn on(&self, vector: u32) -> impl Iterator<Item = &Arc<Object>> {
        self.slots(vector).iter().flatten()
    }

    /// The first object on `vector` with a number above `after`.
    pub(super) fn next(&self, vector: u32, after: usize) -> Option<Arc<Object>> {
        self.on(vector).filter(|object| object.id > after).min_by_key(|object| object.id).cloned()
    }

    pub(super) fn count(&self, vector: u32) -> usize {
        self.on(vector).count()
    }

    pub(super) fn is_passive(&self, vector: u32) -> bool {
        self.on(vector).any(|object| object.is_passive())
    }

    /// Whether service routines of `vector` are called, if there are any.
    pub(super) fn is_active(&self, vector: u32) -> Option<bool> {
        let active = |object: &Arc<Object>| object.active.load(Ordering::Relaxed);
        self.on(vector).map(active).reduce(|one, other| one || other)
    }

    pub(super) fn by_token(&self, token: usize) -> Option<Arc<Object>> {
        let (vector, id) = token_parts(token)?;
        self.on(vector.into()).find(|object| object.id == id).cloned()
    }

    /// The first object on `vector`, and how many there are.
    pub(super) fn first(&self, vector: u32) -> Option<(Arc<Object>, usize)> {
        Some((self.next(vector, 0)?, self.count(vector)))
    }

    /// Whether `lock` was supplied for a connected object.
    pub(super) fn is_supplied(&self, lock: *mut u64) -> bool {
        self.supplied.iter().any(|&(address, users)| users > 0 && address == lock.addr())
    }

    pub(super) fn insert(&mut self, object: Arc<Object>) -> Result<(), Refusal> {
        // Nobody waits at a device IRQL for what is served at PASSIVE_LEVEL.
        let together = |other: &Arc<Object>| {
            other.shared && object.shared && other.is_passive() == object.is_passive()
        };
        if !self.on(object.vector).all(together) {
            return Err(Refusal::NotShared);
        }
        let mut slots = self.slots(object.vector).iter();
        let free = slots.position(Option::is_none).ok_or(Refusal::Full)?;
        if !object.supplied.is_null() {
            let address = object.supplied.addr();
            let known = |&(other, users): &(usize, usize)| users > 0 && other == address;
            let index = (self.supplied.iter().position(known))
                .or_else(|| self.supplied.iter().position(|&(_, users)| users == 0))
                .ok_or(Refusal::Full)?;
            let users = self.supplied[index].1;
            self.supplied[index] = (address, users + 1);
        }
        let vector = object.vector;
        self.slots_mut(vector)[free] = Some(object);
        Ok(())
    }

    /// Takes the object out. The caller drops what this gives outside of the lock.
    pub(super) fn remove(&mut self, object: &Object) -> Option<Arc<Object>> {
        let removed = self
            .slots_mut(object.vector)
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
    /// Makes room for the vectors up to this one.
    pub(super) fn make_room(&self, vector: u32) {
        let needed = (vector as usize + 1).saturating_sub(SHAREABLE);
        let mut more = Vec::with_capacity(needed);
        let mut dispatch = self.dispatch.lock(&self.hal);
        if dispatch.chains.single.len() < needed {
            more.append(&mut dispatch.chains.single);
            more.extend(iter::repeat_n(None, needed - more.len()));
            core::mem::swap(&mut more, &mut dispatch.chains.single);
        }
        drop(dispatch);
    }

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
