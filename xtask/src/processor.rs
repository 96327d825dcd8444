//! What drivers are built for.

use clap::ValueEnum;
use clap::builder::PossibleValue;

/// A processor that Windows runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Processor {
    #[default]
    X64,
    /// For compiling and linking only: there is nothing here to run it on.
    Arm64,
}

impl Processor {
    /// The compilers' name for Windows on it.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::X64 => "x86_64-pc-windows-msvc",
            Self::Arm64 => "aarch64-pc-windows-msvc",
        }
    }

    /// The name of the folder with the WDK's libraries, as wdk-build writes it.
    pub(crate) const fn library_folder(self) -> &'static str {
        match self {
            Self::X64 => "x64",
            Self::Arm64 => "ARM64",
        }
    }

    /// The librarian's name for it.
    pub(crate) const fn machine(self) -> &'static str {
        match self {
            Self::X64 => "x64",
            Self::Arm64 => "arm64",
        }
    }

    /// The target as a part of an environment variable's name.
    pub(crate) fn target_in_a_variable(self) -> String {
        self.target().replace('-', "_")
    }
}

impl ValueEnum for Processor {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::X64, Self::Arm64]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.target()))
    }
}
