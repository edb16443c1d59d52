//! A commit's files, read straight from the object store: what the renderer sees of a repository.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use git2::{ObjectType, Oid, Repository};
use kustomize::{Entry, Tree, TreeError};

use super::mirror::Mirror;
use super::revision::CommitId;
use crate::render::{Folders, Node};

/// Mode of a symbolic link in a git tree.
const LINK_MODE: i32 = 0o120_000;
/// Longest target of a symbolic link, as on Linux.
const TARGET_LIMIT: usize = 4096;

/// The files of one commit. A submodule does not exist for the reader.
pub(crate) struct CommitTree {
    repository: Mutex<Repository>,
    root: Oid,
    commit: CommitId,
}

impl fmt::Debug for CommitTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommitTree({})", self.commit)
    }
}

impl CommitTree {
    /// Opens the tree of a commit.
    pub(crate) fn open(mirror: &Mirror, commit: CommitId) -> Result<Self, git2::Error> {
        let repository = mirror.repository()?;
        let root = repository.find_commit(commit.oid())?.tree_id();
        Ok(Self {
            repository: Mutex::new(repository),
            root,
            commit,
        })
    }

    fn find(
        &self,
        repository: &Repository,
        path: &str,
    ) -> Result<Option<(Oid, ObjectType, i32)>, TreeError> {
        let mut here = (self.root, ObjectType::Tree, 0);
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            if here.1 != ObjectType::Tree {
                return Ok(None);
            }
            let tree = repository
                .find_tree(here.0)
                .map_err(|error| self.unreadable(path, &error))?;
            let Some(entry) = tree.get_name(segment) else {
                return Ok(None);
            };
            let Some(kind @ (ObjectType::Tree | ObjectType::Blob)) = entry.kind() else {
                return Ok(None);
            };
            here = (entry.id(), kind, entry.filemode());
        }
        Ok(Some(here))
    }

    fn repository(&self) -> MutexGuard<'_, Repository> {
        self.repository
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn unreadable(&self, path: &str, error: &git2::Error) -> TreeError {
        let commit = self.commit;
        TreeError::new(format!(
            "cannot read {path} of commit {commit}: {}",
            error.message()
        ))
    }
}

impl Tree for CommitTree {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        let repository = self.repository();
        let Some((oid, kind, mode)) = self.find(&repository, path)? else {
            return Ok(None);
        };
        if kind == ObjectType::Tree {
            return Ok(Some(Entry::Folder));
        }
        let unreadable = |error: git2::Error| self.unreadable(path, &error);
        let odb = repository.odb().map_err(unreadable)?;
        let (size, _) = odb.read_header(oid).map_err(unreadable)?;
        if mode != LINK_MODE {
            return Ok(Some(Entry::File {
                size: u64::try_from(size).unwrap_or(u64::MAX),
            }));
        }
        if size > TARGET_LIMIT {
            return Err(TreeError::new(format!(
                "{path} is a symbolic link with a target of {size} bytes"
            )));
        }
        let blob = repository.find_blob(oid).map_err(unreadable)?;
        let target = String::from_utf8_lossy(blob.content()).into_owned();
        Ok(Some(Entry::Link { target }))
    }

    fn read(&self, path: &str) -> Result<Cow<'_, [u8]>, TreeError> {
        let repository = self.repository();
        let Some((oid, ObjectType::Blob, _)) = self.find(&repository, path)? else {
            return Err(TreeError::new(format!("{path} is no file")));
        };
        let blob = repository
            .find_blob(oid)
            .map_err(|error| self.unreadable(path, &error))?;
        Ok(Cow::Owned(blob.content().to_vec()))
    }
}

impl Folders for CommitTree {
    fn list(&self, folder: &str) -> Result<Vec<(String, Node)>, TreeError> {
        let repository = self.repository();
        let Some((oid, ObjectType::Tree, _)) = self.find(&repository, folder)? else {
            return Ok(Vec::new());
        };
        let tree = repository
            .find_tree(oid)
            .map_err(|error| self.unreadable(folder, &error))?;
        let nodes = tree.iter().filter_map(|entry| {
            let node = match entry.kind()? {
                ObjectType::Tree => Node::Folder,
                ObjectType::Blob if entry.filemode() != LINK_MODE => Node::File,
                ObjectType::Blob | ObjectType::Commit | ObjectType::Tag | ObjectType::Any => {
                    return None;
                }
            };
            Some((entry.name().ok()?.to_owned(), node))
        });
        Ok(nodes.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use git2::Signature;

    /// A bare repository with one commit of these files: (path, mode, contents).
    fn commit(files: &[(&str, i32, &str)]) -> (tempfile::TempDir, CommitTree) {
        let directory = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(directory.path().join("mirror")).unwrap();
        let mut index = git2::Index::new().unwrap();
        for (path, mode, contents) in files {
            let entry = git2::IndexEntry {
                ctime: git2::IndexTime::new(0, 0),
                mtime: git2::IndexTime::new(0, 0),
                dev: 0,
                ino: 0,
                mode: u32::try_from(*mode).unwrap(),
                uid: 0,
                gid: 0,
                file_size: 0,
                id: repository.blob(contents.as_bytes()).unwrap(),
                flags: 0,
                flags_extended: 0,
                path: path.as_bytes().to_vec(),
            };
            index.add(&entry).unwrap();
        }
        let tree = repository
            .find_tree(index.write_tree_to(&repository).unwrap())
            .unwrap();
        let author = Signature::new("a", "a@example.com", &git2::Time::new(0, 0)).unwrap();
        let id = repository
            .commit(None, &author, &author, "m", &tree, &[])
            .unwrap();
        let mirror = Mirror::new(directory.path(), "mirror");
        let tree = CommitTree::open(&mirror, CommitId::new(id)).unwrap();
        (directory, tree)
    }

    const FILE: i32 = 0o100_644;

    #[test]
    fn answers_for_exactly_the_path() {
        let (_directory, tree) = commit(&[
            ("a/b.yaml", FILE, "text"),
            ("link", LINK_MODE, "a"),
            ("outside", LINK_MODE, "../../etc/passwd"),
        ]);
        assert_eq!(tree.entry("").unwrap(), Some(Entry::Folder));
        assert_eq!(tree.entry("a").unwrap(), Some(Entry::Folder));
        assert_eq!(
            tree.entry("a/b.yaml").unwrap(),
            Some(Entry::File { size: 4 })
        );
        assert_eq!(tree.read("a/b.yaml").unwrap().as_ref(), b"text");
        assert_eq!(
            tree.entry("link").unwrap(),
            Some(Entry::Link { target: "a".into() })
        );
        assert_eq!(
            tree.entry("link/b.yaml").unwrap(),
            None,
            "links are not followed"
        );
        assert_eq!(tree.entry("a/b.yaml/c").unwrap(), None);
        assert_eq!(tree.entry("missing").unwrap(), None);
        assert!(
            tree.read("a")
                .unwrap_err()
                .to_string()
                .contains("is no file")
        );
    }

    #[test]
    fn lists_files_and_folders_only() {
        let (_directory, tree) = commit(&[
            ("x/b.yaml", FILE, ""),
            ("x/deep/c.yaml", FILE, ""),
            ("x/link.yaml", LINK_MODE, "b.yaml"),
        ]);
        let expected = [
            ("b.yaml".to_owned(), Node::File),
            ("deep".to_owned(), Node::Folder),
        ];
        assert_eq!(tree.list("x").unwrap(), expected);
        assert_eq!(tree.list("missing").unwrap(), []);
    }
}
