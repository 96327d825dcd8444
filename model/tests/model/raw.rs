//! Raw kernel calls, as a driver without a library makes them.

use std::ptr;

use wdm_interrupt_model::{
    host::{Device, kernel},
    nt::{
        self, BOOLEAN, IO_CONNECT_INTERRUPT_PARAMETERS, KDPC, KINTERRUPT, NTSTATUS, PVOID, ULONG,
    },
};

/// What a service routine does: it is given the message, and says whether it claims.
pub(super) struct Service<'a>(Box<dyn Fn(Option<u32>) -> bool + 'a>);

impl<'a> Service<'a> {
    pub(super) fn new(routine: impl Fn(Option<u32>) -> bool + 'a) -> Self {
        Self(Box::new(routine))
    }

    pub(super) const fn context(&self) -> PVOID {
        ptr::from_ref(self).cast_mut().cast()
    }
}

nt::nt_fn! {
    pub(super) unsafe fn line_routine(_interrupt: *mut KINTERRUPT, context: PVOID) -> BOOLEAN {
        // SAFETY: every test connects with a `Service`.
        let service = unsafe { &*context.cast::<Service<'_>>() };
        (service.0)(None).into()
    }
}

nt::nt_fn! {
    pub(super) unsafe fn message_routine(
        _interrupt: *mut KINTERRUPT,
        context: PVOID,
        message: ULONG,
    ) -> BOOLEAN {
        // SAFETY: every test connects with a `Service`.
        let service = unsafe { &*context.cast::<Service<'_>>() };
        (service.0)(Some(message)).into()
    }
}

/// What `IoConnectInterruptEx` returned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) version: ULONG,
    pub(super) context: PVOID,
}

impl Connection {
    pub(super) const fn object(self) -> *mut KINTERRUPT {
        self.context.cast()
    }

    pub(super) fn table(self) -> *mut nt::IO_INTERRUPT_MESSAGE_INFO {
        assert!(
            [nt::CONNECT_MESSAGE_BASED, nt::CONNECT_MESSAGE_BASED_PASSIVE].contains(&self.version)
        );
        self.context.cast()
    }

    pub(super) fn message_count(self) -> ULONG {
        // SAFETY: a table, as `table` checked.
        unsafe { (*self.table()).MessageCount }
    }

    /// The table's entries.
    pub(super) fn entries(self) -> Vec<nt::IO_INTERRUPT_MESSAGE_INFO_ENTRY> {
        // SAFETY: the table is in place while it is connected.
        let first = unsafe { &raw const (*self.table()).MessageInfo };
        let first = first.cast::<nt::IO_INTERRUPT_MESSAGE_INFO_ENTRY>();
        // SAFETY: `MessageCount` entries follow the header.
        (0..self.message_count() as usize)
            .map(|index| unsafe { first.wrapping_add(index).read() })
            .collect()
    }

    pub(super) fn disconnect(self) {
        let mut parameters =
            nt::IO_DISCONNECT_INTERRUPT_PARAMETERS { Version: self.version, ..Default::default() };
        parameters.ConnectionContext.Generic = self.context;
        // SAFETY: a parameter block.
        unsafe { kernel::IoDisconnectInterruptEx(&raw mut parameters) };
    }

    pub(super) fn report(self, active: bool) {
        let mut parameters = nt::IO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS {
            Version: self.version,
            ..Default::default()
        };
        parameters.ConnectionContext.Generic = self.context;
        if active {
            // SAFETY: a parameter block.
            unsafe { kernel::IoReportInterruptActive(&raw mut parameters) };
        } else {
            // SAFETY: a parameter block.
            unsafe { kernel::IoReportInterruptInactive(&raw mut parameters) };
        }
    }
}

/// The status, and what was returned: whatever was there before, if nothing was written.
pub(super) type Outcome = (NTSTATUS, Connection);

fn call(parameters: &mut IO_CONNECT_INTERRUPT_PARAMETERS, context: &PVOID) -> Outcome {
    // SAFETY: a parameter block; what it points to lives as long as the test.
    let status = unsafe { kernel::IoConnectInterruptEx(parameters) };
    (status, Connection { version: parameters.Version, context: *context })
}

pub(super) fn line_parameters(
    device: &Device,
    service: &Service<'_>,
    context: *mut PVOID,
) -> nt::IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS {
    nt::IO_CONNECT_INTERRUPT_LINE_BASED_PARAMETERS {
        PhysicalDeviceObject: device.physical_device_object(),
        InterruptObject: context.cast(),
        ServiceRoutine: Some(line_routine),
        ServiceContext: service.context(),
        ..Default::default()
    }
}

pub(super) fn try_line(device: &Device, service: &Service<'_>, lock: *mut u64) -> Outcome {
    let mut context: PVOID = ptr::null_mut();
    let mut line = line_parameters(device, service, &raw mut context);
    line.SpinLock = lock;
    let mut parameters =
        IO_CONNECT_INTERRUPT_PARAMETERS { Version: nt::CONNECT_LINE_BASED, ..Default::default() };
    parameters.__bindgen_anon_1.LineBased = line;
    call(&mut parameters, &context)
}

pub(super) fn line(device: &Device, service: &Service<'_>) -> Connection {
    let (status, connection) = try_line(device, service, ptr::null_mut());
    assert_eq!(status, nt::STATUS_SUCCESS);
    connection
}

pub(super) fn message_parameters(
    device: &Device,
    service: &Service<'_>,
    context: *mut PVOID,
) -> nt::IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS {
    nt::IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS {
        PhysicalDeviceObject: device.physical_device_object(),
        ConnectionContext: nt::_IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS__bindgen_ty_1 {
            Generic: context,
        },
        MessageServiceRoutine: Some(message_routine),
        ServiceContext: service.context(),
        FallBackServiceRoutine: Some(line_routine),
        ..Default::default()
    }
}

pub(super) fn try_messages_with(
    device: &Device,
    service: &Service<'_>,
    change: impl FnOnce(&mut nt::IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS),
) -> Outcome {
    try_messages_of(nt::CONNECT_MESSAGE_BASED, device, service, change)
}

/// As [`try_messages_with`], of this version.
pub(super) fn try_messages_of(
    version: ULONG,
    device: &Device,
    service: &Service<'_>,
    change: impl FnOnce(&mut nt::IO_CONNECT_INTERRUPT_MESSAGE_BASED_PARAMETERS),
) -> Outcome {
    let mut context: PVOID = ptr::null_mut();
    let mut message = message_parameters(device, service, &raw mut context);
    change(&mut message);
    let mut parameters = IO_CONNECT_INTERRUPT_PARAMETERS { Version: version, ..Default::default() };
    parameters.__bindgen_anon_1.MessageBased = message;
    call(&mut parameters, &context)
}

pub(super) fn messages(device: &Device, service: &Service<'_>) -> Connection {
    let (status, connection) = try_messages_with(device, service, |_| ());
    assert_eq!(status, nt::STATUS_SUCCESS);
    connection
}

/// A fully specified connect of the device's interrupt `index`, correctly filled and then changed.
pub(super) fn try_full(
    device: &Device,
    index: usize,
    service: &Service<'_>,
    version: ULONG,
    change: impl FnOnce(&mut nt::IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS),
) -> Outcome {
    let interrupt = device.interrupts()[index];
    let mut context: PVOID = ptr::null_mut();
    let mut full = nt::IO_CONNECT_INTERRUPT_FULLY_SPECIFIED_PARAMETERS {
        PhysicalDeviceObject: device.physical_device_object(),
        InterruptObject: (&raw mut context).cast(),
        ServiceRoutine: Some(line_routine),
        ServiceContext: service.context(),
        SynchronizeIrql: interrupt.irql(),
        ShareVector: interrupt.shared().into(),
        Vector: interrupt.vector(),
        Irql: interrupt.irql(),
        InterruptMode: i32::from(interrupt.latched()),
        ProcessorEnableMask: interrupt.affinity(),
        Group: if version == nt::CONNECT_FULLY_SPECIFIED_GROUP { interrupt.group() } else { 0 },
        ..Default::default()
    };
    change(&mut full);
    let mut parameters = IO_CONNECT_INTERRUPT_PARAMETERS { Version: version, ..Default::default() };
    parameters.__bindgen_anon_1.FullySpecified = full;
    call(&mut parameters, &context)
}

pub(super) fn full(device: &Device, index: usize, service: &Service<'_>) -> Connection {
    let (status, connection) =
        try_full(device, index, service, nt::CONNECT_FULLY_SPECIFIED, |_| ());
    assert_eq!(status, nt::STATUS_SUCCESS);
    connection
}

/// Runs `f` through `KeSynchronizeExecution`.
pub(super) fn synchronize<F: FnMut()>(interrupt: *mut KINTERRUPT, mut f: F) -> BOOLEAN {
    nt::nt_fn! {
        unsafe fn run<F: FnMut()>(context: PVOID) -> BOOLEAN {
            // SAFETY: `synchronize` gives its own `f`.
            let f = unsafe { &mut *context.cast::<F>() };
            f();
            1
        }
    }
    // SAFETY: the routine is for this context.
    unsafe { kernel::KeSynchronizeExecution(interrupt, Some(run::<F>), (&raw mut f).cast()) }
}

/// A KDPC in place, with what it runs.
pub(super) struct Dpc<'a> {
    pub(super) kdpc: Box<std::cell::UnsafeCell<KDPC>>,
    routine: Box<Box<dyn Fn(usize, usize) + 'a>>,
}

