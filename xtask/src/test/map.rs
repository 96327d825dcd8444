//! Reads the map that lld-link writes with `/MAP`: which symbol is where in the image.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};

use crate::text;

/// What is known of an image's symbols.
#[derive(Debug, Default)]
pub(super) struct Map {
    /// By their addresses, at which the linker may have folded several.
    symbols: BTreeMap<u64, Vec<Symbol>>,
}

/// A symbol of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Symbol {
    /// As the compiler mangled it.
    name: String,
    /// Whether a library that stands for another module brought it: then it is an import's stub, or the slot that
    /// the stub jumps through.
    imported: bool,
}

impl Symbol {
    /// The name as it is in the source: paths and type arguments, without hashes.
    pub(super) fn demangled(&self) -> String {
        format!("{:#}", rustc_demangle::demangle(&self.name))
    }
}

impl Map {
    /// Reads the map in `file`.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let map = Self::parse(&text::read(file)?);
        if map.symbols.is_empty() {
            bail!("{} has no symbols in it", file.display());
        }
        Ok(map)
    }

    /// Reads what is in such a file.
    pub(super) fn parse(map: &str) -> Self {
        let mut symbols: BTreeMap<u64, Vec<Symbol>> = BTreeMap::new();
        for (address, symbol) in map.lines().filter_map(symbol) {
            symbols.entry(address).or_default().push(symbol);
        }
        Self { symbols }
    }

    /// All symbols with their addresses.
    pub(super) fn symbols(&self) -> impl Iterator<Item = (u64, &Symbol)> {
        self.symbols.iter().flat_map(|(address, all)| all.iter().map(|symbol| (*address, symbol)))
    }

    /// Where the next symbol after `address` begins.
    pub(super) fn next_after(&self, address: u64) -> Option<u64> {
        self.symbols.range(address + 1..).next().map(|(next, _)| *next)
    }

    /// The name of what is called at `address`: an import's own, or that of a function of the image.
    pub(super) fn name(&self, address: u64) -> String {
        let symbol = self.symbols.get(&address).and_then(|all| all.first());
        symbol.map_or_else(|| format!("something at {address:#x}"), Symbol::demangled)
    }

    /// The name of the import whose address is in the slot at `address`.
    pub(super) fn import(&self, address: u64) -> Option<&str> {
        let symbols = self.symbols.get(&address)?;
        symbols
            .iter()
            .find(|symbol| symbol.imported)
            .and_then(|symbol| symbol.name.strip_prefix("__imp_"))
    }
}

/// A line like ` 0001:00000e90       ExAllocatePool2            0000000180001e90     ntoskrnl:ntoskrnl.exe`.
fn symbol(line: &str) -> Option<(u64, Symbol)> {
    let mut columns = line.split_whitespace();
    let (section, offset) = columns.next()?.split_once(':')?;
    let name = columns.next()?;
    let address = columns.next().filter(|address| address.len() == 16)?;
    u32::from_str_radix(section, 16).ok()?;
    u64::from_str_radix(offset, 16).ok()?;
    let address = u64::from_str_radix(address, 16).ok()?;
    let imported = columns
        .next()
        .and_then(|object| object.split_once(':'))
        .is_some_and(|(_, module)| module.contains('.'));
    Some((address, Symbol { name: name.to_owned(), imported }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "
 driver

 Preferred load address is 0000000180000000

 Start         Length     Name                   Class
 0001:00000000 00000e14H .text                   CODE

  Address         Publics by Value              Rva+Base               Lib:Object

 0001:00000000       DriverEntry                0000000180001000     driver.o
 0001:00000f10       KeInsertQueueDpc           0000000180001f10     ntoskrnl:ntoskrnl.exe
 0002:00000300       __imp_KeInsertQueueDpc     0000000180002300     ntoskrnl:ntoskrnl.exe

 entry point at         0001:00000000

 Static symbols

 0001:00000bb0       _RNvNtCsgjm5NYk2FcO_13wdm_interrupt7routine12refused_line 0000000180001bb0     driver.o
";

    #[test]
    fn public_and_static_symbols_are_read_and_sections_are_not() {
        let map = Map::parse(MAP);
        let names: Vec<String> = map.symbols().map(|(_, symbol)| symbol.demangled()).collect();
        assert_eq!(
            names,
            [
                "DriverEntry",
                "wdm_interrupt::routine::refused_line",
                "KeInsertQueueDpc",
                "__imp_KeInsertQueueDpc"
            ]
        );
    }

    #[test]
    fn a_function_ends_where_the_next_symbol_begins() {
        let map = Map::parse(MAP);
        assert_eq!(map.next_after(0x1_8000_1000), Some(0x1_8000_1bb0));
        assert_eq!(map.next_after(0x1_8000_2300), None);
    }

    #[test]
    fn an_import_is_known_by_its_slot_and_only_by_that() {
        let map = Map::parse(MAP);
        assert_eq!(map.import(0x1_8000_2300), Some("KeInsertQueueDpc"));
        assert_eq!(map.import(0x1_8000_1000), None);
        assert_eq!(map.name(0x1_8000_1f10), "KeInsertQueueDpc");
    }
}
