//! `bootstrap up`: a cluster from nothing, or the rest of one.

use std::path::PathBuf;

use clap::ValueEnum;
use ipnet::Ipv4Net;

use super::target::Target;
use crate::bundle::{Bundle, Cache};
use crate::provider::native;
use crate::reporter;
use crate::topology::{Ranges, Topology};

/// Makes the cluster, or finishes and starts what is there of it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// What makes the machines
    #[arg(long, value_enum, default_value_t, value_name = "PROVIDER")]
    provider: ProviderName,
    /// How many nodes: the first is the control plane and runs the primary
    #[arg(long, default_value_t = 2, value_name = "N")]
    nodes: u8,
    /// Addresses of the nodes
    #[arg(long, default_value = "10.213.0.0/24", value_name = "RANGE")]
    node_cidr: Ipv4Net,
    /// Addresses of pods
    #[arg(long, default_value = "10.214.0.0/16", value_name = "RANGE")]
    pod_cidr: Ipv4Net,
    /// Addresses of Services
    #[arg(long, default_value = "10.215.0.0/16", value_name = "RANGE")]
    service_cidr: Ipv4Net,
    /// Where built parts are kept [default: `$XDG_CACHE_HOME/immuops`, else `~/.cache/immuops`]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

/// What makes the machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ProviderName {
    /// The best that works here
    #[default]
    Auto,
    /// Namespaces on this host; needs root
    Native,
}

/// Runs `bootstrap up`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let Args {
        target,
        provider,
        nodes,
        node_cidr,
        pod_cidr,
        service_cidr,
        cache_dir,
    } = args;
    let reporter = reporter::for_stderr();
    let ranges = Ranges {
        nodes: node_cidr.trunc(),
        pods: pod_cidr.trunc(),
        services: service_cidr.trunc(),
    };
    let topology = Topology::plan(target.name.clone(), *nodes, ranges)?;
    let state = target.state()?;
    match provider {
        ProviderName::Auto => reporter.note("provider native: the only one there is"),
        ProviderName::Native => {}
    }
    // Before the bundle, which may take minutes: what is wrong with the host is said at once.
    native::preflight::check(&state, &topology)?;
    let cache = cache_dir
        .clone()
        .map_or_else(Cache::locate, |path| Ok(Cache::at(path)))?;
    let bundle = Bundle::open(&cache, &*reporter)?;
    let cluster = native::up(&state, &topology, &bundle, &*reporter)?;
    reporter.note(&format!(
        "cluster {} is up: `export KUBECONFIG={}`",
        cluster.name,
        cluster.kubeconfig.display()
    ));
    Ok(())
}
