//! How a subcommand answers: text for people, JSON for scripts.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

/// The format of what goes to standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; may change between releases
    #[default]
    Text,
    /// For scripts; fields are only ever added
    Json,
}

/// Writes `value` as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    text(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Writes `text` as it is. A closed pipe (`| head`) is success: the reader has what it wanted.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}
