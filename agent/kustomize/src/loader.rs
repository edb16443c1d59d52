//! Paths in kustomizations to bytes of the tree.
//!
//! Every path is resolved here, link by link, and checked against two borders: the tree, which is
//! never left, and the folder of the kustomization, which files (not folders) must stay in unless
//! [`LoadRestriction::None`] is set.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use crate::LoadRestriction;
use crate::error::{ErrorKind, Place, RenderError};
use crate::limits::Limits;
use crate::tree::{ContentId, Entry, Tree};

/// Links followed on the way to one file before it counts as a loop; Linux uses the same number.
const MAX_LINKS: usize = 40;

/// Reads the tree of one build and keeps count of it.
pub(crate) struct Loader<'t> {
    tree: &'t dyn Tree,
    pub(crate) restriction: LoadRestriction,
    limits: &'t Limits,
    read: Cell<u64>,
    /// Folders known to be no links, so that a thousand files beside each other cost a thousand
    /// look-ups and not one per step of each path.
    folders: RefCell<HashSet<String>>,
}

/// A path without links, and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    File { path: String, size: u64 },
    Folder { path: String },
    Nothing,
}

impl<'t> Loader<'t> {
    pub(crate) fn new(
        tree: &'t dyn Tree,
        restriction: LoadRestriction,
        limits: &'t Limits,
    ) -> Self {
        let (read, folders) = (Cell::new(0), RefCell::default());
        Self {
            tree,
            restriction,
            limits,
            read,
            folders,
        }
    }

    /// Resolves `path` as seen from the folder `base`.
    pub(crate) fn find(&self, base: &str, path: &str) -> Result<Found, RenderError> {
        if path.starts_with('/') {
            return Err(
                RenderError::refused(format!("`{path}` is an absolute path"))
                    .hint("use a path relative to the kustomization"),
            );
        }
        if path.contains('\0') {
            return Err(RenderError::refused("a path holds a NUL byte"));
        }
        let mut steps = clean(base, path)?;
        let mut links = 0;
        'restart: loop {
            if let Some(step) = steps.iter().find(|step| is_git(step)) {
                return Err(RenderError::refused(format!("`{path}` leads into {step}"))
                    .hint("files of git itself are never read"));
            }
            let mut walked = String::new();
            for (at, step) in steps.iter().enumerate() {
                let parent = walked.clone();
                if !walked.is_empty() {
                    walked.push('/');
                }
                walked.push_str(step);
                let last = at + 1 == steps.len();
                if !last && self.folders.borrow().contains(&walked) {
                    continue;
                }
                match self.entry(&walked)? {
                    Some(Entry::Folder) => {
                        if !last {
                            self.folders.borrow_mut().insert(walked.clone());
                        }
                    }
                    Some(Entry::File { size }) if last => {
                        return Ok(Found::File { path: walked, size });
                    }
                    Some(Entry::File { .. }) | None => return Ok(Found::Nothing),
                    Some(Entry::Link { target }) => {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(RenderError::refused(format!(
                                "`{path}` leads through more than {MAX_LINKS} symbolic links"
                            )));
                        }
                        if target.starts_with('/') {
                            return Err(RenderError::refused(format!(
                                "{walked} is a symbolic link to {target}, outside the tree"
                            )));
                        }
                        let rest = steps.get(at + 1..).unwrap_or_default().join("/");
                        steps = clean(&parent, &format!("{target}/{rest}")).map_err(|_| {
                            RenderError::refused(format!(
                                "{walked} is a symbolic link to {target}, outside the tree"
                            ))
                        })?;
                        continue 'restart;
                    }
                }
            }
            return Ok(match self.entry(&walked)? {
                Some(Entry::Folder) => Found::Folder { path: walked },
                Some(Entry::File { .. } | Entry::Link { .. }) | None => Found::Nothing,
            });
        }
    }

    fn entry(&self, path: &str) -> Result<Option<Entry>, RenderError> {
        self.tree.entry(path).map_err(|error| {
            RenderError::new(ErrorKind::Tree, format!("cannot read {path}: {error}"))
        })
    }

    /// Reads the file that `path` names from the kustomization in `root`.
    pub(crate) fn load(
        &self,
        root: &str,
        path: &str,
    ) -> Result<(String, Cow<'t, [u8]>), RenderError> {
        let (found, size) = self.locate(root, path)?;
        let bytes = self.read(&found, size)?;
        Ok((found, bytes))
    }

    /// The path in the tree of the file that `path` names, and its size.
    pub(crate) fn locate(&self, root: &str, path: &str) -> Result<(String, u64), RenderError> {
        if is_remote_file(path) {
            return Err(refused_remote(path));
        }
        match self.find(root, path)? {
            Found::File { path: found, size } => {
                if self.restriction == LoadRestriction::RootOnly && !is_below(&found, root) {
                    return Err(RenderError::refused(format!(
                        "file `{path}` is not in or below {}",
                        shown(root)
                    ))
                    .hint(
                        "move the file, or allow it with --load-restrictor LoadRestrictionsNone",
                    ));
                }
                Ok((found, size))
            }
            Found::Folder { .. } => Err(RenderError::invalid(format!(
                "`{path}` is a folder, not a file"
            ))),
            Found::Nothing => Err(RenderError::missing(format!(
                "`{path}` does not exist in {}",
                shown(root)
            ))),
        }
    }

    /// Like [`Loader::load`], for files that must be UTF-8.
    pub(crate) fn load_text(
        &self,
        root: &str,
        path: &str,
    ) -> Result<(String, Cow<'t, str>), RenderError> {
        let (found, size) = self.locate(root, path)?;
        let text = self.text(&found, size)?;
        Ok((found, text))
    }

    /// The text of a file that [`Loader::locate`] found.
    pub(crate) fn text(&self, found: &str, size: u64) -> Result<Cow<'t, str>, RenderError> {
        let text = match self.read(found, size)? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
        };
        text.ok_or_else(|| {
            RenderError::malformed("the file is not UTF-8").at(Place::file_only(found))
        })
    }

    fn read(&self, path: &str, size: u64) -> Result<Cow<'t, [u8]>, RenderError> {
        if size > self.limits.file_bytes {
            let limit = self.limits.file_bytes;
            return Err(Limits::exceeded("bytes in one file", limit, path));
        }
        let bytes = self.tree.read(path).map_err(|error| {
            RenderError::new(ErrorKind::Tree, format!("cannot read {path}: {error}"))
        })?;
        self.count(path, bytes.len() as u64)?;
        Ok(bytes)
    }

    /// Counts a file of so many bytes as read.
    pub(crate) fn count(&self, path: &str, bytes: u64) -> Result<(), RenderError> {
        let Limits {
            file_bytes,
            total_bytes,
            ..
        } = self.limits;
        let total = self.read.get().saturating_add(bytes);
        self.read.set(total);
        if bytes > *file_bytes {
            return Err(Limits::exceeded("bytes in one file", file_bytes, path));
        }
        if total > *total_bytes {
            return Err(Limits::exceeded("bytes in one build", total_bytes, path));
        }
        Ok(())
    }

    /// What the tree says about the contents of a file that [`Loader::locate`] found.
    pub(crate) fn content(&self, path: &str) -> Result<Option<ContentId>, RenderError> {
        self.tree.content(path).map_err(|error| {
            RenderError::new(ErrorKind::Tree, format!("cannot read {path}: {error}"))
        })
    }
}

