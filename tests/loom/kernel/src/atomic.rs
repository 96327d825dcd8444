//! `loom`'s atomics, for the library's structures: in memory that has been freed they are not used.

use core::ptr;
use core::sync::atomic::Ordering;

use crate::kernel;

/// An atomic that has been used, as the pool remembers it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Atomic {
    pub(crate) address: *const (),
    /// Ends its use: all that has been done with it must have happened before.
    pub(crate) retire: unsafe fn(*const ()),
}

macro_rules! atomic {
    ($(#[$meta:meta])* $name:ident of $integer:ty) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $name(loom::sync::atomic::$name);

        impl $name {
            /// One with this value.
            #[must_use]
            pub fn new(value: $integer) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            /// What it is.
            #[must_use]
            pub fn load(&self, order: Ordering) -> $integer {
                self.there(|atomic| atomic.load(order))
            }

            /// Makes it `value`.
            pub fn store(&self, value: $integer, order: Ordering) {
                self.there(|atomic| atomic.store(value, order));
            }

            /// Makes it `value`, and returns what it was.
            pub fn swap(&self, value: $integer, order: Ordering) -> $integer {
                self.there(|atomic| atomic.swap(value, order))
            }

            /// Adds to it, and returns what it was.
            pub fn fetch_add(&self, value: $integer, order: Ordering) -> $integer {
                self.there(|atomic| atomic.fetch_add(value, order))
            }

            /// Makes it `new` if it is `current`, and returns what it was.
            ///
            /// # Errors
            ///
            /// It is something else.
            pub fn compare_exchange(
                &self,
                current: $integer,
                new: $integer,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$integer, $integer> {
                self.there(|atomic| atomic.compare_exchange(current, new, success, failure))
            }

            /// Makes it what `update` makes of it, and returns what it was: a load, and exchanges
            /// until one succeeds, as in `core`.
            ///
            /// # Errors
            ///
            /// `update` makes nothing of it.
            pub fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                update: impl FnMut($integer) -> Option<$integer>,
            ) -> Result<$integer, $integer> {
                self.there(|atomic| atomic.fetch_update(set, fetch, update))
            }

            /// Does it, and asks afterwards whether the memory was still there when it was done: nobody
            /// comes between a step and what follows it.
            fn there<R>(&self, step: impl FnOnce(&loom::sync::atomic::$name) -> R) -> R {
                let result = step(&self.0);
                let memory = Atomic { address: ptr::from_ref(self).cast(), retire: Self::retire };
                kernel().pool.used(memory, stringify!($name));
                result
            }

            /// Panics when something that was done with the atomic there did not happen before.
            ///
            /// # Safety
            ///
            /// One was there when it was used, and its memory has not been used for anything else.
            unsafe fn retire(address: *const ()) {
                let atomic = address.cast_mut().cast::<Self>();
                // SAFETY: as the caller promises; nobody comes between.
                let atomic = unsafe { &mut *atomic };
                atomic.0.with_mut(|_value| ());
            }
        }
    };
}

atomic! {
    /// `core`'s, explored.
    AtomicU8 of u8
}

atomic! {
    /// `core`'s, explored.
    AtomicU32 of u32
}

atomic! {
    /// `core`'s, explored.
    AtomicUsize of usize
}
