//! Makes the host ready: packages, kit, compilers.

use std::fmt;

use anyhow::{Result, bail};

use crate::kit::Kit;
use crate::layout::Layout;
use crate::llvm::Llvm;
use crate::packages;
use crate::toolchain::{BED_TARGET, DRIVER_TARGET, Toolchain};

/// What the other steps stand on.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) llvm: Llvm,
    pub(crate) kit: Kit,
    /// The compiler for drivers.
    pub(crate) driver: Toolchain,
    /// The compiler for the bed.
    pub(crate) bed: Toolchain,
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "LLVM {}; drivers are built by {}, the bed by {}; the kit is in {}",
            self.llvm.version(),
            self.driver,
            self.bed,
            self.kit.root().display()
        )
    }
}

/// Finds or installs what is missing; quick when nothing is.
pub(crate) fn run(layout: &Layout) -> Result<Host> {
    if !cfg!(target_os = "linux") {
        bail!("cargo xtask runs on Linux; on Windows with the WDK, cargo make builds the drivers");
    }
    packages::install_missing(&layout.logs())?;
    let Some(llvm) = Llvm::newest() else {
        bail!("LLVM's packages are installed, and still no complete LLVM is in /usr/lib/llvm-*");
    };
    let kit = Kit::lay_out(&layout.kit(), &layout.logs(), &llvm)?;
    Ok(Host {
        llvm,
        kit,
        driver: Toolchain::for_target(DRIVER_TARGET)?,
        bed: Toolchain::for_target(BED_TARGET)?,
    })
}