// SAFETY: the tests' routines use atomics only.
unsafe impl Sync for Dpc<'_> {}

nt::nt_fn! {
    pub(super) unsafe fn deferred_routine(_dpc: *mut KDPC, context: PVOID, first: PVOID, second: PVOID) {
        // SAFETY: every `Dpc` gives its own routine.
        let routine = unsafe { &*context.cast::<Box<dyn Fn(usize, usize)>>() };
        routine(first.addr(), second.addr());
    }
}

impl<'a> Dpc<'a> {
    pub(super) fn new(routine: impl Fn(usize, usize) + 'a) -> Self {
        let dpc = Self { kdpc: Box::default(), routine: Box::new(Box::new(routine)) };
        let context = ptr::from_ref(&*dpc.routine).cast_mut().cast();
        // SAFETY: the KDPC is in place.
        unsafe { kernel::KeInitializeDpc(dpc.pointer(), Some(deferred_routine), context) };
        dpc
    }

    /// A threaded one.
    pub(super) fn threaded(routine: impl Fn(usize, usize) + 'a) -> Self {
        let dpc = Self::new(routine);
        let context = ptr::from_ref(&*dpc.routine).cast_mut().cast();
        // SAFETY: the KDPC is in place.
        unsafe { kernel::KeInitializeThreadedDpc(dpc.pointer(), Some(deferred_routine), context) };
        dpc
    }

