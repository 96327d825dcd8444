//! `IoReportInterruptActive` and `IoReportInterruptInactive`.

use core::sync::atomic::Ordering;

use super::{Executive, breach::Breach};
use crate::{
    hal::{Event, Hal},
    nt::{DISPATCH_LEVEL, PIO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS},
    report::Rule,
};

impl<H: Hal> Executive<H> {
    /// `IoReportInterruptActive`: service routines are called again.
    ///
    /// # Safety
    ///
    /// `parameters` can be read.
    pub unsafe fn io_report_interrupt_active(
        &self,
        parameters: PIO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS,
    ) {
        // SAFETY: the caller's promise.
        unsafe { self.set_active(parameters, true, "IoReportInterruptActive") };
    }

    /// `IoReportInterruptInactive`: service routines are called no more.
    ///
    /// # Safety
    ///
    /// `parameters` can be read.
    pub unsafe fn io_report_interrupt_inactive(
        &self,
        parameters: PIO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS,
    ) {
        // SAFETY: the caller's promise.
        unsafe { self.set_active(parameters, false, "IoReportInterruptInactive") };
    }

    /// Whether service routines of `vector` are called: not if all that is connected to it was
    /// reported inactive. None if nothing is connected.
    pub fn is_active(&self, vector: u32) -> Option<bool> {
        self.dispatch.lock(&self.hal).chains.is_active(vector)
    }

    /// # Safety
    ///
    /// `parameters` can be read.
    unsafe fn set_active(
        &self,
        parameters: PIO_REPORT_INTERRUPT_ACTIVE_STATE_PARAMETERS,
        active: bool,
        call: &'static str,
    ) {
        self.require_irql(Rule::IrqlDispatch, call, DISPATCH_LEVEL);
        if parameters.is_null() || !parameters.is_aligned() {
            let breach = Breach::new(Rule::ConnectParameters, call);
            self.violate(breach, format_args!("at {parameters:p}"));
        }
        // SAFETY: the caller's promise.
        let block = unsafe { parameters.read() };
        // SAFETY: every member of the union is a pointer.
        let context = unsafe { block.ConnectionContext.Generic }.addr();
        self.require_connection(context, block.Version, call);
        let registry = self.registry.lock(&self.hal);
        for object in registry.connections.get(&context).into_iter().flat_map(|it| &it.objects) {
            object.active.store(active, Ordering::Relaxed);
            let vector = object.vector;
            let event = if active {
                Event::ReportedActive { vector }
            } else {
                Event::ReportedInactive { vector }
            };
            self.hal.trace(&event);
        }
    }

    /// A Version and a connection context that `IoConnectInterruptEx` returned together.
    pub(super) fn require_connection(&self, context: usize, version: u32, call: &'static str) {
        let registry = self.registry.lock(&self.hal);
        let connection = registry.connections.get(&context);
        let known = connection.map(|connection| (connection.version, connection.report(context)));
        drop(registry);
        let Some((returned, object)) = known else {
            self.refuse_context(context, "the connection context", call);
        };
        if returned != version {
            let breach = Breach::new(Rule::DisconnectVersion, call);
            // The bug check is that of IoDisconnectInterruptEx, and of no other call.
            let breach = if call == "IoDisconnectInterruptEx" {
                breach.stops(0xCA, [0x9, version.into(), 0, 0])
            } else {
                breach
            };
            self.violate(
                breach.of(&[object]),
                format_args!("Version is {version}, and the connect returned {returned}"),
            );
        }
    }
}
