//! The fuzz targets, for a few seconds each. `cargo xtask fuzz` is for longer; the inputs in the tree are among the
//! host's tests, too.

use anyhow::Result;
use clap::ValueEnum as _;

use super::runner::Runner;
use crate::fuzz::{self, Places, Target};
use crate::layout::Layout;

/// For how long each.
const SECONDS: u32 = 5;

/// Runs all of this module's tests.
pub(super) fn run(layout: &Layout, runner: &mut Runner<'_>) {
    runner.test("fuzz: each target has its corpus, and each corpus its target", || {
        fuzz::check_corpora(layout)
    });
    for &target in Target::value_variants() {
        let name = format!("fuzz: {}, for {SECONDS} s", target.name());
        runner.test(&name, || short(layout, target));
    }
}

/// Fuzzes shortly.
fn short(layout: &Layout, target: Target) -> Result<()> {
    fuzz::build(layout)?;
    Places::of(layout, target)?.fuzz(SECONDS, |_line| {}).map(drop)
}
