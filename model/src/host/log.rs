//! What happened on a machine.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    vec::Vec,
};

use super::mutex::Mutex;
use crate::trace::Record;

/// No more records than this are kept.
const RECORDS: usize = 1 << 16;

/// The first records of a machine, and how many more there were.
#[derive(Debug, Default)]
pub(super) struct Log {
    records: Mutex<Vec<Record>>,
    lost: AtomicU64,
}

impl Log {
    /// Keeps what `record` gives, which is asked one after the other: so time goes forward in what is
    /// kept.
    pub(super) fn record(&self, record: impl FnOnce() -> Record) {
        if self.lost() > 0 {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut records = self.records.lock();
        if records.len() < RECORDS {
            let record = record();
            records.push(record);
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn len(&self) -> usize {
        self.records.lock().len()
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.records.lock().clone()
    }
}
