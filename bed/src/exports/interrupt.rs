//! Connecting, removing and synchronising with service routines.

use wdm_interrupt_model::nt::{
    BOOLEAN, KIRQL, NTSTATUS, PIO_CONNECT_INTERRUPT_PARAMETERS,
    PIO_DISCONNECT_INTERRUPT_PARAMETERS, PIO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS, PKINTERRUPT,
    PKSYNCHRONIZE_ROUTINE, PVOID,
};

use crate::kernel::EXECUTIVE;

super::exports! {
    can_fail(itself) fn IoConnectInterruptEx(parameters: PIO_CONNECT_INTERRUPT_PARAMETERS) -> NTSTATUS {
        // SAFETY: the driver's promise, which the executive checks as far as it can.
        unsafe { EXECUTIVE.io_connect_interrupt_ex(parameters) }
    }

    fn IoDisconnectInterruptEx(parameters: PIO_DISCONNECT_INTERRUPT_PARAMETERS) {
        // SAFETY: the driver's promise, which the executive checks as far as it can.
        unsafe { EXECUTIVE.io_disconnect_interrupt_ex(parameters) }
    }

    fn KeSynchronizeExecution(
        interrupt: PKINTERRUPT,
        routine: PKSYNCHRONIZE_ROUTINE,
        context: PVOID,
    ) -> BOOLEAN {
        // SAFETY: the driver's promise, which the executive checks as far as it can.
        unsafe { EXECUTIVE.ke_synchronize_execution(interrupt, routine, context) }
    }

    fn KeAcquireInterruptSpinLock(interrupt: PKINTERRUPT) -> KIRQL {
        // SAFETY: the driver's promise, which the executive checks as far as it can.
        unsafe { EXECUTIVE.ke_acquire_interrupt_spin_lock(interrupt) }
    }

    fn KeReleaseInterruptSpinLock(interrupt: PKINTERRUPT, irql: KIRQL) {
        // SAFETY: the driver's promise, which the executive checks as far as it can.
        unsafe { EXECUTIVE.ke_release_interrupt_spin_lock(interrupt, irql) }
    }

    fn IoReportInterruptActive(parameters: PIO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS) {
        // SAFETY: the driver's promise, which the executive checks as far as it can.
        unsafe { EXECUTIVE.io_report_interrupt_active(parameters) }
    }

    fn IoReportInterruptInactive(parameters: PIO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS) {
        // SAFETY: the driver's promise, which the executive checks as far as it can.
        unsafe { EXECUTIVE.io_report_interrupt_inactive(parameters) }
    }
}
