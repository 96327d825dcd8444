//! All tests: what is said of the sources, the host's tests, the drivers as files, and the bed's tests.
//!
//! A test is one line, `ok NAME` or `FAILED NAME` with its output below; the last line counts them. What takes a
//! set-up or a build gets it when the first test needs it, so that a filter keeps a run short.

mod arm64;
mod binary;
mod contract;
mod cross;
mod damage;
mod devfund;
mod disassembly;
mod examples;
mod facets;
mod foreign;
mod fuzzing;
pub(crate) mod host;
mod imports;
mod inx;
mod isr_path;
mod items;
mod libtest;
pub(crate) mod loom;
mod loom_steps;
mod machine;
mod map;
mod misdeeds;
mod packaged;
mod program;
mod proving;
mod publishing;
mod repository;
mod rules;
mod runner;
mod sanitizer;
mod scenarios;
mod trace;
mod windows;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use self::binary::Kind;
use self::devfund::Drivers;
use self::machine::{Expected, Job};
use self::repository::Locks;
use self::runner::Runner;
use crate::driver::{self, Profile};
use crate::layout::Layout;
use crate::qemu::{Interrupt, Machine};
use crate::setup::{self, Host};
use crate::{bed, bench, client, mutants, package, twin};

/// Runs the tests whose name contains `filter`, and says whether all passed.
pub(crate) fn run(layout: &Layout, filter: Option<&str>) -> Result<bool> {
    let locks = Locks::read(layout)?;
    let mut runner = Runner::new(filter);
    let things = Things::new(layout);
    host::run(layout, &mut runner);
    sanitizer::run(layout, &mut runner);
    fuzzing::run(layout, &mut runner);
    loom::run(layout, &mut runner);
    runner.test("repository: the oldest Rust is stated, and is not newer than this one", || {
        repository::oldest_rust(layout)
    });
    runner.test("repository: the packages to be published have their files and no others", || {
        publishing::files(layout)
    });
    runner.test("repository: the packages to be published build from their files alone", || {
        publishing::builds(layout)
    });
    runner.test("repository: every public item has an example", || examples::check(layout));
    runner.test("repository: docs/contract.md says of every rule how it is upheld", || {
        contract::check(layout)
    });
    runner.test("repository: the mutants that are left out are there, and have a reason", || {
        mutants::list::check(layout)
    });
    runner.test(
        "repository: model/RULES.md has every rule of the verifier, each with its tests",
        || rules::check(layout),
    );
    runner.test("repository: cargo make on Windows would find what it looks for", || {
        windows::makefiles(layout)
    });
    runner.test("repository: what the workflows run is there", || windows::workflows(layout));
    runner.test("inf: each INX leads to driver, security, interrupts and service", || {
        inx::check_templates(layout)
    });
    test_drivers(&mut runner, &things);
    if runner.may_want("bed") {
        match jobs(&things) {
            Ok((bed, jobs)) => machine::run(&mut runner, bed, &jobs),
            Err(error) => runner.prevented("bed: the bed and its drivers are built", &error),
        }
    }
    runner.test("bed: what the demo traces is what it says", || {
        trace::check(things.bed()?, things.edu()?)
    });
    runner.test("bed: no way into a service routine takes more instructions than in C", || {
        let (bed, both) = (things.bed()?, [Interrupt::Message, Interrupt::Line]);
        let rust = bench::count(bed, things.edu()?, &both)?;
        bench::compare_isr(&rust, &bench::count(bed, things.twin()?, &both)?)
    });
    runner.test("bed: as many instructions are stepped through as the clock counts", || {
        bench::check_clock(things.bed()?, things.edu()?)
    });
    runner.test("bed: a message costs no more among 512 than among five", || {
        bench::check_scale(things.bed()?, layout, things.host()?)
    });
    let own = runner.offered().clone();
    runner.test("repository: every mistake in docs/scenarios.md has its test", || {
        scenarios::check(layout, &own)
    });
    runner.test("repository: every test that docs/hlk.md names is there", || {
        devfund::check(layout, &own)
    });
    runner.test("repository: the lock files are the same as before", || locks.compare(layout));
    Ok(runner.close())
}

