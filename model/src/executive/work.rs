//! Work items.

use alloc::collections::BTreeMap;
use core::ptr;

use super::{Executive, breach::Breach};
use crate::{
    hal::{Event, Threads},
    nt::{
        _WORK_QUEUE_TYPE, DISPATCH_LEVEL, IO_WORKITEM_ROUTINE, PDEVICE_OBJECT, PIO_WORKITEM,
        PIO_WORKITEM_ROUTINE, PVOID, WORK_QUEUE_TYPE,
    },
    report::{Object, Rule},
};

/// Work items look as if they were in the kernel's half of the address space, as interrupt objects
/// do, and no address is ever used twice.
const ITEM_BASE: usize = 0xFFFF_D700_0000_0000;

/// `WORKER_INVALID`.
const WORKER_INVALID: u32 = 0xE4;

/// What a work item that exists is doing.
#[derive(Clone, Copy)]
struct Item {
    device: PDEVICE_OBJECT,
    queued: Option<Queued>,
}

#[derive(Clone, Copy)]
struct Queued {
    routine: IO_WORKITEM_ROUTINE,
    context: PVOID,
}

// SAFETY: the pointers are the driver's, kept to be given back to it in a thread of the system's, as
// it asked for.
unsafe impl Send for Item {}

/// All work items, by address.
pub(super) struct WorkItems {
    items: BTreeMap<usize, Item>,
    allocated: usize,
}

impl WorkItems {
    pub(super) const fn new() -> Self {
        Self { items: BTreeMap::new(), allocated: 0 }
    }

    pub(super) fn count(&self) -> usize {
        self.items.len()
    }
}

/// A device object that a work item keeps, also until its routine has unwound.
struct Kept<'a, H: Threads> {
    hal: &'a H,
    device: PDEVICE_OBJECT,
}

impl<H: Threads> Drop for Kept<'_, H> {
    fn drop(&mut self) {
        self.hal.dereference(self.device);
    }
}

impl<H: Threads> Executive<H> {
    /// `IoAllocateWorkItem`; NULL when it is made to [fail](super::Call::IoAllocateWorkItem).
    pub fn io_allocate_work_item(&self, device: PDEVICE_OBJECT) -> PIO_WORKITEM {
        const CALL: &str = "IoAllocateWorkItem";
        self.require_irql(Rule::IrqlDispatch, CALL, DISPATCH_LEVEL);
        if !self.hal.reference(device) {
            let breach = Breach::new(Rule::WorkItemDevice, CALL);
            self.violate(
                breach.of(&[Object::Device { address: device.addr() }]),
                format_args!("{device:p} is no device object"),
            );
        }
        self.hal.dereference(device);
        if self.fault(super::Call::IoAllocateWorkItem).is_some() {
            return ptr::null_mut();
        }
        let mut work = self.work.lock(&self.hal);
        work.allocated += 1;
        let address = ITEM_BASE | (work.allocated << 4);
        work.items.insert(address, Item { device, queued: None });
        drop(work);
        ptr::without_provenance_mut(address)
    }

