//! Interrupt objects: connecting, disconnecting, synchronising, and being interrupted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr;
use std::rc::Rc;

use loom::sync::Mutex;

use crate::machine::{Failure, Wiring};
use crate::nt::{
    self, BOOLEAN, IO_CONNECT_INTERRUPT_PARAMETERS, IO_DISCONNECT_INTERRUPT_PARAMETERS,
    IO_INTERRUPT_MESSAGE_INFO, IO_INTERRUPT_MESSAGE_INFO_ENTRY, NTSTATUS, PKINTERRUPT,
    PKMESSAGE_SERVICE_ROUTINE, PKSERVICE_ROUTINE, PKSPIN_LOCK, PKSYNCHRONIZE_ROUTINE, PVOID, ULONG,
};
use crate::{kernel, thread};

/// What an ISR's caller learns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// Nothing is connected.
    Nobody,
    /// The ISR says that it was another's.
    NotMine,
    /// The ISR says that it was its own.
    Claimed,
}

/// All interrupt objects, and where they are connected.
#[derive(Debug)]
pub(crate) struct Interrupts {
    /// What is connected to each vector: an entry of the processors' table.
    vectors: Vec<Mutex<Option<Rc<Interrupt>>>>,
    /// All that were ever made. An object's number tells its address.
    objects: RefCell<Vec<Rc<Interrupt>>>,
    /// The locks that drivers supplied, by their addresses.
    locks: RefCell<BTreeMap<usize, Rc<Mutex<()>>>>,
    /// Message tables, by their addresses, and the objects in them.
    tables: RefCell<Vec<Table>>,
}

/// A message table, in memory of its own.
#[derive(Debug)]
struct Table {
    memory: Box<[u64]>,
    objects: Vec<Rc<Interrupt>>,
    connected: Cell<bool>,
}

/// An interrupt object.
#[derive(Debug)]
struct Interrupt {
    number: usize,
    vector: usize,
    irql: u8,
    service: Service,
    /// The interrupt spin lock; of a passive-level interrupt it is an event, which is the same to
    /// those who wait for it.
    lock: Rc<Mutex<()>>,
    supplied: PKSPIN_LOCK,
    /// Changed under the lock. When it has gone, the object is freed memory.
    connected: Cell<bool>,
}

#[derive(Clone, Copy, Debug)]
enum Service {
    Line { routine: PKSERVICE_ROUTINE, context: PVOID },
    Message { routine: PKMESSAGE_SERVICE_ROUTINE, context: PVOID, message: ULONG },
}

impl Interrupt {
    /// The address by which the driver knows it, where nothing is.
    const fn address(&self) -> PKINTERRUPT {
        ptr::without_provenance_mut((self.number + 1) * align_of::<usize>())
    }

    const fn context(&self) -> PVOID {
        match self.service {
            Service::Line { context, .. } | Service::Message { context, .. } => context,
        }
    }

    /// Calls the ISR.
    fn service(&self) -> BOOLEAN {
        let object = self.address();
        match self.service {
            Service::Line { routine, context } => {
                let routine = routine.expect("a service routine");
                // SAFETY: connected with this context, its lock held.
                unsafe { routine(object, context) }
            }
            Service::Message { routine, context, message } => {
                let routine = routine.expect("a service routine");
                // SAFETY: as above, with the message that it was connected for.
                unsafe { routine(object, context, message) }
            }
        }
    }
}

impl Interrupts {
    pub(crate) fn new(wiring: Wiring) -> Self {
        Self {
            vectors: (0..wiring.vectors()).map(|_vector| Mutex::new(None)).collect(),
            objects: RefCell::default(),
            locks: RefCell::default(),
            tables: RefCell::default(),
        }
    }

    /// A processor takes an interrupt on `vector`.
    pub(crate) fn deliver(&self, vector: usize) -> Delivery {
        let entry = self.vectors[vector].lock().expect("no panic goes on").clone();
        let Some(interrupt) = entry else {
            return Delivery::Nobody;
        };
        let _held = interrupt.lock.lock().expect("no panic goes on");
        if !interrupt.connected.get() {
            return Delivery::Nobody;
        }
        let claimed = thread::at(interrupt.irql, || interrupt.service());
        if claimed == 0 { Delivery::NotMine } else { Delivery::Claimed }
    }

