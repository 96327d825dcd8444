//! The machine.

use std::{
    fmt,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
    vec::Vec,
};

use super::{
    DeviceBuilder, Scope, Violation,
    hal::{HostHal, Shared, wait_until},
    processor::{Bound, Role, bind, current, notify},
    schedule::Schedule,
};
use crate::{
    executive::{Call, Executive, FallibleCall, Fault, Leftovers},
    hal::Event,
    report::Rule,
    trace::Trace,
};

/// A machine to test a driver on. Clones are the same machine.
///
/// ```
/// use wdm_interrupt_model::host::Machine;
///
/// let machine = Machine::new(2).enter();
/// let device = machine.device().messages(4).build();
/// assert!(!device.physical_device_object().is_null());
/// // Here it is checked that nothing was left behind.
/// machine.leave();
/// ```
#[derive(Clone)]
pub struct Machine {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    executive: Executive<HostHal>,
    expects_leftovers: AtomicBool,
}

impl Inner {
    pub(super) const fn executive(&self) -> &Executive<HostHal> {
        &self.executive
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.executive.hal().shared
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("executive", &self.inner.executive).finish()
    }
}

impl Machine {
    /// A machine with this many processors, 64 at most.
    ///
    /// # Panics
    ///
    /// If it is none, or more.
    #[must_use]
    pub fn new(processors: usize) -> Self {
        Self::with(processors, None)
    }

    /// A machine on which one thread at a time runs, as a schedule says.
    pub(super) fn scheduled(processors: usize, schedule: Schedule) -> Self {
        Self::with(processors, Some(schedule))
    }

    fn with(processors: usize, schedule: Option<Schedule>) -> Self {
        assert!((1..=64).contains(&processors), "between 1 and 64 processors");
        let shared = Arc::new(Shared::new(processors, schedule));
        let executive = Executive::new(HostHal { shared });
        Self { inner: Arc::new(Inner { executive, expects_leftovers: AtomicBool::new(false) }) }
    }

    /// Makes the current thread processor 0, until what this gives is dropped. Then it is checked
    /// that nothing was left behind.
    ///
    /// # Panics
    ///
    /// If this thread is a processor already, or another thread is processor 0.
    #[must_use]
    pub fn enter(&self) -> Entered {
        let bound = bind(&self.inner, 0, Role::Processor(0));
        Entered { bound: Some(bound), machine: self.clone() }
    }

