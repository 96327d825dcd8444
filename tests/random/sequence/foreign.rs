//! A driver of somebody else's on a shared line: written against the kernel's calls.

use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use wdm_interrupt_model::host::{Delivery, Device, Machine, kernel};
use wdm_interrupt_model::nt::{self, BOOLEAN, KINTERRUPT, PVOID};

nt::nt_fn! {
    /// Claims what its device has a reason for.
    unsafe fn service(_interrupt: *mut KINTERRUPT, context: PVOID) -> BOOLEAN {
        // SAFETY: connected with this context, which stays until it is disconnected.
        let pending = unsafe { &*context.cast::<AtomicBool>() };
        pending.swap(false, SeqCst).into()
    }
}

/// A device on another's line, with its driver.
pub(super) struct Foreign {
    device: Device,
    pending: Box<AtomicBool>,
    object: nt::PKINTERRUPT,
}

impl Foreign {
    /// Connected at once.
    pub(super) fn new(machine: &Machine, other: &Device) -> Self {
        let device = machine.device().line_shared_with(other).build();
        let mut foreign = Self { device, pending: Box::default(), object: ptr::null_mut() };
        foreign.connect();
        foreign
    }

    fn connect(&mut self) {
        let mut parameters = nt::IO_CONNECT_INTERRUPT_PARAMETERS {
            Version: nt::CONNECT_LINE_BASED,
            ..Default::default()
        };
        parameters.__bindgen_anon_1.LineBased = nt::IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS {
            PhysicalDeviceObject: self.device.physical_device_object(),
            InterruptObject: &raw mut self.object,
            ServiceRoutine: Some(service),
            ServiceContext: (&raw const *self.pending).cast_mut().cast(),
            ..Default::default()
        };
        // SAFETY: the block is complete, and what it points to stays until the disconnect.
        let status = unsafe { kernel::IoConnectInterruptEx(&raw mut parameters) };
        assert_eq!(status, nt::STATUS_SUCCESS);
    }

    fn disconnect(&self) {
        let mut parameters = nt::IO_DISCONNECT_INTERRUPT_PARAMETERS {
            Version: nt::CONNECT_LINE_BASED,
            ..Default::default()
        };
        parameters.ConnectionContext.InterruptObject = self.object;
        // SAFETY: what the connect returned.
        unsafe { kernel::IoDisconnectInterruptEx(&raw mut parameters) };
    }

    /// From now on it is the last on the line.
    pub(super) fn reconnect(&mut self) {
        self.disconnect();
        self.connect();
    }

    pub(super) fn raise(&self) -> Delivery {
        self.pending.store(true, SeqCst);
        self.device.raise(0)
    }

    pub(super) fn leave(self) {
        self.disconnect();
        self.device.stop();
    }
}
