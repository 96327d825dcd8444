//! The table of mistakes in the crate's documentation, and whether each has a test that exists.
//!
//! `docs/scenarios.md` has a row for each mistake that real drivers made; its last column names the tests, in
//! backticks. A name alone is a test of the library or of its model, on the host. `compile_fail: Item` is an example in
//! that item's documentation that must not compile. Everything else is written as `cargo xtask test` prints it:
//! `bed: …`, `inf: …`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{examples, items, misdeeds};
use crate::layout::Layout;
use crate::text;

/// How many mistakes there are.
const ROWS: usize = 26;

/// The names of tests, as the table writes them.
#[derive(Debug, Default)]
struct Known(BTreeSet<String>);

impl Known {
    /// All tests that there are; `own` are those of this program.
    fn collect(layout: &Layout, own: &BTreeSet<String>) -> Result<Self> {
        let mut known = own.clone();
        for folder in ["tests", "model/tests"] {
            each_source(&layout.root().join(folder), &mut |source| {
                known.extend(test_functions(source).map(str::to_owned));
            })?;
        }
        each_source(&layout.bed().join("src"), &mut |source| {
            known.extend(bed_tests(source).map(|name| format!("bed: {name}")));
        })?;
        known.extend(misdeeds::titles().map(|title| format!("bed: {title}")));
        for item in items::public(layout.root())? {
            if examples::has_refused_example(&item.documentation) {
                known.insert(format!("compile_fail: {}", item.name));
            }
        }
        Ok(Self(known))
    }

    /// What is wrong with the table.
    fn objections(&self, table: &str) -> Vec<String> {
        let mut objections = Vec::new();
        let mut seen = BTreeSet::new();
        for row in table.lines().filter_map(Row::parse) {
            if !seen.insert(row.number) {
                objections.push(format!("row {} is there twice", row.number));
            }
            if row.tests.is_empty() {
                objections.push(format!("row {} ({}) has no test", row.number, row.mistake));
            }
            objections.extend(
                row.tests
                    .iter()
                    .filter(|name| !self.0.contains(**name))
                    .map(|name| format!("row {}: there is no test `{name}`", row.number)),
            );
        }
        objections.extend(
            (1..=ROWS).filter(|row| !seen.contains(row)).map(|row| format!("row {row} is missing")),
        );
        objections
    }
}

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row<'a> {
    number: usize,
    mistake: &'a str,
    tests: Vec<&'a str>,
}

impl<'a> Row<'a> {
    /// `| number | mistake | what stops it | tests |`; the heading has no number.
    fn parse(line: &'a str) -> Option<Self> {
        let columns: Vec<&str> = line.trim().strip_prefix('|')?.split('|').map(str::trim).collect();
        let [number, mistake, _what_stops_it, tests, ""] = columns[..] else { return None };
        Some(Self {
            number: number.parse().ok()?,
            mistake,
            // Backticks open and close by turns.
            tests: tests.split('`').skip(1).step_by(2).collect(),
        })
    }
}

/// Fails if a mistake has no test, or the table names one that does not exist.
pub(super) fn check(layout: &Layout, own: &BTreeSet<String>) -> Result<()> {
    let table = text::read(&layout.root().join("docs").join("scenarios.md"))?;
    let objections = Known::collect(layout, own)?.objections(&table);
    if !objections.is_empty() {
        bail!("{}", objections.join("\n"));
    }
    Ok(())
}

/// The names of all tests that there are, as the pages in `docs/` write them; `own` are those of this program.
pub(super) fn names(layout: &Layout, own: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    Ok(Known::collect(layout, own)?.0)
}

/// The functions that are tests.
fn test_functions(source: &str) -> impl Iterator<Item = &str> {
    source.split("#[test]").skip(1).filter_map(|rest| {
        let (_, rest) = rest.split_once("fn ")?;
        Some(rest.split_once('(')?.0)
    })
}

/// The bed's tests, which stand in lists; the name is the last of what is said of a test.
fn bed_tests(source: &str) -> impl Iterator<Item = &str> {
    source.split("test!(").skip(1).filter_map(|rest| rest.split_once(')')?.0.split(", ").last())
}

/// Calls `with_source` with the text of each Rust file in `folder`.
fn each_source(folder: &Path, with_source: &mut impl FnMut(&str)) -> Result<()> {
    let listing =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in listing {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        if path.is_dir() {
            each_source(&path, with_source)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            with_source(&text::read(&path)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known(["one_is_caught", "bed: it_works"].map(str::to_owned).into())
    }

    /// A table of all rows, with this as the third.
    fn table_with(third: &str) -> String {
        let rows: Vec<String> = (1..=ROWS)
            .map(|row| match row {
                3 => third.to_owned(),
                row => format!("| {row} | m | t | `one_is_caught`, `bed: it_works` |"),
            })
            .collect();
        format!("| # | mistake | what stops it | tests |\n|---|---|---|---|\n{}\n", rows.join("\n"))
    }

    #[test]
    fn a_table_of_existing_tests_is_fine() {
        let table = table_with("| 3 | m | t | `one_is_caught` |\n");
        assert!(known().objections(&table).is_empty());
    }

    #[test]
    fn a_row_without_a_test_is_found() {
        let objections = known().objections(&table_with("| 3 | `==` for `=` | t | none yet |\n"));
        assert_eq!(objections, ["row 3 (`==` for `=`) has no test"]);
    }

    #[test]
    fn a_test_that_does_not_exist_is_found() {
        let objections = known().objections(&table_with("| 3 | m | t | `bed: one_is_caught` |\n"));
        assert_eq!(objections, ["row 3: there is no test `bed: one_is_caught`"]);
    }

    #[test]
    fn a_missing_row_and_one_that_is_there_twice_are_found() {
        let objections = known().objections(&table_with("| 4 | m | t | `one_is_caught` |\n"));
        assert_eq!(objections, ["row 4 is there twice", "row 3 is missing"]);
    }

    #[test]
    fn tests_are_told_from_other_functions() {
        let source = "fn helper() {}\n#[test]\n#[should_panic]\nfn it_panics() {}\n#[test]\nfn it_works() {}\n";
        assert_eq!(test_functions(source).collect::<Vec<_>>(), ["it_panics", "it_works"]);
        let listed = r#"[test!(a), test!("e1000e", b), test!("pair", Pair, c)]"#;
        assert_eq!(bed_tests(listed).collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
