//! The mutants that are left out: `.cargo/mutants.toml`.
//!
//! Its `exclude_re` has patterns of mutants' names. One that begins with a file, `^src/…`, is of mutants that cannot
//! matter, and the comment above it says why; the others, of mutants that cannot compile.

use anyhow::{Context, Result, ensure};
use regex::Regex;

use crate::layout::Layout;
use crate::text;

/// The list's place in the repository.
pub(crate) const FILE: &str = ".cargo/mutants.toml";

/// Where in its file a mutant is, which changes with every line above it.
const PLACE: &str = r":\d+:\d+: ";

/// Mutants that cannot matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Their file, any place in it, and what is changed.
    pub(crate) pattern: String,
    /// Why no test need notice.
    reason: String,
}

impl Entry {
    /// The file, and the name of the function that is changed.
    fn function(&self) -> Option<(String, String)> {
        let (file, change) = self.pattern.strip_prefix('^')?.split_once(PLACE)?;
        let change = change.replace('\\', "");
        let of = match change.rsplit_once(" in ") {
            Some((_, of)) => of,
            None => change.strip_prefix("replace ")?,
        };
        let of = of.split(" -> ").next()?.split(" with ").next()?;
        let name = of.rsplit("::").next()?.trim_end_matches('$');
        Some((file.replace('\\', ""), name.to_owned()))
    }
}

/// Reads the list.
pub(crate) fn read(layout: &Layout) -> Result<Vec<Entry>> {
    parse(&text::read(&layout.root().join(FILE))?).context(FILE)
}

fn parse(file: &str) -> Result<Vec<Entry>> {
    let settings: toml::Table = file.parse()?;
    let patterns = settings.get("exclude_re").and_then(toml::Value::as_array);
    let patterns = patterns.context("it has no exclude_re")?.iter().filter_map(toml::Value::as_str);
    let entries = patterns.filter(|pattern| pattern.starts_with("^src/")).map(|pattern| {
        let reason = comment_above(file, pattern);
        ensure!(!reason.is_empty(), "there is no reason above {pattern}");
        Ok(Entry { pattern: pattern.to_owned(), reason })
    });
    entries.collect()
}

/// The comment above a pattern, or above several that stand together with it.
fn comment_above(file: &str, pattern: &str) -> String {
    let mut comment = String::new();
    let mut ended = true;
    for line in file.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix('#') {
            if ended {
                comment.clear();
            }
            comment.push_str(words);
            ended = false;
        } else if line == format!("'{pattern}',") {
            return comment;
        } else {
            ended = true;
            if line.is_empty() {
                comment.clear();
            }
        }
    }
    String::new()
}

/// Each entry, with the number of those of the `mutants` that it leaves out.
pub(crate) fn left_out<'a>(
    list: &'a [Entry],
    mutants: &[String],
) -> Result<Vec<(&'a Entry, usize)>> {
    let count = |entry: &'a Entry| {
        let pattern = Regex::new(&entry.pattern)?;
        Ok((entry, mutants.iter().filter(|name| pattern.is_match(name)).count()))
    };
    list.iter().map(count).collect()
}

/// Checks that what the list names is in the library still. That it is a mutant shows when they are tried.
pub(crate) fn check(layout: &Layout) -> Result<()> {
    for entry in read(layout)? {
        let of = entry.function();
        let (file, name) = of.with_context(|| format!("{} names no function", entry.pattern))?;
        let source = text::read(&layout.root().join(&file))?;
        let is_there = has_function(&source, &name);
        ensure!(is_there, "{FILE} leaves out mutants of {name}, which is not in {file}");
        Regex::new(&entry.pattern)?;
    }
    Ok(())
}

fn has_function(source: &str, name: &str) -> bool {
    let declared = format!("fn {name}");
    source.match_indices(&declared).any(|(at, _)| {
        let rest = &source[at + declared.len()..];
        rest.starts_with(['(', '<', '['])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r"
exclude_re = [
    # Does not compile.
    'Box::leak',

    # It is only asked whether it is 0,
    # and it is not.
    '^src/a/b\.rs:\d+:\d+: replace <impl Body for A<H>>::size -> u32 with 1',
    '^src/c\.rs:\d+:\d+: replace \+ with - in B::other$',
]
";

    #[test]
    fn an_entry_has_the_comment_above_it_for_a_reason() {
        let entries = parse(LIST).unwrap();
        assert_eq!(entries.len(), 2);
        let reason = " It is only asked whether it is 0, and it is not.";
        assert!(entries.iter().all(|entry| entry.reason == reason), "{entries:?}");
    }

    #[test]
    fn an_entry_without_a_reason_is_refused() {
        let error = parse(&LIST.replace("# ", "#\n\n    # ").replace("# and it is not.", "\n"))
            .unwrap_err();
        assert!(error.to_string().contains("no reason above ^src/a/b"), "{error}");
    }

    #[test]
    fn an_entry_names_its_file_and_function() {
        let entries = parse(LIST).unwrap();
        let functions: Vec<_> = entries.iter().filter_map(Entry::function).collect();
        let named = |file: &str, name: &str| (file.to_owned(), name.to_owned());
        assert_eq!(functions, [named("src/a/b.rs", "size"), named("src/c.rs", "other")]);
    }

    #[test]
    fn a_mutant_is_left_out_wherever_in_its_file_it_is() {
        let mutants = ["src/c.rs:7:9: replace + with - in B::other".to_owned()];
        let entries = parse(LIST).unwrap();
        let counts: Vec<usize> =
            left_out(&entries, &mutants).unwrap().into_iter().map(|(_, count)| count).collect();
        assert_eq!(counts, [0, 1]);
    }

    #[test]
    fn a_function_is_found_by_the_whole_of_its_name() {
        let source =
            "fn other() {}\nkernel_routine! { unsafe fn line[H](a: A) {} }\nfn made<T>() {}";
        assert!(["other", "line", "made"].iter().all(|name| has_function(source, name)));
        assert!(!has_function(source, "oth"));
    }
}
