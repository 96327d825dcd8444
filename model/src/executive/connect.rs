//! `IoConnectInterruptEx`.

use alloc::{sync::Arc, vec::Vec};
use core::{
    ptr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{
    Call, Executive, Fault, Refused,
    breach::Breach,
    chain::Refusal,
    connection::{Assigned, Connection},
    object::{MessageRoutine, Object, Routine, ServiceRoutine},
    request::Request,
    table::MessageTable,
};
use crate::{
    hal::{Event, Hal},
    nt::{
        CONNECT_LINE_BASED, IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS, NTSTATUS,
        PASSIVE_LEVEL, PIO_CONNECT_INTERRUPT_PARAMETERS, PKSPIN_LOCK, PVOID,
        STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER,
        STATUS_INVALID_PARAMETER_10, STATUS_NOT_FOUND, STATUS_SUCCESS, ULONG,
    },
    report::{Object as Reported, Rule},
};

pub(super) const CALL: &str = "IoConnectInterruptEx";

/// What a failed call leaves in Version. Kernels have been seen to change it, and who reads it
/// after a failure is found out.
const SCRIBBLE: ULONG = 0xBAD0_BAD0;

/// What a request is to be connected to.
pub(super) struct Plan {
    /// The Version to return.
    pub(super) version: ULONG,
    interrupts: Vec<Assigned>,
    routine: PlannedRoutine,
    /// Whether they are served at `PASSIVE_LEVEL`, whatever their own IRQL.
    passive: bool,
}

impl Plan {
    /// The IRQL at which an interrupt is served.
    const fn irql(&self, interrupt: &Assigned) -> u8 {
        if self.passive { 0 } else { interrupt.irql() }
    }

    /// The IRQL of the highest.
    pub(super) fn highest_irql(&self) -> u8 {
        self.interrupts.iter().map(|interrupt| self.irql(interrupt)).max().unwrap_or(0)
    }

    /// Whether other devices may have all of them too.
    pub(super) fn is_shared(&self) -> bool {
        self.interrupts.iter().all(Assigned::shared)
    }

    /// Whether any is served at `PASSIVE_LEVEL`.
    fn has_passive(&self) -> bool {
        self.interrupts.iter().any(|interrupt| self.irql(interrupt) == 0)
    }
}

enum PlannedRoutine {
    Line(ServiceRoutine),
    Messages(MessageRoutine),
}

impl<H: Hal> Executive<H> {
    /// `IoConnectInterruptEx`.
    ///
    /// Its failures are those of Microsoft's documentation; a breach of the contract that Windows
    /// does not document a failure for is a broken rule. After a failure Version is garbage.
    ///
    /// # Safety
    ///
    /// `parameters` can be read and written, and so can what it points to; the routines can be
    /// called with the service context, from now on and until the interrupt is disconnected.
    pub unsafe fn io_connect_interrupt_ex(
        &self,
        parameters: PIO_CONNECT_INTERRUPT_PARAMETERS,
    ) -> NTSTATUS {
        self.require_irql(Rule::IrqlPassive, CALL, PASSIVE_LEVEL);
        self.require_no_threaded_dpc(Rule::IrqlPassive, CALL);
        if parameters.is_null() || !parameters.is_aligned() {
            let breach = Breach::new(Rule::ConnectParameters, CALL);
            self.violate(breach, format_args!("at {parameters:p}"));
        }
        // SAFETY: the caller's promise.
        let block = unsafe { parameters.read() };
        self.hal.trace(&Event::ConnectEntered { version: block.Version });
        let outcome = Request::read(&block).and_then(|request| self.connect(&request));
        let (returned, status) = outcome.unwrap_or_else(|status| (SCRIBBLE, status));
        // SAFETY: Version is the block's first member, which can be written.
        unsafe { parameters.cast::<ULONG>().write(returned) };
        self.hal.trace(&Event::ConnectLeft { version: returned, status });
        status
    }

    /// Connects, and gives the Version and the status to return.
    fn connect(&self, request: &Request) -> Refused<(ULONG, NTSTATUS)> {
        if request.device == 0 {
            return Err(STATUS_INVALID_PARAMETER);
        }
        self.require_complete(request);
        let fault = self.fault(Call::IoConnectInterruptEx);
        match fault {
            Some(Fault::Status(status)) => return Err(status),
            Some(Fault::WritesNothing) => return Ok((request.version, STATUS_SUCCESS)),
            Some(Fault::StoresNull) => {
                // SAFETY: not NULL, and the caller's promise.
                unsafe { request.out.write(ptr::null_mut()) };
                return Ok((request.version, STATUS_SUCCESS));
            }
            _ => {}
        }
        let plan = self.plan(request)?;
        let lock = self.lock_for(request, &plan)?;
        self.require_legal(request, lock, &plan);
        let objects = self.objects(request, lock, &plan);
        let table = match plan.routine {
            PlannedRoutine::Line(_) => None,
            PlannedRoutine::Messages(_) => {
                let count = match fault {
                    Some(Fault::MessageCount(count)) => count,
                    _ => objects.iter().map(|_| 1).sum(),
                };
                let unified = objects.iter().map(|object| object.irql).max().unwrap_or(0);
                let entries = objects.iter().zip(&plan.interrupts);
                let entries = entries.map(|(object, it)| (&**object, it.affinity()));
                let table =
                    MessageTable::new(unified.max(request.synchronize_irql), count, entries);
                Some(table.ok_or(STATUS_INSUFFICIENT_RESOURCES)?)
            }
        };
        let refused = match fault {
            Some(Fault::StatusAfterService(status)) => Some((objects.len(), status)),
            Some(Fault::StatusAt { interrupt, status }) => Some((interrupt, status)),
            _ => None,
        };
        let live = refused.map_or(objects.len(), |(interrupt, _)| interrupt.min(objects.len()));
        let live = &objects[..live];
        self.wire_all(live)?;

        let vectors: Vec<u32> = live.iter().map(|object| object.vector).collect();
        let wired = Wired { executive: self, objects: live };
        self.hal.connected(&vectors);
        if let Some((_, status)) = refused {
            drop(wired);
            // Kernels have been seen to leave what is no more, and who uses it is found out.
            // SAFETY: not NULL, and the caller's promise.
            unsafe { request.out.write(objects[0].pointer().cast()) };
            return Err(status);
        }
        core::mem::forget(wired);

        let version = match fault {
            Some(Fault::Version(version)) => version,
            _ => plan.version,
        };
        let context = table.as_ref().map_or_else(|| objects[0].pointer().cast(), table_pointer);
        let connection = Connection { version, device: request.device, objects, table };
        self.registry.lock(&self.hal).connections.insert(context.addr(), connection);
        // SAFETY: not NULL, and the caller's promise.
        unsafe { request.out.write(context) };
        let status = match fault {
            Some(Fault::SucceedsWith(status)) => status,
            _ => STATUS_SUCCESS,
        };
        Ok((version, status))
    }

    /// Chooses what to connect to, with the documented failures.
    fn plan(&self, request: &Request) -> Refused<Plan> {
        let assigned = self.registry.lock(&self.hal).assigned.get(&request.device).cloned();
        let Some(assigned) = assigned else {
            let objects = [Reported::Device { address: request.device }];
            let breach = Breach::new(Rule::PhysicalDevice, CALL).of(&objects);
            self.violate(
                breach.stops(0xCA, [0x2, request.device as u64, 0, 0]),
                format_args!("{:#x} is no device of the PnP manager's", request.device),
            );
        };
        let messages = || assigned.iter().filter(|it| it.is_message()).copied().collect::<Vec<_>>();
        let lines = || assigned.iter().filter(|it| !it.is_message()).copied().collect::<Vec<_>>();
        let line = |routine| PlannedRoutine::Line(routine);
        let passive = request.is_passive();
        match (request.full, request.line, request.message) {
            (Some(full), Some(routine), _) => {
                let interrupt = self.fully_specified(request, &full, &assigned)?;
                let interrupts = [interrupt].into();
                let (version, routine) = (request.version, line(routine));
                Ok(Plan { version, interrupts, routine, passive })
            }
            (None, fallback, Some(routine)) => {
                let interrupts = messages();
                if !interrupts.is_empty() {
                    let routine = PlannedRoutine::Messages(routine);
                    return Ok(Plan { version: request.version, interrupts, routine, passive });
                }
                let (Some(routine), interrupts) = (fallback, lines()) else {
                    return Err(STATUS_NOT_FOUND);
                };
                if interrupts.is_empty() {
                    return Err(STATUS_NOT_FOUND);
                }
                let (version, routine) = (CONNECT_LINE_BASED, line(routine));
                Ok(Plan { version, interrupts, routine, passive: false })
            }
            (None, Some(routine), None) => {
                if assigned.iter().any(Assigned::is_message) {
                    return Err(STATUS_INVALID_DEVICE_REQUEST);
                }
                if assigned.is_empty() {
                    return Err(STATUS_NOT_FOUND);
                }
                Ok(Plan {
                    version: CONNECT_LINE_BASED,
                    interrupts: lines(),
                    routine: line(routine),
                    passive: false,
                })
            }
            _ => Err(STATUS_INVALID_PARAMETER),
        }
    }

    /// The one interrupt that the members of a fully specified request mean.
    fn fully_specified(
        &self,
        request: &Request,
        full: &IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS,
        assigned: &[Assigned],
    ) -> Refused<Assigned> {
        if full.ProcessorEnableMask == 0 {
            return Err(STATUS_INVALID_PARAMETER_10);
        }
        let interrupt = assigned.iter().find(|it| it.vector() == full.Vector);
        let interrupt = *interrupt.ok_or(STATUS_NOT_FOUND)?;
        self.require_translated(request, full, &interrupt);
        Ok(interrupt)
    }

    /// The lock to connect with: a passive interrupt has none.
    fn lock_for(&self, request: &Request, plan: &Plan) -> Refused<PKSPIN_LOCK> {
        if !plan.has_passive() || request.lock.is_null() && request.synchronize_irql == 0 {
            return Ok(request.lock);
        }
        if self.ignores_passive_lock.load(Ordering::Relaxed) {
            return Ok(ptr::null_mut());
        }
        Err(STATUS_INVALID_PARAMETER)
    }

    fn objects(&self, request: &Request, lock: PKSPIN_LOCK, plan: &Plan) -> Vec<Arc<Object>> {
        let highest = plan.highest_irql();
        let objects = plan.interrupts.iter().zip(0..).map(|(interrupt, number)| {
            let irql = plan.irql(interrupt);
            // One lock for all is taken at the highest IRQL of all; each its own, at its own.
            let needed = if lock.is_null() { irql } else { highest };
            let synchronize_irql = if irql == 0 { 0 } else { needed.max(request.synchronize_irql) };
            Arc::new(Object {
                id: self.next_object.fetch_add(1, Ordering::Relaxed),
                vector: interrupt.vector(),
                irql,
                synchronize_irql,
                latched: interrupt.latched(),
                shared: interrupt.shared(),
                source: interrupt.source(),
                routine: match plan.routine {
                    PlannedRoutine::Line(routine) => Routine::Line(routine),
                    PlannedRoutine::Messages(routine) => Routine::Message(routine, number),
                },
                context: request.context,
                supplied: lock,
                own: AtomicU64::new(0),
                active: AtomicBool::new(true),
            })
        });
        objects.collect()
    }

    /// Whether a passive interrupt for which a spin lock is given, or a `SynchronizeIrql`, is
    /// connected nevertheless, without them: a kernel that does not check.
    pub fn ignore_passive_lock(&self, ignore: bool) {
        self.ignores_passive_lock.store(ignore, Ordering::Relaxed);
    }

    /// Makes all service routines reachable, or none.
    fn wire_all(&self, objects: &[Arc<Object>]) -> Refused<()> {
        for (index, object) in objects.iter().enumerate() {
            if let Err(refusal) = self.wire(object) {
                for earlier in &objects[..index] {
                    self.unwire(earlier);
                }
                return Err(match refusal {
                    Refusal::Full => STATUS_INSUFFICIENT_RESOURCES,
                    Refusal::NotShared => STATUS_INVALID_PARAMETER,
                });
            }
            self.hal.trace(&Event::Connected {
                vector: object.vector,
                irql: object.irql,
                message: object.message(),
            });
        }
        Ok(())
    }
}

const fn table_pointer(table: &MessageTable) -> PVOID {
    table.pointer().as_ptr().cast()
}

/// Takes the objects off their vectors again, also when an early service routine unwinds.
struct Wired<'a, H: Hal> {
    executive: &'a Executive<H>,
    objects: &'a [Arc<Object>],
}

impl<H: Hal> Drop for Wired<'_, H> {
    fn drop(&mut self) {
        for object in self.objects {
            self.executive.unwire(object);
            self.executive.hal.trace(&Event::Disconnected { vector: object.vector });
        }
    }
}
