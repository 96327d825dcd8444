//! What the bed recorded, from the machine to a file.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use anyhow::{Context, Result};
use wdm_interrupt_model::trace::Trace;

/// Where a machine puts what the bed recorded: a file behind QEMU's isa-debugcon device, gone in the end.
#[derive(Debug)]
pub(crate) struct Channel(PathBuf);

impl Channel {
    /// A channel that no other machine has.
    pub(crate) fn open() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wdm-interrupt-{}-{number}.trace", process::id());
        let channel = Self(env::temp_dir().join(name));
        fs::write(&channel.0, "")
            .with_context(|| format!("cannot write {}", channel.0.display()))?;
        Ok(channel)
    }

    /// QEMU's arguments for it.
    pub(crate) fn arguments(&self) -> [String; 4] {
        let file = self.0.display();
        [
            "-chardev".to_owned(),
            format!("file,id=trace,path={file}"),
            "-device".to_owned(),
            "isa-debugcon,iobase=0xe9,chardev=trace".to_owned(),
        ]
    }

    /// What came through it.
    ///
    /// # Errors
    ///
    /// It is not a whole trace: the machine ended before the bed had sent it.
    pub(crate) fn read(self) -> Result<Trace> {
        let bytes =
            fs::read(&self.0).with_context(|| format!("cannot read {}", self.0.display()))?;
        postcard::from_bytes(&bytes).with_context(|| {
            format!("the bed sent {} bytes of what it recorded, and not all of it", bytes.len())
        })
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // A file that stays behind in the folder for such files harms nobody.
        drop(fs::remove_file(&self.0));
    }
}

/// Writes traces to `file`, and a picture of them beside it, and says so.
pub(crate) fn write(traces: &[Trace], file: &Path) -> Result<()> {
    let picture =
        Trace::write(traces, file).with_context(|| format!("cannot write {}", file.display()))?;
    println!("trace: {} (open it in https://ui.perfetto.dev)", file.display());
    println!("picture: {}", picture.display());
    for trace in traces.iter().filter(|trace| trace.lost > 0) {
        println!(
            "NOT all of it: of {}, {} events came when there was no more room",
            trace.name, trace.lost
        );
    }
    Ok(())
}
