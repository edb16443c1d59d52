//! `bootstrap console`: sits down at a node.

use std::process::ExitCode;

use super::target::Target;
use crate::cluster::Cluster;
use crate::topology::NodeName;

/// Opens the console of a node: the serial line of a virtual machine, a shell in a native one
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// The node, as in n1
    node: NodeName,
}

/// Runs `bootstrap console`.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::open(args.target.state()?)?;
    let ended = cluster.machine(&args.node)?.console()?;
    Ok(ExitCode::from(ended.code))
}
