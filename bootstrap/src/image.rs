//! Container images, written by ourselves: the same input gives the same bytes and digests.
//!
//! A [`Layer`] is an ordered set of files with fixed owners and times; an [`ArchiveWriter`] puts
//! images into one OCI archive in which equal layers are stored once. `ctr images import` (and
//! every other importer) reads the archive; the reference each image gets is its annotation
//! `io.containerd.image.name`.

mod archive;
mod layer;

pub use archive::{ArchiveWriter, Blob, Config};
pub(crate) use layer::header as tar_header;
pub use layer::{Layer, Owner};

/// The architecture of this machine as images name it (`amd64`, not `x86_64`).
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
