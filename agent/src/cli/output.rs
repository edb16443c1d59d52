//! How a subcommand prints its result.

use clap::ValueEnum;

/// The value of `--output`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}
