//! The user program of `edu.sys`: asks for factorials, and disables and enables the device in between.

#![expect(
    clippy::redundant_pub_crate,
    reason = "a binary has nothing that is public, and unreachable_pub asks for it to be said"
)]

#[cfg(not(windows))]
mod elsewhere;
mod session;
#[cfg(windows)]
mod windows;

use std::io;
use std::process::ExitCode;

use clap::Parser;

#[cfg(not(windows))]
use crate::elsewhere::Elsewhere as ThisSystem;
use crate::session::Options;
#[cfg(windows)]
use crate::windows::Windows as ThisSystem;

fn main() -> ExitCode {
    let options = Options::parse();
    match session::run(options, &ThisSystem, &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
