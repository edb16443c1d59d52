//! Makes a cluster with the provider that was chosen: the one place where providers are built.

use std::net::SocketAddrV4;

use super::choose::Choice;
use super::native::{self, Native};
use super::vm::{self, Vm};
use super::{Provider, assemble};
use crate::bundle::{Bundle, Cache};
use crate::cluster::Cluster;
use crate::edge;
use crate::install::FORGE_NODE_PORT;
use crate::network::Outbound;
use crate::network::forward::Forward;
use crate::problem::Problem;
use crate::reporter::Reporter;
use crate::state::{Published, StateDirectory};
use crate::topology::Topology;

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
    published: &Published,
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
            finish(&provider, site, published, reporter)
        }
        Choice::Vm(chosen) => {
            let disk = bundle.node_disk(cache, reporter)?;
            let provider = Vm {
                state,
                topology,
                tools: &chosen.tools,
                verdict: &chosen.verdict,
                disk: &disk,
                outbound: outbound(published),
            };
            finish(&provider, site, published, reporter)
        }
    }
}

fn finish<P: Provider>(
    provider: &P,
    site: &Site<'_>,
    published: &Published,
    reporter: &dyn Reporter,
) -> anyhow::Result<Cluster> {
    let Site {
        state,
        topology,
        bundle,
        cache: _,
    } = *site;
    let cluster = assemble::up(provider, state, topology, bundle, reporter)?;
    let node = topology.control_plane();
    let node = node.ok_or_else(|| Problem::new("the cluster has no nodes"))?;
    let Published { git, edge } = published;
    let ports = [
        (*git, FORGE_NODE_PORT),
        (Some(edge.https), edge::HTTPS_NODE_PORT),
        (Some(edge.http), edge::HTTP_NODE_PORT),
    ];
    let forwards = ports.into_iter().filter_map(|(port, target)| {
        let to = SocketAddrV4::new(node.address, target);
        port.map(|port| Forward { port, to })
    });
    // The record first: a port that is ours must not look taken to the next run.
    state.write_published(published)?;
    provider.open(&forwards.collect::<Vec<_>>(), outbound(published))?;
    Ok(cluster)
}

/// A cluster with a forge of its own needs nothing from outside.
const fn outbound(published: &Published) -> Outbound {
    match published.git {
        Some(_) => Outbound::Closed,
        None => Outbound::Open,
    }
}