/// The tests of drivers as code and as files.
fn test_drivers(runner: &mut Runner<'_>, things: &Things<'_>) {
    let layout = things.layout;
    runner.test("driver: everything missing is set up", || things.host().map(drop));
    // The line says what it was linted with, so the set-up comes before the name.
    if runner.may_want("lint")
        && let Ok(host) = things.host()
    {
        runner.test(
            &format!("lint: the drivers, for Windows ({})", cross::linter(&host.driver)),
            || cross::lint_drivers(layout, host),
        );
        runner.test(&format!("lint: the bed ({})", cross::linter(&host.bed)), || {
            cross::lint_bed(layout, host)
        });
        runner.test("lint: the user program, for Windows", || client::lint(layout));
    }
    runner.test("driver: samples/edu builds to edu.sys", || things.edu().map(drop));
    runner.test("driver: a second build compiles nothing", || {
        things.edu()?;
        let built = driver::build(layout, things.host()?, &layout.sample(), Profile::Release)?;
        if built.fresh {
            Ok(())
        } else {
            bail!("cargo compiled something though nothing had changed")
        }
    });
    runner.test("driver: a crate that is no driver is refused before it is compiled", || {
        let folder = layout.root().join("model");
        match driver::build(layout, things.host()?, &folder, Profile::Release) {
            Err(error) if error.to_string().contains("is not a driver's crate") => Ok(()),
            Err(error) => Err(error),
            Ok(_) => bail!("it was built"),
        }
    });
    runner.test("driver: edu.sys imports only what Windows 10, version 2004, exports", || {
        imports::check(layout, [things.edu()?])
    });
    runner.test("driver: the other samples import only what it exports", || {
        imports::check(
            layout,
            [things.e1000e()?, things.facets()?, things.proving()?, things.minimal()?],
        )
    });
    runner.test("driver: edu.sys and e1000e.sys are as Windows wants an image to be", || {
        binary::check([things.edu()?, things.e1000e()?], Kind::Packaged)
    });
    runner.test("driver: the other samples are as Windows wants an image to be", || {
        binary::check([things.facets()?, things.proving()?, things.minimal()?], Kind::Tested)
    });
    runner.test("driver: an image that is not is refused, in each of the ways", || {
        binary::check_the_check(things.edu()?)
    });
    runner.test("driver: wdk-build's packaging reads what the samples' makefile makes", || {
        windows::tasks_of_wdk_build(layout, things.host()?)
    });
    runner.test("driver: edu and e1000e are packaged: INF, driver, catalogue, symbols", || {
        packaged::check(layout, things.host()?)
    });
    runner.test("driver: a package with a changed driver or another's symbols is refused", || {
        packaged::check_refusals(layout, things.host()?, things.e1000e()?)
    });
    runner.test("driver: the user program links for Windows, with what Windows itself has", || {
        program::check(&client::build(layout)?)
    });
    runner.test("driver: edu and e1000e compile and link for Arm64", || {
        arm64::check(layout, things.host()?)
    });
    runner.test("driver: the model's layouts are those of wdk-sys", || {
        cross::layouts(layout, things.host()?)
    });
    runner.test("driver: the ISR path calls only what the handler calls", || {
        isr_path::check(layout, things.host()?)
    });
    runner.test("driver: a stranger's crate builds, and imports from ntoskrnl.exe only", || {
        let imports = imports::of(things.stranger()?)?;
        match imports.iter().find(|import| import.module != "ntoskrnl.exe") {
            None if !imports.is_empty() => Ok(()),
            None => bail!("the driver imports nothing"),
            Some(other) => bail!("{} is imported from {}", other.name, other.module),
        }
    });
}

