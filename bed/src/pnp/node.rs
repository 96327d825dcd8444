//! A device as the `PnP` manager knows it: its function, its physical device object, its state, and the
//! requests that take it from one state to the next.

use alloc::sync::Arc;
use alloc::vec::Vec;

use wdm_interrupt_model::nt::{
    DO_BUS_ENUMERATED_DEVICE, DO_DEVICE_INITIALIZING, DevicePowerState, FILE_DEVICE_CONTROLLER,
    IRP_MJ_PNP, IRP_MJ_POWER, IRP_MN_CANCEL_REMOVE_DEVICE, IRP_MN_CANCEL_STOP_DEVICE,
    IRP_MN_QUERY_CAPABILITIES, IRP_MN_QUERY_PNP_DEVICE_STATE, IRP_MN_QUERY_REMOVE_DEVICE,
    IRP_MN_QUERY_STOP_DEVICE, IRP_MN_REMOVE_DEVICE, IRP_MN_SET_POWER, IRP_MN_START_DEVICE,
    IRP_MN_STOP_DEVICE, IRP_MN_SURPRISE_REMOVAL, NTSTATUS, PDEVICE_OBJECT, POWER_STATE,
    STATUS_NOT_SUPPORTED, SystemPowerState,
};

use super::requests::{self, Sent};
use super::resources::{Choice, Interrupt, Resources};
use super::{Driver, bus, routes};
use crate::io::device;
use crate::kernel::{EXECUTIVE, registers};
use crate::pci::Function;
use crate::sync::Lock;
use crate::verify::{Rule, broken};

/// A device.
#[derive(Debug)]
pub(crate) struct Node {
    function: Function,
    pdo: PDEVICE_OBJECT,
    resources: Lock<Option<Resources>>,
}

// SAFETY: the physical device object stays for ever, and what changes of it changes by kernel calls.
unsafe impl Send for Node {}
// SAFETY: as above.
unsafe impl Sync for Node {}

impl Node {
    /// Makes the physical device object of a function.
    pub(crate) fn new(function: Function) -> Arc<Self> {
        let driver = bus::driver();
        // SAFETY: the bus driver's object stays for ever.
        let pdo = unsafe { device::create(driver, 0, FILE_DEVICE_CONTROLLER, 0, false) }
            .expect("there is no memory for a device object");
        // SAFETY: the object was just made, and nobody else has it.
        unsafe { (*pdo).Flags |= DO_BUS_ENUMERATED_DEVICE };
        // SAFETY: as above.
        unsafe { (*pdo).Flags &= !DO_DEVICE_INITIALIZING };
        let node = Arc::new(Self { function, pdo, resources: Lock::new(None) });
        EXECUTIVE.assign(pdo, Vec::new());
        node
    }

    /// Its PCI function.
    pub(crate) const fn function(&self) -> &Function {
        &self.function
    }

    /// Its physical device object.
    pub(crate) const fn pdo(&self) -> PDEVICE_OBJECT {
        self.pdo
    }

    /// The interrupts it was given at the last START.
    pub(crate) fn interrupts(&self) -> Vec<Interrupt> {
        self.resources.lock().as_ref().map_or_else(Vec::new, |one| one.interrupts.clone())
    }

    /// The device object that requests are sent to.
    pub(crate) fn top(&self) -> PDEVICE_OBJECT {
        // SAFETY: the PnP manager does not take the stack apart while it sends requests.
        unsafe { device::top(self.pdo) }
    }

    /// Calls `AddDevice`.
    ///
    /// # Errors
    ///
    /// The status that it returned.
    pub(crate) fn add(&self, driver: &Driver) -> Result<(), NTSTATUS> {
        // SAFETY: driver objects stay for ever.
        let extension = unsafe { (*driver.object()).DriverExtension };
        // SAFETY: so do their extensions.
        let Some(routine) = (unsafe { (*extension).AddDevice }) else {
            return Err(STATUS_NOT_SUPPORTED);
        };
        // SAFETY: PASSIVE_LEVEL, the driver's object and a physical device object.
        let status = unsafe { routine(driver.object(), self.pdo) };
        if status < 0 {
            return Err(status);
        }
        let top = self.top();
        // SAFETY: the top of the stack is a device object.
        if top != self.pdo && unsafe { (*top).Flags } & DO_DEVICE_INITIALIZING != 0 {
            broken(Rule::DeviceInitializing, "AddDevice", format_args!("the flag is still set"));
        }
        Ok(())
    }

    /// START with resources of this kind; they are announced before the driver hears of them.
    pub(crate) fn start(
        self: &Arc<Self>,
        choice: Choice,
        announce: impl FnOnce(&Resources),
    ) -> NTSTATUS {
        let Some(resources) = Resources::take(self, choice) else {
            crate::stop!("{:?}: the device has no such interrupt", choice.kind);
        };
        announce(&resources);
        let assigned = resources.interrupts.iter().map(|one| one.assigned).collect();
        EXECUTIVE.assign(self.pdo, assigned);
        // A line may be unmasked already, for another device that has it.
        if choice.is_line() {
            self.function.enable_line();
        } else {
            self.function.disable_line();
        }
        self.function.decode(true);
        self.registers_are_gone(false);
        let (mut raw, mut translated) = (resources.raw(), resources.translated());
        *self.resources.lock() = Some(resources);
        let status = self.pnp(IRP_MN_START_DEVICE, |parameters| {
            parameters.StartDevice.AllocatedResources = raw.as_ptr();
            parameters.StartDevice.AllocatedResourcesTranslated = translated.as_ptr();
        });
        if status >= 0 {
            // What Windows asks a device that has started.
            self.pnp(IRP_MN_QUERY_PNP_DEVICE_STATE, |_| ());
            let mut capabilities = bus::capabilities();
            self.pnp(IRP_MN_QUERY_CAPABILITIES, |parameters| {
                parameters.DeviceCapabilities.Capabilities = &raw mut capabilities;
            });
        }
        status
    }

