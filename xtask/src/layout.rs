//! Where things lie in the repository.

use std::path::{Path, PathBuf};

/// The folders of one checkout.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The checkout that this program was built from.
    pub(crate) fn of_this_repository() -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self { root: package.parent().unwrap_or(package).to_path_buf() }
    }

    /// The repository's root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// All that is generated.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// What stands for the WDK, and the sources of crates that drivers are built from.
    pub(crate) fn kit(&self) -> PathBuf {
        self.target().join("kit")
    }

    /// Finished drivers, a folder each.
    pub(crate) fn drivers(&self) -> PathBuf {
        self.target().join("drivers")
    }

    /// Driver packages, a folder each.
    pub(crate) fn packages(&self) -> PathBuf {
        self.target().join("package")
    }

    /// Full output of the steps that show one line only.
    pub(crate) fn logs(&self) -> PathBuf {
        self.target().join("logs")
    }

    /// The sample driver's crate.
    pub(crate) fn sample(&self) -> PathBuf {
        self.root.join("samples").join("edu")
    }

    /// The test bed's crate.
    pub(crate) fn bed(&self) -> PathBuf {
        self.root.join("bed")
    }
}