/// Joins and cleans a path by its text alone, as Go's `filepath.Join` does, and refuses to leave
/// the tree.
fn clean(base: &str, path: &str) -> Result<Vec<String>, RenderError> {
    let mut steps: Vec<String> = Vec::new();
    for step in base.split('/').chain(path.split('/')) {
        match step {
            "" | "." => {}
            ".." => {
                if steps.pop().is_none() {
                    return Err(
                        RenderError::refused(format!("`{path}` leads out of the tree"))
                            .hint("everything that a build reads must be in the same repository"),
                    );
                }
            }
            step => steps.push(step.to_owned()),
        }
    }
    Ok(steps)
}

/// `.git` in every spelling that some file system takes for it.
fn is_git(step: &str) -> bool {
    let step = step.trim_end_matches([' ', '.']);
    step.eq_ignore_ascii_case(".git") || step.eq_ignore_ascii_case("git~1")
}

/// Whether `path` is `folder` or below it.
pub(crate) fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path == folder
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// A folder in words: the root has no name.
pub(crate) fn shown(folder: &str) -> &str {
    if folder.is_empty() {
        "the root of the tree"
    } else {
        folder
    }
}

fn is_remote_file(path: &str) -> bool {
    let scheme = path
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

/// Whether kustomize would take the entry for a git repository or a URL.
pub(crate) fn is_remote(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    path.contains("://")
        || lower.starts_with("git::")
        || lower.starts_with("github.com/")
        || lower.starts_with("github.com:")
        || lower.split('/').any(|step| {
            step.strip_suffix(".git")
                .is_some_and(|name| !name.is_empty())
        })
        || lower.contains("?ref=")
        || lower.contains("_git/")
        || lower
            .split_once('@')
            .is_some_and(|(_, host)| host.contains(':'))
}

pub(crate) fn refused_remote(path: &str) -> RenderError {
    RenderError::refused(format!("`{path}` would be fetched from the network"))
        .hint("a build reads its own tree only: commit a copy, or add it as a git subtree, and name its path")
}
