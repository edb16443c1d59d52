//! A layer: files, directories and links with fixed owners, modes and times.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use tar::{Builder, EntryType, Header};

/// User and group id of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Owner {
    /// The same id for user and group.
    pub const fn same(id: u32) -> Self {
        Self { uid: id, gid: id }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Directory,
    /// Copied from the host when the layer is written.
    File(PathBuf),
    Bytes(Vec<u8>),
    Link(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    content: Content,
    mode: u32,
    owner: Owner,
}

/// Entries by path. Parent directories are added by themselves, owned by root with mode 0755.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Layer {
    /// A layer without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file of the host, owned by root.
    #[must_use]
    pub fn file(self, path: &str, from: impl Into<PathBuf>, mode: u32) -> Self {
        self.entry(path, Content::File(from.into()), mode, Owner::default())
    }

    /// A small file, owned by root.
    #[must_use]
    pub fn bytes(self, path: &str, bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.entry(path, Content::Bytes(bytes.into()), mode, Owner::default())
    }

    /// A directory with an owner of its own.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32, owner: Owner) -> Self {
        self.entry(path, Content::Directory, mode, owner)
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(self, path: &str, target: impl Into<PathBuf>) -> Self {
        self.entry(path, Content::Link(target.into()), 0o777, Owner::default())
    }

    /// The same layer with other host files: `find` tells where each really is.
    ///
    /// # Errors
    /// Those of `find`.
    pub fn with_sources<E>(
        mut self,
        find: impl Fn(&Path) -> Result<PathBuf, E>,
    ) -> Result<Self, E> {
        for entry in self.entries.values_mut() {
            if let Content::File(from) = &mut entry.content {
                *from = find(from)?;
            }
        }
        Ok(self)
    }

    /// Every file below the host's `directory`, at `path`. Files get mode 0644 and links are
    /// refused, so that nothing depends on how the host keeps them.
    ///
    /// # Errors
    /// When the directory cannot be read or holds anything but files and directories.
    pub fn tree(mut self, path: &str, directory: &Path) -> io::Result<Self> {
        for child in fs::read_dir(directory)? {
            let child = child?;
            let name = Path::new(path).join(child.file_name());
            let name = name.to_str().ok_or_else(|| {
                io::Error::other(format!("{} is not UTF-8", child.path().display()))
            })?;
            let kind = child.file_type()?;
            if kind.is_dir() {
                self = self.tree(name, &child.path())?;
            } else if kind.is_file() {
                self = self.file(name, child.path(), 0o644);
            } else {
                let text = format!("{} is neither file nor directory", child.path().display());
                return Err(io::Error::other(text));
            }
        }
        Ok(self)
    }

    fn entry(mut self, path: &str, content: Content, mode: u32, owner: Owner) -> Self {
        let path = PathBuf::from(path.trim_start_matches('/'));
        self.entries.insert(
            path,
            Entry {
                content,
                mode,
                owner,
            },
        );
        self
    }

    /// Writes the layer as an uncompressed tar.
    ///
    /// # Errors
    /// When a file of the host cannot be read or `out` cannot be written.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut tar = Builder::new(out);
        for (path, entry) in &self.with_parents() {
            let mut header = header(entry.mode, entry.owner);
            match &entry.content {
                Content::Directory => {
                    header.set_entry_type(EntryType::Directory);
                    let path = path.join("");
                    tar.append_data(&mut header, path, io::empty())?;
                }
                Content::Link(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    tar.append_link(&mut header, path, target)?;
                }
                Content::Bytes(bytes) => {
                    header.set_size(bytes.len() as u64);
                    tar.append_data(&mut header, path, bytes.as_slice())?;
                }
                Content::File(from) => {
                    // No symlinks: what is packed must be the file that was named.
                    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
                    let file = fs::OpenOptions::new()
                        .read(true)
                        .custom_flags(flags)
                        .open(from)?;
                    header.set_size(file.metadata()?.len());
                    tar.append_data(&mut header, path, file)?;
                }
            }
        }
        tar.into_inner()?.flush()
    }

    fn with_parents(&self) -> BTreeMap<PathBuf, Entry> {
        let mut all = self.entries.clone();
        let parents = self
            .entries
            .keys()
            .flat_map(|path| path.ancestors().skip(1));
        for parent in parents.filter(|parent| !parent.as_os_str().is_empty()) {
            all.entry(parent.to_owned()).or_insert_with(|| Entry {
                content: Content::Directory,
                mode: 0o755,
                owner: Owner::default(),
            });
        }
        all
    }
}

/// A header without anything that could differ between two runs: no time, no names.
pub(crate) fn header(mode: u32, owner: Owner) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(owner.uid.into());
    header.set_gid(owner.gid.into());
    header.set_mtime(0);
    header.set_size(0);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn listing(layer: &Layer) -> Vec<String> {
        let mut bytes = Vec::new();
        layer.write(&mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let header = entry.header();
            assert_eq!(header.mtime().unwrap(), 0);
            format!(
                "{:o} {}:{} {} {text}{}",
                header.mode().unwrap(),
                header.uid().unwrap(),
                header.gid().unwrap(),
                entry.path().unwrap().display(),
                entry
                    .link_name()
                    .unwrap()
                    .map_or_else(String::new, |to| format!("-> {}", to.display())),
            )
        });
        entries.collect()
    }

    #[test]
    fn entries_are_ordered_and_have_parents() {
        let layer = Layer::new()
            .link("/usr/bin/b", "a")
            .bytes("/usr/bin/a", "text", 0o755)
            .directory("/data", 0o700, Owner::same(3322));
        assert_eq!(
            listing(&layer),
            [
                "700 3322:3322 data/ ",
                "755 0:0 usr/ ",
                "755 0:0 usr/bin/ ",
                "755 0:0 usr/bin/a text",
                "777 0:0 usr/bin/b -> a",
            ]
        );
    }

    #[test]
    fn host_modes_and_times_do_not_matter() {
        let directory = tempfile::tempdir().unwrap();
        let long = "d".repeat(120);
        fs::create_dir(directory.path().join(&long)).unwrap();
        let file = directory.path().join(&long).join("f");
        fs::write(&file, "x").unwrap();
        let layer = Layer::new().tree("/share", directory.path()).unwrap();
        let before = listing(&layer);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&file, mode).unwrap();
        assert_eq!(before, listing(&layer));
        assert_eq!(before.last(), Some(&format!("644 0:0 share/{long}/f x")));
    }

    #[test]
    fn a_link_in_place_of_a_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
        Layer::new().tree("/", directory.path()).unwrap_err();
        Layer::new()
            .file("/f", &link, 0o644)
            .write(io::sink())
            .unwrap_err();
    }
}
