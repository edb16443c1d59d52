//! `bootstrap exec`: runs a command on a node.

use std::ffi::OsString;
use std::process::ExitCode;

use super::target::Target;
use crate::cluster::Cluster;
use crate::topology::NodeName;

/// Runs a command on a node, as root
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// The node, as in n1
    node: NodeName,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs `bootstrap exec`: its exit code is the command's.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::open(args.target.state()?)?;
    let mut environment = Vec::new();
    if let Some(terminal) = std::env::var_os("TERM") {
        environment.push(("TERM", terminal));
    }
    let first = cluster.topology.control_plane();
    if first.is_some_and(|node| node.name == args.node) {
        environment.push(("KUBECONFIG", crate::kubeadm::ADMIN.into()));
    }
    let machine = cluster.machine(&args.node)?;
    let ended = machine.attach(&args.command, &environment)?;
    Ok(ExitCode::from(ended.code))
}
