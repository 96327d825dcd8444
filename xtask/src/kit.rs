//! The kit: headers and import libraries that stand for the WDK, laid out as `wdk-build` expects it.
//!
//! ```text
//! Include/VERSION/km       mingw-w64's DDK headers, with ntifs.h wrapped by the kit's own
//! Include/VERSION/km/crt   empty stand-ins for headers with the host compiler's intrinsics
//! Include/VERSION/shared   mingw-w64's include folder
//! Lib/VERSION/km/x64       import libraries made from lists of names, and the same for ARM64
//! ```

use std::fs;
#[cfg(unix)]
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::llvm::Llvm;
use crate::packages::MINGW_HEADERS;
use crate::processor::Processor;
use crate::progress::Step;
use crate::text;

/// The SDK version whose folders are laid out: the one that the layout was taken from.
const VERSION: &str = "10.0.22621.0";

/// The kit's own headers, which lie over those of mingw-w64.
const HEADERS: [(&str, &str); 4] = [
    ("arm64.h", include_str!("../kit/arm64.h")),
    ("armddk.h", include_str!("../kit/armddk.h")),
    ("ntifs.h", include_str!("../kit/ntifs.h")),
    ("supplement.h", include_str!("../kit/supplement.h")),
];

/// Headers that mingw-w64's include and whose content bindings have no use for.
const EMPTY_HEADERS: [&str; 3] = ["x86intrin.h", "immintrin.h", "mm_malloc.h"];
const EMPTY_HEADER: &str = include_str!("../kit/empty.h");

/// Import libraries: name, the module that exports, the list of names.
const IMPORT_LIBRARIES: [(&str, &str, &str); 3] = [
    ("ntoskrnl", "ntoskrnl.exe", include_str!("../kit/exports/ntoskrnl.txt")),
    ("hal", "hal.dll", include_str!("../kit/exports/hal.txt")),
    ("wmilib", "wmilib.sys", include_str!("../kit/exports/wmilib.txt")),
];

/// Libraries of code: name, source.
const STATIC_LIBRARIES: [(&str, &str); 2] = [
    ("BufferOverflowFastFailK", include_str!("../kit/overflow.c")),
    ("memory", include_str!("../kit/memory.c")),
];

/// One more for Arm64, where the WDK has helpers of the C compiler that Rust's has no use for.
const ARM64_LIBRARY: (&str, &str) = ("arm64rt", include_str!("../kit/overflow.c"));

/// The kit, laid out.
#[derive(Debug, Clone)]
pub(crate) struct Kit {
    root: PathBuf,
    processor: Processor,
}

impl Kit {
    /// Lays out what is not there yet, under `root`, with the libraries for a processor.
    pub(crate) fn lay_out(
        root: &Path,
        logs: &Path,
        llvm: &Llvm,
        processor: Processor,
    ) -> Result<Self> {
        let kit = Self { root: root.join("wdk"), processor };
        let mut step = Step::begin(logs, "laying out the kit");
        let headers = kit.lay_out_headers()?;
        let libraries = kit.lay_out_libraries(&mut step, llvm)?;
        if headers || libraries {
            step.done(&format!("headers and import libraries, with LLVM {}", llvm.version()));
        } else {
            step.nothing_to_do();
        }
        Ok(kit)
    }

    /// What `WDKContentRoot` points at.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The memory functions that the compiler calls.
    pub(crate) fn memory_library(&self) -> PathBuf {
        self.library("memory")
    }

    /// An import library.
    pub(crate) fn library(&self, name: &str) -> PathBuf {
        self.libraries().join(name).with_extension("lib")
    }

    /// Where a driver in C finds its headers.
    pub(crate) fn header_folders(&self) -> [PathBuf; 3] {
        let include = self.include();
        ["km", "km/crt", "shared"].map(|folder| include.join(folder))
    }

    fn include(&self) -> PathBuf {
        self.root.join("Include").join(VERSION)
    }

    fn libraries(&self) -> PathBuf {
        self.root.join("Lib").join(VERSION).join("km").join(self.processor.library_folder())
    }

