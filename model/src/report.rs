//! The rules that the verifier checks, and the report of a broken one.

mod bug_check;
mod object;
mod rule;

use core::fmt;

pub(crate) use self::object::Tag;
pub use self::{
    bug_check::{BugCheck, Stop},
    object::Object,
    rule::Rule,
};

/// A broken rule, as the verifier saw it.
///
/// It displays as Driver Verifier's breaks are read: what happened in a line, then the rule, the
/// objects, and the stop that Windows would end in.
///
/// ```
/// use wdm_interrupt_model::report::{BugCheck, Object, Report, Rule};
///
/// let report = Report {
///     rule: Rule::IrqlSetEvent,
///     bug_check: Some(BugCheck::new(0xC4, [0x80, 5, 0x1000, 0])),
///     call: "KeSetEvent",
///     processor: 1,
///     irql: 5,
///     objects: &[Object::Event { address: 0x1000 }],
///     detail: format_args!("called at IRQL 5"),
/// };
/// let text = report.to_string();
/// let lines: Vec<&str> = text.lines().collect();
/// assert_eq!(lines[0], "IrqlSetEvent broken in KeSetEvent on processor 1 at IRQL 5: called at IRQL 5");
/// assert_eq!(lines[3], "  *** STOP: 0x000000C4 (0x0000000000000080,0x0000000000000005,0x0000000000001000,0x0000000000000000)");
/// assert_eq!(lines[4], "  DRIVER_VERIFIER_DETECTED_VIOLATION");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The rule.
    pub rule: Rule,
    /// The bug check that Windows would end in, where one is documented for this.
    pub bug_check: Option<BugCheck>,
    /// The kernel call in which it was found broken.
    pub call: &'a str,
    /// The processor that made the call. On the host those of system threads come after the
    /// machine's own.
    pub processor: usize,
    /// That processor's IRQL.
    pub irql: u8,
    /// The kernel objects that it is about.
    pub objects: &'a [Object],
    /// What exactly was wrong.
    pub detail: fmt::Arguments<'a>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} broken in {} on processor {} at IRQL {}: {}",
            self.rule, self.call, self.processor, self.irql, self.detail,
        )?;
        write!(f, "  the rule: {}", self.rule.text())?;
        let mut separator = " (Driver Verifier: ";
        for name in self.rule.verifier() {
            write!(f, "{separator}{name}")?;
            separator = ", ";
        }
        if !self.rule.verifier().is_empty() {
            f.write_str(")")?;
        }
        for object in self.objects {
            write!(f, "\n  concerned: {object}")?;
        }
        if let Some(bug_check) = self.bug_check {
            write!(f, "\n  *** STOP: {bug_check}")?;
            if let Some(name) = bug_check.name() {
                write!(f, "\n  {name}")?;
            }
        }
        Ok(())
    }
}
