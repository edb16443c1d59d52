//! `bootstrap exec`: runs a command on a node.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use super::target::Target;
use crate::cluster::Cluster;
use crate::problem::Problem;
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

/// Runs `bootstrap exec`: becomes the command, so its exit code is the command's.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let cluster = Cluster::open(args.target.state()?)?;
    let mut command = cluster.machine(&args.node)?.command(&args.command)?;
    if let Some(terminal) = std::env::var_os("TERM") {
        command.env("TERM", terminal);
    }
    let first = cluster.topology.control_plane();
    if first.is_some_and(|node| node.name == args.node) {
        command.env("KUBECONFIG", crate::kubeadm::ADMIN);
    }
    Err(Problem::new("failed to run `nsenter`")
        .because(command.exec())
        .into())
}
