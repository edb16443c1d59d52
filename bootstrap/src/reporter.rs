//! Says what a long command is doing, for how long, and how it ended.
//!
//! The code that works gets a `&dyn Reporter` and never prints. On a terminal every running step
//! has one live line; elsewhere (CI, a pipe) each change is one timestamped line. Both go to
//! standard error, so that standard output stays data.

mod lines;
mod terminal;

use std::fmt;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

pub use lines::Lines;
pub use terminal::Terminal;

/// Receives what happens to named steps. Steps may run at the same time on several threads.
pub trait Reporter: Sync + fmt::Debug {
    /// A step began.
    fn started(&self, step: &str);
    /// What a running step is doing or waiting for now.
    fn progress(&self, step: &str, doing: &str);
    /// A step ended well; `result` may be empty.
    fn finished(&self, step: &str, result: &str, elapsed: Duration);
    /// A step ended badly. The error itself is returned, not reported.
    fn failed(&self, step: &str, elapsed: Duration);
    /// Something worth knowing that belongs to no step.
    fn note(&self, text: &str);
}

/// The reporter for standard error as it is: live lines on a terminal, else plain ones.
pub fn for_stderr() -> Box<dyn Reporter> {
    if io::stderr().is_terminal() {
        Box::new(Terminal::new())
    } else {
        Box::new(Lines::stderr())
    }
}

/// A running step: reported as failed when it is dropped without [`Step::finish`], so that an
/// early return by `?` ends it too.
#[derive(Debug)]
#[must_use = "a step that is dropped at once is reported as failed"]
pub struct Step<'a> {
    reporter: &'a dyn Reporter,
    name: String,
    begun: Instant,
    ended: bool,
}

impl<'a> Step<'a> {
    /// Reports the start.
    pub fn start(reporter: &'a dyn Reporter, name: impl Into<String>) -> Self {
        let name = name.into();
        reporter.started(&name);
        Self {
            reporter,
            name,
            begun: Instant::now(),
            ended: false,
        }
    }

    /// Says what is being done or waited for.
    pub fn progress(&self, doing: &str) {
        self.reporter.progress(&self.name, doing);
    }

    /// Reports the good end and returns how long it took.
    pub fn finish(mut self, result: &str) -> Duration {
        self.ended = true;
        let elapsed = self.begun.elapsed();
        self.reporter.finished(&self.name, result, elapsed);
        elapsed
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.reporter.failed(&self.name, self.begun.elapsed());
        }
    }
}

/// A duration as people read it.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(bootstrap::reporter::elapsed(Duration::from_millis(940)), "0.9s");
/// assert_eq!(bootstrap::reporter::elapsed(Duration::from_secs(387)), "6m27s");
/// ```
pub fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{seconds}.{}s", duration.subsec_millis() / 100)
    } else {
        format!("{}m{:02}s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(run: impl FnOnce(&Lines)) -> String {
        let (reporter, written) = Lines::into_memory();
        run(&reporter);
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let stamp = regex::Regex::new(r"(?m)^\S+Z|\d+\.\ds").unwrap();
        stamp.replace_all(&text, "…").into_owned()
    }

    #[test]
    fn a_step_is_reported_from_start_to_end() {
        let text = plain(|reporter| {
            let step = Step::start(reporter, "coredns");
            step.progress("linking");
            step.finish("72 MiB");
        });
        assert_eq!(
            text,
            "… coredns: started\n… coredns: linking\n… coredns: done in …, 72 MiB\n"
        );
    }

    #[test]
    fn a_dropped_step_has_failed() {
        let text = plain(|reporter| drop(Step::start(reporter, "kubebox")));
        assert_eq!(text, "… kubebox: started\n… kubebox: failed after …\n");
    }
}
