//! A cluster that is up: its nodes and a way to talk to its API server.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::{self, Finished};
use crate::machine::Machine;
use crate::pace::Pace;
use crate::problem::Problem;
use crate::provider::native::machine::NativeMachine;
use crate::provider::vm::machine::VmMachine;
use crate::provider::{Kind, existing};
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
        let kubectl = Kubectl {
            program: file.bundle.join("bin/kubectl"),
            kubeconfig: state.kubeconfig(),
            pace: file.pace,
            environment: match file.provider {
                Kind::Existing => Environment::Inherited,
                Kind::Native | Kind::Vm => Environment::Empty,
            },
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
        let kubectl = Path::new("/bundle/bin/kubectl");
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

/// The bundle's kubectl with the access of one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    pace: Pace,
    environment: Environment,
}

/// What kubectl gets of this process's environment.
#[derive(Clone, Copy, Debug)]
enum Environment {
    /// Nothing: nobody's own settings (aliases, other clusters) may change what it does.
    Empty,
    /// All of it: the access may need a login program, which needs its own settings.
    Inherited,
}

impl Kubectl {
    /// kubectl at `program` with the access in `kubeconfig`.
    pub fn new(program: &Path, kubeconfig: &Path) -> Self {
        Self {
            program: program.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            pace: Pace::USUAL,
            environment: Environment::Empty,
        }
    }

    /// The same for access that may need a login program.
    #[must_use]
    pub fn with_environment(self) -> Self {
        Self {
            environment: Environment::Inherited,
            ..self
        }
    }

    /// The same with every deadline as a cluster of this pace needs it.
    #[must_use]
    pub fn paced(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// How slow the cluster is.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// The command that runs kubectl with this access.
    pub fn command<W: AsRef<OsStr>>(&self, words: &[W]) -> Command {
        let mut command = Command::new(&self.program);
        match self.environment {
            Environment::Empty => command.env_clear().env("HOME", "/nonexistent"),
            Environment::Inherited => &mut command,
        };
        command.env("KUBECONFIG", &self.kubeconfig).args(words);
        command
    }

    /// Runs kubectl to its end.
    ///
    /// # Errors
    /// When it fails or takes longer than `deadline`, scaled by the pace: the error has what it said.
    pub fn run<W: AsRef<OsStr>>(
        &self,
        words: &[W],
        stdin: &[u8],
        deadline: Duration,
    ) -> Result<Finished, Problem> {
        let deadline = self.pace.scale(deadline);
        let mut all = Vec::with_capacity(words.len() + 1);
        // Left alone it gives up on finding out what a server has after 32 s.
        let patient = format!("--request-timeout={}s", deadline.as_secs());
        if self.pace.is_slow() {
            all.push(OsStr::new(&patient));
        }
        all.extend(words.iter().map(AsRef::as_ref));
        command::run(&mut self.command(&all), stdin, deadline)
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
            // The server checks what it merges; kubectl would ask for the schema of everything first.
            "--validate=false",
        ];
        self.run(
            &[&words[..], &["--filename=-"]].concat(),
            manifest,
            deadline,
        )
    }
}
