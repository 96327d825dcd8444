//! How calls fail that are made to, and why the others cannot.

use core::ptr;

use wdm_interrupt_model::executive::{self, Fault};
use wdm_interrupt_model::nt::{BOOLEAN, NTSTATUS};

use super::TABLES;

/// With a status.
pub(super) const fn status(fault: Fault) -> NTSTATUS {
    fault.status()
}

/// With NULL.
pub(super) const fn null<T>(_fault: Fault) -> *mut T {
    ptr::null_mut()
}

/// With FALSE.
pub(super) const fn no(_fault: Fault) -> BOOLEAN {
    0
}

/// Types of results that can say that a call has failed.
const TELLING: [&str; 6] =
    ["NTSTATUS", "PVOID", "PIRP", "PDEVICE_OBJECT", "PIO_WORKITEM", "BOOLEAN"];

/// The routines of these types that cannot fail nevertheless, each with the reason. The model has a list of
/// its own.
const CANNOT_FAIL: &[(&str, &str)] = &[
    ("IoCancelIrp", "FALSE says that the IRP had no cancel routine, which is as good"),
    ("IoCsqInsertIrpEx", "what it returns is what the driver's routine returned"),
    ("IoCsqRemoveIrp", "NULL says that the IRP is not in the queue, which is as good"),
    ("IoCsqRemoveNextIrp", "NULL says that there is none"),
    ("IoGetAttachedDeviceReference", "what it returns is the device itself, if none is above it"),
    ("IofCallDriver", "what it returns is what the lower driver returned"),
    ("KeDelayExecutionThread", "a delay in kernel mode that is not alertable ends when it is over"),
    ("KeGetCurrentThread", "what it returns is the thread"),
    ("PoCallDriver", "what it returns is what the lower driver returned"),
    ("PsGetCurrentThread", "what it returns is the thread"),
];

const fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

const fn has(list: &[(&str, &str)], name: &str) -> bool {
    let mut index = 0;
    while index < list.len() {
        if same(list[index].0, name) {
            return true;
        }
        index += 1;
    }
    false
}

const fn tells(result: &str) -> bool {
    let mut index = 0;
    while index < TELLING.len() {
        if same(TELLING[index], result) {
            return true;
        }
        index += 1;
    }
    false
}

/// Every routine whose result can tell of a failure either can be made to fail or is listed with the reason
/// why it cannot.
const _: () = {
    let mut table = 0;
    while table < TABLES.len() {
        let mut index = 0;
        while index < TABLES[table].len() {
            let export = &TABLES[table][index];
            let excused = has(CANNOT_FAIL, export.name) || has(executive::CANNOT_FAIL, export.name);
            assert!(
                !(export.can_fail && excused),
                "a routine that can be made to fail is listed as one that cannot"
            );
            assert!(
                export.can_fail || excused || !tells(export.result),
                "a routine can fail, cannot be made to, and is not listed with a reason"
            );
            index += 1;
        }
        table += 1;
    }
};
