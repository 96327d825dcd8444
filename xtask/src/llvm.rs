//! LLVM's tools, all of one version: the linker, the librarian, clang and its library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The oldest LLVM that is tried; the one that the kit was made with is 22.
pub(crate) const OLDEST: u32 = 19;

/// The version that is installed where there is none.
pub(crate) const PREFERRED: u32 = 22;

/// One version of LLVM, complete.
#[derive(Debug, Clone)]
pub(crate) struct Llvm {
    version: u32,
    prefix: PathBuf,
}

impl Llvm {
    /// The newest complete version among those in `/usr/lib/llvm-*`.
    pub(crate) fn newest() -> Option<Self> {
        let mut versions: Vec<u32> = fs::read_dir("/usr/lib")
            .ok()?
            .filter_map(|entry| version_of_folder(entry.ok()?.file_name().to_str()?))
            .filter(|version| *version >= OLDEST)
            .collect();
        versions.sort_unstable();
        versions
            .into_iter()
            .rev()
            .map(|version| Self {
                version,
                prefix: PathBuf::from(format!("/usr/lib/llvm-{version}")),
            })
            .find(|llvm| llvm.lacks().is_none())
    }

    /// The packages that bring this version.
    pub(crate) fn packages(version: u32) -> [String; 4] {
        [
            format!("clang-{version}"),
            format!("lld-{version}"),
            format!("llvm-{version}"),
            format!("libclang-{version}-dev"),
        ]
    }

    /// The first thing that this version has not got.
    fn lacks(&self) -> Option<PathBuf> {
        let tools = [
            self.linker(),
            self.librarian(),
            self.clang(),
            self.resource_compiler(),
            self.symbol_reader(),
        ];
        tools.into_iter().find(|tool| !tool.is_file()).or_else(|| {
            let library = self.library_folder();
            let present = fs::read_dir(&library).is_ok_and(|entries| {
                entries
                    .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                    .any(|name| is_libclang(&name))
            });
            (!present).then_some(library)
        })
    }

    /// Which version it is.
    pub(crate) const fn version(&self) -> u32 {
        self.version
    }

    /// `lld-link`.
    pub(crate) fn linker(&self) -> PathBuf {
        self.tool("lld-link")
    }

    /// `ld.lld`.
    pub(crate) fn elf_linker(&self) -> PathBuf {
        self.tool("ld.lld")
    }

    /// `llvm-lib`.
    pub(crate) fn librarian(&self) -> PathBuf {
        self.tool("llvm-lib")
    }

    /// `clang`.
    pub(crate) fn clang(&self) -> PathBuf {
        self.tool("clang")
    }

    /// `llvm-rc`.
    pub(crate) fn resource_compiler(&self) -> PathBuf {
        self.tool("llvm-rc")
    }

    /// `llvm-pdbutil`.
    pub(crate) fn symbol_reader(&self) -> PathBuf {
        self.tool("llvm-pdbutil")
    }

    /// The folder of libclang, for `LIBCLANG_PATH`.
    pub(crate) fn library_folder(&self) -> PathBuf {
        self.prefix.join("lib")
    }

    /// Where this clang's own headers are.
    pub(crate) fn resource_folder(&self) -> Result<PathBuf> {
        let clang = self.clang();
        let output = Command::new(&clang)
            .arg("-print-resource-dir")
            .output()
            .with_context(|| format!("cannot start {}", clang.display()))?;
        let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        if !output.status.success() || !folder.join("include").is_dir() {
            bail!(
                "{} names no folder with its own headers (it said {:?}); is libclang-common-{}-dev \
                 installed?",
                clang.display(),
                folder.display(),
                self.version
            );
        }
        Ok(folder)
    }

    fn tool(&self, name: &str) -> PathBuf {
        Path::new(&self.prefix).join("bin").join(name)
    }
}

/// The version in a folder's name: 22 for `llvm-22`.
fn version_of_folder(name: &str) -> Option<u32> {
    name.strip_prefix("llvm-")?.parse().ok()
}

/// Whether a file of this name is libclang as bindgen loads it.
fn is_libclang(name: &str) -> bool {
    name.strip_prefix("libclang").is_some_and(|rest| {
        rest.contains(".so") && rest.starts_with(['.', '-']) && !rest.starts_with("-cpp")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_llvm_names_its_version() {
        assert_eq!(version_of_folder("llvm-22"), Some(22));
    }

    #[test]
    fn libclang_is_told_from_its_c_plus_plus_sibling() {
        assert!(is_libclang("libclang.so"));
        assert!(is_libclang("libclang-22.so.22"));
        assert!(!is_libclang("libclang-cpp.so.22.1"));
        assert!(!is_libclang("libclangAST.a"));
    }

    #[test]
    fn other_folders_name_none() {
        assert_eq!(version_of_folder("llvm"), None);
        assert_eq!(version_of_folder("llvm-snapshot"), None);
    }
}
