//! A commit's files, read straight from the object store: what the renderer sees of a repository.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use git2::{ObjectType, Oid, Repository};
use kustomize::{ContentId, Entry, Tree, TreeError};

use super::mirror::Mirror;
use super::revision::CommitId;
use crate::render::{Folders, Node};

/// Mode of a symbolic link in a git tree.
const LINK_MODE: i32 = 0o120_000;
/// Longest target of a symbolic link, as on Linux.
const TARGET_LIMIT: usize = 4096;

/// The files of one commit. A submodule does not exist for the reader.
pub(crate) struct CommitTree {
    reader: Mutex<Reader>,
    commit: CommitId,
}

/// The object store, and the folders that were looked into.
struct Reader {
    repository: Repository,
    root: Oid,
    folders: HashMap<String, Arc<Folder>>,
}

/// What is in a folder, by name.
type Folder = BTreeMap<String, Found>;

/// Something in a tree.
#[derive(Clone, Copy)]
struct Found {
    id: Oid,
    /// A tree or a blob.
    kind: ObjectType,
    mode: i32,
}

impl Reader {
    /// What is at a path that is not the root's.
    fn find(&mut self, path: &str) -> Result<Option<Found>, git2::Error> {
        let path = path.trim_matches('/');
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.folder(folder)?;
        Ok(folder.and_then(|folder| folder.get(name).copied()))
    }

    /// What is in the folder at a path. A thousand files beside each other cost one look at it.
    fn folder(&mut self, path: &str) -> Result<Option<Arc<Folder>>, git2::Error> {
        let path = path.trim_matches('/');
        if let Some(known) = self.folders.get(path) {
            return Ok(Some(Arc::clone(known)));
        }
        let id = if path.is_empty() {
            self.root
        } else {
            match self.find(path)? {
                Some(found) if found.kind == ObjectType::Tree => found.id,
                Some(_) | None => return Ok(None),
            }
        };
        let tree = self.repository.find_tree(id)?;
        let entries = tree.iter().filter_map(|entry| {
            let kind @ (ObjectType::Tree | ObjectType::Blob) = entry.kind()? else {
                return None;
            };
            let (id, mode) = (entry.id(), entry.filemode());
            Some((entry.name().ok()?.to_owned(), Found { id, kind, mode }))
        });
        let folder: Arc<Folder> = Arc::new(entries.collect());
        self.folders.insert(path.to_owned(), Arc::clone(&folder));
        Ok(Some(folder))
    }
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
            reader: Mutex::new(Reader {
                repository,
                root,
                folders: HashMap::new(),
            }),
            commit,
        })
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
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
        if path.is_empty() {
            return Ok(Some(Entry::Folder));
        }
        let unreadable = |error: git2::Error| self.unreadable(path, &error);
        let mut reader = self.reader();
        let Some(Found { id, kind, mode }) = reader.find(path).map_err(unreadable)? else {
            return Ok(None);
        };
        if kind == ObjectType::Tree {
            return Ok(Some(Entry::Folder));
        }
        let odb = reader.repository.odb().map_err(unreadable)?;
        let (size, _) = odb.read_header(id).map_err(unreadable)?;
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
        let blob = reader.repository.find_blob(id).map_err(unreadable)?;
        let target = String::from_utf8_lossy(blob.content()).into_owned();
        Ok(Some(Entry::Link { target }))
    }

    fn content(&self, path: &str) -> Result<Option<ContentId>, TreeError> {
        let found = self.reader().find(path);
        let found = found.map_err(|error| self.unreadable(path, &error))?;
        Ok(found.map(|found| ContentId::new(found.id.as_bytes())))
    }

    fn read(&self, path: &str) -> Result<Cow<'_, [u8]>, TreeError> {
        let unreadable = |error: git2::Error| self.unreadable(path, &error);
        let mut reader = self.reader();
        let found = reader.find(path).map_err(unreadable)?;
        let Some(found) = found.filter(|found| found.kind == ObjectType::Blob) else {
            return Err(TreeError::new(format!("{path} is no file")));
        };
        let blob = reader.repository.find_blob(found.id).map_err(unreadable)?;
        Ok(Cow::Owned(blob.content().to_vec()))
    }
}

impl Folders for CommitTree {
    fn list(&self, folder: &str) -> Result<Vec<(String, Node)>, TreeError> {
        let listed = self.reader().folder(folder);
        let listed = listed.map_err(|error| self.unreadable(folder, &error))?;
        let entries = listed.iter().flat_map(|folder| folder.iter());
        let nodes = entries.filter_map(|(name, found)| {
            let node = match found.kind {
                ObjectType::Tree => Node::Folder,
                ObjectType::Blob if found.mode != LINK_MODE => Node::File,
                ObjectType::Blob | ObjectType::Commit | ObjectType::Tag | ObjectType::Any => {
                    return None;
                }
            };
            Some((name.clone(), node))
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
        let id = Oid::hash_object(ObjectType::Blob, b"text").unwrap();
        assert_eq!(
            tree.content("a/b.yaml").unwrap(),
            Some(ContentId::new(id.as_bytes()))
        );
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
