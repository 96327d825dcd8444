//! Traces as files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Trace, chrome, svg};

impl Trace {
    /// Writes traces to `file` in the Trace Event Format, and a picture of them beside it, as `.svg`,
    /// whose path it gives.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    ///
    /// # Example
    ///
    /// ```
    /// use wdm_interrupt_model::{host::Machine, trace::Trace};
    ///
    /// let machine = Machine::new(1).enter();
    /// machine.executive().ke_flush_queued_dpcs();
    /// let trace = Trace { name: "a flush".to_owned(), ..machine.trace() };
    /// machine.leave();
    /// let file = std::env::temp_dir().join(format!("a-flush-{}.json", std::process::id()));
    /// let picture = Trace::write(&[trace], &file)?;
    /// assert!(std::fs::read_to_string(&file)?.contains("KeFlushQueuedDpcs"));
    /// # std::fs::remove_file(file)?;
    /// # std::fs::remove_file(picture)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write(traces: &[Self], file: &Path) -> io::Result<PathBuf> {
        fs::write(file, chrome::document(traces))?;
        let picture = file.with_extension("svg");
        fs::write(&picture, svg::document(traces))?;
        Ok(picture)
    }
}
