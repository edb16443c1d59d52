//! `bootstrap down`: removes a cluster.

use super::target::Target;
use crate::provider::teardown;
use crate::reporter;

/// Removes the cluster with all its data and everything it made on this host
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
}

/// Runs `bootstrap down`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    teardown::down(&args.target.state()?, &*reporter::for_stderr())
}