    /// Runs `f`, in which threads can be made other processors, and waits for them.
    ///
    /// # Panics
    ///
    /// As `f` or one of the threads did.
    pub fn scope<'env, R>(&self, f: impl for<'scope> FnOnce(&Scope<'scope, 'env>) -> R) -> R {
        Scope::run(&self.inner, f)
    }

    /// A device, to be described and built.
    #[must_use]
    pub fn device(&self) -> DeviceBuilder {
        DeviceBuilder::new(self)
    }

    /// The executive, for what has no method here.
    #[must_use]
    pub fn executive(&self) -> &Executive<HostHal> {
        &self.inner.executive
    }

    /// Makes a call go wrong, once: the next one if `nth` is 0, the one after it if it is 1.
    pub fn fail(&self, call: Call, nth: usize, fault: impl Into<Fault>) {
        self.executive().fail(call, nth, fault);
    }

    /// Makes a call go wrong, once: the next one that can fail if `nth` is 0, whatever its name, the
    /// one after it if it is 1.
    ///
    /// With it a test walks through all points at which something can fail:
    ///
    /// ```
    /// use wdm_interrupt_model::{
    ///     host::{Machine, kernel},
    ///     nt::{self, POOL_FLAG_NON_PAGED},
    /// };
    ///
    /// /// Allocates two blocks of pool, and frees those it got.
    /// fn two_blocks() -> bool {
    ///     const TAG: u32 = u32::from_le_bytes(*b"demo");
    ///     // SAFETY: PASSIVE_LEVEL.
    ///     let blocks = [(); 2].map(|()| unsafe { kernel::ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, TAG) });
    ///     for block in blocks.into_iter().filter(|block| !block.is_null()) {
    ///         // SAFETY: allocated above.
    ///         unsafe { kernel::ExFreePoolWithTag(block, TAG) };
    ///     }
    ///     blocks.iter().all(|block| !block.is_null())
    /// }
    ///
    /// let machine = Machine::new(1).enter();
    /// for nth in 0.. {
    ///     machine.watch_fallible_calls();
    ///     machine.fail_nth(nth, nt::STATUS_INSUFFICIENT_RESOURCES);
    ///     let succeeded = two_blocks();
    ///     let failed = machine.faults_left() == 0;
    ///     assert_eq!(succeeded, !failed, "{:?}", machine.fallible_calls());
    ///     assert!(machine.left_behind().is_empty());
    ///     if !failed {
    ///         assert_eq!(nth, 2);
    ///         break;
    ///     }
    /// }
    /// ```
    pub fn fail_nth(&self, nth: usize, fault: impl Into<Fault>) {
        self.executive().fail_nth(nth, fault);
    }

    /// How many faults wait for their calls: 0 once all that was asked for has happened.
    #[must_use]
    pub fn faults_left(&self) -> usize {
        self.executive().faults_left()
    }

    /// Forgets the faults that wait for their calls, and begins to write down anew which calls are
    /// made that can fail; the first 1,024.
    pub fn watch_fallible_calls(&self) {
        self.executive().watch_fallible_calls();
    }

    /// The calls that were made and could have failed, in order, since they are
    /// [watched](Self::watch_fallible_calls).
    #[must_use]
    pub fn fallible_calls(&self) -> Vec<FallibleCall> {
        self.executive().fallible_calls()
    }

    /// Holds DPCs back, threaded ones included, until they are let go by `false`, or flushed by
    /// `KeFlushQueuedDpcs`.
    pub fn hold_dpcs(&self, hold: bool) {
        self.inner.shared().adversary.hold_dpcs.store(hold, Ordering::Relaxed);
        if !hold {
            self.inner.shared().threads.release_dpcs(&self.inner);
            self.notify_all();
            current().poll();
        }
    }

    /// Has DPCs of low importance wait for another DPC of their processor, or for
    /// `KeFlushQueuedDpcs`, or until they are let go by `false`.
    pub fn delay_low_importance(&self, delay: bool) {
        let shared = self.inner.shared();
        shared.adversary.delay_low_importance.store(delay, Ordering::Relaxed);
        if !delay {
            for processor in &shared.processors {
                processor.request_dispatch();
            }
            self.notify_all();
            current().poll();
        }
    }

    /// Has threaded DPCs run at `DISPATCH_LEVEL`, as on a system where they are turned off.
    /// Otherwise they run at `PASSIVE_LEVEL` in system threads.
    pub fn threaded_dpcs_at_dispatch_level(&self, at_dispatch_level: bool) {
        let adversary = &self.inner.shared().adversary;
        adversary.threaded_dpcs_at_dispatch_level.store(at_dispatch_level, Ordering::Relaxed);
    }

    /// Holds work items back until they are let go by `false`.
    pub fn hold_work_items(&self, hold: bool) {
        self.inner.shared().threads.hold_work(&self.inner, hold);
    }

    /// For so long a wait without a timeout may last, before it is a broken rule: 30 seconds,
    /// unless something else is said.
    pub fn set_patience(&self, patience: Duration) {
        self.inner.shared().set_patience(patience);
    }

    /// Lets in what comes until no system thread has anything to do: no work item, no passive
    /// interrupt, no threaded DPC.
    ///
    /// # Panics
    ///
    /// As a system thread did, and after 40 seconds.
    pub fn settle(&self) {
        let threads = &self.inner.shared().threads;
        wait_until("the system threads", || threads.are_idle());
        current().poll();
    }

    /// Connects passive lines also when a spin lock is given for them, which they then have not: a
    /// kernel that does not check.
    pub fn ignore_passive_lock(&self, ignore: bool) {
        self.executive().ignore_passive_lock(ignore);
    }

    /// Whether each vector interrupts once while `IoConnectInterruptEx` has not returned, on the
    /// processor that called it.
    pub fn interrupt_during_connect(&self, interrupt: bool) {
        let adversary = &self.inner.shared().adversary;
        adversary.interrupt_during_connect.store(interrupt, Ordering::Relaxed);
    }

    /// Whether each vector interrupts once while `IoConnectInterruptEx` has not returned, on another
    /// processor, where the DPC that was queued then runs also before it has returned. It needs a
    /// processor that no thread is.
    pub fn dpc_elsewhere_during_connect(&self, interrupt: bool) {
        let adversary = &self.inner.shared().adversary;
        adversary.dpc_elsewhere_during_connect.store(interrupt, Ordering::Relaxed);
    }

    /// Whether each vector interrupts once while `IoDisconnectInterruptEx` has not yet taken
    /// anything away.
    pub fn interrupt_during_disconnect(&self, interrupt: bool) {
        let adversary = &self.inner.shared().adversary;
        adversary.interrupt_during_disconnect.store(interrupt, Ordering::Relaxed);
    }

    /// Whether a device that interrupts while its driver reports the interrupt inactive breaks a
    /// rule. Otherwise nobody hears it.
    pub fn require_silence_while_inactive(&self, require: bool) {
        let adversary = &self.inner.shared().adversary;
        adversary.silence_while_inactive.store(require, Ordering::Relaxed);
    }

    /// One of `0..count`, for what a test leaves open: which processor an interrupt goes to, or
    /// whether a device is done. The seed says which, in a test that [explores](super::Explore);
    /// otherwise it is 0.
    #[must_use]
    pub fn choose(&self, count: usize) -> usize {
        self.inner.shared().schedule.as_ref().map_or(0, |schedule| schedule.choose(count))
    }

    /// Lets in what waits for this processor, and for those that no thread is.
    pub fn poll(&self) {
        current().poll();
    }

    /// Lets in what comes until `done`. Nothing comes in while `done` looks.
    ///
    /// # Panics
    ///
    /// After 40 seconds, or as a system thread did.
    pub fn wait_until(&self, done: impl FnMut() -> bool) {
        wait_until("what the test wants", done);
    }

    /// What happened so far, in order; the first 65,536.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.inner.shared().log.records().iter().map(|record| record.event).collect()
    }

    /// What happened so far, when and where; the first 65,536, and how many more there were.
    ///
    /// With the feature `trace` a [`Trace`] is written out to be looked at.
    #[must_use]
    pub fn trace(&self) -> Trace {
        let shared = self.inner.shared();
        Trace {
            name: thread::current().name().unwrap_or("a test").to_owned(),
            processors: u32::try_from(shared.known).unwrap_or(u32::MAX),
            lost: shared.log.lost(),
            records: shared.log.records(),
        }
    }

    /// Writes what happened so far to `file`, for <https://ui.perfetto.dev> and `chrome://tracing`,
    /// and a picture of it beside that, as `.svg`.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    ///
    /// # Example
    ///
    /// ```
    /// use wdm_interrupt_model::host::Machine;
    ///
    /// let machine = Machine::new(2).enter();
    /// machine.executive().ke_flush_queued_dpcs();
    /// let file = std::env::temp_dir().join(format!("flush-{}.json", std::process::id()));
    /// let picture = machine.write_trace(&file)?;
    /// assert_eq!(picture, file.with_extension("svg"));
    /// machine.leave();
    /// # std::fs::remove_file(file)?;
    /// # std::fs::remove_file(picture)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "trace")]
    pub fn write_trace(
        &self,
        file: impl AsRef<std::path::Path>,
    ) -> std::io::Result<std::path::PathBuf> {
        Trace::write(&[self.trace()], file.as_ref())
    }

    /// The rules that were broken so far, in order.
    #[must_use]
    pub fn violations(&self) -> Vec<Rule> {
        let violations = &self.inner.shared().violations;
        violations.lock().iter().map(|violation| violation.rule).collect()
    }

    /// The reports of the rules that were broken so far, in order.
    ///
    /// ```
    /// use wdm_interrupt_model::{
    ///     Rule,
    ///     host::{Machine, kernel},
    ///     report::BugCheck,
    /// };
    ///
    /// let machine = Machine::new(1).enter();
    /// // SAFETY: the IRQL is what is wrong.
    /// let lowered = || unsafe { kernel::KeLowerIrql(2) };
    /// assert!(std::panic::catch_unwind(lowered).is_err());
    /// let report = &machine.reports()[0];
    /// assert_eq!((report.rule, report.call.as_str()), (Rule::IrqlOrder, "KeLowerIrql"));
    /// // From IRQL 0 to 2.
    /// assert_eq!(report.bug_check, Some(BugCheck::new(0xC4, [0x31, 0, 2, 0])));
    /// ```
    #[must_use]
    pub fn reports(&self) -> Vec<Violation> {
        self.inner.shared().violations.lock().clone()
    }

    /// What drivers have not given back so far.
    #[must_use]
    pub fn left_behind(&self) -> Leftovers {
        self.executive().left_behind()
    }

    /// Turns off the check for what was left behind, for a test of just that.
    pub fn expect_leftovers(&self) {
        self.inner.expects_leftovers.store(true, Ordering::Relaxed);
    }

    fn notify_all(&self) {
        for processor in 0..self.inner.shared().processors.len() {
            notify(&self.inner, processor);
        }
    }

    pub(super) const fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