    pub(super) fn remove(&self) -> bool {
        // SAFETY: an initialised KDPC.
        unsafe { kernel::KeRemoveQueueDpc(self.pointer()) != 0 }
    }

    pub(super) fn target(&self, processor: u8) -> NTSTATUS {
        let mut number = nt::PROCESSOR_NUMBER { Group: 0, Number: processor, Reserved: 0 };
        // SAFETY: an initialised KDPC and a number.
        unsafe { kernel::KeSetTargetProcessorDpcEx(self.pointer(), &raw mut number) }
    }

    pub(super) fn importance(&self, importance: nt::KDPC_IMPORTANCE) {
        // SAFETY: an initialised KDPC.
        unsafe { kernel::KeSetImportanceDpc(self.pointer(), importance) };
    }

    pub(super) fn pointer(&self) -> *mut KDPC {
        self.kdpc.get()
    }

    pub(super) fn queue(&self) -> bool {
        self.queue_with(0, 0)
    }

    pub(super) fn queue_with(&self, first: usize, second: usize) -> bool {
        let (first, second) =
            (ptr::without_provenance_mut(first), ptr::without_provenance_mut(second));
        // SAFETY: an initialised KDPC that stays in place.
        unsafe { kernel::KeInsertQueueDpc(self.pointer(), first, second) != 0 }
    }
}

pub(super) fn flush() {
    // SAFETY: no obligation but the IRQL, which is what some tests break.
    unsafe { kernel::KeFlushQueuedDpcs() };
}

pub(super) fn irql() -> u8 {
    // SAFETY: no obligation.
    unsafe { kernel::KeGetCurrentIrql() }
}

/// Runs `f` at `irql`.
pub(super) fn at<R>(irql: u8, f: impl FnOnce() -> R) -> R {
    // SAFETY: lowered below.
    let before = unsafe { kernel::KfRaiseIrql(irql) };
    let result = f();
    // SAFETY: raised above.
    unsafe { kernel::KeLowerIrql(before) };
    result
}

pub(super) const TAG: ULONG = u32::from_le_bytes(*b"Test");

pub(super) fn allocate(size: u64) -> PVOID {
    // SAFETY: no obligation.
    let memory = unsafe { kernel::ExAllocatePool2(nt::POOL_FLAG_NON_PAGED, size, TAG) };
    assert!(!memory.is_null());
    memory
}

