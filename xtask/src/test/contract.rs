//! The table of the kernel's rules in the crate's documentation: whether all are there.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::layout::Layout;
use crate::text;

/// The chapters of the contract, by the letters of their rules, and how many rules each has.
const CHAPTERS: [(char, usize); 5] = [('C', 13), ('I', 4), ('S', 3), ('D', 5), ('P', 5)];

/// The ways to uphold a rule.
const WAYS: [&str; 4] = ["type", "checked", "library", "documented"];

/// Fails if a rule is missing, or nothing is said of how it is upheld.
pub(super) fn check(layout: &Layout) -> Result<()> {
    let objections = objections(&text::read(&layout.root().join("docs").join("contract.md"))?);
    if !objections.is_empty() {
        bail!("{}", objections.join("\n"));
    }
    Ok(())
}

/// The contract's rules: their numbers, and what they say.
pub(super) fn rows(table: &str) -> impl Iterator<Item = (&str, &str)> {
    columns(table).map(|[rule, says, _]| (rule, says))
}

/// The three columns of each rule.
fn columns(table: &str) -> impl Iterator<Item = [&str; 3]> {
    table.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", rule, says, upheld, ""] = columns[..] else { return None };
        rule.ends_with(|last: char| last.is_ascii_digit()).then_some([rule, says, upheld])
    })
}

fn objections(table: &str) -> Vec<String> {
    let mut objections = Vec::new();
    let mut seen = BTreeSet::new();
    for [rule, says, upheld] in columns(table) {
        seen.insert(rule);
        if says.is_empty() || !WAYS.iter().any(|way| upheld.starts_with(way)) {
            objections.push(format!("{rule}: it is not said how it is upheld"));
        }
    }
    for (letter, count) in CHAPTERS {
        let rules = (1..=count).map(|number| format!("{letter}{number}"));
        objections.extend(
            rules
                .filter(|rule| !seen.contains(rule.as_str()))
                .map(|rule| format!("{rule} is missing")),
        );
    }
    objections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table_without(left_out: &str) -> String {
        let rules = CHAPTERS.iter().flat_map(|(letter, count)| {
            (1..=*count).map(move |number| format!("{letter}{number}"))
        });
        let rows: Vec<String> = rules
            .filter(|rule| rule != left_out)
            .map(|rule| format!("| {rule} | A sentence. | type: `A` |"))
            .collect();
        rows.join("\n")
    }

    #[test]
    fn a_table_of_all_rules_is_fine() {
        assert!(objections(&table_without("none")).is_empty());
    }

    #[test]
    fn a_missing_rule_is_found() {
        assert_eq!(objections(&table_without("D3")), ["D3 is missing"]);
    }

    #[test]
    fn a_rule_that_nothing_upholds_is_found() {
        let table = format!("{}\n| D3 | A sentence. | hopefully |\n", table_without("D3"));
        assert_eq!(objections(&table), ["D3: it is not said how it is upheld"]);
    }
}
