//! `bootstrap start`: starts the machines of a cluster that exists.

use super::target::Target;
use crate::bundle::{Bundle, Cache};
use crate::problem::Problem;
use crate::provider::bring_up;
use crate::provider::choose;
use crate::reporter;

/// Starts the machines that do not run and waits until the nodes are Ready; installs nothing
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// Where built parts are kept [default: `$XDG_CACHE_HOME/immuops`, else `~/.cache/immuops`]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<std::path::PathBuf>,
}

/// Runs `bootstrap start`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let reporter = reporter::for_stderr();
    let state = args.target.state()?;
    let file = state.require()?;
    let cache = Cache::choose(args.cache_dir.as_deref())?;
    let choice = choose::again(&file, &cache, &*reporter)?;
    bring_up::preflight(&choice, &state, &file.topology)?;
    let bundle = Bundle::at(&file.bundle, &*reporter)?;
    let published = state
        .published()?
        .ok_or_else(|| Problem::new("the cluster was never finished").hint("run `bootstrap up`"))?;
    let site = bring_up::Site {
        state: &state,
        topology: &file.topology,
        bundle: &bundle,
        cache: &cache,
    };
    bring_up::run(&choice, &site, &published, &*reporter).map(drop)
}