/// All that is booted.
fn jobs<'a>(things: &'a Things<'_>) -> Result<(&'a Path, Vec<Job>)> {
    let bed = things.bed()?;
    let edu = things.edu()?;
    let machine = Machine::with_edu(1, Interrupt::Message);
    let mut jobs = machine::own_tests(bed, edu)?;
    for damaged in damage::files(things.layout, edu)? {
        jobs.push(Job {
            name: damaged.name.to_owned(),
            driver: damaged.file,
            command: machine.run_command(),
            machine: machine.clone(),
            expected: Expected::Refusal(damaged.said),
        });
    }
    jobs.extend(machine::own_tests(bed, things.e1000e()?)?);
    jobs.extend(twins_tests(bed, things.twin()?)?);
    jobs.extend(misdeeds::jobs(things.misbehaving()?));
    jobs.extend(facets::jobs(things.facets()?));
    jobs.extend(proving::jobs(things.proving()?, edu));
    jobs.extend(devfund::jobs(Drivers {
        edu,
        twin: things.twin()?,
        e1000e: things.e1000e()?,
        minimal: things.minimal()?,
    }));
    for interrupt in [Interrupt::Message, Interrupt::Line] {
        let machine = Machine::with_edu(1, interrupt);
        jobs.push(Job {
            name: format!("minimal_is_interrupted_by_its_{interrupt}"),
            driver: things.minimal()?.to_path_buf(),
            command: machine.run_command(),
            machine,
            expected: Expected::Success(&["minimal: status 0x1: 5! = 120", "left behind: nothing"]),
        });
    }
    let package = package::make(things.layout, things.host()?, &things.layout.sample())?;
    jobs.push(Job {
        name: "the_packaged_driver_starts_with_its_version_and_signature".to_owned(),
        driver: package.file("sys"),
        command: machine.run_command(),
        machine: machine.clone(),
        expected: Expected::Success(&["START returned STATUS_SUCCESS", "left behind: nothing"]),
    });
    jobs.push(Job {
        name: "a_strangers_driver_without_a_device_is_loaded_and_unloaded".to_owned(),
        driver: things.stranger()?.to_path_buf(),
        command: machine.run_command(),
        machine: machine.clone(),
        expected: Expected::Success(&["stranger: hello", "stranger: goodbye"]),
    });
    jobs.push(Job {
        name: "a_machine_that_takes_too_long_is_stopped".to_owned(),
        driver: edu.to_path_buf(),
        command: machine.run_command(),
        machine: Machine { seconds: 0, ..machine },
        expected: Expected::Stopped,
    });
    Ok((bed, jobs))
}

/// What is asked of `samples/edu` is asked of its twin in C: the two make the same promises.
fn twins_tests(bed: &Path, twin: &Path) -> Result<Vec<Job>> {
    let mut jobs = machine::own_tests(bed, twin)?;
    // What the interrupt needs is in its device extension, so a START by line has no allocation to fail.
    jobs.retain(|job| job.name != "each_call_of_a_start_by_line_can_fail_and_leaves_nothing");
    for job in &mut jobs {
        job.name.insert_str(0, "the twin in C: ");
    }
    Ok(jobs)
}

/// What several tests need, made when the first of them asks.
struct Things<'a> {
    layout: &'a Layout,
    host: OnceCell<Option<Host>>,
    edu: OnceCell<Option<PathBuf>>,
    bed: OnceCell<Option<PathBuf>>,
    stranger: OnceCell<Option<PathBuf>>,
    misbehaving: OnceCell<Option<PathBuf>>,
    e1000e: OnceCell<Option<PathBuf>>,
    facets: OnceCell<Option<PathBuf>>,
    proving: OnceCell<Option<PathBuf>>,
    minimal: OnceCell<Option<PathBuf>>,
    twin: OnceCell<Option<PathBuf>>,
}

