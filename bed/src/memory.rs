//! Page tables: memory is mapped identically by 2 MiB pages, which are split where a part needs other
//! access. Page 0 is never there, so a null pointer ends the run where it is used.

use alloc::alloc::{Layout, alloc_zeroed};

use x86_64::instructions::tlb;

use crate::sync::Lock;

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
const LARGE: usize = 2 << 20;

/// Bits of a page table entry.
mod entry {
    pub(super) const PRESENT: u64 = 1;
    pub(super) const WRITABLE: u64 = 2;
    pub(super) const UNCACHED: u64 = 0x10;
    pub(super) const LARGE: u64 = 0x80;
    pub(super) const NO_EXECUTE: u64 = 1 << 63;
    pub(super) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
}

/// What may be done with a page besides reading it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    pub(crate) write: bool,
    pub(crate) execute: bool,
}

unsafe extern "C" {
    static mut boot_directories: [u64; 4 * 512];
}

static TABLES: Lock<()> = Lock::new(());

/// Gives pages this access. The other processors keep what they have cached, so it is for memory that
/// they did not touch yet.
pub(crate) fn protect(address: usize, size: usize, access: Access) {
    let mut flags = entry::PRESENT;
    if access.write {
        flags |= entry::WRITABLE;
    }
    if !access.execute {
        flags |= entry::NO_EXECUTE;
    }
    set(address, address, size, flags);
}

/// Maps device registers at addresses that nothing used before.
pub(crate) fn map_registers(address: usize, physical: usize, size: usize) {
    let flags = entry::PRESENT | entry::WRITABLE | entry::NO_EXECUTE | entry::UNCACHED;
    set(address, physical, size, flags);
}

/// Takes pages away, on every processor.
pub(crate) fn unmap(address: usize, size: usize) {
    set(address, 0, size, 0);
    crate::smp::flush_everywhere();
}

/// Where a physical address is reached: memory and the PCI window are mapped identically.
pub(crate) const fn physical<T>(address: usize) -> *mut T {
    core::ptr::with_exposed_provenance_mut(address)
}

fn set(address: usize, physical: usize, size: usize, flags: u64) {
    let _tables = TABLES.lock();
    let first = address & !(PAGE - 1);
    let frames = physical & !(PAGE - 1);
    for page in (first..address + size).step_by(PAGE) {
        let frame = frames + (page - first);
        let table = split(page);
        // SAFETY: a table has 512 entries, and the index is less.
        let slot = unsafe { table.add(page / PAGE % 512) };
        // SAFETY: a valid entry of a table that `TABLES` guards.
        unsafe { slot.write_volatile(if flags == 0 { 0 } else { frame as u64 | flags }) };
        tlb::flush(x86_64::VirtAddr::new(page as u64));
    }
}

/// The page table of the 2 MiB that an address lies in; made if there is none yet.
fn split(address: usize) -> *mut u64 {
    assert!(address >> 32 == 0, "only the first 4 GiB are mapped");
    let directories = (&raw mut boot_directories).cast::<u64>();
    // SAFETY: the four directories lie one behind the other, 2048 entries for 4 GiB.
    let directory_entry = unsafe { directories.add(address / LARGE) };
    // SAFETY: an entry of the directories, which `TABLES` guards.
    let old = unsafe { directory_entry.read_volatile() };
    if old & entry::LARGE == 0 {
        return core::ptr::with_exposed_provenance_mut((old & entry::ADDRESS) as usize);
    }
    let layout = Layout::from_size_align(PAGE, PAGE).expect("a page is a valid layout");
    // SAFETY: the layout is not empty.
    let table = unsafe { alloc_zeroed(layout) }.cast::<u64>();
    assert!(!table.is_null(), "there is no memory for a page table");
    let base = old & entry::ADDRESS;
    for index in 0..512 {
        let value = (base + (index * PAGE) as u64) | entry::PRESENT | entry::WRITABLE;
        // SAFETY: the table has 512 entries.
        let slot = unsafe { table.add(index) };
        // SAFETY: as above; the table is not in use yet.
        unsafe { slot.write(value) };
    }
    let value = table.expose_provenance() as u64 | entry::PRESENT | entry::WRITABLE;
    // SAFETY: the entry maps the same memory as before, page by page.
    unsafe { directory_entry.write_volatile(value) };
    tlb::flush_all();
    table
}
