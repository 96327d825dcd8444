//! QEMU's edu device, as far as the driver uses it.

use std::sync::Arc;

use edu_device::{Bus, FACTORIAL_COMPLETE, Register};
use wdm_interrupt::PhysicalDevice;
use wdm_interrupt_model::host::{Device, Machine, Registers};

/// The device. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Edu(Arc<Inner>);

struct Inner {
    machine: Machine,
    state: Registers<State>,
    interrupt: Device,
}

#[derive(Default)]
struct State {
    power: Power,
    liveness: u32,
    /// The number whose factorial is being computed.
    computing: Option<u32>,
    result: u32,
    /// It interrupts when it has computed.
    interrupts: bool,
    raised: u32,
    is_on: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Power {
    #[default]
    On,
    /// In D3: no access to its registers is right.
    Asleep,
    /// It has been pulled out: all ones.
    Gone,
}

impl Edu {
    /// A device with these interrupts.
    pub(crate) fn new(machine: &Machine, interrupt: Device) -> Self {
        let state = Registers::default();
        Self(Arc::new(Inner { machine: machine.clone(), state, interrupt }))
    }

    /// What the machine knows of it.
    pub(crate) fn model(&self) -> &Device {
        &self.0.interrupt
    }

    /// What the library knows of it.
    pub(crate) fn physical(&self) -> PhysicalDevice {
        let object = self.0.interrupt.physical_device_object();
        // SAFETY: started; the tests disconnect before they stop it or end.
        unsafe { PhysicalDevice::new(object) }.expect("it is not NULL")
    }

    /// What the silicon does: computes, one factorial after the other, while it is switched on. The
    /// device is at rest a moment before it says so by an interrupt.
    pub(crate) fn compute(&self) {
        let Inner { machine, state, .. } = &*self.0;
        loop {
            machine.wait_until(|| state.access(|it| it.computing.is_some() || !it.is_on));
            let Some(number) = state.access(|it| it.computing) else {
                return;
            };
            state.access(|it| {
                it.result = factorial(number);
                it.computing = None;
            });
            if state.access(|it| it.interrupts) {
                self.raise(FACTORIAL_COMPLETE);
            }
        }
    }

    /// Switches it on, until what this gives is dropped, also by a test that fails.
    pub(crate) fn switch_on(&self) -> SwitchedOn<'_> {
        self.0.state.access(|it| it.is_on = true);
        SwitchedOn(self)
    }

    /// Waits until it is at rest.
    pub(crate) fn rest(&self) {
        self.0.machine.wait_until(|| self.0.state.access(|it| it.computing.is_none()));
    }

    pub(crate) fn set_power(&self, power: Power) {
        self.0.state.access(|it| it.power = power);
    }

    /// Interrupts, on any processor.
    fn raise(&self, bits: u32) {
        let Inner { machine, state, interrupt } = &*self.0;
        let interrupts = state.access(|it| {
            it.raised |= bits;
            it.power == Power::On
        });
        if interrupts && !interrupt.interrupts().is_empty() {
            let _delivery = interrupt.raise_on(machine.choose(2), 0);
        }
    }
}

/// The device computes as long as this exists.
pub(crate) struct SwitchedOn<'a>(&'a Edu);

impl Drop for SwitchedOn<'_> {
    fn drop(&mut self) {
        self.0.0.state.access(|it| it.is_on = false);
    }
}

impl Bus for Edu {
    fn read(&self, register: Register) -> u32 {
        self.0.state.access(|it| match it.power {
            Power::Gone => u32::MAX,
            Power::Asleep => panic!("{register:?} was read of a device that sleeps"),
            Power::On => match register {
                Register::Identification => Register::IDENTIFICATION,
                Register::Liveness => !it.liveness,
                Register::Factorial => it.result,
                Register::Status if it.computing.is_some() => Register::STATUS_BUSY,
                Register::InterruptStatus => it.raised,
                Register::Status | Register::InterruptRaise | Register::InterruptAcknowledge => 0,
            },
        })
    }

    fn write(&self, register: Register, value: u32) {
        let raises = self.0.state.access(|it| {
            match it.power {
                Power::Gone => return false,
                Power::Asleep => panic!("{register:?} was written of a device that sleeps"),
                Power::On => {}
            }
            match register {
                Register::Liveness => it.liveness = value,
                // A device that is busy ignores it.
                Register::Factorial => it.computing = it.computing.or(Some(value)),
                Register::Status => it.interrupts = value & Register::STATUS_INTERRUPT != 0,
                Register::InterruptAcknowledge => it.raised &= !value,
                Register::Identification | Register::InterruptStatus => {}
                Register::InterruptRaise => return true,
            }
            false
        });
        if raises {
            self.raise(value);
        }
    }
}

/// As the device computes it: what does not fit is lost.
pub(crate) fn factorial(number: u32) -> u32 {
    (1..=number).fold(1, u32::wrapping_mul)
}
