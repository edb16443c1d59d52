//! `bootstrap kubeconfig`: access to the cluster for kubectl and others.

use fs_err as fs;

use super::output;
use super::target::Target;

/// Prints the administrator's kubeconfig
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
}

/// Runs `bootstrap kubeconfig`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let state = args.target.state()?;
    state.require()?;
    output::text(&fs::read_to_string(state.kubeconfig())?)
}
