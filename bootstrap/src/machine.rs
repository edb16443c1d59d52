//! A machine of a cluster, whatever it is made of: a place to put files, run a command and read a
//! log. Providers make them ([`crate::provider`]); everything above knows no other way to a node.

pub mod holder;
pub mod process;

use std::ffi::OsString;
use std::fmt::Debug;
use std::io::Write;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Pid;

use crate::command::Finished;
use crate::topology::NodeName;
use process::Report;

/// Where programs are found inside a machine.
pub const PATH: &str =
    "/opt/immuops/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Containers are asked to end and get time to.
    Graceful,
    /// Everything is killed at once.
    Immediate,
}

/// Whether [`Machine::put`] changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The file is new or has another content now.
    New,
    /// It had this content.
    Unchanged,
}

/// A machine that exists at least on paper.
pub trait Machine: Debug + Send + Sync {
    /// The node it is.
    fn name(&self) -> &NodeName;

    /// The id on this host of the process that it is, if it runs.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn pid(&self) -> anyhow::Result<Option<Pid>>;

    /// Puts a file below `/etc` or `/var` of the machine, whether it runs or not, unless it is there
    /// with this content.
    ///
    /// # Errors
    /// When it cannot be written.
    fn put(&self, path: &str, content: &[u8], mode: u32) -> anyhow::Result<Written>;

    /// Runs a command inside the machine to its end, as root, with its programs in the path.
    ///
    /// # Errors
    /// When the machine does not run, or the command fails or outlasts `limit`.
    fn run(&self, words: &[&str], stdin: &[u8], limit: Duration) -> anyhow::Result<Finished>;

    /// Runs a command inside the machine as root, with the standard input, output and error of this
    /// process and `environment` on top of the usual one.
    ///
    /// # Errors
    /// When the machine does not run or the command cannot be started.
    fn attach(
        &self,
        words: &[OsString],
        environment: &[(&str, OsString)],
    ) -> anyhow::Result<Attached>;

    /// Connects this terminal with the machine's console until the person leaves it.
    ///
    /// # Errors
    /// When the machine does not run.
    fn console(&self) -> anyhow::Result<Attached>;

    /// What its supervised processes do; nothing while it does not run.
    ///
    /// # Errors
    /// When they cannot be asked.
    fn processes(&self) -> anyhow::Result<Vec<Report>>;

    /// The names of everything in it that keeps a log.
    fn logs(&self) -> Vec<String>;

    /// Writes the log of one of [`Machine::logs`].
    ///
    /// # Errors
    /// When it cannot be read, or `out` does not take it.
    fn log(&self, name: &str, out: &mut dyn Write) -> anyhow::Result<()>;

    /// Ends one of its processes, which is started again with its files as they are now.
    ///
    /// # Errors
    /// When the machine does not run or the process does not end.
    fn restart(&self, process: &str) -> anyhow::Result<()>;

    /// Ends the machine and waits until it is gone. Does nothing when it does not run.
    ///
    /// # Errors
    /// When it is still there after its time.
    fn stop(&self, ending: Ending) -> anyhow::Result<()>;
}

/// How a command ended that had this process's standard input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The exit code; 128 and the signal's number for a command that was killed, as shells have it.
    pub code: u8,
}

impl From<ExitStatus> for Attached {
    fn from(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let signal = status.signal().map(|signal| 128 + signal);
        let code = status.code().or(signal).unwrap_or(1);
        Self {
            code: u8::try_from(code).unwrap_or(1),
        }
    }
}
