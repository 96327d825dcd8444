//! Each rule of the verifier, broken by calls of the kernel made by hand, and what is reported of it:
//! the call, the IRQL, the bug check with its parameters, the objects.

mod connected;
mod connecting;
mod dpcs;
mod irql;
mod locks;
mod pool;
mod reports;
mod routines;
mod waiting;
mod work;

use wdm_interrupt_model::{nt::PVOID, report::Object};

use super::raw::{Connection, Dpc, Service, TAG};

const DISPATCH_LEVEL: u8 = 2;
/// The IRQL of a line, unless a test says another, and its vector.
const LINE: (u8, u32) = (9, 0x90);

fn claims<'a>() -> Service<'a> {
    Service::new(|_| true)
}

/// An address as bug checks have it.
fn address<T>(of: *const T) -> u64 {
    of.addr() as u64
}

/// The interrupt object of a connection, on this vector.
fn interrupt(connection: Connection, vector: u32) -> Object {
    Object::Interrupt { address: connection.context.addr(), vector }
}

/// The same when it is no more.
fn freed_interrupt(connection: Connection, vector: u32) -> Object {
    Object::FreedInterrupt { address: connection.context.addr(), vector }
}

fn dpc(of: &Dpc<'_>) -> Object {
    Object::Dpc { address: of.pointer().addr() }
}

fn spin_lock(of: *const u64) -> Object {
    Object::SpinLock { address: of.addr() }
}

/// Pool that a test allocated.
fn pool(of: PVOID, bytes: usize) -> Object {
    Object::Pool { address: of.addr(), bytes, tag: TAG }
}

/// Pool that a test allocated and freed.
fn freed_pool(of: PVOID, bytes: usize) -> Object {
    Object::FreedPool { address: of.addr(), bytes, tag: TAG }
}
