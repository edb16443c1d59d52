//! How much of a tree the library is willing to read and make.
//!
//! The tree is not trusted. Each limit is far above what real trees need and low enough that a
//! hostile one ends in an error, not in an exhausted machine.

use crate::error::{ErrorKind, Place, RenderError};

/// Bounds of one build. The defaults suit a cluster repository of any size seen in public.
///
/// ```
/// use kustomize::{ErrorKind, Limits, MemoryTree, Options};
///
/// let tree = MemoryTree::from([
///     ("kustomization.yaml", "resources: [a.yaml, b.yaml]\n"),
///     ("a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"),
///     ("b.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: b}\n"),
/// ]);
/// let limits = Limits { objects: 1, ..Limits::default() };
/// let options = Options { limits, ..Options::default() };
/// let error = kustomize::render(&tree, "", &options).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Limit);
/// ```
#[derive(Clone, Debug, Hash)]
pub struct Limits {
    /// Size of one file, in bytes (16 MiB).
    pub file_bytes: u64,
    /// Size of all files read in one build, in bytes (256 MiB).
    pub total_bytes: u64,
    /// Objects in one build, and documents in one file (100,000).
    pub objects: usize,
    /// Values in one document, with every alias written out (2,000,000).
    pub nodes: usize,
    /// Nesting of maps and lists in one document (200).
    pub depth: usize,
    /// Size of one scalar, in bytes (8 MiB).
    pub scalar_bytes: usize,
    /// Kustomizations that include each other, one inside the next (64).
    pub kustomization_depth: usize,
    /// Kustomizations read in one build, those reached on several ways counted each time (20,000).
    pub kustomizations: usize,
    /// Size of everything rendered, in bytes (256 MiB).
    pub output_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MEBIBYTE: usize = 1 << 20;
        Self {
            file_bytes: 16 << 20,
            total_bytes: 256 << 20,
            objects: 100_000,
            nodes: 2_000_000,
            depth: 200,
            scalar_bytes: 8 * MEBIBYTE,
            kustomization_depth: 64,
            kustomizations: 20_000,
            output_bytes: 256 * MEBIBYTE,
        }
    }
}

impl Limits {
    pub(crate) fn exceeded(what: &str, limit: impl std::fmt::Display, file: &str) -> RenderError {
        RenderError::new(ErrorKind::Limit, format!("more than {limit} {what}"))
            .at(Place::file_only(file))
            .hint("split the tree, or raise the limit in the options of the build")
    }
}