    /// Takes the resources of a device that is stopped, failed to start, or is gone.
    fn take_resources_away(self: &Arc<Self>) {
        EXECUTIVE.unassign(self.pdo);
        routes::give_back(self);
        self.function.silence_messages();
        self.function.disable_line();
        *self.resources.lock() = None;
    }

    /// `QUERY_STOP`.
    pub(crate) fn query_stop(&self) -> NTSTATUS {
        self.pnp(IRP_MN_QUERY_STOP_DEVICE, |_| ())
    }

    /// `CANCEL_STOP`, which must succeed.
    pub(crate) fn cancel_stop(&self) {
        self.must(IRP_MN_CANCEL_STOP_DEVICE, "CANCEL_STOP_DEVICE");
    }

    /// STOP, which must succeed; the resources are taken away.
    pub(crate) fn stop(self: &Arc<Self>) {
        self.must(IRP_MN_STOP_DEVICE, "STOP_DEVICE");
        self.take_resources_away();
    }

    /// `QUERY_REMOVE`.
    pub(crate) fn query_remove(&self) -> NTSTATUS {
        self.pnp(IRP_MN_QUERY_REMOVE_DEVICE, |_| ())
    }

    /// `CANCEL_REMOVE`, which must succeed.
    pub(crate) fn cancel_remove(&self) {
        self.must(IRP_MN_CANCEL_REMOVE_DEVICE, "CANCEL_REMOVE_DEVICE");
    }

    /// The hardware stops to interrupt, as it does when it is about to go: what it has computed from here
    /// on it tells nobody.
    pub(crate) fn mute(&self) {
        self.function.disable_line();
        self.function.silence_messages();
    }

    /// The hardware goes: its registers read as all ones from here, and nobody was told.
    pub(crate) fn unplug(&self) {
        self.mute();
        self.function.decode(false);
        self.registers_are_gone(true);
    }

    fn registers_are_gone(&self, gone: bool) {
        for memory in &self.function.memory {
            let start = memory.start as usize;
            let range = start..start + memory.length as usize;
            registers::set_gone(range.clone(), gone);
            if gone {
                let read = registers::peek(&range);
                assert!(
                    read.iter().all(|value| *value == u32::MAX),
                    "{read:x?} of a device that is gone"
                );
            }
        }
    }

    /// The driver sees this page instead of the first of its registers from here, or the truth again. The
    /// hardware goes on as before.
    pub(crate) fn lie(&self, page: Option<&'static registers::False>) {
        if let Some(memory) = self.function.memory.first() {
            let start = memory.start as usize;
            registers::set_lie(&(start..start + memory.length as usize), page);
        }
    }

    /// `SURPRISE_REMOVAL`, which must succeed; the resources are taken away.
    pub(crate) fn surprise_removal(self: &Arc<Self>) {
        self.must(IRP_MN_SURPRISE_REMOVAL, "SURPRISE_REMOVAL");
        self.take_resources_away();
    }

    /// REMOVE, which must succeed and leave nobody attached.
    pub(crate) fn remove(self: &Arc<Self>) {
        self.must(IRP_MN_REMOVE_DEVICE, "REMOVE_DEVICE");
        self.take_resources_away();
        if self.top() != self.pdo {
            broken(
                Rule::LeftBehind,
                "REMOVE_DEVICE",
                format_args!("the driver's device object is still attached"),
            );
        }
    }

    /// `SET_POWER` for the system: `PowerSystemWorking` or a sleep. The driver that owns the device's power
    /// follows with a request for the device.
    pub(crate) fn set_system_power(&self, state: i32) {
        self.set_power(SystemPowerState, POWER_STATE { SystemState: state });
    }

    /// `SET_POWER` for the device: `PowerDeviceD0` or a sleep, as the driver that owns the device's power
    /// asks for when nobody uses the device.
    pub(crate) fn set_device_power(&self, state: i32) {
        self.set_power(DevicePowerState, POWER_STATE { DeviceState: state });
    }

    fn set_power(&self, kind: i32, state: POWER_STATE) {
        let sent = requests::send(self.top(), IRP_MJ_POWER, IRP_MN_SET_POWER, 0, |parameters| {
            parameters.Power.Type = kind;
            parameters.Power.State = state;
        });
        let status = sent.wait().status;
        if status < 0 {
            broken(Rule::PnpStatus, "SET_POWER", format_args!("it returned {status:#x}"));
        }
    }

    fn must(&self, minor: u32, name: &str) {
        let status = self.pnp(minor, |_| ());
        if status < 0 {
            broken(Rule::PnpStatus, name, format_args!("it returned {status:#x}"));
        }
    }

    fn pnp(
        &self,
        minor: u32,
        fill: impl FnOnce(&mut wdm_interrupt_model::nt::IO_STACK_LOCATION_Parameters),
    ) -> NTSTATUS {
        self.send_pnp(minor, fill).wait().status
    }

    fn send_pnp(
        &self,
        minor: u32,
        fill: impl FnOnce(&mut wdm_interrupt_model::nt::IO_STACK_LOCATION_Parameters),
    ) -> Sent {
        requests::send(self.top(), IRP_MJ_PNP, minor, STATUS_NOT_SUPPORTED, fill)
    }
}