    /// `IoQueueWorkItem`.
    ///
    /// # Safety
    ///
    /// `routine` can be called with `context`, in another thread.
    pub unsafe fn io_queue_work_item(
        &self,
        item: PIO_WORKITEM,
        routine: PIO_WORKITEM_ROUTINE,
        queue: WORK_QUEUE_TYPE,
        context: PVOID,
    ) {
        const CALL: &str = "IoQueueWorkItem";
        self.require_irql(Rule::IrqlDispatch, CALL, DISPATCH_LEVEL);
        let (address, number) = (item.addr() as u64, u64::from(queue.cast_unsigned()));
        let objects = [Object::WorkItem { address: item.addr() }];
        let breach = Breach::new(Rule::WorkItemState, CALL).of(&objects);
        let Some(routine) = routine else {
            let breach = breach.stops(WORKER_INVALID, [0x7, address, number, 0]);
            self.violate(breach, format_args!("the routine is NULL"));
        };
        if !(_WORK_QUEUE_TYPE::CriticalWorkQueue.._WORK_QUEUE_TYPE::MaximumWorkQueue)
            .contains(&queue)
        {
            let breach = breach.stops(WORKER_INVALID, [0x6, address, number, 0]);
            self.violate(breach, format_args!("there is no queue {queue}"));
        }
        let mut work = self.work.lock(&self.hal);
        let device = match work.items.get_mut(&item.addr()) {
            Some(found) if found.queued.is_none() => {
                found.queued = Some(Queued { routine, context });
                self.hal.trace(&Event::WorkItemQueued { item: item.addr() });
                Ok(found.device)
            }
            Some(_) => {
                Err((breach.stops(WORKER_INVALID, [0x1, address, number, 0]), "is queued already"))
            }
            None => Err((breach, "was freed, or never was a work item")),
        };
        drop(work);
        match device {
            Ok(device) => {
                self.hal.reference(device);
                self.hal.queue_work(item);
            }
            Err((breach, what)) => self.violate(breach, format_args!("{item:p} {what}")),
        }
    }

    /// `IoFreeWorkItem`.
    pub fn io_free_work_item(&self, item: PIO_WORKITEM) {
        const CALL: &str = "IoFreeWorkItem";
        self.require_irql(Rule::IrqlDispatch, CALL, DISPATCH_LEVEL);
        let mut work = self.work.lock(&self.hal);
        let objects = [Object::WorkItem { address: item.addr() }];
        let breach = Breach::new(Rule::WorkItemState, CALL).of(&objects);
        let refused = match work.items.get(&item.addr()) {
            Some(Item { queued: None, .. }) => {
                work.items.remove(&item.addr());
                None
            }
            Some(Item { queued: Some(Queued { routine, .. }), .. }) => {
                let parameters = [0x2, item.addr() as u64, *routine as usize as u64, 0];
                Some((breach.stops(WORKER_INVALID, parameters), "is queued"))
            }
            None => Some((breach, "was freed already, or never was a work item")),
        };
        drop(work);
        if let Some((breach, what)) = refused {
            self.violate(breach, format_args!("{item:p} {what}"));
        }
    }

    /// Runs the routine of a work item. For the HAL, once for each [`Threads::queue_work`], at
    /// `PASSIVE_LEVEL` in a thread that may block.
    ///
    /// From the moment the routine is called the item is not queued, so the routine may free it or
    /// queue it again.
    pub fn run_work_item(&self, item: PIO_WORKITEM) {
        const CALL: &str = "a work item's routine";
        let mut work = self.work.lock(&self.hal);
        let due = work.items.get_mut(&item.addr());
        let due = due.and_then(|found| Some((found.queued.take()?, found.device)));
        drop(work);
        let Some((Queued { routine, context }, device)) = due else {
            return;
        };
        let kept = Kept { hal: &self.hal, device };
        self.hal.trace(&Event::WorkItemEntered { item: item.addr() });
        // SAFETY: the driver gave this routine and this context to be called so.
        unsafe { routine(device, context) };
        self.hal.trace(&Event::WorkItemLeft { item: item.addr() });
        let (irql, locks) = (self.hal.irql(), self.locks_held());
        if irql != 0 || locks != 0 {
            let objects = [Object::WorkItem { address: item.addr() }];
            let breach = Breach::new(Rule::WorkItemState, CALL).of(&objects);
            let breach = if u32::from(irql) >= DISPATCH_LEVEL {
                let (routine, context) = (routine as usize as u64, context.addr() as u64);
                breach.stops(0xE1, [routine, irql.into(), context, item.addr() as u64])
            } else {
                breach
            };
            self.violate(
                breach,
                format_args!("{item:p} returned at IRQL {irql} with {locks} locks held"),
            );
        }
        drop(kept);
    }
}
