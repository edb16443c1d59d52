//! What runs in a machine to make it a node, and what is said of it. Values only: a provider makes
//! them run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One supervised process of a machine. All paths are paths inside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Its name in `status` and `logs`.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// A command to run to its end before each start.
    pub prepare: Option<Vec<String>>,
    /// Files that must exist before it starts. They are asked for again and again, so whoever
    /// writes them last starts the process.
    pub requires: Vec<PathBuf>,
}

/// What `status` shows of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub state: ReportedState,
    /// Its process id inside the machine.
    pub pid: Option<i32>,
    /// Unexpected ends since the machine started.
    pub restarts: u32,
    /// How it ended last.
    pub last_end: Option<String>,
}

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportedState {
    /// It runs.
    Running,
    /// A file that it needs does not exist yet.
    Waiting,
    /// It ended unexpectedly and will be started again.
    Restarting,
}
