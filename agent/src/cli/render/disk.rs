//! The files of this machine, as the renderer reads them.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use kustomize::{Entry, Tree, TreeError};

use crate::render::{Folders, Node};

/// A directory of this machine.
pub(super) struct Disk {
    /// What the empty path stands for.
    pub(super) root: PathBuf,
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
