//! The command line: one file per subcommand, and the exit codes.

mod crds;
mod output;
mod probe;
mod render;
mod run;
mod signals;
mod upgrade;
mod verify;
mod version;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::problem::chain;

/// It failed.
const FAILED: u8 = 1;

/// Keeps a Kubernetes cluster equal to a git repository.
#[derive(Debug, Parser)]
#[command(name = "agent", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent: watch Syncs and keep them applied.
    Run(run::Args),
    /// Print what a directory renders to, without a cluster.
    Render(render::Args),
    /// Say what an upgrade policy would propose.
    Upgrade(upgrade::Args),
    /// Print the custom resource definitions of the agent as YAML.
    Crds,
    /// Measure the readiness of one immudb server: the sidecar of its pod.
    Probe(probe::Args),
    /// Prove that replicas, or servers after a change, hold the history they should.
    Verify(verify::Args),
    /// Print the version.
    Version,
}

/// Runs the command of this process and returns its exit code: 0 done, 1 failed, 2 wrong usage.
pub(crate) fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(args) => run::run(args),
        Command::Render(args) => render::run(&args),
        Command::Upgrade(args) => upgrade::run(args),
        Command::Crds => crds::run(),
        Command::Probe(args) => probe::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Version => version::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if standard error is closed.
            drop(writeln!(
                std::io::stderr(),
                "error: {}",
                chain(error.as_ref())
            ));
            ExitCode::from(FAILED)
        }
    }
}

/// Writes to standard output; a reader that has gone away is not an error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}
