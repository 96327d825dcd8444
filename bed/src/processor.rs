//! What each processor has of its own: its number, its descriptor tables, its stack for double faults.

use alloc::boxed::Box;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::registers::model_specific::GsBase;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::tss::TaskStateSegment;

use crate::threads::Threads;

/// At most this many processors.
pub(crate) const MAXIMUM: usize = 8;

/// Index of the stack that a double fault switches to.
pub(crate) const DOUBLE_FAULT_STACK: u8 = 0;

/// One processor.
///
/// # Invariants
///
/// `this` is the structure's own address, and GS points here on the processor it describes.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Processor {
    this: *const Self,
    number: usize,
    apic_id: u32,
    tables: UnsafeCell<Tables>,
    /// Device interrupts that arrived here.
    pub(crate) interrupts: AtomicU64,
    /// Service routines that claimed one here.
    pub(crate) claimed: AtomicU64,
    /// Deferred routines that ran here.
    pub(crate) deferred: AtomicU64,
    /// How many interrupts are being served, one inside the other.
    pub(crate) nesting: AtomicU32,
    /// Device interrupts on end that were there again as soon as they had been served.
    pub(crate) on_end: AtomicU32,
    /// Whether threaded DPCs were asked for, and whether they are being run.
    pub(crate) threaded_due: AtomicBool,
    pub(crate) threaded_run: AtomicBool,
    pub(crate) threads: Threads,
}

#[derive(Debug)]
struct Tables {
    descriptors: GlobalDescriptorTable,
    task: TaskStateSegment,
}

// SAFETY: `tables` is only written before the processor is published; the rest is atomic or constant.
unsafe impl Sync for Processor {}

static PROCESSORS: [AtomicPtr<Processor>; MAXIMUM] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAXIMUM];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Sets the current processor up as this number, and counts it.
pub(crate) fn start(number: usize, apic_id: u32) {
    let processor = Box::leak(Box::new(Processor {
        this: core::ptr::null(),
        number,
        apic_id,
        tables: UnsafeCell::new(Tables {
            descriptors: GlobalDescriptorTable::new(),
            task: TaskStateSegment::new(),
        }),
        interrupts: AtomicU64::new(0),
        claimed: AtomicU64::new(0),
        deferred: AtomicU64::new(0),
        nesting: AtomicU32::new(0),
        on_end: AtomicU32::new(0),
        threaded_due: AtomicBool::new(false),
        threaded_run: AtomicBool::new(false),
        threads: Threads::new(number),
    }));
    // INVARIANT: `this` points to the structure itself, which is leaked and never moves.
    processor.this = core::ptr::from_ref(processor);
    let processor: &'static Processor = processor;
    load_tables(processor);
    GsBase::write(VirtAddr::from_ptr(processor));
    PROCESSORS[number].store(core::ptr::from_ref(processor).cast_mut(), Ordering::Release);
    COUNT.fetch_add(1, Ordering::Release);
}

fn load_tables(processor: &'static Processor) {
    // SAFETY: the processor is not published yet, nobody else looks at its tables.
    let tables: &'static mut Tables = unsafe { &mut *processor.tables.get() };
    let stack = Box::leak(Box::new([0_u128; 1024]));
    tables.task.interrupt_stack_table[usize::from(DOUBLE_FAULT_STACK)] =
        VirtAddr::from_ptr(stack.as_ptr_range().end);
    let code = tables.descriptors.append(Descriptor::kernel_code_segment());
    let data = tables.descriptors.append(Descriptor::kernel_data_segment());
    let task = tables.descriptors.append(Descriptor::tss_segment(&tables.task));
    tables.descriptors.load();
    // SAFETY: the selector is a 64-bit code segment of the table just loaded.
    unsafe { CS::set_reg(code) };
    // SAFETY: a data segment of the table just loaded.
    unsafe { SS::set_reg(data) };
    // SAFETY: a data segment of the table just loaded.
    unsafe { DS::set_reg(data) };
    // SAFETY: a data segment of the table just loaded.
    unsafe { ES::set_reg(data) };
    // SAFETY: the task state segment of the table just loaded, which lives for ever.
    unsafe { load_tss(task) };
}

/// The processor that runs this.
///
/// At an IRQL below `DISPATCH_LEVEL` nothing moves a thread to another processor either: it stays where it
/// began.
pub(crate) fn current() -> &'static Processor {
    let this: *const Processor;
    // SAFETY: GS points to the structure whose first member is its own address.
    unsafe {
        asm!("mov {}, gs:[0]", out(reg) this, options(nostack, preserves_flags, readonly));
    }
    // SAFETY: the structure is leaked, so it lives for ever.
    unsafe { &*this }
}

/// How many processors run.
pub(crate) fn count() -> usize {
    COUNT.load(Ordering::Acquire)
}

/// All processors that run, in the order of their numbers.
pub(crate) fn all() -> impl Iterator<Item = &'static Processor> {
    PROCESSORS.iter().filter_map(|slot| {
        // SAFETY: a published processor lives for ever.
        unsafe { slot.load(Ordering::Acquire).as_ref() }
    })
}

/// The processor of this number.
pub(crate) fn by_number(number: usize) -> Option<&'static Processor> {
    all().find(|processor| processor.number == number)
}

impl Processor {
    /// Its number, from 0.
    pub(crate) const fn number(&self) -> usize {
        self.number
    }

    /// Its local APIC's number.
    pub(crate) const fn apic_id(&self) -> u32 {
        self.apic_id
    }
}
