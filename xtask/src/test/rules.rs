//! The rules of the model's verifier and the tests that break them: `model/RULES.md`, which is made from both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result, anyhow, bail};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use wdm_interrupt_model::Rule;

use super::{contract, misdeeds};
use crate::layout::Layout;
use crate::text;

/// The beginning of this test's name, which is enough to choose it.
const TITLE: &str = "repository: model/RULES.md";

/// With this set the list is written anew.
const UPDATE: &str = "UPDATE_RULES";

/// What a kernel cannot see of the contract's rules, and why.
const UNSEEN: [(&str, &str); 17] = [
    (
        "C3",
        "A Version that there is not is a failure with a documented status, and breaks no rule.",
    ),
    ("C4", "What a driver makes of a status is its own affair."),
    ("C5", "Whether Version was read after a failure; that it was used is seen."),
    (
        "C8",
        "That a driver relies on one lock for all lines, until two of its routines run at once.",
    ),
    ("C9", "How a driver counted its messages: a vector too many is a documented failure."),
    ("C10", "For lines that are not shared the second connect is a failure, not a broken rule."),
    (
        "C12",
        "Whether the device was enabled before the connect: until then its source is masked, and nothing arrives.",
    ),
    ("C13", "Nothing can be broken: it says what is legal."),
    ("I1", "That the routine is called so is the kernel's own promise; how it returns is seen."),
    (
        "I2",
        "Whether a routine that claims was right: that it was wrong shows as a storm, or as silence.",
    ),
    ("I3", "Pageable code: the model and the bed keep all of the driver resident."),
    ("S2", "How long a lock is held: the model has no time that a driver could be measured by."),
    ("D2", "The order of a teardown as such: what is seen is what it leaves in use."),
    ("D5", "An inline routine makes no call. The drivers' imports are compared instead."),
    ("P1", "Whether the lower drivers were done with START: their request is not the executive's."),
    (
        "P2",
        "Which registers and buffers an ISR uses, and so whether they are taken away too early.",
    ),
    ("P5", "The INF is read long before the driver runs. The sample's is read by a test."),
];

/// Fails if a rule has no test, or the list is not of today.
pub(super) fn check(layout: &Layout) -> Result<()> {
    let breaches = Breaches::read(layout)?;
    breaches.require_a_test_each()?;
    let contract = text::read(&layout.root().join("docs").join("contract.md"))?;
    let list = breaches.list(&contract)?;
    let path = layout.root().join("model").join("RULES.md");
    if env::var_os(UPDATE).is_some() {
        text::write_if_changed(&path, list.as_bytes())?;
    }
    if text::read(&path).unwrap_or_default() != list {
        bail!("{} is out of date: {UPDATE}=1 cargo xtask test '{TITLE}'", path.display());
    }
    Ok(())
}

/// What breaks each rule, by its name.
struct Breaches {
    /// The tests of the model.
    tests: BTreeMap<String, Vec<String>>,
    /// The misdeeds that the bed catches a driver at.
    misdeeds: BTreeMap<String, Vec<&'static str>>,
}

impl Breaches {
    fn read(layout: &Layout) -> Result<Self> {
        let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let folder = layout.root().join("model").join("tests").join("model");
        for (module, source) in sources(&folder)? {
            for Test { name, rules } in tests_in(&source).with_context(|| module.clone())? {
                for rule in rules {
                    tests.entry(rule).or_default().push(format!("{module}::{name}"));
                }
            }
        }
        let mut caught: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        for (name, rule) in misdeeds::rules() {
            caught.entry(rule.to_owned()).or_default().push(name);
        }
        Ok(Self { tests, misdeeds: caught })
    }

    fn require_a_test_each(&self) -> Result<()> {
        let rules = Rule::ALL.iter().map(|rule| rule.name());
        let without: Vec<&str> = rules.filter(|rule| !self.tests.contains_key(*rule)).collect();
        if !without.is_empty() {
            bail!("no test breaks {}", without.join(", "));
        }
        Ok(())
    }

