//! A cluster that is up: its nodes and a way to talk to its API server.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::{self, Finished};
use crate::machine::Machine;
use crate::machine::spec::Spec;
use crate::problem::Problem;
use crate::state::StateDirectory;
use crate::topology::{ClusterName, Node, NodeName, Topology};

/// A cluster and everything needed to use it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name.
    pub name: ClusterName,
    /// Where its files are.
    pub state: StateDirectory,
    /// The administrator's access.
    pub kubeconfig: PathBuf,
    /// Runs kubectl with that access.
    pub kubectl: Kubectl,
    /// Its nodes, the control plane first.
    pub nodes: Vec<Node>,
    /// Its nodes and address ranges.
    pub topology: Topology,
    /// The bundle that its machines run from.
    pub bundle: PathBuf,
}

impl Cluster {
    /// The cluster whose state is in a directory, whether its machines run or not.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(state: StateDirectory) -> anyhow::Result<Self> {
        let file = state.require()?;
        let kubectl = Kubectl {
            program: file.bundle.join("bin/kubectl"),
            kubeconfig: state.kubeconfig(),
        };
        Ok(Self {
            name: file.topology.cluster.clone(),
            kubeconfig: state.kubeconfig(),
            kubectl,
            nodes: file.topology.nodes.clone(),
            topology: file.topology,
            bundle: file.bundle,
            state,
        })
    }

    /// The machine of a node.
    ///
    /// # Errors
    /// When the cluster has no such node, or it was never started.
    pub fn machine(&self, name: &NodeName) -> anyhow::Result<Machine> {
        if !self.nodes.iter().any(|node| node.name == *name) {
            let names: Vec<_> = self.nodes.iter().map(|node| node.name.as_str()).collect();
            let message = format!("cluster {} has no node {name}", self.name);
            return Err(Problem::new(message)
                .hint(format!("its nodes are {}", names.join(", ")))
                .into());
        }
        let spec = Spec::read(&self.state.node(name.as_str()).join("machine.json"))?;
        Ok(Machine::new(spec))
    }
}

#[cfg(test)]
impl Cluster {
    /// A cluster on paper, for tests of what is told about one.
    pub(crate) fn example() -> Self {
        let topology = Topology::example(2);
        let kubeconfig = PathBuf::from("/state/kubeconfig");
        Self {
            name: topology.cluster.clone(),
            state: StateDirectory::at("/state"),
            kubectl: Kubectl::new(Path::new("/bundle/bin/kubectl"), &kubeconfig),
            kubeconfig,
            nodes: topology.nodes.clone(),
            topology,
            bundle: "/bundle".into(),
        }
    }
}

/// The bundle's kubectl with the access of one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// kubectl at `program` with the access in `kubeconfig`.
    pub fn new(program: &Path, kubeconfig: &Path) -> Self {
        Self {
            program: program.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
        }
    }

    /// Runs kubectl to its end.
    ///
    /// # Errors
    /// When it fails or takes longer than `deadline`: the error has what it said.
    pub fn run<W: AsRef<OsStr>>(
        &self,
        words: &[W],
        stdin: &[u8],
        deadline: Duration,
    ) -> Result<Finished, Problem> {
        let mut command = Command::new(&self.program);
        // Nobody's own settings (aliases, other clusters) may change what it does.
        command
            .env_clear()
            .env("HOME", "/nonexistent")
            .env("KUBECONFIG", &self.kubeconfig);
        command::run(command.args(words), stdin, deadline)
    }

    /// Server-side applies the objects in `manifest` (YAML or JSON) as the manager `bootstrap`.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn apply(&self, manifest: &[u8], deadline: Duration) -> Result<Finished, Problem> {
        let words = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=bootstrap",
        ];
        self.run(
            &[&words[..], &["--filename=-"]].concat(),
            manifest,
            deadline,
        )
    }
}
