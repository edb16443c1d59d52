//! The arguments that say which cluster a subcommand is about.

use std::path::PathBuf;

use crate::state::StateDirectory;
use crate::topology::ClusterName;

/// Which cluster
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The cluster's name: it prefixes what the cluster has on this host
    #[arg(long, default_value = "immuops", value_name = "NAME")]
    pub(super) name: ClusterName,
    /// Where the cluster's state is [default: `$XDG_STATE_HOME/immuops/<name>`]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl Target {
    /// The state directory that the arguments name.
    pub(super) fn state(&self) -> anyhow::Result<StateDirectory> {
        StateDirectory::choose(self.state_dir.as_deref(), &self.name)
    }
}
