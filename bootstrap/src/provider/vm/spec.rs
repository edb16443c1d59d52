//! What a virtual machine is, as one file that stays for restarts.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::accelerator::Accelerator;
use crate::problem::{OrProblem, Problem};
use crate::topology::{NodeName, Role};

const FILE: &str = "machine.json";

/// A machine on paper. Two that are equal can stand in for each other, so a running machine whose
/// file is another one's is started anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmSpec {
    /// Its host name.
    pub name: NodeName,
    /// Its directory on the host; see [`super::machine`] for what is in it.
    pub directory: PathBuf,
    /// Where its sockets and those of its neighbours are.
    pub sockets: PathBuf,
    /// Where the programs that run it are.
    pub tools: PathBuf,
    /// The disk that its root is an overlay of.
    pub disk: PathBuf,
    /// What runs its processors.
    pub accelerator: Accelerator,
    /// How large it is.
    pub size: Size,
    /// Whether it reaches what the host reaches.
    pub outbound: bool,
}

/// How large a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Virtual processors.
    pub processors: u8,
    /// Memory that the guest sees, in MiB.
    pub memory: u32,
    /// Memory that QEMU keeps translated code in, in MiB; 0 where nothing is translated. When it
    /// overflows everything is translated again, over and over.
    pub translations: u32,
}

impl Size {
    /// The size of a machine with this role. A control plane runs 1.5 million translated blocks, a
    /// worker half of that (measured with Kubernetes 1.37). QEMU keeps at most 2 GiB.
    pub fn of(role: Role, accelerator: Accelerator, processors: u8) -> Self {
        let (memory, translations) = match role {
            Role::ControlPlane => (4096, 2047),
            Role::Worker => (2560, 1536),
        };
        Self {
            processors,
            memory,
            translations: match accelerator {
                Accelerator::Kvm => 0,
                Accelerator::Tcg => translations,
            },
        }
    }

    /// Memory of the host that it may take, in MiB.
    pub fn host_memory(self) -> u32 {
        self.memory + self.translations
    }
}

/// How many virtual processors a machine with this role gets, one of `machines` on a host with `cores`.
///
/// Emulated workers share what the host has, less one core for the control plane, whose own components need
/// more than one emulated processor when a whole cluster is there, and may take what the workers leave.
pub fn processors(accelerator: Accelerator, role: Role, cores: usize, machines: usize) -> u8 {
    let most = 2;
    let share = match (accelerator, role) {
        (Accelerator::Kvm, _) => return most,
        (Accelerator::Tcg, Role::ControlPlane) => cores,
        (Accelerator::Tcg, Role::Worker) => cores.saturating_sub(1) / machines.max(1),
    };
    u8::try_from(share).unwrap_or(most).clamp(1, most)
}

impl VmSpec {
    /// Reads the file of the machine in `directory`.
    ///
    /// # Errors
    /// When the machine was never started, or the file is from another version.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join(FILE);
        let text = fs::read(&path)?;
        Ok(serde_json::from_slice(&text)
            .or_problem(|| Problem::new(format!("{} is no machine file", path.display())))?)
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self) -> anyhow::Result<PathBuf> {
        let path = self.directory.join(FILE);
        crate::state::write_atomically(&path, &serde_json::to_vec_pretty(self)?, 0o600)?;
        Ok(path)
    }

    /// A file of the machine's directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The lock that its process holds.
    pub fn lock(&self) -> PathBuf {
        self.file("lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulated_processors_are_no_more_than_the_host_has() {
        let (kvm, tcg) = (Accelerator::Kvm, Accelerator::Tcg);
        let (control_plane, worker) = (Role::ControlPlane, Role::Worker);
        let cases = [
            ("a small host", tcg, control_plane, 2, 1, 2),
            ("what workers leave", tcg, control_plane, 2, 3, 2),
            ("less than one each", tcg, worker, 2, 3, 1),
            ("one core", tcg, control_plane, 1, 2, 1),
            ("a large host", tcg, worker, 16, 3, 2),
            ("one core for the control plane", tcg, worker, 4, 2, 1),
            ("they are real with KVM", kvm, worker, 2, 3, 2),
        ];
        for (case, accelerator, role, cores, machines, expected) in cases {
            assert_eq!(
                processors(accelerator, role, cores, machines),
                expected,
                "{case}"
            );
        }
    }
}
