//! What `IoConnectInterruptEx` is asked for that no failure is documented for: not refused, but
//! reported.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{
    Executive,
    breach::Breach,
    connect::{CALL, Plan},
    connection::Assigned,
    pool::Residence,
    request::Request,
};
use crate::{
    hal::Hal,
    nt::{
        _KINTERRUPT_MODE, CONNECT_FULLY_SPECIFIED, CONNECT_FULLY_SPECIFIED_GROUP,
        CONNECT_LINE_BASED, HIGH_LEVEL, IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS,
        PKSPIN_LOCK,
    },
    report::{Object as Reported, Rule},
};

impl<H: Hal> Executive<H> {
    /// All that its version needs is there, and nothing that it has no member for.
    pub(super) fn require_complete(&self, request: &Request) {
        let breach = Breach::new(Rule::ConnectParameters, CALL);
        if !request.has_routine() {
            self.violate(breach, format_args!("the service routine is NULL"));
        }
        if request.out.is_null() {
            self.violate(breach, format_args!("the pointer to what is returned is NULL"));
        }
        if let Residence::Freed(extent) = self.residence(request.out.addr()) {
            self.violate(
                breach.of(&[extent.freed()]),
                format_args!("what is returned would be written to freed memory"),
            );
        }
        if !request.is_zeroed {
            self.violate(
                breach,
                format_args!("the block was not zeroed: this Version has no such member"),
            );
        }
    }

    /// The members of a fully specified request are those of the interrupt's translated descriptor.
    pub(super) fn require_translated(
        &self,
        request: &Request,
        full: &IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS,
        interrupt: &Assigned,
    ) {
        let version = request.version;
        let group = if version == CONNECT_FULLY_SPECIFIED_GROUP { full.Group } else { 0 };
        let mode = if interrupt.latched() {
            _KINTERRUPT_MODE::Latched
        } else {
            _KINTERRUPT_MODE::LevelSensitive
        };
        let wrong = if full.Irql != interrupt.irql() && !request.is_passive() {
            "Irql is not the translated Level"
        } else if full.InterruptMode != mode {
            "InterruptMode is not that of the descriptor's flags"
        } else if full.ShareVector > 1 {
            "ShareVector is neither TRUE nor FALSE, but perhaps ShareDisposition"
        } else if (full.ShareVector != 0) != interrupt.shared() {
            "ShareVector is not whether ShareDisposition is CmResourceShareShared"
        } else if full.ProcessorEnableMask & !interrupt.affinity() != 0 {
            "ProcessorEnableMask has processors that the translated Affinity has not"
        } else if version == CONNECT_FULLY_SPECIFIED && full.Group != 0 {
            "the block was not zeroed: this Version has no Group"
        } else if group != interrupt.group() {
            "the group, which is 0 unless CONNECT_FULLY_SPECIFIED_GROUP is used, is not the resource's"
        } else {
            return;
        };
        self.violate(
            Breach::new(Rule::ConnectParameters, CALL)
                .of(&[Reported::Vector { vector: full.Vector }]),
            format_args!("{wrong}"),
        )
    }

    /// What is not a failure but a mistake.
    pub(super) fn require_legal(&self, request: &Request, lock: PKSPIN_LOCK, plan: &Plan) {
        let objects = [Reported::Device { address: request.device }];
        let breach = Breach::new(Rule::ConnectParameters, CALL).of(&objects);
        if request.floating_save {
            self.violate(breach, format_args!("FloatingSave is not FALSE"));
        }
        if u32::from(request.synchronize_irql) > HIGH_LEVEL {
            let irql = request.synchronize_irql;
            self.violate(breach, format_args!("SynchronizeIrql is {irql}"));
        }
        let irql = plan.highest_irql();
        if request.full.is_some() && request.synchronize_irql < irql {
            self.violate(
                Breach::new(Rule::SynchronizeIrqlMember, CALL).of(&objects),
                format_args!("SynchronizeIrql {} is below Irql {irql}", request.synchronize_irql),
            );
        }
        self.require_lines_once(request, plan);
        if let Some((what, pool)) = self.residence(request.context.addr()).unfit() {
            self.violate(
                Breach::new(Rule::ServiceContext, CALL).of(&[pool]),
                format_args!("the service context {:p} is in {what}", request.context),
            );
        }
        if !lock.is_null() {
            self.require_lock_ready(lock, irql.max(request.synchronize_irql));
        }
    }

    /// A line-based request takes all of the device's lines, so there is one at a time. For lines that
    /// are not shared the second is a failure, as it is for other devices.
    fn require_lines_once(&self, request: &Request, plan: &Plan) {
        let takes_lines = request.full.is_none() && plan.version == CONNECT_LINE_BASED;
        if !takes_lines || !plan.is_shared() {
            return;
        }
        let registry = self.registry.lock(&self.hal);
        let first = registry.connections.iter().find(|(_, connection)| {
            connection.device == request.device && connection.version == CONNECT_LINE_BASED
        });
        let first = first.map(|(context, connection)| connection.report(*context));
        drop(registry);
        if let Some(object) = first {
            let device = Reported::Device { address: request.device };
            self.violate(
                Breach::new(Rule::LineBasedOnce, CALL).of(&[device, object]),
                format_args!("the lines of device {:#x} are connected already", request.device),
            );
        }
    }

    fn require_lock_ready(&self, lock: PKSPIN_LOCK, irql: u8) {
        let address = lock.addr();
        let objects = [Reported::SpinLock { address }];
        let breach = Breach::new(Rule::SuppliedSpinLock, CALL);
        if !lock.is_aligned() {
            self.violate(breach.of(&objects), format_args!("{lock:p} is not aligned"));
        }
        if let Some((what, pool)) = self.residence(address).unfit() {
            self.violate(
                breach.of(&[Reported::SpinLock { address }, pool]),
                format_args!("the spin lock {lock:p} is in {what}"),
            );
        }
        let registry = self.registry.lock(&self.hal);
        let mut others = registry.objects().filter(|object| object.supplied == lock);
        let other = others.next().map(|it| (it.vector, it.synchronize_irql, it.report()));
        drop(others);
        drop(registry);
        match other {
            Some((_, other, _)) if other == irql => {}
            Some((vector, other, object)) => self.violate(
                Breach::new(Rule::SynchronizeIrqlMember, CALL)
                    .of(&[Reported::SpinLock { address }, object]),
                format_args!(
                    "vector {vector:#x} has the same lock and SynchronizeIrql {other}, not {irql}"
                ),
            ),
            None => {
                // SAFETY: the driver promised that the lock is in place; it is aligned.
                let word = unsafe { AtomicU64::from_ptr(lock) };
                if word.load(Ordering::Relaxed) != 0 {
                    self.violate(
                        breach.of(&objects),
                        format_args!("{lock:p} is not initialised: it is not 0"),
                    );
                }
            }
        }
    }
}
