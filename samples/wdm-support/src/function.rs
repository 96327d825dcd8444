//! What a driver has to say of its device, and what it is given for that.

use wdk_sys::{
    GUID, NTSTATUS, STATUS_BUFFER_TOO_SMALL, STATUS_DEVICE_CONFIGURATION_ERROR,
    STATUS_INVALID_DEVICE_REQUEST,
};
use wdm_interrupt::{FunctionDevice, InterruptResources, PhysicalDevice};

use crate::irp::Irp;
use crate::registers::Registers;

/// What a driver makes of a device, from START to STOP or removal.
///
/// Its methods are called one at a time, at `PASSIVE_LEVEL`, save
/// [`control_at_once`](Self::control_at_once).
///
/// # Safety
///
/// What is made with what [`Start`] has, registrations and mappings, is gone when
/// [`stop`](Self::stop) returns or [`start`](Self::start) fails.
pub unsafe trait Function: Sized + Send + 'static {
    /// The driver's name, for the debugger.
    const NAME: &'static str;

    /// The class of the interface by which programs find the device, if any do.
    const INTERFACE: Option<GUID>;

    /// Takes the resources into use: START, which the lower drivers have completed.
    ///
    /// # Errors
    ///
    /// The status with which START fails.
    fn start(start: &Start<'_>) -> Result<Self, NTSTATUS>;

    /// Gives the resources back: STOP, or a removal.
    fn stop(self, presence: Presence);

    /// Silences the device, which is about to lose its power: D3.
    fn sleep(&mut self) {}

    /// Lets the device interrupt again, which has its power back: D0.
    fn wake(&mut self) {}

    /// Answers an IOCTL that does without the function, or leaves it to [`control`](Self::control).
    ///
    /// This alone is called by several threads at once, and also while another method is. It is for what
    /// is in statics.
    fn control_at_once(_request: &mut Control<'_, '_>) -> Option<Result<(), NTSTATUS>> {
        None
    }

    /// Answers an IOCTL. The device is not started if there is no `function`: the status says why.
    ///
    /// # Errors
    ///
    /// The status with which the request fails.
    fn control(
        _function: Result<&mut Self, NTSTATUS>,
        _request: &mut Control<'_, '_>,
    ) -> Result<(), NTSTATUS> {
        Err(STATUS_INVALID_DEVICE_REQUEST)
    }
}

/// Whether the device is there when its resources are given back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presence {
    /// It is, and is silenced.
    Present,
    /// It has been pulled out, and is not touched.
    Gone,
}

/// What a START brings.
#[derive(Debug)]
pub struct Start<'a> {
    /// The PDO, to connect with.
    pub physical: PhysicalDevice,
    /// The driver's own device object, for work items.
    pub function: FunctionDevice,
    /// The interrupts that were assigned.
    pub interrupts: InterruptResources<'a>,
    /// Where the first range of device memory is, and its length: BAR 0.
    pub(crate) memory: Option<(i64, u32)>,
}

impl Start<'_> {
    /// Maps the first `length` bytes of BAR 0.
    ///
    /// # Errors
    ///
    /// `STATUS_DEVICE_CONFIGURATION_ERROR` if there are not as many, and
    /// `STATUS_INSUFFICIENT_RESOURCES` if there is no room to map them.
    pub fn registers(&self, length: u32) -> Result<Registers, NTSTATUS> {
        match self.memory {
            Some((start, there)) if there >= length => {
                // SAFETY: assigned to the device until STOP, and a function has gone by then.
                unsafe { Registers::map(start, length) }
            }
            _ => Err(STATUS_DEVICE_CONFIGURATION_ERROR),
        }
    }
}

/// An IOCTL, `METHOD_BUFFERED`.
#[derive(Debug)]
pub struct Control<'i, 'd> {
    irp: &'i mut Irp<'d>,
    code: u32,
    input: u32,
    output: u32,
    written: usize,
}

impl<'i, 'd> Control<'i, 'd> {
    /// # Safety
    ///
    /// A `DEVICE_CONTROL`.
    pub(crate) const unsafe fn new(irp: &'i mut Irp<'d>) -> Self {
        const METHOD_MASK: u32 = 3;
        const METHOD_BUFFERED: u32 = 0;
        // SAFETY: the member that a DEVICE_CONTROL has (caller).
        let parameters = unsafe { irp.stack().Parameters.DeviceIoControl };
        let code = parameters.IoControlCode;
        // A code of another method is nobody's here. Only with METHOD_BUFFERED there is a system
        // buffer of these lengths.
        let (input, output) = if code & METHOD_MASK == METHOD_BUFFERED {
            (parameters.InputBufferLength, parameters.OutputBufferLength)
        } else {
            (0, 0)
        };
        Self { irp, code, input, output, written: 0 }
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> u32 {
        self.code
    }

    /// The input.
    #[must_use]
    pub fn input(&self) -> &[u8] {
        // SAFETY: of this length (`new`).
        unsafe { self.irp.input(self.input) }
    }

    /// How many bytes there is room for in the output.
    #[must_use]
    pub const fn output_length(&self) -> usize {
        self.output as usize
    }

    /// Writes the output, over the input: they have one buffer.
    ///
    /// # Errors
    ///
    /// `STATUS_BUFFER_TOO_SMALL` if there is no room.
    pub fn reply(&mut self, bytes: &[u8]) -> Result<(), NTSTATUS> {
        if bytes.len() > self.output_length() {
            return Err(STATUS_BUFFER_TOO_SMALL);
        }
        // SAFETY: there is room (above), in a buffer that is there (`new`).
        unsafe { self.irp.write_output(bytes) };
        self.written = bytes.len();
        Ok(())
    }

    /// How many bytes have been written.
    pub(crate) const fn written(&self) -> usize {
        self.written
    }
}
