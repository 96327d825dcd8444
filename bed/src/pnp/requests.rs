//! Requests that the system sends: built, sent to the top of a stack, waited for, cancelled; and the
//! checks that only the sender can make.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use wdm_interrupt_model::nt::{
    DevicePowerState, FILE_OBJECT, IO_STACK_LOCATION_Parameters, IO_STATUS_BLOCK,
    IO_STATUS_BLOCK_Status, IRP_MJ_DEVICE_CONTROL, IRP_MJ_POWER, NTSTATUS, PDEVICE_OBJECT,
    PFILE_OBJECT, PIRP, POWER_STATE, PVOID, REQUEST_POWER_COMPLETE, STATUS_NOT_SUPPORTED,
    STATUS_PENDING,
};

use crate::io::{device, irp};
use crate::sync::Lock;
use crate::verify::{Rule, broken};
use crate::{smp, time};

/// A request's end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: NTSTATUS,
    pub(crate) information: u64,
    /// The system buffer at completion: a buffered request's output.
    pub(crate) buffer: Vec<u8>,
    /// Whether a dispatch routine had said that it was pending.
    pending: bool,
}

/// What completion and the sender share.
#[derive(Debug)]
struct State {
    done: AtomicBool,
    outcome: Lock<Outcome>,
}

/// A request that was sent. Its IRP stays until this is dropped.
#[derive(Debug)]
pub(crate) struct Sent {
    irp: PIRP,
    returned: NTSTATUS,
    state: Arc<State>,
}

// SAFETY: the IRP is only used for cancelling, which any processor may do.
unsafe impl Send for Sent {}
// SAFETY: as above.
unsafe impl Sync for Sent {}

/// How long a request may take before the run is given up: long, since the machine may be slow.
const PATIENCE_US: u64 = 30_000_000;

/// Sends a request to the top of a stack.
pub(crate) fn send(
    device: PDEVICE_OBJECT,
    major: u32,
    minor: u32,
    status: NTSTATUS,
    fill: impl FnOnce(&mut IO_STACK_LOCATION_Parameters),
) -> Sent {
    send_with(device, major, minor, status, core::ptr::null_mut(), &[], fill)
}

/// Sends a buffered device control request.
pub(crate) fn send_control(
    device: PDEVICE_OBJECT,
    file: PFILE_OBJECT,
    code: u32,
    input: &[u8],
    output_length: usize,
) -> Sent {
    let mut buffer = Vec::from(input);
    buffer.resize(input.len().max(output_length), 0xa5);
    send_with(device, IRP_MJ_DEVICE_CONTROL, 0, STATUS_NOT_SUPPORTED, file, &buffer, |parameters| {
        parameters.DeviceIoControl.OutputBufferLength = output_length as u32;
        parameters.DeviceIoControl.InputBufferLength = input.len() as u32;
        parameters.DeviceIoControl.IoControlCode = code;
    })
}

/// Sends a request of an open file.
pub(crate) fn send_file(device: PDEVICE_OBJECT, file: PFILE_OBJECT, major: u32) -> Sent {
    send_with(device, major, 0, STATUS_NOT_SUPPORTED, file, &[], |_| ())
}

