//! `bootstrap logs`: what a process of a node wrote.

use std::io::{self, Write};

use fs_err::File;

use super::target::Target;
use crate::cluster::Cluster;
use crate::machine::log::previous;
use crate::problem::Problem;
use crate::topology::NodeName;

/// Prints the log of a process of a node
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// The node, as in n1
    node: NodeName,
    /// The process: supervisor, containerd, kubelet or kube-proxy
    #[arg(default_value = "kubelet")]
    process: String,
}

/// Runs `bootstrap logs`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let machine = Cluster::open(args.target.state()?)?.machine(&args.node)?;
    let mut names = vec!["supervisor"];
    names.extend(
        machine
            .spec()
            .processes
            .iter()
            .map(|process| process.name.as_str()),
    );
    if !names.contains(&args.process.as_str()) {
        let message = format!("node {} has no process {}", args.node, args.process);
        return Err(Problem::new(message)
            .hint(format!("it has {}", names.join(", ")))
            .into());
    }
    let path = machine.log_path(&args.process);
    let mut stdout = io::stdout().lock();
    for file in [previous(&path), path].iter().filter(|file| file.exists()) {
        match io::copy(&mut File::open(file)?, &mut stdout).and_then(|_| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
