//! The kustomize language as a pure library: a file tree goes in, Kubernetes objects come out.
//!
//! [`render`] builds the kustomization in one folder of a [`Tree`] and returns the objects that
//! `kubectl kustomize` prints, byte for byte those of kustomize 5.8. The library does no I/O of
//! its own, runs no program and opens no connection: what kustomize would fetch or execute is
//! refused with an error that says what to do instead.
//!
//! ```
//! use kustomize::{MemoryTree, Options};
//!
//! let tree = MemoryTree::from([
//!     ("base/kustomization.yaml", "resources: [service.yaml]\n"),
//!     ("base/service.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n"),
//!     ("prod/kustomization.yaml", "namespace: prod\nresources: [../base]\n"),
//! ]);
//! let rendered = kustomize::render(&tree, "prod", &Options::default())?;
//! assert_eq!(
//!     rendered.to_yaml(),
//!     "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: prod\n",
//! );
//! # Ok::<(), kustomize::Error>(())
//! ```

mod build;
mod chain;
mod configuration;
mod configured;
mod decode;
mod digest;
mod environment;
mod error;
mod explain;
mod field_path;
mod field_spec;
mod finish;
mod folder;
mod generate;
mod go_regex;
mod id;
mod kustomization;
mod limits;
mod loader;
mod memo;
mod parallel;
mod path;
mod plugin;
mod provenance;
mod read;
mod read_ahead;
mod rendered;
mod resource;
mod resource_map;
mod schema;
mod selector;
mod steps;
mod substitute;
mod transform;
mod tree;
mod yaml;

pub use error::{ErrorKind, Place, RenderError, RenderError as Error};
pub use limits::Limits;
pub use memo::Memo;
pub use rendered::{Object, Rendered};
pub use substitute::{Undefined, substitute};
pub use tree::{ContentId, Entry, MemoryTree, Tree, TreeError};

/// Which files a kustomization may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LoadRestriction {
    /// Files in or below its own folder.
    #[default]
    RootOnly,
    /// Any file of the tree.
    None,
}

/// In which order objects come out, unless `sortOptions` of the top kustomization says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reorder {
    /// By kind, so that what others need comes first: kustomize's own default.
    #[default]
    Legacy,
    /// As they were read.
    None,
}

/// Whether objects are labelled `app.kubernetes.io/managed-by`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ManagedBy {
    /// Only if `buildMetadata` of the top kustomization says so.
    #[default]
    AsWritten,
    /// Always.
    Labelled,
}

/// Whether to record what changed each object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trace {
    /// No: the objects know their source only.
    #[default]
    Off,
    /// Yes, at the cost of a copy of all objects per transformer.
    On,
}

/// How to build.
///
/// ```
/// use kustomize::{MemoryTree, Options, Reorder};
///
/// let tree = MemoryTree::from([
///     ("kustomization.yaml", "resources: [web.yaml, shop.yaml]\n"),
///     ("web.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"),
///     ("shop.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"),
/// ]);
/// let first = |reorder| {
///     let options = Options { reorder, ..Options::default() };
///     let rendered = kustomize::render(&tree, "", &options)?;
///     Ok::<_, kustomize::Error>(rendered.objects()[0].kind().to_owned())
/// };
/// assert_eq!(first(Reorder::Legacy)?, "Namespace");
/// assert_eq!(first(Reorder::None)?, "Service");
/// # Ok::<(), kustomize::Error>(())
/// ```
#[derive(Clone, Debug, Default, Hash)]
pub struct Options {
    /// Which files a kustomization may read.
    pub load_restriction: LoadRestriction,
    /// Order of the objects.
    pub reorder: Reorder,
    /// Whether to label objects as kustomize's.
    pub managed_by: ManagedBy,
    /// Whether to record what changed each object, for [`Rendered::explain`].
    pub trace: Trace,
    /// Bounds of the build.
    pub limits: Limits,
}

/// Builds the kustomization in folder `dir` of a tree (the empty string is its root).
///
/// # Errors
///
/// Everything that `kustomize build` fails on, everything it would need a network or a program
/// for, and everything beyond [`Limits`].
pub fn render(tree: &dyn Tree, dir: &str, options: &Options) -> Result<Rendered, RenderError> {
    build::run(tree, dir, options, None)
}

/// [`render`] with the results of earlier builds at hand: what did not change since is not done
/// again. The outcome is that of [`render`]. With [`Trace::On`] the memo is not used.
///
/// # Errors
///
/// Those of [`render`].
pub fn render_with_memo(
    tree: &dyn Tree,
    dir: &str,
    options: &Options,
    memo: &Memo,
) -> Result<Rendered, RenderError> {
    build::run(tree, dir, options, Some(memo))
}
