//! `DbgPrint` and bug checks.

use alloc::string::String;
use core::fmt::Write;

use wdm_interrupt_model::nt::UNICODE_STRING;

use crate::io::text;
use crate::{image, irql, processor, scenario};

super::exports! {
    /// The format and its arguments are the third and the fourth.
    #[unsafe(naked)]
    fn vDbgPrintEx() {
        core::arch::naked_asm!(
            "mov rcx, r8",
            "mov rdx, r9",
            "mov r8, [rsp]",
            "jmp {print}",
            print = sym print_arguments,
        )
    }

    /// Spills its arguments where the caller left room for four of them, next to the others.
    #[unsafe(naked)]
    fn DbgPrint() {
        core::arch::naked_asm!(
            "mov [rsp + 8], rcx",
            "mov [rsp + 16], rdx",
            "mov [rsp + 24], r8",
            "mov [rsp + 32], r9",
            "mov rcx, [rsp + 8]",
            "lea rdx, [rsp + 16]",
            "mov r8, [rsp]",
            "sub rsp, 40",
            "call {print}",
            "add rsp, 40",
            "ret",
            print = sym print_arguments,
        )
    }

    #[unsafe(naked)]
    fn DbgPrintEx() {
        core::arch::naked_asm!(
            "mov [rsp + 24], r8",
            "mov [rsp + 32], r9",
            "mov rcx, r8",
            "lea rdx, [rsp + 32]",
            "mov r8, [rsp]",
            "sub rsp, 40",
            "call {print}",
            "add rsp, 40",
            "ret",
            print = sym print_arguments,
        )
    }

    fn KeBugCheckEx(code: u32, first: u64, second: u64, third: u64, fourth: u64) {
        crate::stop!(
            "\nbug check {code:#x} ({first:#x}, {second:#x}, {third:#x}, {fourth:#x}) by the driver, \
             on processor {} at IRQL {}",
            processor::current().number(),
            irql::current(),
        );
    }

    fn KeBugCheck(code: u32) {
        crate::stop!(
            "\nbug check {code:#x} by the driver, on processor {} at IRQL {}",
            processor::current().number(),
            irql::current(),
        );
    }
}

/// Prints what the driver wants that the call returns to.
unsafe extern "win64" fn print_arguments(
    format: *const u8,
    arguments: *const u64,
    caller: usize,
) -> i32 {
    // SAFETY: the driver's promise: a format and the arguments that it asks for.
    let text = unsafe { format_text(format, arguments) };
    print(&text, &image::short_name(caller));
    0
}

fn print(text: &str, name: &str) {
    if scenario::printed(text) {
        return;
    }
    for line in text.trim_end_matches(['\n', '\r']).lines() {
        // Drivers often name themselves already.
        match line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")) {
            Some(rest) => crate::say!("{name}: {rest}"),
            None => crate::say!("{name}: {line}"),
        }
    }
}

/// A conversion of a format: flags, width, precision, and how long the argument is.
#[derive(Debug, Default, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "a format's flags are that many switches")]
struct Conversion {
    left: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
    long: bool,
    wide: bool,
}

/// The arguments of a variadic call, one after the other.
struct Arguments(*const u64);

impl Arguments {
    const fn next(&mut self) -> u64 {
        // SAFETY: the format asks for another argument, and the driver passed what its format asks for.
        let value = unsafe { self.0.read() };
        // SAFETY: as above: at most one past the last.
        self.0 = unsafe { self.0.add(1) };
        value
    }
}

