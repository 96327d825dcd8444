//! Several drivers for one boot: QEMU hands over one file, so they are made into an archive.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use anyhow::{Context, Result};

/// A tar archive of drivers, which the bed knows by its magic number; gone in the end.
#[derive(Debug)]
pub(crate) struct Archive(PathBuf);

impl Archive {
    /// An archive of these, in their order, under a name that no other machine has.
    pub(crate) fn of<'a>(drivers: impl Iterator<Item = &'a Path>) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wdm-interrupt-{}-{number}.tar", process::id());
        let archive = Self(env::temp_dir().join(name));
        let written = || format!("cannot write {}", archive.0.display());
        let mut builder = tar::Builder::new(File::create(&archive.0).with_context(written)?);
        for driver in drivers {
            let name = driver.file_name().context("a driver's path has no file name")?;
            builder
                .append_path_with_name(driver, name)
                .with_context(|| format!("cannot archive {}", driver.display()))?;
        }
        builder.finish().with_context(written)?;
        Ok(archive)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // A file that stays behind in the folder for such files harms nobody.
        drop(fs::remove_file(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn an_archive_has_the_drivers_in_their_order_and_is_gone_in_the_end() -> Result<()> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (one, other) = (here.join("Cargo.toml"), here.join("src/main.rs"));
        let archive = Archive::of([one.as_path(), &other].into_iter())?;
        let path = archive.path().to_path_buf();
        let mut reader = tar::Archive::new(File::open(&path)?);
        let mut entries = reader.entries()?;
        let mut name = || -> Result<Option<PathBuf>> {
            let entry = entries.next().transpose()?;
            Ok(entry.map(|entry| entry.path().map(Cow::into_owned)).transpose()?)
        };
        assert_eq!(name()?.as_deref(), Some(Path::new("Cargo.toml")));
        assert_eq!(name()?.as_deref(), Some(Path::new("main.rs")));
        assert_eq!(name()?, None);
        drop(archive);
        assert!(!path.exists());
        Ok(())
    }
}
