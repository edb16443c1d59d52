//! `bootstrap machine`: the stages of a machine's start. Called by `up`, not by people.

use std::path::PathBuf;

use crate::machine::stage;

/// Becomes a machine (called by `bootstrap up`)
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    stage: Stage,
    /// The machine's file
    spec: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Stage {
    Launch,
    Enter,
    Init,
}

/// Runs `bootstrap machine`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    match args.stage {
        Stage::Launch => match stage::launch(&args.spec)? {},
        Stage::Enter => match stage::enter(&args.spec)? {},
        Stage::Init => stage::init(&args.spec),
    }
}
