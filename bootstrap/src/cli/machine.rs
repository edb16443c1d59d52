//! `bootstrap machine`: how machines and what they share start. Called by `up`, not by people.

use std::path::PathBuf;

use crate::provider::native::stage;
use crate::provider::vm;

/// Becomes a machine or a switch (called by `bootstrap up`)
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    stage: Stage,
    /// The machine's file, or the directory of the switch
    spec: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Stage {
    Launch,
    Enter,
    Init,
    Boot,
    Switch,
}

/// Runs `bootstrap machine`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    match args.stage {
        Stage::Launch => match stage::launch(&args.spec)? {},
        Stage::Enter => match stage::enter(&args.spec)? {},
        Stage::Init => stage::init(&args.spec),
        Stage::Boot => match vm::boot::run(&args.spec)? {},
        Stage::Switch => match vm::switch::run(&args.spec)? {},
    }
}
