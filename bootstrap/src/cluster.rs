//! A cluster that is up: its nodes and a way to talk to its API server.

mod kubectl;

use std::path::PathBuf;

use crate::machine::Machine;
use crate::problem::Problem;
use crate::provider::native::machine::NativeMachine;
use crate::provider::vm::machine::VmMachine;
use crate::provider::{Kind, existing};
use crate::state::StateDirectory;
use crate::topology::{ClusterName, Node, NodeName, Topology};
pub use kubectl::Kubectl;

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
    /// What made its machines.
    pub provider: Kind,
}

impl Cluster {
    /// The cluster whose state is in a directory, whether its machines run or not.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(state: StateDirectory) -> anyhow::Result<Self> {
        let file = state.require()?;
        let kubectl =
            Kubectl::new(&file.bundle.join("bin/kubectl"), &state.kubeconfig()).paced(file.pace);
        let kubectl = match file.provider {
            Kind::Existing => kubectl.with_environment(),
            Kind::Native | Kind::Vm => kubectl,
        };
        Ok(Self {
            name: file.topology.cluster.clone(),
            kubeconfig: state.kubeconfig(),
            kubectl,
            nodes: file.topology.nodes.clone(),
            topology: file.topology,
            bundle: file.bundle,
            provider: file.provider,
            state,
        })
    }

    /// The machine of a node.
    ///
    /// # Errors
    /// When the cluster has no such node, or it was never started.
    pub fn machine(&self, name: &NodeName) -> anyhow::Result<Box<dyn Machine>> {
        if self.provider == Kind::Existing {
            return Err(existing::not_ours(&self.name).into());
        }
        if !self.nodes.iter().any(|node| node.name == *name) {
            let names: Vec<_> = self.nodes.iter().map(|node| node.name.as_str()).collect();
            let message = format!("cluster {} has no node {name}", self.name);
            return Err(Problem::new(message)
                .hint(format!("its nodes are {}", names.join(", ")))
                .into());
        }
        let directory = self.state.node(name.as_str());
        Ok(match self.provider {
            Kind::Native | Kind::Existing => Box::new(NativeMachine::open(&directory)?),
            Kind::Vm => Box::new(VmMachine::open(&directory)?),
        })
    }
}

#[cfg(test)]
impl Cluster {
    /// A cluster on paper, for tests of what is told about one.
    pub(crate) fn example() -> Self {
        let topology = Topology::example(2);
        let kubeconfig = PathBuf::from("/state/kubeconfig");
        let kubectl = std::path::Path::new("/bundle/bin/kubectl");
        Self {
            name: topology.cluster.clone(),
            state: StateDirectory::at("/state"),
            kubectl: Kubectl::new(kubectl, &kubeconfig),
            kubeconfig,
            nodes: topology.nodes.clone(),
            topology,
            bundle: "/bundle".into(),
            provider: Kind::Native,
        }
    }
}
