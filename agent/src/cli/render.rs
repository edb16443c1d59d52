//! `agent render`: what a directory renders to, without a cluster.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use kustomize::{Entry, LoadRestriction, ManagedBy, Options, Reorder, Tree, TreeError};

use crate::render::{Folders, Node, build};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory with a kustomization, or with YAML files that are all taken.
    #[arg(default_value = ".")]
    directory: PathBuf,
    /// Order of the objects.
    #[arg(long, value_enum, default_value_t = Order::Legacy)]
    reorder: Order,
    /// Which files a kustomization may read.
    #[arg(long, value_enum, default_value_t = Restrictor::LoadRestrictionsRootOnly)]
    load_restrictor: Restrictor,
    /// Label objects `app.kubernetes.io/managed-by`.
    #[arg(long)]
    enable_managedby_label: bool,
    /// Put every namespaced object into this namespace, as spec.targetNamespace does.
    #[arg(long)]
    target_namespace: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    /// By kind: what others need comes first.
    Legacy,
    /// As they were read.
    None,
}

/// kustomize's own names.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Restrictor {
    /// Files in or below the kustomization's own directory.
    #[value(name = "LoadRestrictionsRootOnly")]
    LoadRestrictionsRootOnly,
    /// Any file of the repository.
    #[value(name = "LoadRestrictionsNone")]
    LoadRestrictionsNone,
}

/// Prints the objects as YAML.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let Args {
        directory,
        reorder,
        load_restrictor,
        enable_managedby_label,
        target_namespace,
    } = args;
    let directory = fs_err::canonicalize(directory)?;
    // As with kustomize, a base may be anywhere above: the tree is the whole disk, read on demand.
    let root = PathBuf::from("/");
    let path = directory
        .strip_prefix(&root)?
        .to_str()
        .context("the path is not UTF-8")?
        .to_owned();
    let options = Options {
        load_restriction: match load_restrictor {
            Restrictor::LoadRestrictionsRootOnly => LoadRestriction::RootOnly,
            Restrictor::LoadRestrictionsNone => LoadRestriction::None,
        },
        reorder: match reorder {
            Order::Legacy => Reorder::Legacy,
            Order::None => Reorder::None,
        },
        managed_by: if *enable_managedby_label {
            ManagedBy::Labelled
        } else {
            ManagedBy::AsWritten
        },
        ..Options::default()
    };
    let rendered = build(&Disk { root }, &path, target_namespace.as_deref(), &options)?;
    super::print(&rendered.to_yaml())
}

/// A directory of this machine.
struct Disk {
    root: PathBuf,
}

impl Disk {
    fn failure(path: &Path, error: &std::io::Error) -> TreeError {
        TreeError::new(format!("cannot read {}: {error}", path.display()))
    }
}

impl Tree for Disk {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        let path = self.root.join(path);
        let metadata = match std::fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(Self::failure(&path, &error)),
        };
        if metadata.is_symlink() {
            let target = std::fs::read_link(&path).map_err(|error| Self::failure(&path, &error))?;
            return Ok(Some(Entry::Link {
                target: target.to_string_lossy().into_owned(),
            }));
        }
        if metadata.is_dir() {
            return Ok(Some(Entry::Folder));
        }
        Ok(metadata.is_file().then_some(Entry::File {
            size: metadata.len(),
        }))
    }

    fn read(&self, path: &str) -> Result<Cow<'_, [u8]>, TreeError> {
        let path = self.root.join(path);
        fs_err::read(&path)
            .map(Cow::Owned)
            .map_err(|error| TreeError::new(error.to_string()))
    }
}

impl Folders for Disk {
    fn list(&self, folder: &str) -> Result<Vec<(String, Node)>, TreeError> {
        let path = self.root.join(folder);
        let mut nodes = Vec::new();
        for entry in fs_err::read_dir(&path).map_err(|error| TreeError::new(error.to_string()))? {
            let entry = entry.map_err(|error| Self::failure(&path, &error))?;
            let kind = entry
                .file_type()
                .map_err(|error| Self::failure(&path, &error))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if kind.is_dir() {
                nodes.push((name, Node::Folder));
            } else if kind.is_file() {
                nodes.push((name, Node::File));
            }
        }
        Ok(nodes)
    }
}
