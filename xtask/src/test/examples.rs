//! Every public item of the library shows how it is used, in an example that runs.

use anyhow::{Result, bail};

use super::items;
use crate::layout::Layout;

/// Fails if a public item has no example, and names them all.
pub(super) fn check(layout: &Layout) -> Result<()> {
    let items = items::public(layout.root())?;
    let lacking: Vec<String> = items
        .iter()
        .filter(|item| !has_example(&item.documentation))
        .map(|item| {
            let file = item.file.strip_prefix(layout.root()).unwrap_or(&item.file);
            format!("{}:{}: {}", file.display(), item.line, item.name)
        })
        .collect();
    if !lacking.is_empty() {
        bail!(
            "{} of {} public items have no example that runs:\n{}",
            lacking.len(),
            items.len(),
            lacking.join("\n")
        );
    }
    Ok(())
}

/// Whether a documentation comment has a block of code that rustdoc compiles and runs.
fn has_example(documentation: &str) -> bool {
    blocks(documentation).any(|information| {
        words(information)
            .all(|word| matches!(word, "rust" | "should_panic") || word.starts_with("edition"))
    })
}

/// Whether it has a block of code that must not compile.
pub(super) fn has_refused_example(documentation: &str) -> bool {
    blocks(documentation).any(|information| words(information).any(|word| word == "compile_fail"))
}

/// What stands behind the opening fences of the blocks.
fn blocks(documentation: &str) -> impl Iterator<Item = &str> {
    // Fences open and close by turns.
    documentation.lines().filter_map(|line| line.trim().strip_prefix("```")).step_by(2)
}

fn words(information: &str) -> impl Iterator<Item = &str> {
    information.split([',', ' ']).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_rust_is_an_example() {
        assert!(has_example(" Text.\n\n # Examples\n\n ```\n let a = 1;\n ```\n"));
        assert!(has_example(" ```rust,should_panic\n panic!();\n ```\n"));
    }

    #[test]
    fn a_block_that_is_not_run_is_none() {
        for information in ["text", "compile_fail,E0277", "ignore", "no_run", "c"] {
            assert!(!has_example(&format!(" ```{information}\n x\n ```\n")), "{information}");
        }
    }

    #[test]
    fn what_closes_a_block_opens_none() {
        assert!(!has_example(" ```text\n x\n ```\n"));
        assert!(has_example(" ```text\n x\n ```\n ```\n y\n ```\n"));
    }

    #[test]
    fn a_comment_without_a_block_has_no_example() {
        assert!(!has_example(" See `other`.\n"));
    }

    #[test]
    fn a_block_that_must_not_compile_is_known() {
        assert!(has_refused_example(" ```compile_fail,E0277\n x\n ```\n"));
        assert!(!has_refused_example(" ```\n x\n ```\n"));
    }
}
