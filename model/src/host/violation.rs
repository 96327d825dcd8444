//! A report that is kept.

use std::{
    borrow::ToOwned,
    fmt,
    string::{String, ToString},
    vec::Vec,
};

use crate::report::{BugCheck, Object, Report, Rule};

/// A broken rule, as it was [reported](Report), for a test to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The bug check that Windows would end in, where one is documented for this.
    pub bug_check: Option<BugCheck>,
    /// The kernel call in which it was found broken.
    pub call: String,
    /// The processor that made the call.
    pub processor: usize,
    /// That processor's IRQL.
    pub irql: u8,
    /// The kernel objects that it is about.
    pub objects: Vec<Object>,
    /// The report as it was displayed.
    pub text: String,
}

impl From<&Report<'_>> for Violation {
    fn from(report: &Report<'_>) -> Self {
        Self {
            rule: report.rule,
            bug_check: report.bug_check,
            call: report.call.to_owned(),
            processor: report.processor,
            irql: report.irql,
            objects: report.objects.to_vec(),
            text: report.to_string(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