/// Formats as the kernel's `DbgPrint` does: `%s %S %ws %wZ %Z %c %d %i %u %x %X %p`, with flags, widths,
/// precisions and sizes.
///
/// # Safety
///
/// `format` ends with zero, and `arguments` are those that it asks for.
unsafe fn format_text(format: *const u8, arguments: *const u64) -> String {
    // SAFETY: the caller says that it ends with zero.
    let format = unsafe { core::ffi::CStr::from_ptr(format.cast()) };
    let mut arguments = Arguments(arguments);
    let mut bytes = format.to_bytes().iter().copied().peekable();
    let mut text = String::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            text.push(char::from(byte));
            continue;
        }
        let mut conversion = Conversion::default();
        let kind = loop {
            let Some(byte) = bytes.next() else { return text };
            match byte {
                b'-' => conversion.left = true,
                b'0' => conversion.zero = true,
                b'#' => conversion.alternate = true,
                b' ' | b'+' | b'h' => {}
                b'*' => conversion.width = arguments.next() as usize,
                b'1'..=b'9' => {
                    conversion.width = usize::from(byte - b'0');
                    while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
                        conversion.width = conversion.width * 10 + usize::from(digit - b'0');
                    }
                }
                b'.' => {
                    let given = bytes.next_if_eq(&b'*').map(|_| arguments.next() as u32 as usize);
                    let mut precision = given.unwrap_or_default();
                    while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
                        precision = precision * 10 + usize::from(digit - b'0');
                    }
                    conversion.precision = Some(precision);
                }
                // On Windows a long has 32 bits; only two of them make 64.
                b'l' => conversion.long = bytes.next_if_eq(&b'l').is_some(),
                b'I' => {
                    let six = bytes.next_if_eq(&b'6').is_some();
                    conversion.long = !six || bytes.next_if_eq(&b'4').is_some();
                }
                b'z' => conversion.long = true,
                b'w' => conversion.wide = true,
                kind => break kind,
            }
        };
        // SAFETY: the caller's promise, for this conversion's argument.
        unsafe { convert(&mut text, conversion, kind, &mut arguments) };
    }
    text
}

/// Formats one argument.
///
/// # Safety
///
/// The next argument is what the conversion asks for.
unsafe fn convert(text: &mut String, how: Conversion, kind: u8, arguments: &mut Arguments) {
    let value = match kind {
        b'%' => String::from("%"),
        b's' if !how.wide => {
            // SAFETY: the caller's promise: NULL or a string.
            unsafe { narrow(arguments.next() as *const u8, how.precision) }
        }
        b'S' | b's' => {
            // SAFETY: the caller's promise: NULL or a string.
            unsafe { wide(arguments.next() as *const u16, how.precision) }
        }
        // SAFETY: the caller's promise: NULL or a counted string.
        b'Z' => unsafe { text::read(arguments.next() as *const UNICODE_STRING) },
        b'c' => String::from(char::from(arguments.next() as u8)),
        b'd' | b'i' => {
            let value = arguments.next();
            let value = if how.long { value as i64 } else { i64::from(value as i32) };
            alloc::format!("{value}")
        }
        b'p' => alloc::format!("{:016X}", arguments.next()),
        b'u' | b'x' | b'X' => {
            let value = arguments.next();
            let value = if how.long { value } else { u64::from(value as u32) };
            match (kind, how.alternate) {
                (b'u', _) => alloc::format!("{value}"),
                (b'x', false) => alloc::format!("{value:x}"),
                (b'x', true) => alloc::format!("{value:#x}"),
                (_, false) => alloc::format!("{value:X}"),
                (_, true) => alloc::format!("0X{value:X}"),
            }
        }
        other => alloc::format!("%{}", char::from(other)),
    };
    let width = how.width;
    // Writing to a string cannot fail.
    let _ = match (how.left, how.zero && kind != b's') {
        (true, _) => write!(text, "{value:<width$}"),
        (false, true) => write!(text, "{value:0>width$}"),
        (false, false) => write!(text, "{value:>width$}"),
    };
}

/// Reads bytes up to a zero or to a limit.
///
/// # Safety
///
/// `from` is NULL, or has that many bytes or a zero before.
unsafe fn narrow(from: *const u8, limit: Option<usize>) -> String {
    if from.is_null() {
        return String::from("(null)");
    }
    let limit = limit.unwrap_or(usize::MAX);
    let mut length = 0;
    while length < limit {
        // SAFETY: the caller's promise: neither the zero nor the limit was reached.
        let next = unsafe { from.add(length) };
        // SAFETY: as above.
        if unsafe { next.read() } == 0 {
            break;
        }
        length += 1;
    }
    // SAFETY: these bytes were just looked at.
    let bytes = unsafe { core::slice::from_raw_parts(from, length) };
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads UTF-16 up to a zero or to a limit.
///
/// # Safety
///
/// As for [`narrow`], in units.
unsafe fn wide(from: *const u16, limit: Option<usize>) -> String {
    if from.is_null() {
        return String::from("(null)");
    }
    let limit = limit.unwrap_or(usize::MAX);
    let mut length = 0;
    while length < limit {
        // SAFETY: the caller's promise: neither the zero nor the limit was reached.
        let next = unsafe { from.add(length) };
        // SAFETY: as above.
        if unsafe { next.read() } == 0 {
            break;
        }
        length += 1;
    }
    // SAFETY: these units were just looked at.
    let units = unsafe { core::slice::from_raw_parts(from, length) };
    String::from_utf16_lossy(units)
}
