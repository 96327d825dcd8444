//! A broken rule on its way to its report.

use core::fmt;

use super::Executive;
use crate::{
    hal::Hal,
    report::{BugCheck, Object, Report, Rule},
};

/// Driver Verifier's own bug check, `DRIVER_VERIFIER_DETECTED_VIOLATION`.
pub(super) const VERIFIER: u32 = 0xC4;

/// What a report says that is known where the rule is checked.
#[derive(Clone, Copy)]
pub(super) struct Breach<'a> {
    rule: Rule,
    call: &'a str,
    bug_check: Option<BugCheck>,
    objects: &'a [Object],
}

impl<'a> Breach<'a> {
    pub(super) const fn new(rule: Rule, call: &'a str) -> Self {
        Self { rule, call, bug_check: None, objects: &[] }
    }

    /// It is about these objects.
    pub(super) const fn of(mut self, objects: &'a [Object]) -> Self {
        self.objects = objects;
        self
    }

    /// Windows documents this bug check for it.
    pub(super) const fn stops(mut self, code: u32, parameters: [u64; 4]) -> Self {
        self.bug_check = Some(BugCheck::new(code, parameters));
        self
    }

    /// Windows documents this violation of Driver Verifier's for it.
    pub(super) const fn verifier(self, kind: u64, parameters: [u64; 3]) -> Self {
        let [second, third, fourth] = parameters;
        self.stops(VERIFIER, [kind, second, third, fourth])
    }
}

impl Breach<'_> {
    /// Windows documents it as this rule of Driver Verifier's DDI compliance checking. Its parameter
    /// is the address of a sentence, for which there is the rule's.
    pub(super) fn compliance(self, kind: u64) -> Self {
        self.verifier(kind, [self.rule.text().as_ptr().addr() as u64, 0, 0])
    }
}

impl<H: Hal> Executive<H> {
    /// Reports a broken rule.
    pub(super) fn violate(&self, breach: Breach<'_>, detail: fmt::Arguments<'_>) -> ! {
        let Breach { rule, call, bug_check, objects } = breach;
        self.hal.violation(&Report {
            rule,
            bug_check,
            call,
            processor: self.hal.processor(),
            irql: self.hal.irql(),
            objects,
            detail,
        })
    }

    /// A call that is legal up to an IRQL, and for which no bug check is documented.
    pub(super) fn require_irql(&self, rule: Rule, call: &str, highest: u32) {
        self.require_irql_or(highest, |_| Breach::new(rule, call));
    }

    /// A call that is legal up to an IRQL; `breach` is given the one that it is made at.
    pub(super) fn require_irql_or<'a>(&self, highest: u32, breach: impl FnOnce(u64) -> Breach<'a>) {
        let irql = self.hal.irql();
        if u32::from(irql) > highest {
            self.violate(breach(irql.into()), format_args!("called at IRQL {irql}"));
        }
    }
}