fn send_with(
    device: PDEVICE_OBJECT,
    major: u32,
    minor: u32,
    status: NTSTATUS,
    file: PFILE_OBJECT,
    buffer: &[u8],
    parameters: impl FnOnce(&mut IO_STACK_LOCATION_Parameters),
) -> Sent {
    // SAFETY: the sender keeps the stack.
    let stack_size = unsafe { (*device).StackSize };
    let state =
        Arc::new(State { done: AtomicBool::new(false), outcome: Lock::new(Outcome::default()) });
    let shared = Arc::clone(&state);
    let length = buffer.len();
    // Eight bytes at a time, so that the buffer is aligned as pool is.
    let memory = Box::leak(alloc::vec![0_u64; length.div_ceil(8)].into_boxed_slice());
    let (words, system_buffer) = (memory.len(), memory.as_mut_ptr());
    // SAFETY: the system buffer has at least this many bytes.
    unsafe { core::ptr::copy_nonoverlapping(buffer.as_ptr(), system_buffer.cast(), length) };
    let address = system_buffer.expose_provenance();
    let irp = irp::allocate(
        stack_size,
        Some(Box::new(move |irp| complete(irp, &shared, address, words, length))),
    );
    // SAFETY: the IRP was just made, and nobody else has it.
    let object = unsafe { &mut *irp };
    object.IoStatus.__bindgen_anon_1.Status = status;
    if length > 0 {
        object.AssociatedIrp.SystemBuffer = system_buffer.cast();
    }
    // SAFETY: a new IRP has at least one stack location.
    let location = unsafe { &mut *irp::next(irp) };
    location.MajorFunction = major as u8;
    location.MinorFunction = minor as u8;
    location.FileObject = file;
    parameters(&mut location.Parameters);
    // SAFETY: the IRP is the sender's until here.
    let returned = unsafe { irp::call(device, irp) };
    Sent { irp, returned, state }
}

/// Takes what a completed IRP says, and its system buffer.
fn complete(irp: PIRP, state: &State, buffer: usize, words: usize, length: usize) {
    let buffer = core::ptr::with_exposed_provenance_mut::<u64>(buffer);
    // SAFETY: the buffer was leaked with this length, and the IRP that had it is complete.
    let buffer = unsafe { Box::from_raw(core::ptr::slice_from_raw_parts_mut(buffer, words)) };
    let bytes = buffer.iter().flat_map(|word| word.to_ne_bytes()).take(length).collect();
    // SAFETY: the IRP is complete, and stays until the sender drops its request.
    let object = unsafe { &*irp };
    *state.outcome.lock() = Outcome {
        status: irp::status(irp),
        information: object.IoStatus.Information,
        buffer: bytes,
        pending: object.PendingReturned != 0,
    };
    state.done.store(true, Ordering::Release);
}

impl Sent {
    /// Whether it is complete.
    pub(crate) fn is_done(&self) -> bool {
        self.state.done.load(Ordering::Acquire)
    }

    /// Waits for its end.
    pub(crate) fn wait(&self) -> Outcome {
        const CALL: &str = "a dispatch routine";
        if self.returned != STATUS_PENDING && !self.is_done() {
            broken(
                Rule::IrpPending,
                CALL,
                format_args!("it returned {:#x}, and the IRP is not complete", self.returned),
            );
        }
        let end = time::now() + time::microseconds(PATIENCE_US);
        while !self.is_done() {
            if time::now() > end {
                crate::stop!(
                    "\na request was not completed within {} seconds",
                    PATIENCE_US / 1_000_000
                );
            }
            smp::relax_passive();
        }
        let outcome = self.state.outcome.lock().clone();
        if outcome.pending != (self.returned == STATUS_PENDING) {
            broken(
                Rule::IrpPending,
                CALL,
                format_args!(
                    "it returned {:#x}, and the IRP was {}marked pending",
                    self.returned,
                    if outcome.pending { "" } else { "not " },
                ),
            );
        }
        if self.returned != STATUS_PENDING && self.returned != outcome.status {
            broken(
                Rule::IrpPending,
                CALL,
                format_args!(
                    "it returned {:#x}, and completed the IRP with {:#x}",
                    self.returned, outcome.status
                ),
            );
        }
        outcome
    }

    /// Asks for its cancellation; says whether the driver had a routine for that.
    pub(crate) fn cancel(&self) -> bool {
        // SAFETY: the IRP stays as long as `self`.
        unsafe { irp::cancel(self.irp) }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.wait();
        irp::free(self.irp);
    }
}

/// An open handle to a device.
#[derive(Debug)]
pub(crate) struct File {
    device: PDEVICE_OBJECT,
    object: Box<FILE_OBJECT>,
}

