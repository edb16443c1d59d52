//! `bootstrap stop`: ends the machines and keeps their data.

use super::target::Target;
use crate::provider::teardown;
use crate::reporter;

/// Ends the machines and keeps their data; `bootstrap start` starts them again
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
}

/// Runs `bootstrap stop`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    teardown::stop(&args.target.state()?, &*reporter::for_stderr())
}