pub(super) fn free(memory: PVOID) {
    // SAFETY: what a test frees that it must not is what the verifier is to find.
    unsafe { kernel::ExFreePoolWithTag(memory, TAG) };
}

/// An event in place.
pub(super) struct Event {
    pub(super) kevent: Box<std::cell::UnsafeCell<nt::KEVENT>>,
}

// SAFETY: the kernel's calls are what is done with it.
unsafe impl Sync for Event {}

impl Event {
    pub(super) fn new(kind: nt::EVENT_TYPE) -> Self {
        let event = Self { kevent: Box::default() };
        // SAFETY: the event is in place.
        unsafe { kernel::KeInitializeEvent(event.pointer(), kind, 0) };
        event
    }

    pub(super) fn notification() -> Self {
        Self::new(nt::_EVENT_TYPE::NotificationEvent)
    }

    pub(super) fn pointer(&self) -> *mut nt::KEVENT {
        self.kevent.get()
    }

    pub(super) fn set(&self) -> bool {
        // SAFETY: an initialised event.
        unsafe { kernel::KeSetEvent(self.pointer(), 0, 0) != 0 }
    }

    pub(super) fn clear(&self) {
        // SAFETY: an initialised event.
        unsafe { kernel::KeClearEvent(self.pointer()) };
    }

    pub(super) fn wait(&self) {
        assert_eq!(wait(self.pointer(), ptr::null_mut()), nt::STATUS_SUCCESS);
    }

    /// Waits for so many milliseconds at most; false if that was not enough.
    pub(super) fn wait_for(&self, milliseconds: i64) -> bool {
        let mut timeout = nt::LARGE_INTEGER { QuadPart: -10_000 * milliseconds };
        wait(self.pointer(), &raw mut timeout) == nt::STATUS_SUCCESS
    }
}

pub(super) fn wait(event: *mut nt::KEVENT, timeout: nt::PLARGE_INTEGER) -> NTSTATUS {
    let (reason, mode) = (nt::_KWAIT_REASON::Executive, 0);
    // SAFETY: what a test waits for that it must not is what the verifier is to find.
    unsafe { kernel::KeWaitForSingleObject(event.cast(), reason, mode, 0, timeout) }
}

/// A work item, with what it runs.
pub(super) struct WorkItem<'a> {
    pub(super) item: nt::PIO_WORKITEM,
    routine: Box<Box<dyn Fn(*mut nt::DEVICE_OBJECT) + 'a>>,
}

// SAFETY: the tests' routines use atomics only, and the item is known by its address.
unsafe impl Sync for WorkItem<'_> {}

nt::nt_fn! {
    pub(super) unsafe fn work_routine(device: *mut nt::DEVICE_OBJECT, context: PVOID) {
        // SAFETY: every `WorkItem` gives its own routine.
        let routine = unsafe { &*context.cast::<Box<dyn Fn(*mut nt::DEVICE_OBJECT)>>() };
        routine(device);
    }
}

impl<'a> WorkItem<'a> {
    pub(super) fn new(device: &Device, routine: impl Fn(*mut nt::DEVICE_OBJECT) + 'a) -> Self {
        // SAFETY: no obligation but a device object.
        let item = unsafe { kernel::IoAllocateWorkItem(device.function_device_object()) };
        assert!(!item.is_null());
        Self { item, routine: Box::new(Box::new(routine)) }
    }

    /// What its routine is given.
    pub(super) fn context(&self) -> PVOID {
        ptr::from_ref(&*self.routine).cast_mut().cast()
    }

    pub(super) fn queue(&self) {
        let context = self.context();
        let queue = nt::_WORK_QUEUE_TYPE::DelayedWorkQueue;
        // SAFETY: the routine is for this context, which stays until it has run.
        unsafe { kernel::IoQueueWorkItem(self.item, Some(work_routine), queue, context) };
    }

    pub(super) fn free(&self) {
        // SAFETY: what a test frees that it must not is what the verifier is to find.
        unsafe { kernel::IoFreeWorkItem(self.item) };
    }
}

/// Lowers to `PASSIVE_LEVEL`, also when unwinding.
pub(super) struct Lower;

impl Drop for Lower {
    fn drop(&mut self) {
        // SAFETY: the tests that use this raised.
        unsafe { kernel::KeLowerIrql(0) };
    }
}

pub(super) fn raised(irql: u8) -> Lower {
    // SAFETY: lowered by what this gives.
    unsafe { kernel::KfRaiseIrql(irql) };
    Lower
}
