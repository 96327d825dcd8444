//! The workflows for GitHub: what their commands name is in the repository.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};
use clap::CommandFactory as _;
use yaml_rust2::{Yaml, YamlLoader};

use crate::layout::Layout;
use crate::text;

/// Checks every workflow.
pub(in crate::test) fn check(layout: &Layout) -> Result<()> {
    let folder = layout.root().join(".github").join("workflows");
    let listing =
        fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut there = There { layout, workspaces: BTreeMap::new() };
    for entry in listing {
        let file = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        let documents = YamlLoader::load_from_str(&text::read(&file)?)
            .with_context(|| format!("{} is no YAML", file.display()))?;
        let workflow = documents.first().with_context(|| format!("{} is empty", file.display()))?;
        let commands = commands(workflow);
        if commands.is_empty() {
            bail!("{} runs nothing", file.display());
        }
        for command in commands {
            there.require(&command).with_context(|| format!("{}, {command:?}", file.display()))?;
        }
    }
    Ok(())
}

/// A command of a workflow, and the folder that it runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Command {
    folder: String,
    words: Vec<String>,
}

/// The commands of all steps, a line each.
fn commands(workflow: &Yaml) -> Vec<Command> {
    let jobs = workflow["jobs"].as_hash().into_iter().flat_map(|jobs| jobs.values());
    let steps = jobs.filter_map(|job| job["steps"].as_vec()).flatten();
    steps
        .filter_map(|step| {
            let folder = step["working-directory"].as_str().unwrap_or("").to_owned();
            Some((folder, step["run"].as_str()?))
        })
        .flat_map(|(folder, script)| {
            script.lines().map(move |line| {
                let words = line.split_whitespace().map(str::to_owned).collect();
                Command { folder: folder.clone(), words }
            })
        })
        .collect()
}

/// What there is in the repository.
#[derive(Debug)]
struct There<'a> {
    layout: &'a Layout,
    /// What cargo says of the workspaces that were asked for, by their folders.
    workspaces: BTreeMap<String, Metadata>,
}

impl There<'_> {
    /// Fails if the command needs what is not there. Of commands that are no cargo and no file of the repository nothing
    /// can be said.
    fn require(&mut self, command: &Command) -> Result<()> {
        let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["cargo", rest @ ..] => {
                let rest = rest.strip_prefix(&["+nightly"]).unwrap_or(rest);
                self.require_cargo(command, rest)
            }
            [program, ..] if program.contains('/') && !program.contains("//") => {
                if self.layout.root().join(&command.folder).join(program).is_file() {
                    return Ok(());
                }
                bail!("there is no {program}")
            }
            _ => Ok(()),
        }
    }

    fn require_cargo(&mut self, command: &Command, words: &[&str]) -> Result<()> {
        match words {
            ["xtask", subcommand, ..] => {
                let known = crate::Arguments::command();
                match known.find_subcommand(subcommand) {
                    Some(_) => Ok(()),
                    None => bail!("cargo xtask has no {subcommand}"),
                }
            }
            ["make", task, ..] if *task != "default" => bail!("cargo make has no task {task} here"),
            ["make", ..] => {
                let makefile = self.layout.root().join(&command.folder).join("Makefile.toml");
                if makefile.is_file() {
                    Ok(())
                } else {
                    bail!("there is no {}", makefile.display())
                }
            }
            _ => self.require_packages(command, words),
        }
    }

    /// The packages, their tests and their features that the command names are there.
    fn require_packages(&mut self, command: &Command, words: &[&str]) -> Result<()> {
        let packages = named(words, "--package").into_iter().chain(named(words, "-p"));
        for name in packages {
            let metadata = self.workspace(&command.folder)?;
            let package = metadata
                .packages
                .iter()
                .find(|package| package.name.as_str() == name)
                .with_context(|| format!("there is no package {name}"))?;
            for feature in named(words, "--features") {
                if !package.features.contains_key(feature) {
                    bail!("{name} has no feature {feature}");
                }
            }
            for test in named(words, "--test") {
                if !package.targets.iter().any(|target| target.is_test() && target.name == test) {
                    bail!("{name} has no test {test}");
                }
            }
        }
        Ok(())
    }

    fn workspace(&mut self, folder: &str) -> Result<&Metadata> {
        if !self.workspaces.contains_key(folder) {
            let metadata = MetadataCommand::new()
                .manifest_path(self.layout.root().join(folder).join("Cargo.toml"))
                .no_deps()
                .exec()
                .with_context(|| format!("there is no workspace in {folder:?}"))?;
            self.workspaces.insert(folder.to_owned(), metadata);
        }
        self.workspaces.get(folder).context("it was put there just now")
    }
}

/// What is behind an option, as often as it is there.
fn named<'a>(words: &[&'a str], option: &str) -> Vec<&'a str> {
    words.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKFLOW: &str = "
jobs:
  one:
    steps:
      - uses: actions/checkout@v4
      - working-directory: samples
        run: |
          cargo make default
          rustup default 1.95
      - run: >
          cargo test
          --package x
";

    fn said(folder: &str, command: &str) -> String {
        let layout = Layout::of_this_repository();
        let mut there = There { layout: &layout, workspaces: BTreeMap::new() };
        let words = command.split_whitespace().map(str::to_owned).collect();
        let outcome = there.require(&Command { folder: folder.to_owned(), words });
        outcome.map_or_else(|error| format!("{error:#}"), |()| "nothing".to_owned())
    }

    #[test]
    fn the_commands_of_a_workflow_are_its_lines_in_their_folders() -> Result<()> {
        let documents = YamlLoader::load_from_str(WORKFLOW)?;
        let found: Vec<(String, String)> = commands(&documents[0])
            .into_iter()
            .map(|command| (command.folder, command.words.join(" ")))
            .collect();
        let expected = [
            ("samples", "cargo make default"),
            ("samples", "rustup default 1.95"),
            ("", "cargo test --package x"),
        ];
        assert_eq!(found, expected.map(|(folder, text)| (folder.to_owned(), text.to_owned())));
        Ok(())
    }

    #[test]
    fn commands_that_name_what_is_there_are_fine() {
        for (folder, command) in [
            ("", ".ci/run"),
            ("", "cargo xtask test"),
            ("", "cargo test --package wdm-interrupt --features model --test failing"),
            ("samples", "cargo make default --release"),
            ("samples", "cargo build --package edu"),
            ("", "cargo install --locked cargo-make"),
        ] {
            assert_eq!(said(folder, command), "nothing", "{command}");
        }
    }

    #[test]
    fn commands_that_name_what_is_not_there_are_found() {
        for (folder, command, expected) in [
            ("", ".ci/walk", "no .ci/walk"),
            ("", "cargo xtask tset", "no tset"),
            ("", "cargo +nightly miri test --package wdm-interupt", "no package wdm-interupt"),
            ("", "cargo test --package wdm-interrupt --features modle", "no feature modle"),
            ("", "cargo test --package wdm-interrupt --test faling", "no test faling"),
            ("", "cargo build --package edu", "no package edu"),
            ("bed", "cargo make default", "there is no"),
            ("samples", "cargo make package", "no task package"),
            ("nowhere", "cargo build --package edu", "no workspace"),
        ] {
            let said = said(folder, command);
            assert!(said.contains(expected), "{command}: {said}");
        }
    }
}
