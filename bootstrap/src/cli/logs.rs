//! `bootstrap logs`: what a process of a node wrote.

use std::io;

use super::target::Target;
use crate::cluster::Cluster;
use crate::problem::Problem;
use crate::topology::NodeName;

/// Prints the log of a process of a node
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// The node, as in n1
    node: NodeName,
    /// The process: containerd, kubelet, kube-proxy, or what starts them (supervisor or serial)
    #[arg(default_value = "kubelet")]
    process: String,
}

/// Runs `bootstrap logs`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let machine = Cluster::open(args.target.state()?)?.machine(&args.node)?;
    let names = machine.logs();
    if !names.contains(&args.process) {
        let message = format!("node {} has no process {}", args.node, args.process);
        return Err(Problem::new(message)
            .hint(format!("it has {}", names.join(", ")))
            .into());
    }
    let written = machine.log(&args.process, &mut io::stdout().lock());
    // A closed pipe (`| head`) is success: the reader has what it wanted.
    let closed = |error: &anyhow::Error| {
        let error = error.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    match written {
        Err(error) if !closed(&error) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
