//! Strings.

use wdm_interrupt_model::nt::{PUNICODE_STRING, UNICODE_STRING};

use crate::kernel::EXECUTIVE;

super::exports! {
    fn RtlInitUnicodeString(result: PUNICODE_STRING, source: *mut u16) {
        let mut length = 0;
        if !source.is_null() {
            let mut next = source;
            // SAFETY: the driver's promise: NULL or a string that ends with zero.
            while unsafe { next.read() } != 0 {
                length += 1;
                // SAFETY: this was not the zero, so there is another unit.
                next = unsafe { next.add(1) };
            }
        }
        let value = UNICODE_STRING {
            Length: (length * 2) as u16,
            MaximumLength: if source.is_null() { 0 } else { (length * 2 + 2) as u16 },
            Buffer: source,
        };
        // SAFETY: the driver gives memory for the string.
        unsafe { result.write(value) };
    }

    fn RtlCopyUnicodeString(result: PUNICODE_STRING, source: *const UNICODE_STRING) {
        // SAFETY: the driver's promise: a string with a buffer.
        let object = unsafe { &mut *result };
        object.Length = 0;
        if source.is_null() {
            return;
        }
        // SAFETY: the driver's promise.
        let source = unsafe { *source };
        let bytes = source.Length.min(object.MaximumLength);
        // SAFETY: both buffers have at least this many bytes.
        unsafe { core::ptr::copy(source.Buffer.cast::<u8>(), object.Buffer.cast(), usize::from(bytes)) };
        object.Length = bytes;
        if object.MaximumLength - bytes >= 2 {
            // SAFETY: the buffer has room for one more unit.
            let end = unsafe { object.Buffer.add(usize::from(bytes / 2)) };
            // SAFETY: as above.
            unsafe { end.write(0) };
        }
    }

    fn RtlFreeUnicodeString(string: PUNICODE_STRING) {
        // SAFETY: the driver's promise: a string that the kernel allocated.
        let object = unsafe { &mut *string };
        if !object.Buffer.is_null() {
            EXECUTIVE.ex_free_pool(object.Buffer.cast());
            *object = UNICODE_STRING { Length: 0, MaximumLength: 0, Buffer: core::ptr::null_mut() };
        }
    }
}
