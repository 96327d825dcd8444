//! The copy of the repository that `cargo-mutants` works on.
//!
//! It changes neither unsafe functions nor what is in a macro's braces, and these are the heart of the library. Both
//! are a way to write the function, not what it does: every unsafe operation has a block of its own. So in the copy
//! `unsafe fn` is `fn`, and `kernel_routine!` is taken away from the function in it. Lines stay where they are.
//!
//! Linking takes longer than testing, so the programs in `tests/` become the modules of one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;

use crate::layout::Layout;
use crate::text;

/// What in `tests/` is not run: a file, or a folder with a program.
const NOT_RUN: [&str; 5] = [
    // It is about types, which no mutant changes, and takes a minute.
    "compile_fail",
    // These try at length, and in many ways, what the others try each in its own.
    "failing",
    "random",
    "resource_bytes",
    "seeds",
];

/// The program that the tests become.
pub(super) const TOGETHER: &str = "together";

/// Copies what is in the repository into the folder `tree`, and prepares it.
pub(super) fn prepare(layout: &Layout, tree: &Path) -> Result<()> {
    if tree.exists() {
        fs::remove_dir_all(tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    }
    for name in known_files(layout)? {
        let (from, to) = (layout.root().join(&name), tree.join(&name));
        // What git knows may be deleted and not committed.
        if !from.is_file() {
            continue;
        }
        text::create_folder(to.parent().unwrap_or(tree))?;
        if name.starts_with("src/") && is_rust(&from) {
            let visible = visible(&text::read(&from)?);
            fs::write(&to, visible).with_context(|| format!("cannot write {}", to.display()))?;
        } else {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {name}"))?;
        }
    }
    gather_tests(&tree.join("tests"))
}

/// The files that git knows, and those that it would.
fn known_files(layout: &Layout) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(layout.root())
        .output()
        .context("cannot start git, which knows what belongs to the repository")?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let names = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    Ok(names.split_terminator('\0').map(str::to_owned).collect())
}

/// Makes the programs in the folder `tests` the modules of one.
fn gather_tests(tests: &Path) -> Result<()> {
    let mut together = String::from("//! All tests.\n");
    for path in entries(tests)? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if NOT_RUN.contains(&name.as_str()) {
            continue;
        }
        let main = if is_rust(&path) {
            format!("{name}.rs")
        } else if path.join("main.rs").is_file() {
            for file in entries(&path)?.iter().filter(|file| is_rust(file)) {
                let source = text::read(file)?.replace("crate::", &format!("crate::{name}::"));
                text::write_if_changed(file, source.as_bytes())?;
            }
            format!("{name}/main.rs")
        } else {
            continue;
        };
        together.push_str("\n#[path = \"../");
        together.push_str(&main);
        together.push_str("\"]\nmod ");
        together.push_str(&name);
        together.push_str(";\n");
    }
    ensure!(together.contains("mod "), "{} has no tests", tests.display());
    text::write_if_changed(&tests.join(TOGETHER).join("main.rs"), together.as_bytes())?;
    Ok(())
}

/// What is in a folder, by name.
fn entries(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()
    });
    entries.with_context(|| format!("cannot read {}", folder.display()))
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// A source file of the library, so that `cargo-mutants` sees all of its functions.
fn visible(source: &str) -> String {
    static ROUTINE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^(    (?:pub\(crate\) )?)unsafe fn (\w+)\[(.*?)\]\(").expect("a pattern")
    });
    static UNSAFE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\bunsafe fn (\w+[(<])").expect("a pattern"));

    let mut in_routine = false;
    let mut visible = String::with_capacity(source.len());
    for line in source.lines() {
        match line {
            "kernel_routine! {" => in_routine = true,
            "}" if in_routine => in_routine = false,
            comment if comment.trim_start().starts_with("//") => visible.push_str(comment),
            line if in_routine => {
                visible.push_str(&ROUTINE.replace(line, "${1}extern \"C-unwind\" fn $2<$3>("));
            }
            line => visible.push_str(&UNSAFE.replace(line, "fn $1")),
        }
        visible.push('\n');
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_of_tests_become_modules_that_find_what_was_in_their_root() {
        let tests = std::env::temp_dir().join(format!("gather-tests-{}", std::process::id()));
        let write = |name: &str, content: &str| {
            text::write_if_changed(&tests.join(name), content.as_bytes()).unwrap();
        };
        write("alone.rs", "");
        write("compile_fail.rs", "");
        write("common/mod.rs", "");
        write("several/main.rs", "mod part;\n");
        write("several/part.rs", "use crate::counter;\n");
        gather_tests(&tests).unwrap();
        let read = |name: &str| text::read(&tests.join(name)).unwrap();
        let together = read("together/main.rs");
        let part = read("several/part.rs");
        fs::remove_dir_all(&tests).unwrap();
        let modules: Vec<_> = together.lines().filter(|line| line.starts_with("mod ")).collect();
        assert_eq!(modules, ["mod alone;", "mod several;"]);
        assert!(
            together.contains("\"../alone.rs\"") && together.contains("\"../several/main.rs\"")
        );
        assert_eq!(part, "use crate::several::counter;\n");
    }

    #[test]
    fn an_unsafe_function_becomes_a_function() {
        assert_eq!(
            visible("    const unsafe fn way<'a>(self) {\n"),
            "    const fn way<'a>(self) {\n"
        );
        assert_eq!(visible("unsafe fn queue(\n"), "fn queue(\n");
    }

    #[test]
    fn what_is_no_function_of_the_library_stays() {
        for line in [
            "/// unsafe fn in_an_example() {}\n",
            "            $vis unsafe extern \"C-unwind\" fn $name<$($generics)*>(\n",
            "            pub(crate) unsafe fn $name[H, T: $handler<H>](\n",
            "type Dump = unsafe extern \"C\" fn(*const KINTERRUPT);\n",
            "unsafe impl Send for A {}\n",
        ] {
            assert_eq!(visible(line), line);
        }
    }

    #[test]
    fn a_routine_of_the_kernels_leaves_its_macro_and_stays_on_its_line() {
        let source = "kernel_routine! {\n    /// It is\n    pub(crate) unsafe fn line[H: A<D>, D](\n    \
                      ) -> u8 {\n        0\n    }\n}\n\nunsafe fn a() {}\n";
        let expected = "\n    /// It is\n    pub(crate) extern \"C-unwind\" fn line<H: A<D>, D>(\n    \
                        ) -> u8 {\n        0\n    }\n\n\nfn a() {}\n";
        assert_eq!(visible(source), expected);
    }
}
