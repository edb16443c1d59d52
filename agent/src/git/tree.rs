//! A commit's files, read straight from the object store.
//!
//! Symbolic links are followed inside the tree only, a bounded number of times; a link that leaves
//! the tree, and a submodule, do not exist for the reader.

use std::collections::VecDeque;

use git2::{ObjectType, Oid, Repository, Tree};

use super::mirror::Mirror;
use super::revision::CommitId;

/// Largest file that is read.
const FILE_LIMIT: usize = 16 << 20;
/// Most links that are followed on the way to one file.
const LINK_LIMIT: usize = 32;
/// Mode of a symbolic link in a tree.
const LINK_MODE: i32 = 0o120_000;

/// Reading a tree failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    /// libgit2 could not read an object.
    #[error("cannot read `{path}` from commit {commit}")]
    Git { path: String, commit: CommitId, source: git2::Error },
    /// The path leaves the repository.
    #[error("`{path}` leaves the repository")]
    Outside { path: String },
    /// Too many links.
    #[error("`{path}` leads through more than {LINK_LIMIT} symbolic links")]
    Links { path: String },
    /// The file is too large.
    #[error("`{path}` is larger than {} MiB", FILE_LIMIT >> 20)]
    TooLarge { path: String },
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// A file, with its blob.
    File(Oid),
    /// A directory, with its tree.
    Directory(Oid),
}

/// The files of one commit.
pub(crate) struct CommitTree {
    repository: Repository,
    root: Oid,
    commit: CommitId,
}

impl std::fmt::Debug for CommitTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CommitTree({})", self.commit)
    }
}

impl CommitTree {
    /// Opens the tree of a commit.
    pub(crate) fn open(mirror: &Mirror, commit: CommitId) -> Result<Self, TreeError> {
        let git = |source| TreeError::Git { path: String::new(), commit, source };
        let repository = mirror.repository().map_err(git)?;
        let root = repository.find_commit(commit.oid()).map_err(git)?.tree_id();
        Ok(Self { repository, root, commit })
    }

    /// Finds what is at `path`, following links inside the tree. `None` if there is nothing.
    pub(crate) fn node(&self, path: &str) -> Result<Option<Node>, TreeError> {
        let mut waiting: VecDeque<String> = segments(path);
        let mut walked: Vec<(String, Oid)> = Vec::new();
        let mut links = 0;
        let mut here = Node::Directory(self.root);
        while let Some(segment) = waiting.pop_front() {
            if segment == ".." {
                if walked.pop().is_none() {
                    return Err(TreeError::Outside { path: path.to_owned() });
                }
                here = Node::Directory(walked.last().map_or(self.root, |(_, oid)| *oid));
                continue;
            }
            let Node::Directory(directory) = here else { return Ok(None) };
            let tree = self.tree(directory, path)?;
            let Some(entry) = tree.get_name(&segment) else { return Ok(None) };
            match entry.kind() {
                Some(ObjectType::Tree) => {
                    walked.push((segment, entry.id()));
                    here = Node::Directory(entry.id());
                }
                Some(ObjectType::Blob) if entry.filemode() == LINK_MODE => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return Err(TreeError::Links { path: path.to_owned() });
                    }
                    let target = self.blob(entry.id(), path)?;
                    let target = String::from_utf8_lossy(&target).into_owned();
                    if target.starts_with('/') {
                        return Err(TreeError::Outside { path: path.to_owned() });
                    }
                    for part in segments(&target).into_iter().rev() {
                        waiting.push_front(part);
                    }
                    here = Node::Directory(directory);
                }
                Some(ObjectType::Blob) => here = Node::File(entry.id()),
                _ => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// The contents of the file at `path`. `None` if there is no file.
    pub(crate) fn file(&self, path: &str) -> Result<Option<Vec<u8>>, TreeError> {
        match self.node(path)? {
            Some(Node::File(oid)) => self.blob(oid, path).map(Some),
            Some(Node::Directory(_)) | None => Ok(None),
        }
    }

    /// The names in the directory at `path`, sorted as git sorts them. `None` if there is none.
    pub(crate) fn directory(&self, path: &str) -> Result<Option<Vec<String>>, TreeError> {
        let Some(Node::Directory(oid)) = self.node(path)? else { return Ok(None) };
        let tree = self.tree(oid, path)?;
        Ok(Some(tree.iter().filter_map(|entry| entry.name().ok().map(str::to_owned)).collect()))
    }

    /// The id of everything in the repository: equal ids mean equal files.
    pub(crate) const fn root(&self) -> Oid {
        self.root
    }

    fn tree(&self, oid: Oid, path: &str) -> Result<Tree<'_>, TreeError> {
        self.repository.find_tree(oid).map_err(|source| self.unreadable(path, source))
    }

    fn blob(&self, oid: Oid, path: &str) -> Result<Vec<u8>, TreeError> {
        let blob = self.repository.find_blob(oid).map_err(|source| self.unreadable(path, source))?;
        if blob.size() > FILE_LIMIT {
            return Err(TreeError::TooLarge { path: path.to_owned() });
        }
        Ok(blob.content().to_vec())
    }

    fn unreadable(&self, path: &str, source: git2::Error) -> TreeError {
        TreeError::Git { path: path.to_owned(), commit: self.commit, source }
    }
}

fn segments(path: &str) -> VecDeque<String> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
}