/// The current thread as processor 0 of a machine, which it gives access to.
pub struct Entered {
    bound: Option<Bound>,
    machine: Machine,
}

impl Entered {
    /// Ends the run: waits for the system's threads, and checks that nothing was left behind. So
    /// does dropping.
    ///
    /// # Panics
    ///
    /// With a list of what was left behind, or as a system thread did.
    pub fn leave(self) {}
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl Deref for Entered {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let threads = &self.machine.inner.shared().threads;
        if thread::panicking() {
            // What the threads use is about to go, so they get a moment to be through with it.
            for _ in 0..1000 {
                if threads.are_idle() {
                    break;
                }
                current().give_way(None, || thread::sleep(Duration::from_millis(1)));
            }
            return;
        }
        wait_until("the system threads", || threads.are_idle());
        if let Some(panic) = threads.take_panic() {
            self.bound = None;
            resume_unwind(panic);
        }
        if !self.machine.inner.expects_leftovers.load(Ordering::Relaxed) {
            let executive = self.machine.executive();
            let left = catch_unwind(AssertUnwindSafe(|| {
                executive.require_nothing_left("the end of the run");
            }));
            // The thread is free for another machine, also if this one was left in disorder.
            self.bound = None;
            if let Err(panic) = left {
                resume_unwind(panic);
            }
        }
    }
}