    /// Connects `service` to `vector`.
    fn connect_one(
        &self,
        vector: usize,
        irql: u8,
        service: Service,
        supplied: PKSPIN_LOCK,
    ) -> Rc<Interrupt> {
        let lock = if supplied.is_null() {
            Rc::new(Mutex::new(()))
        } else {
            kernel().pool.assert_there(supplied.addr(), "IoConnectInterruptEx");
            let mut locks = self.locks.borrow_mut();
            Rc::clone(locks.entry(supplied.addr()).or_insert_with(|| Rc::new(Mutex::new(()))))
        };
        let number = self.objects.borrow().len();
        let connected = Cell::new(true);
        let interrupt =
            Rc::new(Interrupt { number, vector, irql, service, lock, supplied, connected });
        self.objects.borrow_mut().push(Rc::clone(&interrupt));
        let mut entry = self.vectors[vector].lock().expect("no panic goes on");
        assert!(entry.is_none(), "IoConnectInterruptEx: connected already");
        *entry = Some(Rc::clone(&interrupt));
        drop(entry);
        interrupt
    }

    /// Disconnects `interrupt`, and waits for its ISR.
    fn disconnect_one(&self, interrupt: &Interrupt) {
        *self.vectors[interrupt.vector].lock().expect("no panic goes on") = None;
        let _held = interrupt.lock.lock().expect("no panic goes on");
        assert!(interrupt.connected.replace(false), "IoDisconnectInterruptEx: not connected");
    }

    /// `IoConnectInterruptEx`.
    ///
    /// # Safety
    ///
    /// The parameters are filled for their version.
    pub(crate) unsafe fn connect(
        &self,
        wiring: Wiring,
        parameters: &mut IO_CONNECT_INTERRUPT_PARAMETERS,
    ) -> NTSTATUS {
        assert_eq!(thread::irql(), thread::PASSIVE, "IoConnectInterruptEx above PASSIVE_LEVEL");
        let (irql, messages) = (wiring.irql, wiring.messages);
        match parameters.Version {
            nt::CONNECT_LINE_BASED => {
                // SAFETY: the member that the version names (caller).
                let line = unsafe { parameters.__bindgen_anon_1.LineBased };
                let service =
                    Service::Line { routine: line.ServiceRoutine, context: line.ServiceContext };
                let object = self.connect_one(0, irql, service, line.SpinLock);
                self.succeed(wiring, &[object], |objects| {
                    // SAFETY: the caller's place for the object.
                    unsafe { line.InterruptObject.write(objects[0].address()) };
                })
            }
            nt::CONNECT_FULLY_SPECIFIED => {
                // SAFETY: as above.
                let full = unsafe { parameters.__bindgen_anon_1.FullySpecified };
                let service =
                    Service::Line { routine: full.ServiceRoutine, context: full.ServiceContext };
                let vector = full.Vector as usize;
                let object = self.connect_one(vector, full.SynchronizeIrql, service, full.SpinLock);
                self.succeed(wiring, &[object], |objects| {
                    // SAFETY: the caller's place for the object.
                    unsafe { full.InterruptObject.write(objects[0].address()) };
                })
            }
            nt::CONNECT_MESSAGE_BASED if messages > 0 => {
                // SAFETY: as above.
                let asked = unsafe { parameters.__bindgen_anon_1.MessageBased };
                let objects: Vec<_> = (0..messages)
                    .map(|message| {
                        let (routine, context) =
                            (asked.MessageServiceRoutine, asked.ServiceContext);
                        let service = Service::Message { routine, context, message };
                        self.connect_one(message as usize, irql, service, asked.SpinLock)
                    })
                    .collect();
                self.succeed(wiring, &objects, |objects| {
                    let table = self.table(irql, objects);
                    // SAFETY: the member for this version.
                    let place = unsafe { asked.ConnectionContext.InterruptMessageTable };
                    // SAFETY: the caller's place for the table.
                    unsafe { place.write(table) };
                })
            }
            nt::CONNECT_MESSAGE_BASED => {
                // SAFETY: as above.
                let asked = unsafe { parameters.__bindgen_anon_1.MessageBased };
                let routine = asked.FallBackServiceRoutine;
                let service = Service::Line { routine, context: asked.ServiceContext };
                let object = self.connect_one(0, irql, service, asked.SpinLock);
                parameters.Version = nt::CONNECT_LINE_BASED;
                self.succeed(wiring, &[object], |objects| {
                    // SAFETY: the member for a line.
                    let place = unsafe { asked.ConnectionContext.InterruptObject };
                    // SAFETY: the caller's place for the object.
                    unsafe { place.write(objects[0].address()) };
                })
            }
            version => unimplemented!("IoConnectInterruptEx, version {version}"),
        }
    }

    /// Ends a connect: with `store`, or with a failure that comes when all has been connected.
    fn succeed(
        &self,
        wiring: Wiring,
        objects: &[Rc<Interrupt>],
        store: impl FnOnce(&[Rc<Interrupt>]),
    ) -> NTSTATUS {
        if wiring.failure == Failure::Late {
            for object in objects {
                self.disconnect_one(object);
            }
            return nt::STATUS_INSUFFICIENT_RESOURCES;
        }
        store(objects);
        nt::STATUS_SUCCESS
    }