impl<'a> Things<'a> {
    const fn new(layout: &'a Layout) -> Self {
        Self {
            layout,
            host: OnceCell::new(),
            edu: OnceCell::new(),
            bed: OnceCell::new(),
            stranger: OnceCell::new(),
            misbehaving: OnceCell::new(),
            e1000e: OnceCell::new(),
            facets: OnceCell::new(),
            proving: OnceCell::new(),
            minimal: OnceCell::new(),
            twin: OnceCell::new(),
        }
    }

    fn host(&self) -> Result<&Host> {
        made_once(&self.host, "the set-up", || setup::run(self.layout))
    }

    fn edu(&self) -> Result<&Path> {
        let made = made_once(&self.edu, "the build of samples/edu", || {
            let built =
                driver::build(self.layout, self.host()?, &self.layout.sample(), Profile::Release)?;
            built.drivers.into_iter().next().context("no driver was built")
        });
        Ok(made?)
    }

    fn bed(&self) -> Result<&Path> {
        let made =
            made_once(&self.bed, "the build of the bed", || bed::build(self.layout, self.host()?));
        Ok(made?)
    }

    fn stranger(&self) -> Result<&Path> {
        let made = made_once(&self.stranger, "the build of a stranger's crate", || {
            foreign::build(self.layout, self.host()?)
        });
        Ok(made?)
    }

    fn misbehaving(&self) -> Result<&Path> {
        let made = made_once(&self.misbehaving, "the build of samples/misbehaving", || {
            misdeeds::build(self.layout, self.host()?)
        });
        Ok(made?)
    }

    fn e1000e(&self) -> Result<&Path> {
        self.sample(&self.e1000e, "e1000e")
    }

    fn facets(&self) -> Result<&Path> {
        self.sample(&self.facets, "facets")
    }

    fn proving(&self) -> Result<&Path> {
        self.sample(&self.proving, "proving")
    }

    fn minimal(&self) -> Result<&Path> {
        self.sample(&self.minimal, "minimal")
    }

    /// `samples/edu` in C.
    fn twin(&self) -> Result<&Path> {
        let made = made_once(&self.twin, "the build of benches/twin/edu", || {
            twin::build(self.layout, self.host()?, "edu")
        });
        Ok(made?)
    }

    /// The driver in the folder `name` of the samples.
    fn sample<'s>(&'s self, cell: &'s OnceCell<Option<PathBuf>>, name: &str) -> Result<&'s Path> {
        let made = made_once(cell, &format!("the build of samples/{name}"), || {
            let folder = self.layout.root().join("samples").join(name);
            let built = driver::build(self.layout, self.host()?, &folder, Profile::Release)?;
            built.drivers.into_iter().next().context("no driver was built")
        });
        Ok(made?)
    }
}

/// The thing in `cell`, made now if nobody has asked for it before. The reason why it could not be made is the error
/// of the first who asks; to the others it is enough to say that it was not.
fn made_once<'a, T>(
    cell: &'a OnceCell<Option<T>>,
    what: &str,
    maker: impl FnOnce() -> Result<T>,
) -> Result<&'a T> {
    if cell.get().is_none() {
        match maker() {
            // The cell was empty a moment ago, and this is one thread.
            Ok(thing) => drop(cell.set(Some(thing))),
            Err(error) => {
                drop(cell.set(None));
                return Err(error);
            }
        }
    }
    cell.get().and_then(Option::as_ref).ok_or_else(|| anyhow!("{what} failed, see above"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_made_is_not_tried_twice() {
        let cell: OnceCell<Option<u32>> = OnceCell::new();
        let first = made_once(&cell, "the number", || bail!("no number"));
        assert_eq!(first.map_err(|error| error.to_string()), Err("no number".to_owned()));
        let second = made_once(&cell, "the number", || Ok(1));
        assert!(second.is_err_and(|error| error.to_string().contains("see above")));
    }

    #[test]
    fn what_was_made_is_made_once() {
        let cell = OnceCell::new();
        assert_eq!(made_once(&cell, "a", || Ok(1)).ok(), Some(&1));
        assert_eq!(made_once(&cell, "a", || Ok(2)).ok(), Some(&1));
    }
}
