//! Makes a cluster with the provider that was chosen: the one place where providers are built.

use std::net::SocketAddrV4;

use super::choose::Choice;
use super::native::{self, Native};
use super::vm::{self, Vm};
use super::{Provider, assemble};
use crate::bundle::{Bundle, Cache};
use crate::cluster::Cluster;
use crate::install::FORGE_NODE_PORT;
use crate::network::forward::Forward;
use crate::problem::Problem;
use crate::reporter::Reporter;
use crate::state::StateDirectory;
use crate::topology::Topology;

/// How a cluster and the world around it reach each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The host reaches node ports of the control plane through ports of its loopback, as pairs of
    /// host and node port; the cluster reaches nothing.
    Inwards(Vec<(u16, u16)>),
    /// The cluster reaches what the host reaches.
    Outwards,
}

impl Way {
    /// The way to the built-in forge on this port.
    pub fn to_forge(port: u16) -> Self {
        Self::Inwards(vec![(port, FORGE_NODE_PORT)])
    }

    /// The way that `up` chose.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn recorded(state: &StateDirectory) -> anyhow::Result<Self> {
        let port = state.forge_port()?;
        Ok(port.map_or(Self::Outwards, Self::to_forge))
    }
}

/// What every provider needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Where the cluster's files are.
    pub state: &'a StateDirectory,
    /// The cluster on paper.
    pub topology: &'a Topology,
    /// What its machines run.
    pub bundle: &'a Bundle,
    /// Where built parts are.
    pub cache: &'a Cache,
}

/// Whether this host can carry the cluster. Changes nothing.
///
/// # Errors
/// All reasons why not, each with what to do.
pub fn preflight(
    choice: &Choice,
    state: &StateDirectory,
    topology: &Topology,
) -> anyhow::Result<()> {
    match choice {
        Choice::Native => native::preflight::check(state, topology).map(drop),
        Choice::Vm(chosen) => vm::preflight::check(state, topology, &chosen.verdict),
    }
}

/// Makes the cluster, or finishes and starts what there is of it; returns when its nodes are Ready.
///
/// # Errors
/// As [`assemble::up`].
pub fn run(
    choice: &Choice,
    site: &Site<'_>,
    way: &Way,
    reporter: &dyn Reporter,
) -> anyhow::Result<Cluster> {
    let Site {
        state,
        topology,
        bundle,
        cache,
    } = *site;
    match choice {
        Choice::Native => {
            let host = native::cgroup::detect_here()?;
            let provider = Native {
                state,
                topology,
                bundle,
                host,
            };
            finish(&provider, site, way, reporter)
        }
        Choice::Vm(chosen) => {
            let disk = bundle.node_disk(cache, reporter)?;
            let provider = Vm {
                state,
                topology,
                tools: &chosen.tools,
                verdict: &chosen.verdict,
                disk: &disk,
                outbound: *way == Way::Outwards,
            };
            finish(&provider, site, way, reporter)
        }
    }
}

fn finish<P: Provider>(
    provider: &P,
    site: &Site<'_>,
    way: &Way,
    reporter: &dyn Reporter,
) -> anyhow::Result<Cluster> {
    let Site {
        state,
        topology,
        bundle,
        cache: _,
    } = *site;
    let cluster = assemble::up(provider, state, topology, bundle, reporter)?;
    match way {
        Way::Inwards(pairs) => {
            let node = topology.control_plane();
            let node = node.ok_or_else(|| Problem::new("the cluster has no nodes"))?;
            let forwards = pairs.iter().map(|&(port, node_port)| Forward {
                port,
                to: SocketAddrV4::new(node.address, node_port),
            });
            let forwards: Vec<_> = forwards.collect();
            provider.forward(&forwards)?;
        }
        Way::Outwards => provider.allow_outbound()?,
    }
    Ok(cluster)
}