    /// Makes a message table of `objects`.
    fn table(&self, irql: u8, objects: &[Rc<Interrupt>]) -> *mut IO_INTERRUPT_MESSAGE_INFO {
        let head = core::mem::offset_of!(IO_INTERRUPT_MESSAGE_INFO, MessageInfo);
        let size =
            head + size_of_val(objects).max(1) * size_of::<IO_INTERRUPT_MESSAGE_INFO_ENTRY>();
        let mut memory = vec![0_u64; size.div_ceil(size_of::<u64>())].into_boxed_slice();
        let table = memory.as_mut_ptr().cast::<IO_INTERRUPT_MESSAGE_INFO>();
        // SAFETY: within the memory.
        unsafe { (*table).UnifiedIrql = irql };
        let count = ULONG::try_from(objects.len()).expect("few messages");
        // SAFETY: within the memory.
        unsafe { (*table).MessageCount = count };
        // SAFETY: within the memory.
        let entries = unsafe { table.byte_add(head) }.cast::<IO_INTERRUPT_MESSAGE_INFO_ENTRY>();
        for (index, object) in objects.iter().enumerate() {
            let entry = IO_INTERRUPT_MESSAGE_INFO_ENTRY {
                InterruptObject: object.address(),
                Irql: irql,
                ..Default::default()
            };
            // SAFETY: the memory has room for as many as there are objects.
            let place = unsafe { entries.add(index) };
            // SAFETY: as above.
            unsafe { place.write(entry) };
        }
        let (objects, connected) = (objects.to_vec(), Cell::new(true));
        self.tables.borrow_mut().push(Table { memory, objects, connected });
        table
    }

    /// `IoDisconnectInterruptEx`.
    pub(crate) fn disconnect(&self, parameters: &IO_DISCONNECT_INTERRUPT_PARAMETERS) {
        assert_eq!(thread::irql(), thread::PASSIVE, "IoDisconnectInterruptEx above PASSIVE_LEVEL");
        // SAFETY: the union's members are all pointers.
        let context = unsafe { parameters.ConnectionContext.Generic };
        if parameters.Version == nt::CONNECT_MESSAGE_BASED {
            let objects = {
                let tables = self.tables.borrow();
                let table =
                    tables.iter().find(|table| table.memory.as_ptr().addr() == context.addr());
                let table = table.expect("IoDisconnectInterruptEx: no message table");
                assert!(table.connected.replace(false), "IoDisconnectInterruptEx: not connected");
                table.objects.clone()
            };
            for object in &objects {
                self.disconnect_one(object);
            }
        } else {
            self.disconnect_one(&self.find(context.cast(), "IoDisconnectInterruptEx"));
        }
    }

    /// The object that the driver knows by this address.
    fn find(&self, object: PKINTERRUPT, user: &str) -> Rc<Interrupt> {
        let objects = self.objects.borrow();
        let number = (object.addr() / align_of::<usize>()).checked_sub(1);
        let found = number.and_then(|number| objects.get(number)).cloned();
        found.unwrap_or_else(|| panic!("{user}: no interrupt object"))
    }

    /// `KeSynchronizeExecution`.
    ///
    /// # Safety
    ///
    /// The routine can be called with the context.
    pub(crate) unsafe fn synchronize(
        &self,
        object: PKINTERRUPT,
        routine: PKSYNCHRONIZE_ROUTINE,
        context: PVOID,
    ) -> BOOLEAN {
        let interrupt = self.find(object, "KeSynchronizeExecution");
        assert!(thread::irql() <= interrupt.irql, "KeSynchronizeExecution from above");
        let _held = interrupt.lock.lock().expect("no panic goes on");
        assert!(interrupt.connected.get(), "KeSynchronizeExecution: not connected any more");
        let routine = routine.expect("a routine");
        thread::at(interrupt.irql, || {
            // SAFETY: as the caller promises.
            unsafe { routine(context) }
        })
    }

    /// Panics when something in `range` is in a connected interrupt's hands.
    pub(crate) fn assert_none_in(&self, range: &Range<usize>) {
        for interrupt in self.objects.borrow().iter().filter(|object| object.connected.get()) {
            let used = [interrupt.context().addr(), interrupt.supplied.addr()];
            assert!(
                !used.iter().any(|address| range.contains(address)),
                "freed: a block of pool that a connected interrupt uses"
            );
        }
    }

    /// Panics when an interrupt is connected.
    pub(crate) fn assert_empty(&self) {
        let left = self.objects.borrow().iter().filter(|object| object.connected.get()).count();
        assert_eq!(left, 0, "left behind: connected interrupts");
    }
}
