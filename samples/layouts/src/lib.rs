//! Compares the model of the kernel with `wdk-sys` while it is compiled: there is nothing to run.
//!
//! The test bed gives drivers structures that `wdm-interrupt-model` declares, and the drivers read
//! them as `wdk-sys` declares them. Every structure of the model is in `types.rs`, every constant in
//! `values.rs`, and `cargo xtask test` fails if one is missing here.
//!
//! Left out, because the headers that `wdk-sys` is generated from on Linux have other names for the
//! same bytes or none: the head of a DPC (`_KDPC__bindgen_ty_1`,
//! `_KDPC__bindgen_ty_1__bindgen_ty_1`), and the kinds of objects that can be waited for.

#![no_std]

/// Compares structures: size, alignment, and the offset of each field. What has another name or place
/// in `wdk-sys` has it after an equals sign.
macro_rules! same_layout {
    ($($model:ident $(= $real:ident)? { $($field:ident $(= $($place:ident).+)?),* $(,)? })+) => {$(
        const _: () = {
            use wdm_interrupt_model::nt::$model as Model;

            type Real = $crate::real_type!($model $(= $real)?);

            assert!(
                size_of::<Model>() == size_of::<Real>(),
                concat!("the sizes of ", stringify!($model), " differ")
            );
            assert!(
                align_of::<Model>() == align_of::<Real>(),
                concat!("the alignments of ", stringify!($model), " differ")
            );
            $crate::assert_offsets!($($field $(= $($place).+)?),*);
        };
    )+};
}

/// Compares the offset of each field only.
macro_rules! same_offsets {
    ($($model:ident $(= $real:ident)? { $($field:ident $(= $($place:ident).+)?),* $(,)? })+) => {$(
        const _: () = {
            use wdm_interrupt_model::nt::$model as Model;

            type Real = $crate::real_type!($model $(= $real)?);

            $crate::assert_offsets!($($field $(= $($place).+)?),*);
        };
    )+};
}

/// Compares the offsets of fields in the structures that are called `Model` and `Real` where this is
/// used.
macro_rules! assert_offsets {
    ($($field:ident $(= $($place:ident).+)?),*) => {
        $(
            assert!(
                core::mem::offset_of!(Model, $field)
                    == $crate::real_offset!($field $(= $($place).+)?),
                concat!("the offsets of ", stringify!($field), " differ")
            );
        )*
    };
}

/// The structure of `wdk-sys`.
macro_rules! real_type {
    ($name:ident) => {
        wdk_sys::$name
    };
    ($model:ident = $real:ident) => {
        wdk_sys::$real
    };
}

/// The offset of a field in the structure that is called `Real` where this is used.
macro_rules! real_offset {
    ($field:ident) => {
        core::mem::offset_of!(Real, $field)
    };
    ($field:ident = $($place:ident).+) => {
        core::mem::offset_of!(Real, $($place).+)
    };
}

/// Compares constants; one with another path in `wdk-sys` has it after an equals sign.
macro_rules! same_value {
    ($($($model:ident)::+ $(= $($real:ident)::+)?),+ $(,)?) => {$(
        const _: () = assert!(
            wdm_interrupt_model::nt::$($model)::+ as i128
                == $crate::real_value!($($model)::+ $(= $($real)::+)?) as i128,
            concat!("the values of ", stringify!($($model)::+), " differ")
        );
    )+};
}

/// The value of a constant in `wdk-sys`.
macro_rules! real_value {
    ($($name:ident)::+) => {
        wdk_sys::$($name)::+
    };
    ($($model:ident)::+ = $($real:ident)::+) => {
        wdk_sys::$($real)::+
    };
}

use {assert_offsets, real_offset, real_type, real_value};

mod types;
mod values;
