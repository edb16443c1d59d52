//! One timestamped line per change, for logs and pipes.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Reporter, elapsed};

/// Writes `2026-11-24T17:00:00Z kubebox: started` and the like.
pub struct Lines {
    out: Mutex<Box<dyn Write + Send>>,
}

impl Lines {
    /// To standard error.
    pub fn stderr() -> Self {
        Self::to(io::stderr())
    }

    /// To anything: a file, a buffer.
    pub fn to(out: impl Write + Send + 'static) -> Self {
        Self {
            out: Mutex::new(Box::new(out)),
        }
    }

    fn line(&self, text: fmt::Arguments<'_>) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Progress that nobody can read (a closed pipe) must not end the work.
        drop(writeln!(out, "{now} {text}").and_then(|()| out.flush()));
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Reporter for Lines {
    fn started(&self, step: &str) {
        self.line(format_args!("{step}: started"));
    }

    fn progress(&self, step: &str, doing: &str) {
        self.line(format_args!("{step}: {doing}"));
    }

    fn finished(&self, step: &str, result: &str, took: Duration) {
        let comma = if result.is_empty() { "" } else { ", " };
        self.line(format_args!(
            "{step}: done in {}{comma}{result}",
            elapsed(took)
        ));
    }

    fn failed(&self, step: &str, took: Duration) {
        self.line(format_args!("{step}: failed after {}", elapsed(took)));
    }

    fn note(&self, text: &str) {
        self.line(format_args!("{text}"));
    }
}

#[cfg(test)]
impl Lines {
    /// A reporter and what it has written so far.
    pub(crate) fn into_memory() -> (Self, std::sync::Arc<Mutex<Vec<u8>>>) {
        #[derive(Clone)]
        struct Memory(std::sync::Arc<Mutex<Vec<u8>>>);
        impl Write for Memory {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let memory = Memory(std::sync::Arc::default());
        (Self::to(memory.clone()), memory.0)
    }
}
