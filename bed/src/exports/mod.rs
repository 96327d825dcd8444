//! What drivers import from ntoskrnl.exe and hal.dll, by name: one table a subject.
#![expect(non_snake_case, reason = "the names are the kernel's")]
#![expect(clippy::missing_const_for_fn, reason = "drivers call these at run time only")]

mod debug;
mod device;
mod dispatch;
mod event;
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

/// Defines routines with the calling convention of Windows, and the table of their names.
macro_rules! exports {
    ($(
        $(#[$attribute:meta])*
        fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? $body:block
    )*) => {
        $(
            $(#[$attribute])*
            unsafe extern "win64" fn $name($($argument: $kind),*) $(-> $result)? $body
        )*

        /// The routines by name.
        pub(super) const TABLE: &[$crate::exports::Export] = &[
            $($crate::exports::Export { name: stringify!($name), address: $name as *const () }),*
        ];
    };
}
use exports;
