//! The calling convention of kernel callbacks.
//!
//! A driver that is linked for Windows has "C". The test bed runs such drivers on a bare-metal
//! target whose "C" is System V's, so there it is "win64". On a host it is "C-unwind": a failed
//! assertion in a service routine then fails the test and does not end the process.

/// The type of a pointer to a kernel callback, with the calling convention of the target.
///
/// ```
/// use wdm_interrupt_model::nt::{self, BOOLEAN, PVOID};
///
/// type Routine = nt::nt_fn_pointer!(fn(context: PVOID) -> BOOLEAN);
/// ```
#[cfg(windows)]
#[macro_export]
macro_rules! nt_fn_pointer {
    (fn($($arguments:tt)*) $(-> $result:ty)?) => {
        unsafe extern "C" fn($($arguments)*) $(-> $result)?
    };
}

/// The type of a pointer to a kernel callback, with the calling convention of the target.
#[cfg(all(not(windows), target_os = "none"))]
#[macro_export]
macro_rules! nt_fn_pointer {
    (fn($($arguments:tt)*) $(-> $result:ty)?) => {
        unsafe extern "win64" fn($($arguments)*) $(-> $result)?
    };
}

/// The type of a pointer to a kernel callback, with the calling convention of the target.
///
/// ```
/// use wdm_interrupt_model::nt::{self, BOOLEAN, PVOID};
///
/// type Routine = nt::nt_fn_pointer!(fn(context: PVOID) -> BOOLEAN);
/// ```
#[cfg(all(not(windows), not(target_os = "none")))]
#[macro_export]
macro_rules! nt_fn_pointer {
    (fn($($arguments:tt)*) $(-> $result:ty)?) => {
        unsafe extern "C-unwind" fn($($arguments)*) $(-> $result)?
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __nt_fn {
    ($abi:literal $(#[$meta:meta])* $vis:vis unsafe fn $($rest:tt)*) => {
        $(#[$meta])* $vis unsafe extern $abi fn $($rest)*
    };
    ($abi:literal $(#[$meta:meta])* $vis:vis fn $($rest:tt)*) => {
        $(#[$meta])* $vis extern $abi fn $($rest)*
    };
}

/// Defines a function that the kernel can call: an item as usual, given the calling convention of
/// the target. Attributes, visibility, generics and `where` clauses are as in any function.
///
/// ```
/// use wdm_interrupt_model::nt::{self, BOOLEAN, KINTERRUPT, PVOID};
///
/// nt::nt_fn! {
///     /// Claims nothing.
///     unsafe fn service<T: Default>(_interrupt: *mut KINTERRUPT, _context: PVOID) -> BOOLEAN {
///         0
///     }
/// }
///
/// let routine: nt::PKSERVICE_ROUTINE = Some(service::<u32>);
/// ```
#[cfg(windows)]
#[macro_export]
macro_rules! nt_fn {
    ($($item:tt)*) => { $crate::__nt_fn! { "C" $($item)* } };
}

/// Defines a function that the kernel can call: an item as usual, given the calling convention of
/// the target.
#[cfg(all(not(windows), target_os = "none"))]
#[macro_export]
macro_rules! nt_fn {
    ($($item:tt)*) => { $crate::__nt_fn! { "win64" $($item)* } };
}

/// Defines a function that the kernel can call: an item as usual, given the calling convention of
/// the target. Attributes, visibility, generics and `where` clauses are as in any function.
///
/// ```
/// use wdm_interrupt_model::nt::{self, BOOLEAN, KINTERRUPT, PVOID};
///
/// nt::nt_fn! {
///     /// Claims nothing.
///     unsafe fn service<T: Default>(_interrupt: *mut KINTERRUPT, _context: PVOID) -> BOOLEAN {
///         0
///     }
/// }
///
/// let routine: nt::PKSERVICE_ROUTINE = Some(service::<u32>);
/// ```
#[cfg(all(not(windows), not(target_os = "none")))]
#[macro_export]
macro_rules! nt_fn {
    ($($item:tt)*) => { $crate::__nt_fn! { "C-unwind" $($item)* } };
}
