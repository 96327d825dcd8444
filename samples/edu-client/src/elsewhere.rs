//! A system that is not Windows has no such devices, and says so.

use std::io;

use edu_client::Device;

use crate::session::System;

/// Any other system.
#[derive(Debug)]
pub(crate) struct Elsewhere;

/// Stands for a device, which there is none of.
#[derive(Debug)]
pub(crate) struct Nothing;

impl Device for Nothing {
    type Error = io::Error;

    fn control(&self, _code: u32, _input: &[u8], _output: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn is_invalid_parameter(_error: &io::Error) -> bool {
        false
    }
}

impl System for Elsewhere {
    type Device = Nothing;

    fn devices(&self) -> io::Result<Vec<String>> {
        Err(io::Error::other("edu.sys is on Windows only; here, `cargo xtask demo` shows it"))
    }

    fn open(&self, _device: &str) -> io::Result<Nothing> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn disable(&self, _device: &str) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn enable(&self, _device: &str) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
}
