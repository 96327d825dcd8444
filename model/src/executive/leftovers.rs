//! What is left behind at the end of a run.

use alloc::vec::Vec;
use core::fmt;

use super::{
    Executive,
    breach::{Breach, VERIFIER},
};
use crate::{
    hal::Hal,
    nt::ULONG,
    report::{BugCheck, Rule, Tag},
};

/// What a driver left behind. It displays as a list for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Pool, by tag.
    pub pool: Vec<PoolLeft>,
    /// The vectors that are connected.
    pub interrupts: Vec<u32>,
    /// How many DPCs are queued.
    pub dpcs: usize,
    /// How many spin locks are held.
    pub locks: usize,
    /// How many work items were not freed.
    pub work_items: usize,
    /// How many critical regions were not left.
    pub critical_regions: usize,
}

/// The pool of one tag that was not freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLeft {
    /// The tag.
    pub tag: ULONG,
    /// How many allocations.
    pub blocks: usize,
    /// How many bytes they are, together.
    pub bytes: usize,
    /// How many of these bytes are paged pool.
    pub paged: usize,
}

impl Leftovers {
    /// Whether nothing was left behind.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pool.is_empty()
            && self.interrupts.is_empty()
            && self.dpcs == 0
            && self.locks == 0
            && self.work_items == 0
            && self.critical_regions == 0
    }

    /// The bug check that Driver Verifier's pool tracking ends in when a driver that leaves this
    /// behind is unloaded. Only pool has one.
    ///
    /// ```
    /// use wdm_interrupt_model::executive::Leftovers;
    ///
    /// assert_eq!(Leftovers::default().bug_check(), None);
    /// ```
    #[must_use]
    pub fn bug_check(&self) -> Option<BugCheck> {
        let sum = |of: fn(&PoolLeft) -> usize| self.pool.iter().map(of).sum::<usize>() as u64;
        let (paged, bytes, blocks) = (sum(|it| it.paged), sum(|it| it.bytes), sum(|it| it.blocks));
        (blocks > 0).then(|| BugCheck::new(VERIFIER, [0x60, paged, bytes - paged, blocks]))
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        let mut separator = "";
        for PoolLeft { tag, blocks, bytes, .. } in &self.pool {
            write!(f, "{separator}pool '{}': {blocks} blocks, {bytes} bytes", Tag(*tag))?;
            separator = "; ";
        }
        for vector in &self.interrupts {
            write!(f, "{separator}vector {vector:#x} connected")?;
            separator = "; ";
        }
        if self.dpcs > 0 {
            write!(f, "{separator}{} DPCs queued", self.dpcs)?;
            separator = "; ";
        }
        if self.locks > 0 {
            write!(f, "{separator}{} spin locks held", self.locks)?;
            separator = "; ";
        }
        if self.work_items > 0 {
            write!(f, "{separator}{} work items not freed", self.work_items)?;
            separator = "; ";
        }
        if self.critical_regions > 0 {
            write!(f, "{separator}{} critical regions not left", self.critical_regions)?;
        }
        Ok(())
    }
}

impl<H: Hal> Executive<H> {
    /// What drivers have not given back. It also looks whether freed memory was written to, which
    /// is a broken rule.
    pub fn left_behind(&self) -> Leftovers {
        self.require_all_poisoned();
        let left = self.pool_by_tag().into_iter().filter(|tag| tag.blocks() > 0);
        let pool = left
            .map(|it| PoolLeft {
                tag: it.tag,
                blocks: it.blocks(),
                bytes: it.bytes(),
                paged: it.paged,
            })
            .collect();
        let registry = self.registry.lock(&self.hal);
        let interrupts = registry.objects().map(|object| object.vector).collect();
        drop(registry);
        let dispatch = self.dispatch.lock(&self.hal);
        let (dpcs, locks) = (dispatch.dpcs.queued(), dispatch.held.total());
        let critical_regions = dispatch.regions.iter().sum();
        drop(dispatch);
        let work_items = self.work.lock(&self.hal).count();
        Leftovers { pool, interrupts, dpcs, locks, work_items, critical_regions }
    }

    /// Reports what drivers have not given back, if there is anything. For the end of a run, or the
    /// unload of a driver, which `call` names.
    pub fn require_nothing_left(&self, call: &str) {
        let leftovers = self.left_behind();
        if leftovers.is_empty() {
            return;
        }
        let breach = Breach::new(Rule::LeftBehind, call);
        let breach = match leftovers.bug_check() {
            Some(BugCheck { code, parameters }) => breach.stops(code, parameters),
            None => breach,
        };
        self.violate(breach, format_args!("left behind: {leftovers}"));
    }
}
