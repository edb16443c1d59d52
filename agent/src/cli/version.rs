//! `agent version`.

/// Prints the version of the program.
pub(super) fn run() -> anyhow::Result<()> {
    super::print(concat!("agent ", env!("CARGO_PKG_VERSION"), "\n"))
}
