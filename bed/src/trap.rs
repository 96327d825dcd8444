//! Exceptions end the run with registers and place; interrupts go to their handlers at their IRQL.

use core::arch::global_asm;
use core::sync::atomic::Ordering;

use x86_64::VirtAddr;
use x86_64::registers::control::Cr2;
use x86_64::structures::idt::InterruptDescriptorTable;

use crate::irql::{self, DISPATCH_VECTOR, FLUSH_VECTOR, HOLD_VECTOR, WAKE_VECTOR};
use crate::sync::Lock;
use crate::{apic, hal, image, processor, smp, stepping};

global_asm!(include_str!("trap.s"), options(att_syntax));

unsafe extern "C" {
    static trap_stubs: [[u8; 16]; 256];
}

/// What the stubs leave on the stack.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Frame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rcx: u64,
    rax: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    flags: u64,
    rsp: u64,
    ss: u64,
}

static TABLE: Lock<InterruptDescriptorTable> = Lock::new(InterruptDescriptorTable::new());

const DEBUG: u64 = 1;
const PAGE_FAULT: u64 = 14;

/// Fills the interrupt descriptor table. Once, on the first processor.
pub(crate) fn prepare() {
    let mut table = TABLE.lock();
    let stub = |vector: usize| {
        // SAFETY: only the address of a stub is taken, in the table that trap.s lays out.
        VirtAddr::from_ptr(unsafe { &raw const trap_stubs[vector] })
    };
    macro_rules! exceptions {
        ($($name:ident = $vector:literal),*) => {$(
            // SAFETY: the stub saves everything and returns as the exception demands.
            unsafe { table.$name.set_handler_addr(stub($vector)) };
        )*};
    }
    exceptions!(
        divide_error = 0,
        debug = 1,
        non_maskable_interrupt = 2,
        breakpoint = 3,
        overflow = 4,
        bound_range_exceeded = 5,
        invalid_opcode = 6,
        device_not_available = 7,
        invalid_tss = 10,
        segment_not_present = 11,
        stack_segment_fault = 12,
        general_protection_fault = 13,
        page_fault = 14,
        x87_floating_point = 16,
        alignment_check = 17,
        simd_floating_point = 19
    );
    // SAFETY: as above; what `trap` does with it never returns.
    let double_fault = unsafe { table.double_fault.set_handler_addr(stub(8)) };
    // SAFETY: every processor's task state segment has this stack, used for nothing else.
    unsafe { double_fault.set_stack_index(u16::from(processor::DOUBLE_FAULT_STACK)) };
    for vector in 32..=255 {
        // SAFETY: the stub saves everything and returns with IRETQ.
        unsafe { table[vector].set_handler_addr(stub(usize::from(vector))) };
    }
}

/// Loads the table on the current processor.
pub(crate) fn start() {
    // SAFETY: the table is static and complete; nobody changes it any more.
    let table = unsafe { &*TABLE.data_ptr() };
    // SAFETY: the table is static, so it stays for as long as the processor uses it.
    unsafe { table.load_unsafe() };
}

/// Every exception and interrupt comes here, with interrupts off.
#[unsafe(no_mangle)]
extern "sysv64" fn trap(frame: &mut Frame) {
    match frame.vector {
        DEBUG => stepping::step(frame.rip, frame.rsp),
        0..=31 => exception(frame),
        vector => interrupt(vector as u8),
    }
}

fn interrupt(vector: u8) {
    if vector == apic::SPURIOUS_VECTOR {
        return;
    }
    let before = irql::current();
    irql::set(vector >> 4);
    let own = processor::current();
    let interrupted = own.threads.identity.swap(own.number(), Ordering::Relaxed);
    match vector {
        WAKE_VECTOR => apic::end_of_interrupt(),
        FLUSH_VECTOR => {
            smp::flushed();
            apic::end_of_interrupt();
        }
        HOLD_VECTOR => {
            smp::hold();
            apic::end_of_interrupt();
        }
        DISPATCH_VECTOR => {
            apic::end_of_interrupt();
            x86_64::instructions::interrupts::enable();
            hal::dispatch();
            x86_64::instructions::interrupts::disable();
            if before == 0 {
                hal::run_threaded_dpcs();
            }
        }
        _ => {
            own.interrupts.fetch_add(1, Ordering::Relaxed);
            own.nesting.fetch_add(1, Ordering::Relaxed);
            x86_64::instructions::interrupts::enable();
            hal::device_interrupt(vector);
            x86_64::instructions::interrupts::disable();
            own.nesting.fetch_sub(1, Ordering::Relaxed);
            apic::end_of_interrupt();
            hal::served(vector, apic::is_waiting(vector));
        }
    }
    own.threads.identity.store(interrupted, Ordering::Relaxed);
    irql::set(before);
}

fn exception(frame: &Frame) -> ! {
    const NAMES: [&str; 20] = [
        "divide error",
        "debug",
        "non-maskable interrupt",
        "breakpoint",
        "overflow",
        "bound range exceeded",
        "invalid opcode",
        "device not available",
        "double fault",
        "coprocessor segment overrun",
        "invalid TSS",
        "segment not present",
        "stack-segment fault",
        "general protection",
        "page fault",
        "reserved",
        "x87 floating point",
        "alignment check",
        "machine check",
        "SIMD floating point",
    ];
    let name = NAMES.get(frame.vector as usize).copied().unwrap_or("reserved");
    let address = if frame.vector == PAGE_FAULT { Cr2::read_raw() } else { 0 };
    crate::serial::print_at_the_end(format_args!(
        "\nexception {} ({name}) on processor {} at IRQL {}, error {:#x}, at {}\n\
         rip {:016x} rsp {:016x} flags {:x} address {address:016x}\n\
         rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}\n\
         rsi {:016x} rdi {:016x} rbp {:016x} r8  {:016x}\n\
         r9  {:016x} r10 {:016x} r11 {:016x} r12 {:016x}\n\
         r13 {:016x} r14 {:016x} r15 {:016x}\n",
        frame.vector,
        processor::current().number(),
        irql::current(),
        frame.error,
        image::place(frame.rip),
        frame.rip,
        frame.rsp,
        frame.flags,
        frame.rax,
        frame.rbx,
        frame.rcx,
        frame.rdx,
        frame.rsi,
        frame.rdi,
        frame.rbp,
        frame.r8,
        frame.r9,
        frame.r10,
        frame.r11,
        frame.r12,
        frame.r13,
        frame.r14,
        frame.r15,
    ));
    crate::qemu::exit(crate::qemu::Outcome::Failure)
}
