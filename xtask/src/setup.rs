//! Makes the host ready: packages, kit, compilers.

use std::fmt;

use anyhow::{Result, bail};

use crate::kit::Kit;
use crate::layout::Layout;
use crate::llvm::Llvm;
use crate::packages;
use crate::processor::Processor;
use crate::toolchain::{BED_TARGET, Toolchain};

/// What the other steps stand on.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) llvm: Llvm,
    pub(crate) kit: Kit,
    /// What drivers are built for.
    pub(crate) processor: Processor,
    /// The compiler for drivers.
    pub(crate) driver: Toolchain,
    /// The compiler for the bed.
    pub(crate) bed: Toolchain,
}

impl Host {
    /// The same for drivers of another processor: with its libraries, and a compiler for it.
    pub(crate) fn for_processor(self, layout: &Layout, processor: Processor) -> Result<Self> {
        if self.processor == processor {
            return Ok(self);
        }
        let kit = Kit::lay_out(&layout.kit(), &layout.logs(), &self.llvm, processor)?;
        let driver = Toolchain::for_target(processor.target()).or_else(|_| {
            packages::install_compiler(&layout.logs())?;
            Toolchain::for_target(processor.target())
        })?;
        Ok(Self { kit, processor, driver, ..self })
    }
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
    let processor = Processor::default();
    let kit = Kit::lay_out(&layout.kit(), &layout.logs(), &llvm, processor)?;
    Ok(Host {
        llvm,
        kit,
        processor,
        driver: Toolchain::for_target(processor.target())?,
        bed: Toolchain::for_target(BED_TARGET)?,
    })
}