    fn list(&self, contract: &str) -> Result<String> {
        let mut list = String::from(HEAD);
        for rule in Rule::ALL {
            let stops = rule.stops().iter().map(ToString::to_string);
            let windows: Vec<String> =
                rule.verifier().iter().map(ToString::to_string).chain(stops).collect();
            let tests = self.tests.get(rule.name()).map_or(&[][..], Vec::as_slice);
            let misdeeds = self.misdeeds.get(rule.name()).map_or(&[][..], Vec::as_slice);
            writeln!(
                list,
                "| `{rule}` | {} | {} | {} | {} | {} |",
                rule.text(),
                rule.contract().join(", "),
                windows.join(", "),
                in_backticks(tests),
                in_backticks(misdeeds),
            )?;
        }
        list.push_str(CONTRACT);
        for (id, says) in contract::rows(contract) {
            let rules: Vec<&str> = Rule::ALL
                .iter()
                .filter(|rule| rule.contract().contains(&id))
                .map(|rule| rule.name())
                .collect();
            let unseen = UNSEEN.iter().find(|(other, _)| *other == id).map(|(_, why)| *why);
            if rules.is_empty() && unseen.is_none() {
                bail!("{id} is neither a rule of the verifier nor is it said why not");
            }
            let (rules, unseen) = (in_backticks(&rules), unseen.unwrap_or_default());
            writeln!(list, "| {id} | {says} | {rules} | {unseen} |")?;
        }
        Ok(list)
    }
}

fn in_backticks(names: &[impl AsRef<str>]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    quoted.join(", ")
}

const HEAD: &str = "\
<!-- Made from model/src/report/rule.rs and the tests by UPDATE_RULES=1 cargo xtask test 'repository: model/RULES.md' -->

# The verifier's rules, and the tests that break them

A broken rule is reported with its name, the call, the processor and its IRQL, the objects concerned and, where one is
documented, Windows' bug check with its parameters. Each rule is broken on purpose, by calls of the kernel made by hand,
in the tests named here (below `model/tests/model`), which look at all of the report; some are broken by a driver on the
bed too (`samples/misbehaving`).

*Contract* has the numbers of [`docs/contract.md`](../docs/contract.md); rules without one are of what a driver does
besides. *Windows* has rules of Driver Verifier and Static Driver Verifier, some of which know older calls only, and bug
checks: the code, and the parameter that tells its kinds apart. A rule without a bug check is one for which none is
documented: Windows would go on, or crash somewhere else.

| rule | it says that | contract | Windows | tests | on the bed |
|---|---|---|---|---|---|
";

const CONTRACT: &str = "
# The kernel's contract, rule by rule

| rule | what it says | checked as | what a kernel cannot see of it |
|---|---|---|---|
";

/// The tests' source files, by the names of their modules.
fn sources(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut sources = BTreeMap::new();
    add_sources(folder, "", &mut sources)?;
    Ok(sources)
}

fn add_sources(folder: &Path, above: &str, into: &mut BTreeMap<String, String>) -> Result<()> {
    let listing =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in listing {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let stem = stem.with_context(|| format!("{} has no name", path.display()))?;
        let module = if above.is_empty() { stem.to_owned() } else { format!("{above}::{stem}") };
        if path.is_dir() {
            add_sources(&path, &module, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.insert(module, text::read(&path)?);
        }
    }
    Ok(())
}

/// A test and the rules that it breaks.
#[derive(Debug, PartialEq, Eq)]
struct Test {
    name: String,
    rules: BTreeSet<String>,
}

/// What a test calls that looks at reports.
const LOOKS: [&str; 2] = ["breaks", "reports"];

/// The tests of a source that break rules: those whose code names one, and looks at what is reported.
fn tests_in(source: &str) -> Result<Vec<Test>> {
    let tokens: TokenStream = source.parse().map_err(|error| anyhow!("cannot parse: {error}"))?;
    let mut tests = Vec::new();
    let (mut is_test, mut name) = (false, None);
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                is_test |= group.stream().to_string() == "test";
            }
            TokenTree::Ident(word) if word == "fn" => {
                name = tokens.next().map(|name| name.to_string());
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let mut rules = BTreeSet::new();
                named_rules(group.stream(), &mut rules);
                let breaks = is_test && !rules.is_empty() && looks_at_reports(group.stream());
                if let Some(name) = name.take().filter(|_| breaks) {
                    tests.push(Test { name, rules });
                }
                is_test = false;
            }
            _ => {}
        }
    }
    Ok(tests)
}

