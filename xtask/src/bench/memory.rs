//! Nonpaged memory of a driver whose device is started.

use anyhow::{Context, Result};

use crate::qemu::Boot;

/// What a driver has of nonpaged memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    /// Its device extension.
    pub(super) extension: u64,
    /// Pool, without the headers that Windows puts before each allocation.
    pub(super) pool: u64,
}

impl Memory {
    /// What a boot said, once the device was started.
    pub(super) fn of(boot: &Boot) -> Result<Self> {
        let lines = || boot.lines.iter().map(|line| line.text.as_str());
        let extension = lines().find_map(|line| {
            line.strip_prefix("memory device extension: ")?.strip_suffix(" bytes")?.parse().ok()
        });
        let pool =
            lines().filter_map(|line| bytes_in_use(line.strip_prefix("memory pool ")?)).sum();
        Ok(Self { extension: extension.context("no device extension was measured")?, pool })
    }

    /// All of it.
    pub(super) const fn bytes(self) -> u64 {
        self.extension + self.pool
    }
}

/// What a marker in the driver says that something takes: `bytes NAME: COUNT`.
pub(super) fn stated(boot: &Boot, name: &str) -> Result<u64> {
    let prefix = format!("bytes {name}: ");
    let mut found =
        boot.lines.iter().filter_map(|line| line.text.strip_prefix(&prefix)?.parse().ok());
    found.next().with_context(|| format!("the bytes of {name} were not measured"))
}

/// The bytes in use, of a line that has them before the most that ever were.
fn bytes_in_use(line: &str) -> Option<u64> {
    line.rsplit_once(" bytes, ")?.0.rsplit_once(' ')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extension_and_pool_are_added_up() {
        let lines = [
            "memory device extension: 200 bytes",
            "memory pool 'Exam': 3 allocations, 1 frees, 80 bytes, 100 at most",
            "memory pool 'Udec': 1 allocations, 0 frees, 8 bytes, 8 at most",
        ];
        let memory = Memory::of(&Boot::of_lines(&lines, true)).ok();
        assert_eq!(memory, Some(Memory { extension: 200, pool: 88 }));
        assert_eq!(memory.map(Memory::bytes), Some(288));
        assert!(Memory::of(&Boot::of_lines(&lines[1..], true)).is_err());
    }

    #[test]
    fn what_a_driver_states_is_found_by_its_name() {
        let boot = Boot::of_lines(&["bytes handler: 16", "bytes block: 200"], true);
        assert_eq!(stated(&boot, "block").ok(), Some(200));
        assert!(stated(&boot, "other").is_err());
    }
}
