//! The bundle: every binary and image a cluster needs, built once and checked before each use.
//!
//! [`Bundle::ensure`] builds what is missing from the recipes of the source tree and
//! [`Bundle::open`] takes what is there. Both hash every file against the manifest, so whoever
//! holds a `Bundle` holds files that are what their recipe made. Nothing here needs root; once a
//! bundle is built, nothing needs the network.

mod build;
mod cache;
mod command;
mod debian;
mod go_module;
mod images;
mod make;
mod manifest;
mod node_disk;
mod part;
pub mod prerequisites;
mod recipe;
mod tools;
mod tree;
mod wheel;

use std::path::{Path, PathBuf};

pub use cache::Cache;
pub use manifest::{FileEntry, ImageEntry, Manifest, PartEntry, Source};
pub use node_disk::{LANES, NodeDisk, make_data_disk};
pub use tools::Tools;

use tree::SourceTree;

use crate::problem::Problem;
use crate::reporter::Reporter;

/// The top of the checkout that is used: the one around the current directory, else around this
/// program.
///
/// # Errors
/// When neither lies in a checkout.
pub fn source_root() -> Result<PathBuf, Problem> {
    Ok(SourceTree::locate()?.root().to_owned())
}

/// A complete and verified bundle in the cache.
#[derive(Clone, Debug)]
pub struct Bundle {
    directory: PathBuf,
    manifest: Manifest,
}

/// A file to give to `ctr images import`, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageArchive {
    /// The OCI archive (a tar file, not compressed).
    pub path: PathBuf,
    /// Full references of its images, as in `registry.k8s.io/pause:3.10.2`.
    pub references: Vec<String>,
}

impl Bundle {
    /// The bundle of the source tree around the current directory, or around this program: built
    /// as far as it is missing or damaged, verified. Without a source tree, the bundle that was
    /// built last.
    ///
    /// # Errors
    /// When a prerequisite is missing (all of them at once, before anything is built) or a part
    /// does not build.
    pub fn ensure(cache: &Cache, reporter: &dyn Reporter) -> anyhow::Result<Self> {
        let Ok(tree) = SourceTree::locate() else {
            return Self::open(cache, reporter);
        };
        let directory = build::ensure(cache, &tree, reporter)?;
        let manifest = Manifest::read(&directory)?;
        Ok(Self {
            directory,
            manifest,
        })
    }

    /// The bundle that was built last, verified.
    ///
    /// # Errors
    /// When there is none, or a file of it is missing or differs from the manifest.
    pub fn open(cache: &Cache, reporter: &dyn Reporter) -> anyhow::Result<Self> {
        Self::at(&cache.current_bundle()?, reporter)
    }

    /// The bundle in `directory`, verified.
    ///
    /// # Errors
    /// When a file of it is missing or differs from the manifest.
    pub fn at(directory: &Path, reporter: &dyn Reporter) -> anyhow::Result<Self> {
        let manifest = build::verify(directory, reporter)?;
        Ok(Self {
            directory: directory.to_owned(),
            manifest,
        })
    }

    /// The path of a program: its name in the bundle (`kubebox`, `immudb-1.10.0`) or one of the
    /// names it answers to (`kubectl`).
    ///
    /// # Errors
    /// When the bundle has no such program.
    pub fn program(&self, name: &str) -> Result<PathBuf, Problem> {
        let path = Path::new("bin").join(name);
        if self.manifest.provides(&path) {
            return Ok(self.directory.join(path));
        }
        Err(Problem::new(format!(
            "bundle {} has no program {name}",
            self.directory.display()
        ))
        .hint("run `bootstrap bundle list` to see what it has"))
    }

    /// Every image archive. Import all of them into every node.
    pub fn images(&self) -> Vec<ImageArchive> {
        let archives = self.manifest.archives();
        archives
            .into_iter()
            .map(|(path, references)| ImageArchive {
                path: self.directory.join(path),
                references,
            })
            .collect()
    }

    /// The full reference of an image by its short name: `kube-apiserver`, `pause`, `gitea`,
    /// `immudb-1.10.0`, `agent`.
    ///
    /// # Errors
    /// When the bundle has no such image.
    pub fn image_reference(&self, name: &str) -> Result<&str, Problem> {
        let image = self.manifest.images.iter().find(|image| image.name == name);
        image.map(|image| image.reference.as_str()).ok_or_else(|| {
            Problem::new(format!(
                "bundle {} has no image {name}",
                self.directory.display()
            ))
            .hint("run `bootstrap bundle list` to see what it has")
        })
    }

    /// What it holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where it lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}