fn looks_at_reports(code: TokenStream) -> bool {
    code.into_iter().any(|token| match token {
        TokenTree::Group(group) => looks_at_reports(group.stream()),
        TokenTree::Ident(word) => LOOKS.iter().any(|name| word == name),
        _ => false,
    })
}

/// The rules that code names, as `Rule::Name`.
fn named_rules(code: TokenStream, rules: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = code.into_iter().collect();
    for token in &tokens {
        if let TokenTree::Group(group) = token {
            named_rules(group.stream(), rules);
        }
    }
    for path in tokens.windows(4) {
        let [first, colon, second_colon, last] = path else { continue };
        let is_path = first.to_string() == "Rule"
            && colon.to_string() == ":"
            && second_colon.to_string() == ":";
        let name = last.to_string();
        if is_path && Rule::ALL.iter().any(|rule| rule.name() == name) {
            rules.insert(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_breaks_the_rules_that_it_names() -> Result<()> {
        let source = "
            fn helper() { breaks(Rule::Storm, || {}); }
            #[test]
            fn one() { for _ in 0..2 { breaks(&machine, Rule::PoolTag, || free(memory)); } }
            #[test]
            #[ignore = \"slow\"]
            fn both() { f(Rule::Deadlock, a); assert_eq!(m.reports(), vec![Rule::LockWord; 2]); }
            #[test]
            fn unseen() { assert_eq!(machine.violations(), [Rule::Storm]); }
            #[test]
            fn none() { assert!(Rule::ALL.len() > 1); }
            struct Rule { name: () }
        ";
        let rules = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let one = Test { name: "one".to_owned(), rules: rules(&["PoolTag"]) };
        let both = Test { name: "both".to_owned(), rules: rules(&["Deadlock", "LockWord"]) };
        assert_eq!(tests_in(source)?, [one, both]);
        Ok(())
    }

    #[test]
    fn a_rule_that_no_test_breaks_is_found() -> Result<()> {
        let mut breaches = Breaches::read(&Layout::of_this_repository())?;
        breaches.require_a_test_each()?;
        breaches.tests.remove("LockNested");
        let error = breaches.require_a_test_each().expect_err("there is none");
        assert_eq!(error.to_string(), "no test breaks LockNested");
        Ok(())
    }

    #[test]
    fn what_a_kernel_cannot_see_is_said_of_rules_that_there_are() -> Result<()> {
        let layout = Layout::of_this_repository();
        let table = text::read(&layout.root().join("docs").join("contract.md"))?;
        let known: BTreeSet<&str> = contract::rows(&table).map(|(id, _)| id).collect();
        let said = UNSEEN.iter().map(|(id, _)| *id);
        let checked = Rule::ALL.iter().flat_map(|rule| rule.contract()).copied();
        for id in said.chain(checked) {
            assert!(known.contains(id), "{id}");
        }
        Ok(())
    }

    #[test]
    fn a_rule_of_the_contract_that_is_nowhere_is_found() {
        let none = Breaches { tests: BTreeMap::new(), misdeeds: BTreeMap::new() };
        let error = none.list("| X9 | It says this. | type: `A` |").expect_err("X9 is no rule");
        assert!(error.to_string().contains("X9"), "{error}");
    }
}
