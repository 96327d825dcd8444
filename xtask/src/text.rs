//! Small things about files and text that several steps need.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::{Context, Result};

/// Writes `content` unless the file has it already, and says whether it wrote.
///
/// Cargo compares times, so a file that is written again with the same content would be built again.
pub(crate) fn write_if_changed(path: &Path, content: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

/// Creates a folder and those above it.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create the folder {}", path.display()))
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A name for this content, short enough for a folder.
pub(crate) fn fingerprint(content: &[u8]) -> String {
    // The hasher is built with fixed keys, so a name found by one run is found by the next.
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The last `count` lines of `text`.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_short_text_is_the_text() {
        assert_eq!(tail("one\ntwo", 5), "one\ntwo");
    }

    #[test]
    fn the_tail_keeps_the_last_lines() {
        assert_eq!(tail("one\ntwo\nthree", 2), "two\nthree");
    }

    #[test]
    fn equal_content_has_equal_fingerprints_and_other_content_has_not() {
        assert_eq!(fingerprint(b"lock"), fingerprint(b"lock"));
        assert_ne!(fingerprint(b"lock"), fingerprint(b"look"));
    }
}
