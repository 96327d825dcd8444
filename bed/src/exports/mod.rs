//! What drivers import from ntoskrnl.exe and hal.dll, by name: one table a subject.
#![expect(non_snake_case, reason = "the names are the kernel's")]
#![expect(clippy::missing_const_for_fn, reason = "drivers call these at run time only")]

mod debug;
mod device;
mod dispatch;
mod event;
mod failure;
mod interrupt;
mod pool;
mod power;
mod queue;
mod registers;
mod request;
mod text;
mod work;

/// A routine that drivers call by name. All have the calling convention of Windows.
#[derive(Debug)]
pub(crate) struct Export {
    name: &'static str,
    address: *const (),
    /// The type of what it returns, as it is written here.
    result: &'static str,
    can_fail: bool,
}

// SAFETY: the address is that of a function and is never read through.
unsafe impl Sync for Export {}

/// The libraries whose names the bed answers to.
const LIBRARIES: [&str; 3] = ["ntoskrnl.exe", "hal.dll", "wmilib.sys"];

/// Every table.
const TABLES: [&[Export]; 12] = [
    debug::TABLE,
    device::TABLE,
    dispatch::TABLE,
    event::TABLE,
    interrupt::TABLE,
    pool::TABLE,
    power::TABLE,
    queue::TABLE,
    registers::TABLE,
    request::TABLE,
    text::TABLE,
    work::TABLE,
];

/// Address of an import, "ntoskrnl.exe!Name".
pub(crate) fn find(import: &str) -> Option<usize> {
    let (library, name) = import.split_once('!')?;
    if !LIBRARIES.contains(&library) {
        return None;
    }
    TABLES
        .iter()
        .flat_map(|table| table.iter())
        .find(|export| export.name == name)
        .map(|export| export.address.addr())
}

/// The routines that can be made to fail.
pub(crate) fn that_can_fail() -> impl Iterator<Item = &'static str> {
    let all = TABLES.iter().flat_map(|table| table.iter());
    all.filter(|export| export.can_fail).map(|export| export.name)
}

/// Whether the routine of this name returns a status.
pub(crate) fn returns_a_status(name: &str) -> bool {
    let mut all = TABLES.iter().flat_map(|table| table.iter());
    all.any(|export| export.name == name && export.result == "NTSTATUS")
}

/// Defines routines with the calling convention of Windows, and the table of their names.
///
/// Before a routine that can be made to fail stands how: `can_fail(status)`, `can_fail(null)` or
/// `can_fail(no)`, or `can_fail(itself)` if the executive sees to it.
macro_rules! exports {
    ($(
        $(#[$attribute:meta])*
        $(can_fail($failure:ident))?
        fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? $body:block
    )*) => {
        $(
            $crate::exports::export! {
                [$($failure)?]
                $(#[$attribute])*
                fn $name($($argument: $kind),*) $(-> $result)? $body
            }
        )*

        /// The routines by name.
        pub(super) const TABLE: &[$crate::exports::Export] = &[
            $($crate::exports::Export {
                name: stringify!($name),
                address: $name as *const (),
                result: stringify!($($result)?),
                can_fail: !stringify!($($failure)?).is_empty(),
            }),*
        ];
    };
}
use exports;

/// Defines one routine.
macro_rules! export {
    ([$(itself)?] $(#[$attribute:meta])*
     fn $name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)? $body:block) => {
        $(#[$attribute])*
        unsafe extern "win64" fn $name($($argument: $kind),*) $(-> $result)? $body
    };
    ([$failure:ident] $(#[$attribute:meta])*
     fn $name:ident($($argument:ident: $kind:ty),*) -> $result:ty $body:block) => {
        $(#[$attribute])*
        unsafe extern "win64" fn $name($($argument: $kind),*) -> $result {
            if let Some(fault) = $crate::kernel::EXECUTIVE.platform_fault(stringify!($name)) {
                return $crate::exports::failure::$failure(fault);
            }
            $body
        }
    };
}
use export;
