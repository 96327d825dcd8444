//! The machine.

use std::{
    cell::RefCell,
    fmt,
    ops::Deref,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
    vec::Vec,
};

use super::{
    DeviceBuilder,
    hal::{HostHal, Shared, wait_until},
    processor::{Bound, Role, bind, current},
};
use crate::{
    executive::{Call, Executive, Fault, Leftovers},
    hal::Event,
    report::Rule,
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
        assert!((1..=64).contains(&processors), "between 1 and 64 processors");
        let shared = Arc::new(Shared::new(processors));
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
        thread::scope(|scope| {
            let scope = Scope {
                inner: Arc::clone(&self.inner),
                threads: scope,
                running: RefCell::default(),
            };
            let result = f(&scope);
            scope.join();
            result
        })
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

    /// Holds DPCs back, threaded ones included, until they are let go by `false`, or flushed by
    /// `KeFlushQueuedDpcs`.
    pub fn hold_dpcs(&self, hold: bool) {
        self.inner.shared().adversary.hold_dpcs.store(hold, Ordering::Relaxed);
        if !hold {
            self.inner.shared().threads.release_dpcs(&self.inner);
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

    /// Lets in what waits for this processor, and for those that no thread is.
    pub fn poll(&self) {
        current().poll();
    }

    /// Lets in what comes until `done`.
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
        self.inner.shared().events()
    }

    /// The rules that were broken so far, in order.
    #[must_use]
    pub fn violations(&self) -> Vec<Rule> {
        let violations = &self.inner.shared().violations;
        violations.lock().clone()
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
                thread::sleep(Duration::from_millis(1));
            }
            return;
        }
        wait_until("the system threads", || threads.are_idle());
        if let Some(panic) = threads.take_panic() {
            self.bound = None;
            resume_unwind(panic);
        }
        if !self.machine.inner.expects_leftovers.load(Ordering::Relaxed) {
            let leftovers = self.machine.left_behind();
            // The thread is free for another machine, also if this one was left in disorder.
            self.bound = None;
            assert!(leftovers.is_empty(), "{} broken: left behind: {leftovers}", Rule::LeftBehind);
        }
    }
}

/// Where threads are made processors, see [`Machine::scope`].
pub struct Scope<'scope, 'env: 'scope> {
    inner: Arc<Inner>,
    threads: &'scope thread::Scope<'scope, 'env>,
    running: RefCell<Vec<thread::ScopedJoinHandle<'scope, ()>>>,
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("running", &self.running.borrow().len()).finish()
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Runs `f` on a thread that is `processor` meanwhile.
    ///
    /// # Panics
    ///
    /// In that thread, and so in [`Machine::scope`], if the processor is another thread already,
    /// or if there is no such processor.
    pub fn spawn(&self, processor: usize, f: impl FnOnce() + Send + 'scope) {
        let known = self.inner.shared().known;
        assert!(processor < known, "there are {known} processors, and none is number {processor}");
        self.run(processor, Role::Processor(processor), f);
    }

    /// Runs `f` on a system thread: at `PASSIVE_LEVEL`, at the same time as all others, on a
    /// processor that drivers do not know of.
    ///
    /// # Panics
    ///
    /// If there are more than 32 system threads.
    pub fn spawn_system_thread(&self, f: impl FnOnce() + Send + 'scope) {
        let processor = self.inner.shared().threads.take_processor();
        let processor = processor.expect("there are too many system threads");
        self.run(processor, Role::System, f);
    }

    fn run(&self, processor: usize, role: Role, f: impl FnOnce() + Send + 'scope) {
        let inner = Arc::clone(&self.inner);
        let thread = self.threads.spawn(move || {
            // It is given back when this thread is no more on it.
            let on_loan = OnLoan { inner: &inner, processor, role };
            let bound = bind(&inner, processor, role);
            f();
            // What was asked of this processor last is done before the thread is gone.
            current().poll();
            drop(bound);
            drop(on_loan);
        });
        self.running.borrow_mut().push(thread);
    }

    /// Waits for all threads, while this processor lets in what comes.
    fn join(&self) {
        for thread in self.running.take() {
            wait_until("a thread of the scope", || thread.is_finished());
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
    }
}

/// Gives a system thread's processor back, also when unwinding.
struct OnLoan<'a> {
    inner: &'a Inner,
    processor: usize,
    role: Role,
}

impl Drop for OnLoan<'_> {
    fn drop(&mut self) {
        if self.role == Role::System {
            self.inner.shared().threads.give_processor_back(self.processor);
        }
    }
}
