//! What is in the ISR of a driver: the handler, and hardly anything of the library.
//!
//! `samples/isr-path` has handlers that read one register each, so that it is known what their service routines may
//! call: what the handler calls, and nobody else. The release build of it is disassembled, as it comes from the linker.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};

use super::disassembly::{self, Code};
use super::map::Map;
use crate::driver::{self, Profile};
use crate::layout::Layout;
use crate::setup::Host;
use crate::text;

/// The package, by its folder in `samples`, and the image that comes of it.
const PACKAGE: &str = "isr-path";
const IMAGE: &str = "isr_path";

/// Where the library's routines are.
const MODULE: &str = "wdm_interrupt::routine::";

/// The kinds of service routine that are made for a handler, by their names in `src/routine.rs`.
const KINDS: [&str; 5] = ["line", "message", "vector", "each_message", "each_line"];

/// The one that is made for none, and claims nothing.
const REFUSED: &str = "refused_line";

/// Service routines that run in a thread and may wait there, for a lock of the library's own too.
const PASSIVE: [&str; 2] = ["passive_line", "passive_message"];

/// The package's handlers, and what each calls in its ISR.
const HANDLERS: [(&str, &[&str]); 3] =
    [("Polled", &[]), ("Numbered", &[]), ("Deferring", &["KeInsertQueueDpc"])];

/// A service routine in the package, by its demangled symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ServiceRoutine<'a> {
    kind: &'a str,
    /// The handler that it is made for, if it is made for one of the package's.
    handler: Option<&'a str>,
}

impl<'a> ServiceRoutine<'a> {
    /// The routine that a symbol of this name is, if it is one.
    fn parse(name: &'a str) -> Option<Self> {
        let rest = name.strip_prefix(MODULE)?;
        let (kind, arguments) = rest.split_once("::").unwrap_or((rest, ""));
        let handler = arguments
            .strip_prefix('<')
            .and_then(|arguments| arguments.strip_prefix(IMAGE)?.strip_prefix("::"))
            .and_then(|arguments| arguments.split([',', '<', '>']).next());
        (KINDS.contains(&kind) || kind == REFUSED).then_some(Self { kind, handler })
    }

    /// Whom it may call: nobody but those that its handler calls.
    fn calls(self) -> Option<&'static [&'static str]> {
        let Some(name) = self.handler else {
            return (self.kind == REFUSED).then_some(&[]);
        };
        HANDLERS.iter().find(|(handler, _)| *handler == name).map(|(_, calls)| *calls)
    }
}

/// The service routines that the source of the library's routines declares: those that are given an interrupt object and
/// say whether they claim it.
fn declared_kinds(source: &str) -> impl Iterator<Item = &str> {
    source.split("kernel_routine! {").skip(1).filter_map(|declaration| {
        let (signature, _) = declaration.split_once(" {\n")?;
        let (_, signature) = signature.split_once("unsafe fn ")?;
        let (name, rest) = signature.split_once('[')?;
        (rest.contains("nt::PKINTERRUPT") && rest.contains("-> nt::BOOLEAN")).then_some(name)
    })
}

/// Builds the package and looks at each of its service routines.
pub(super) fn check(layout: &Layout, host: &Host) -> Result<()> {
    let source = text::read(&layout.root().join("src").join("routine.rs"))?;
    for kind in declared_kinds(&source) {
        if !KINDS.contains(&kind) && kind != REFUSED && !PASSIVE.contains(&kind) {
            bail!("the service routine `{kind}` of src/routine.rs is not in samples/{PACKAGE}");
        }
    }
    let folder = layout.root().join("samples").join(PACKAGE);
    let built = driver::build(layout, host, &folder, Profile::Release)?;
    let image = built.drivers.first().context("no driver was built")?;
    let objections = objections(&Code::of(image)?, &Map::read(&image.with_extension("map"))?)?;
    if !objections.is_empty() {
        bail!("{}", objections.join("\n"));
    }
    Ok(())
}

/// What is wrong with the service routines in an image.
fn objections(code: &Code, map: &Map) -> Result<Vec<String>> {
    let mut objections = Vec::new();
    let mut seen = BTreeSet::new();
    for (address, symbol) in map.symbols() {
        let name = symbol.demangled();
        let Some(routine) = ServiceRoutine::parse(&name) else { continue };
        let Some(expected) = routine.calls() else {
            objections.push(format!("{name}: nobody has said what its handler calls"));
            continue;
        };
        seen.insert((routine.kind.to_owned(), !expected.is_empty()));
        let found = disassembly::follow(code, map, address)?;
        if found.calls != expected {
            objections.push(format!(
                "{name} calls {}, and its handler {}",
                listed(&found.calls),
                listed(expected)
            ));
        }
        objections.extend(found.oddities.into_iter().map(|oddity| format!("{name}: {oddity}")));
    }
    for kind in KINDS {
        for (queues, what) in [(false, "calls nobody"), (true, "queues its deferred half")] {
            if !seen.contains(&(kind.to_owned(), queues)) {
                objections.push(format!("{IMAGE}.sys has no `{kind}` for a handler that {what}"));
            }
        }
    }
    Ok(objections)
}

fn listed<S: AsRef<str>>(names: &[S]) -> String {
    if names.is_empty() {
        return "nobody".to_owned();
    }
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "wdm_interrupt::routine::line::<isr_path::Polled, wdm_interrupt::deferred::NoDeferred>";

    #[test]
    fn a_service_routine_may_call_what_its_handler_calls() {
        let polled = ServiceRoutine::parse(LINE);
        assert_eq!(polled, Some(ServiceRoutine { kind: "line", handler: Some("Polled") }));
        assert_eq!(polled.and_then(ServiceRoutine::calls), Some(&[][..]));
        let deferring = LINE.replace("Polled", "Deferring");
        let deferring = ServiceRoutine::parse(&deferring).and_then(ServiceRoutine::calls);
        assert_eq!(deferring, Some(&["KeInsertQueueDpc"][..]));
    }

    #[test]
    fn what_the_handler_of_another_crate_calls_is_not_known() {
        for name in [LINE.replace("Polled", "Other"), LINE.replace("isr_path", "other")] {
            let routine = ServiceRoutine::parse(&name);
            assert!(routine.is_some_and(|routine| routine.calls().is_none()), "{name}");
        }
    }

    #[test]
    fn the_routine_without_a_handler_calls_nobody() {
        let refused = ServiceRoutine::parse("wdm_interrupt::routine::refused_line");
        assert_eq!(refused.and_then(ServiceRoutine::calls), Some(&[][..]));
    }

    #[test]
    fn other_routines_are_no_service_routines() {
        for name in ["wdm_interrupt::routine::dpc::<isr_path::Polled>", "isr_path::line"] {
            assert_eq!(ServiceRoutine::parse(name), None);
        }
    }

    #[test]
    fn service_routines_are_told_from_the_other_routines_of_the_kernel() {
        let source = "
kernel_routine! {
    /// An ISR.
    pub(crate) unsafe fn each[H: Handler](
        _interrupt: nt::PKINTERRUPT,
        context: nt::PVOID,
    ) -> nt::BOOLEAN {
        nt::FALSE
    }
}
kernel_routine! {
    unsafe fn synchronized[S](context: nt::PVOID) -> nt::BOOLEAN {
        nt::TRUE
    }
}
";
        assert_eq!(declared_kinds(source).collect::<Vec<_>>(), ["each"]);
    }
}
