//! Breaking a rule, and what is reported of it.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use wdm_interrupt_model::{
    BugCheck, Rule,
    host::{Machine, Violation},
    report::Object,
};

use super::raw::irql;

/// Runs `f`, which must break `rule`, and gives the report. A test that names a rule is one that breaks
/// it: from that the list of rules and tests is made.
pub(super) fn breaks(machine: &Machine, rule: Rule, f: impl FnOnce()) -> Broken {
    let (already, before) = (machine.reports().len(), irql());
    let panic = catch_unwind(AssertUnwindSafe(f)).expect_err(&format!("{rule} was not found out"));
    let text = panic.downcast::<String>().expect("the report is a string");
    let [report] = &machine.reports()[already..] else {
        panic!("not one rule was broken, but {:?}: {text}", &machine.violations()[already..]);
    };
    assert_eq!((report.rule, &report.text), (rule, &*text));
    // A driver that brings the system down by itself does so with any.
    if let Some(bug_check) = report.bug_check.filter(|_| rule != Rule::BugCheck) {
        assert!(rule.stops().contains(&bug_check.stop()), "{rule} has no such stop: {text}");
        assert!(bug_check.name().is_some(), "{text}");
    }
    assert_eq!(irql(), before, "the IRQL after: {text}");
    Broken(report.clone())
}

/// The report of a rule that was broken.
#[must_use = "what is reported is to be looked at"]
pub(super) struct Broken(Violation);

impl Broken {
    /// All of the report is this: the call and its IRQL, the bug check, the objects. Gives it, for a
    /// look at its words.
    pub(super) fn is(
        self,
        call: &str,
        irql: u8,
        bug_check: Option<BugCheck>,
        objects: &[Object],
    ) -> Violation {
        let Self(report) = self;
        assert_eq!((report.call.as_str(), report.irql), (call, irql), "{report}");
        assert_eq!(report.bug_check, bug_check, "{report}");
        assert_eq!(report.objects, objects, "{report}");
        report
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The bug check that a report must have.
#[expect(clippy::unnecessary_wraps, reason = "a report has one or none")]
pub(super) const fn stop(code: u32, parameters: [u64; 4]) -> Option<BugCheck> {
    Some(BugCheck::new(code, parameters))
}

/// Driver Verifier's own bug check.
pub(super) const fn verifier(parameters: [u64; 4]) -> Option<BugCheck> {
    stop(0xC4, parameters)
}
