//! `agent render`: what a directory renders to, without a cluster.

mod disk;
mod files;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use kustomize::{LoadRestriction, ManagedBy, Options, Reorder, Trace};

use self::disk::Disk;
use crate::render::build;

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
    /// Write each object into a file of its own in this directory, named as kustomize names it.
    #[arg(long, value_name = "DIR", conflicts_with = "explain")]
    output: Option<PathBuf>,
    /// Print where each object came from and what changed it, instead of the objects.
    #[arg(long)]
    explain: bool,
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

/// Prints the objects as YAML, or what is asked for instead.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let Args {
        directory,
        reorder,
        load_restrictor,
        enable_managedby_label,
        output,
        explain,
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
        trace: if *explain { Trace::On } else { Trace::Off },
        ..Options::default()
    };
    let disk = Disk { root };
    let namespace = target_namespace.as_deref();
    let rendered = build(&disk, &path, namespace, |files, folder| {
        kustomize::render(files, folder, &options)
    })?;
    match output {
        Some(directory) => files::write(&rendered, directory),
        None if *explain => super::print(&rendered.explain()),
        None => super::print(&rendered.to_yaml()),
    }
}
