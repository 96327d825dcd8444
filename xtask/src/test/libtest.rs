//! Reads what Rust's test programs print.

/// One test of a program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TestResult {
    pub(super) name: String,
    /// What the test printed, if it failed.
    pub(super) outcome: Result<(), String>,
}

/// The tests in the output of a test program, or of several one after the other. Ignored tests are no
/// tests.
pub(super) fn results(output: &str) -> Vec<TestResult> {
    output
        .lines()
        .filter_map(|line| {
            let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
            let outcome = match outcome {
                "ok" => Ok(()),
                "FAILED" => Err(printed_by(output, name)),
                _ => return None,
            };
            Some(TestResult { name: name.trim_end_matches(" - should panic").to_owned(), outcome })
        })
        .collect()
}

/// What a failed test printed: the part under its heading.
fn printed_by(output: &str, name: &str) -> String {
    let heading = format!("---- {name} stdout ----");
    let lines: Vec<&str> = output
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("---- ") && *line != "failures:")
        .collect();
    lines.join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 4 tests
test good ... ok
test wrong::one ... FAILED
test panics - should panic ... ok
test later ... ignored, not on this machine

failures:

---- wrong::one stdout ----

thread 'wrong::one' panicked at src/lib.rs:1:1:
left is not right

failures:
    wrong::one

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out
";

    #[test]
    fn each_test_that_ran_is_a_result() {
        let names: Vec<String> = results(OUTPUT).into_iter().map(|test| test.name).collect();
        assert_eq!(names, ["good", "wrong::one", "panics"]);
    }

    #[test]
    fn a_failed_test_has_what_it_printed() {
        let failed = results(OUTPUT).into_iter().find_map(|test| test.outcome.err());
        assert_eq!(
            failed.as_deref(),
            Some("\nthread 'wrong::one' panicked at src/lib.rs:1:1:\nleft is not right")
        );
    }
}
