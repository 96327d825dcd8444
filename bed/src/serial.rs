//! The bed's voice: the first serial port, a line at a time.

use core::fmt::{self, Write};

use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550};

use crate::sync::Lock;

/// The serial port, and the guarantee that lines of several processors do not mix.
struct Console(Uart16550<PioBackend>);

static CONSOLE: Lock<Console> = Lock::new(Console({
    // SAFETY: 0x3f8 is the PC's first serial port, and only this file uses it.
    match unsafe { Uart16550::new_port(0x3f8) } {
        Ok(port) => port,
        Err(_) => panic!("the first serial port is a valid port"),
    }
}));

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for line in text.split_inclusive('\n') {
            if let Some(line) = line.strip_suffix('\n') {
                self.0.send_bytes_exact(line.as_bytes());
                self.0.send_bytes_exact(b"\r\n");
            } else {
                self.0.send_bytes_exact(line.as_bytes());
            }
        }
        Ok(())
    }
}

/// Sets the port up. Before it nothing can be printed.
pub(crate) fn start() {
    let mut console = CONSOLE.lock();
    // A port that does not answer leaves nobody to tell.
    drop(console.0.init(Config::default()));
}

/// Prints, with other processors kept out.
pub(crate) fn print(arguments: fmt::Arguments<'_>) {
    let _ = CONSOLE.lock().write_fmt(arguments);
}

/// Prints when all is lost: a processor that holds the console is not waited for very long.
pub(crate) fn print_at_the_end(arguments: fmt::Arguments<'_>) {
    for _ in 0..10_000_000 {
        if let Some(mut console) = CONSOLE.try_lock() {
            let _ = console.write_fmt(arguments);
            return;
        }
        core::hint::spin_loop();
    }
    // SAFETY: the holder is this processor, interrupted while printing, or one that is lost; the run
    // ends in either case.
    unsafe { CONSOLE.force_unlock() };
    let _ = CONSOLE.lock().write_fmt(arguments);
}

/// Prints a line on the serial port.
#[macro_export]
macro_rules! say {
    () => { $crate::serial::print(format_args!("\n")) };
    ($($argument:tt)*) => {
        $crate::serial::print(format_args!("{}\n", format_args!($($argument)*)))
    };
}
