//! Where machines come from.
//!
//! A provider makes machines and the network between them: `native` as namespaces of this host, `vm`
//! as QEMU virtual machines. From "the machine exists" on, making a cluster of them is the same
//! ([`assemble`]). `existing` has no machines: the cluster was made by others.

pub mod assemble;
pub mod bring_up;
pub mod choose;
pub mod existing;
mod member;
pub mod native;
mod readiness;
mod room;
pub mod teardown;
pub mod vm;

use std::fmt::{self, Debug};
use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};

use crate::kubeadm::files::Surroundings;
use crate::machine::Machine;
use crate::machine::process::Process;
use crate::network::Outbound;
use crate::network::forward::Forward;
use crate::pace::Pace;
use crate::reporter::Step;
use crate::topology::Node;

/// Which provider made a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Namespaces on this host.
    #[default]
    Native,
    /// QEMU virtual machines.
    Vm,
    /// Somebody else.
    Existing,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Vm => "vm",
            Self::Existing => "existing",
        })
    }
}

/// Whether this run started a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It ran already.
    RanBefore,
    /// It did, then.
    At(jiff::Timestamp),
}

/// Makes machines of one kind for one cluster. Every method looks at what is there and adds what is
/// missing.
pub trait Provider: Debug + Sync {
    /// What it makes.
    type Machine: Machine;

    /// Its name.
    fn kind(&self) -> Kind;

    /// How slow its machines are.
    fn pace(&self) -> Pace;

    /// What is different about life in its machines.
    fn surroundings(&self) -> Surroundings;

    /// Where this host reaches the API server.
    ///
    /// # Errors
    /// When there is no such place.
    fn api(&self) -> anyhow::Result<SocketAddrV4>;

    /// Makes the network between the machines and says what it is.
    ///
    /// # Errors
    /// When it cannot be made.
    fn connect(&self) -> anyhow::Result<String>;

    /// The machine of a node on paper, with what will run in it.
    ///
    /// # Errors
    /// When it cannot be described.
    fn machine(&self, node: &Node, processes: Vec<Process>) -> anyhow::Result<Self::Machine>;

    /// Puts the files that only this kind of machine needs.
    ///
    /// # Errors
    /// When one cannot be written.
    fn put_own_files(&self, machine: &Self::Machine) -> anyhow::Result<()>;

    /// Starts the machine with the files that were put, plugged into the network. One that runs as
    /// something else is started anew; its data stays.
    ///
    /// # Errors
    /// When it does not come up; then nothing of it is left running.
    fn start(&self, node: &Node, machine: &Self::Machine, step: &Step<'_>)
    -> anyhow::Result<Start>;

    /// Makes sure that the machine's containerd has every image of the bundle.
    ///
    /// # Errors
    /// When an image cannot be imported.
    fn provide_images(&self, machine: &Self::Machine, step: &Step<'_>) -> anyhow::Result<()>;

    /// Makes the ports of this host's loopback that lead to the control plane exactly these, besides
    /// [`Provider::api`], and opens or closes the machines' way to what the host reaches.
    ///
    /// # Errors
    /// When one cannot be made, or the kernel refuses.
    fn open(&self, forwards: &[Forward], outbound: Outbound) -> anyhow::Result<()>;
}
