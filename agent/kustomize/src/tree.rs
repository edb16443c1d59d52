//! The file tree that a build reads, and nothing else.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file of so many bytes.
    File {
        /// Size in bytes; checked against the limits before the file is read.
        size: u64,
    },
    /// A folder.
    Folder,
    /// A symbolic link, with what it points to.
    Link {
        /// The target as written in the link.
        target: String,
    },
}

/// A name for the contents of a file: a cryptographic hash of them, such as git's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContentId(Box<[u8]>);

impl ContentId {
    /// The hash with these bytes.
    pub fn new(hash: &[u8]) -> Self {
        Self(hash.into())
    }
}

/// Why a tree could not be read. A path that does not exist is no failure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TreeError(String);

impl TreeError {
    /// A failure in words: `permission denied`.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// A read-only file tree: a git tree, a folder, a map in memory.
///
/// Paths are relative to the root, separated by `/`, without `.` and `..`; the root is the empty
/// path. An implementation answers for exactly the path given and must not follow links: the
/// build follows them itself, and only inside the tree.
///
/// ```
/// use std::borrow::Cow;
///
/// use kustomize::{Entry, Options, Tree, TreeError};
///
/// /// Two files that are always there.
/// struct Fixed;
///
/// impl Tree for Fixed {
///     fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
///         Ok(match path {
///             "" => Some(Entry::Folder),
///             "kustomization.yaml" | "web.yaml" => {
///                 let size = self.read(path)?.len() as u64;
///                 Some(Entry::File { size })
///             }
///             _ => None,
///         })
///     }
///
///     fn read(&self, path: &str) -> Result<Cow<'_, [u8]>, TreeError> {
///         let text = match path {
///             "kustomization.yaml" => "resources: [web.yaml]\n",
///             "web.yaml" => "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n",
///             _ => return Err(TreeError::new(format!("{path} is no file"))),
///         };
///         Ok(Cow::Borrowed(text.as_bytes()))
///     }
/// }
///
/// let rendered = kustomize::render(&Fixed, "", &Options::default())?;
/// assert_eq!(rendered.objects()[0].source(), ("web.yaml", 1));
/// # Ok::<(), kustomize::Error>(())
/// ```
pub trait Tree {
    /// What is at `path`; `None` if nothing is.
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError>;

    /// What is in the file at `path`, for which [`Tree::entry`] said [`Entry::File`], if the tree
    /// knows that without reading it, as git does. With a [`crate::Memo`], a file whose contents
    /// were seen before is not read again. Files of equal id must have equal bytes, in all trees
    /// that share a memo.
    fn content(&self, path: &str) -> Result<Option<ContentId>, TreeError> {
        let _ = path;
        Ok(None)
    }

    /// The bytes of the file at `path`, for which [`Tree::entry`] said [`Entry::File`].
    fn read(&self, path: &str) -> Result<Cow<'_, [u8]>, TreeError>;
}

/// A tree in memory, for tests and for callers that make their files up.
///
/// ```
/// use kustomize::MemoryTree;
///
/// let tree = MemoryTree::from([
///     ("kustomization.yaml", "namePrefix: web-\nresources: [config.yaml]\n"),
///     ("config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n"),
/// ]);
/// let rendered = kustomize::render(&tree, "", &kustomize::Options::default())?;
/// assert!(rendered.to_yaml().contains("name: web-settings"));
/// # Ok::<(), kustomize::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryTree {
    entries: BTreeMap<String, Stored>,
}

#[derive(Clone)]
enum Stored {
    File(Vec<u8>),
    Folder,
    Link(String),
}

impl MemoryTree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file, with the folders above it.
    pub fn add_file(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.add(path, Stored::File(bytes.into()));
    }

    /// Adds a symbolic link, with the folders above it.
    pub fn add_link(&mut self, path: &str, target: &str) {
        self.add(path, Stored::Link(target.to_owned()));
    }

    /// Adds a folder, with the folders above it.
    pub fn add_folder(&mut self, path: &str) {
        self.add(path, Stored::Folder);
    }

    fn add(&mut self, path: &str, entry: Stored) {
        for (at, _) in path.match_indices('/') {
            if let Some(folder) = path.get(..at) {
                self.entries
                    .entry(folder.to_owned())
                    .or_insert(Stored::Folder);
            }
        }
        self.entries.insert(path.to_owned(), entry);
    }
}

impl<const N: usize> From<[(&str, &str); N]> for MemoryTree {
    fn from(files: [(&str, &str); N]) -> Self {
        let mut tree = Self::new();
        for (path, text) in files {
            tree.add_file(path, text);
        }
        tree
    }
}

impl fmt::Debug for MemoryTree {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.entries.keys()).finish()
    }
}

impl Tree for MemoryTree {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        if path.is_empty() {
            return Ok(Some(Entry::Folder));
        }
        Ok(self.entries.get(path).map(|stored| match stored {
            Stored::File(bytes) => Entry::File {
                size: bytes.len() as u64,
            },
            Stored::Folder => Entry::Folder,
            Stored::Link(target) => Entry::Link {
                target: target.clone(),
            },
        }))
    }

    fn read(&self, path: &str) -> Result<Cow<'_, [u8]>, TreeError> {
        match self.entries.get(path) {
            Some(Stored::File(bytes)) => Ok(Cow::Borrowed(bytes)),
            Some(Stored::Folder | Stored::Link(_)) | None => {
                Err(TreeError::new(format!("{path} is no file")))
            }
        }
    }
}