    /// What else clang needs to be told to read the headers for the processor.
    pub(crate) const fn clang_arguments(&self) -> Option<&'static str> {
        match self.processor {
            Processor::X64 => None,
            Processor::Arm64 => Some("-include arm64.h"),
        }
    }

    fn lay_out_headers(&self) -> Result<bool> {
        let mingw = Path::new(MINGW_HEADERS);
        let include = self.include();
        let kernel_mode = include.join("km");
        let runtime = kernel_mode.join("crt");
        text::create_folder(&runtime)?;
        let mut changed = link(mingw, &include.join("shared"))?;
        let ddk = mingw.join("ddk");
        let listing = fs::read_dir(&ddk)
            .with_context(|| format!("cannot list the DDK headers in {}", ddk.display()))?;
        for entry in listing {
            let header = entry.with_context(|| format!("cannot list {}", ddk.display()))?;
            let own = HEADERS.iter().any(|(name, _)| header.file_name() == *name);
            if !own {
                changed |= link(&header.path(), &kernel_mode.join(header.file_name()))?;
            }
        }
        for (name, content) in HEADERS {
            changed |= text::write_if_changed(&kernel_mode.join(name), content.as_bytes())?;
        }
        for name in EMPTY_HEADERS {
            changed |= text::write_if_changed(&runtime.join(name), EMPTY_HEADER.as_bytes())?;
        }
        Ok(changed)
    }

    fn lay_out_libraries(&self, step: &mut Step, llvm: &Llvm) -> Result<bool> {
        let folder = self.libraries();
        text::create_folder(&folder)?;
        let mut changed = false;
        for (name, module, names) in IMPORT_LIBRARIES {
            let definition = folder.join(format!("{name}.def"));
            let library = folder.join(format!("{name}.lib"));
            let written =
                text::write_if_changed(&definition, definition_file(module, names).as_bytes())?;
            if written || !library.is_file() {
                step.run(
                    Command::new(llvm.librarian())
                        .arg(format!("/machine:{}", self.processor.machine()))
                        .arg(format!("/def:{}", definition.display()))
                        .arg(format!("/out:{}", library.display())),
                )?;
                changed = true;
            }
        }
        let own = (self.processor == Processor::Arm64).then_some(ARM64_LIBRARY);
        for (name, source) in STATIC_LIBRARIES.into_iter().chain(own) {
            let source_file = folder.join(format!("{name}.c"));
            let object = folder.join(format!("{name}.obj"));
            let library = folder.join(format!("{name}.lib"));
            let written = text::write_if_changed(&source_file, source.as_bytes())?;
            if written || !library.is_file() {
                step.run(
                    Command::new(llvm.clang())
                        .arg(format!("--target={}", self.processor.target()))
                        .args([
                            "-O2",
                            "-ffreestanding",
                            "-fno-builtin",
                            "-mgeneral-regs-only",
                            "-c",
                        ])
                        .arg(&source_file)
                        .arg("-o")
                        .arg(&object),
                )?;
                step.run(
                    Command::new(llvm.librarian())
                        .arg(format!("/out:{}", library.display()))
                        .arg(&object),
                )?;
                changed = true;
            }
        }
        Ok(changed)
    }
}

/// The module-definition file that says which names `module` exports.
fn definition_file(module: &str, names: &str) -> String {
    let mut definition = format!("LIBRARY \"{module}\"\nEXPORTS\n");
    for name in names_in(names) {
        definition.push_str("    ");
        definition.push_str(name);
        definition.push('\n');
    }
    definition
}

/// The names in a list: one a line, and lines that begin with `#` are comments.
fn names_in(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Makes `link` point at `original`, and says whether it did not before.
fn link(original: &Path, link: &Path) -> Result<bool> {
    if fs::read_link(link).is_ok_and(|present| present == original) {
        return Ok(false);
    }
    if fs::symlink_metadata(link).is_ok() {
        fs::remove_file(link).with_context(|| format!("cannot replace {}", link.display()))?;
    }
    symlink(original, link).with_context(|| format!("cannot link {}", link.display()))?;
    Ok(true)
}

/// Only Linux gets as far as this; elsewhere xtask compiles, and says so.
#[cfg(not(unix))]
fn symlink(_original: &Path, _link: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_file_names_the_module_and_its_exports() {
        let list = "# a comment\nIoConnectInterruptEx\n\nIoDisconnectInterruptEx\n";
        assert_eq!(
            definition_file("ntoskrnl.exe", list),
            "LIBRARY \"ntoskrnl.exe\"\nEXPORTS\n    IoConnectInterruptEx\n    \
             IoDisconnectInterruptEx\n"
        );
    }

    #[test]
    fn no_name_is_exported_twice() {
        let mut names: Vec<&str> =
            IMPORT_LIBRARIES.iter().flat_map(|(_, _, list)| names_in(list)).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