// SAFETY: the file object is the driver's to use; the bed only passes its address.
#[expect(clippy::non_send_fields_in_send_ty, reason = "file objects are not tied to a processor")]
unsafe impl Send for File {}
// SAFETY: as above.
unsafe impl Sync for File {}

impl File {
    /// Opens the device at the top of a stack.
    ///
    /// # Errors
    ///
    /// The driver's status.
    pub(crate) fn open(device: PDEVICE_OBJECT) -> Result<Self, NTSTATUS> {
        // SAFETY: a file object is made of integers and pointers.
        let mut object: Box<FILE_OBJECT> = unsafe { crate::io::zeroed() };
        object.Type = wdm_interrupt_model::nt::IO_TYPE_FILE as i16;
        object.Size = size_of::<FILE_OBJECT>() as i16;
        object.DeviceObject = device;
        let mut file = Self { device, object };
        let status =
            send_file(device, file.pointer(), wdm_interrupt_model::nt::IRP_MJ_CREATE).wait().status;
        if status < 0 {
            return Err(status);
        }
        device::reference(device);
        Ok(file)
    }

    fn pointer(&mut self) -> PFILE_OBJECT {
        &raw mut *self.object
    }

    /// Sends a buffered device control request.
    pub(crate) fn control(&self, code: u32, input: &[u8], output_length: usize) -> Sent {
        let file = (&raw const *self.object).cast_mut();
        send_control(self.device, file, code, input, output_length)
    }

    /// Closes: CLEANUP, then CLOSE.
    pub(crate) fn close(mut self) {
        self.cleanup();
        let pointer = self.pointer();
        send_file(self.device, pointer, wdm_interrupt_model::nt::IRP_MJ_CLOSE).wait();
        device::dereference(self.device);
    }

    /// CLEANUP: the last handle is closed, requests may be left.
    pub(crate) fn cleanup(&mut self) {
        let pointer = self.pointer();
        send_file(self.device, pointer, wdm_interrupt_model::nt::IRP_MJ_CLEANUP).wait();
    }
}

/// What `PoRequestPowerIrp` does: a power IRP for the whole stack, whose end the driver is told.
pub(crate) fn send_device_power(
    device: PDEVICE_OBJECT,
    minor: u8,
    state: POWER_STATE,
    completion: Option<REQUEST_POWER_COMPLETE>,
    context: PVOID,
) -> PIRP {
    // SAFETY: the driver's promise: a device object of a stack that stays.
    let top = unsafe { device::top(device) };
    // SAFETY: as above.
    let stack_size = unsafe { (*top).StackSize };
    // SAFETY: both members are the same integer.
    let value = unsafe { state.DeviceState };
    let (device_address, context_address) = (device.addr(), context.addr());
    let then = move |irp: PIRP| {
        if let Some(routine) = completion {
            let mut block = IO_STATUS_BLOCK {
                __bindgen_anon_1: IO_STATUS_BLOCK_Status { Status: irp::status(irp) },
                Information: 0,
            };
            let state = POWER_STATE { DeviceState: value };
            let device = device_address as PDEVICE_OBJECT;
            // SAFETY: the driver gave the routine and its context for this request.
            unsafe { routine(device, minor, state, context_address as PVOID, &raw mut block) };
        }
        irp::free(irp);
    };
    let irp = irp::allocate(stack_size, Some(Box::new(then)));
    // SAFETY: the IRP was just made, and nobody else has it.
    let object = unsafe { &mut *irp };
    object.IoStatus.__bindgen_anon_1.Status = STATUS_NOT_SUPPORTED;
    // SAFETY: a new IRP has at least one stack location.
    let location = unsafe { &mut *irp::next(irp) };
    location.MajorFunction = IRP_MJ_POWER as u8;
    location.MinorFunction = minor;
    location.Parameters.Power.Type = DevicePowerState;
    location.Parameters.Power.State.DeviceState = value;
    // SAFETY: the IRP is the sender's until here.
    unsafe { irp::call(top, irp) };
    irp
}
