//! Power.

use wdm_interrupt_model::nt::{
    NTSTATUS, PDEVICE_OBJECT, PIRP, POWER_STATE, PVOID, REQUEST_POWER_COMPLETE, STATUS_PENDING,
};

use crate::io::irp;
use crate::pnp::requests;

super::exports! {
    fn PoSetPowerState(_device: PDEVICE_OBJECT, _kind: i32, state: POWER_STATE) -> POWER_STATE {
        state
    }

    fn PoStartNextPowerIrp(_irp: PIRP) {}

    fn PoCallDriver(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
        // SAFETY: the driver's promise: it has the IRP.
        unsafe { irp::call(device, irp) }
    }

    can_fail(status) fn PoRequestPowerIrp(
        device: PDEVICE_OBJECT,
        minor: u8,
        state: POWER_STATE,
        completion: Option<REQUEST_POWER_COMPLETE>,
        context: PVOID,
        result: *mut PIRP,
    ) -> NTSTATUS {
        let irp = requests::send_device_power(device, minor, state, completion, context);
        if !result.is_null() {
            // SAFETY: the driver gives NULL or memory for the pointer.
            unsafe { result.write(irp) };
        }
        STATUS_PENDING
    }
}
