//! The way to the handler is lent for one run of the deferred half.

use wdm_interrupt::{Deferred, SharedDeferred, Work};

struct Handler;

fn keep<'a>(deferred: &'a Deferred<'a, Handler>) -> &'static Deferred<'static, Handler> {
    deferred
}

fn keep_shared<'a>(
    deferred: &'a SharedDeferred<'a, Handler>,
) -> &'static SharedDeferred<'static, Handler> {
    deferred
}

fn keep_work<'a>(work: &'a Work<'a, Handler>) -> &'static Work<'static, Handler> {
    work
}

fn main() {}
