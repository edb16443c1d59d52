//! What the host tells a machine before it starts, as one file that stays for restarts.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::cgroup::Placement;
use crate::machine::process::Process;
use crate::problem::{OrProblem, Problem};
use crate::topology::NodeName;

/// A machine on paper: everything its first process needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Its host name.
    pub name: NodeName,
    /// Its directory on the host; see [`super::machine`] for what is in it.
    pub directory: PathBuf,
    /// The bundle, bound read-only to `/opt/immuops`.
    pub bundle: PathBuf,
    /// Where its control group goes.
    pub cgroup: Placement,
    /// What runs in it, in this order.
    pub processes: Vec<Process>,
}

impl Spec {
    /// Reads the file that [`Spec::write`] wrote.
    ///
    /// # Errors
    /// When it cannot be read or is no such file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read(path)?;
        let spec = serde_json::from_slice(&text)
            .or_problem(|| Problem::new(format!("{} is no machine file", path.display())))?;
        Ok(spec)
    }

    /// Writes it to `machine.json` in the machine's directory and returns the path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self) -> anyhow::Result<PathBuf> {
        let path = self.directory.join("machine.json");
        crate::state::write_atomically(&path, &serde_json::to_vec_pretty(self)?, 0o600)?;
        Ok(path)
    }
}
