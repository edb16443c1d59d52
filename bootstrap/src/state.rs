//! The state directory of a cluster: what exists, who may change it, and where its files are.
//!
//! `cluster.json` is written before anything else is made, so that `down` knows what to remove
//! even when `up` was killed a moment later. One process at a time may change the cluster.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err::{self as fs, File, OpenOptions};
use serde::{Deserialize, Serialize};

use crate::edge::Edge;
use crate::pace::Pace;
use crate::problem::{OrProblem, Problem};
use crate::provider::Kind;
use crate::topology::{ClusterName, Topology};

/// What a cluster is, as kept in `cluster.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// What made its machines.
    #[serde(default)]
    pub provider: Kind,
    /// How slow they are.
    #[serde(default)]
    pub pace: Pace,
    /// Its nodes and addresses.
    pub topology: Topology,
    /// The bundle that its machines run from.
    pub bundle: PathBuf,
}

/// What this host can reach of a cluster, as kept in `published.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The loopback port of the built-in forge, if there is one.
    pub git: Option<u16>,
    /// The names and ports of the edge.
    pub edge: Edge,
}

/// The state directory of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDirectory(PathBuf);

/// The right to change a cluster; released when dropped and when the process ends.
#[derive(Debug)]
pub struct Locked(#[expect(dead_code, reason = "held for its lock")] File);

impl StateDirectory {
    /// The given directory, or `$XDG_STATE_HOME/immuops/<cluster>`.
    ///
    /// # Errors
    /// When there is no home directory to derive the default from.
    pub fn choose(given: Option<&Path>, cluster: &ClusterName) -> anyhow::Result<Self> {
        use etcetera::base_strategy::{BaseStrategy, Xdg};
        if let Some(given) = given {
            return Ok(Self(std::path::absolute(given)?));
        }
        let xdg = Xdg::new().or_problem(|| {
            Problem::new("no home directory to keep the cluster's state in")
                .hint("name a directory: --state-dir DIR")
        })?;
        let base = xdg.state_dir().unwrap_or_else(|| xdg.data_dir());
        Ok(Self(base.join("immuops").join(cluster.as_str())))
    }

    /// A directory on paper.
    #[cfg(test)]
    pub(crate) fn at(path: &str) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The directory of one node's machine.
    pub fn node(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join("nodes").join(name)
    }

    /// Where the cluster's keys and certificates are.
    pub fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    /// The administrator's access to the cluster.
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// Makes the directory, for its owner only, and takes its lock.
    ///
    /// # Errors
    /// When it cannot be made, or another process holds the lock.
    pub fn lock(&self) -> anyhow::Result<Locked> {
        fs::create_dir_all(&self.0)?;
        fs::set_permissions(&self.0, PermissionsExt::from_mode(0o700))?;
        let path = self.0.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)?;
        lock.file().try_lock().or_problem(|| {
            Problem::new(format!(
                "another bootstrap is changing the cluster in {}",
                self.0.display()
            ))
            .hint("wait until it has ended, or choose another --name")
        })?;
        Ok(Locked(lock))
    }

    /// What the cluster is, or `None` where there is none.
    ///
    /// # Errors
    /// When the file cannot be read or is no such file.
    pub fn read(&self) -> anyhow::Result<Option<ClusterFile>> {
        let path = self.0.join("cluster.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let file = serde_json::from_slice(&text).or_problem(|| {
            Problem::new(format!("{} is not readable as a cluster", path.display()))
                .hint("it may be from another version: use that one's `bootstrap down`")
        })?;
        Ok(Some(file))
    }

    /// As [`Self::read`], for commands that need a cluster.
    ///
    /// # Errors
    /// When there is none, or as [`Self::read`].
    pub fn require(&self) -> anyhow::Result<ClusterFile> {
        let found = self.read()?;
        Ok(found.ok_or_else(|| {
            Problem::new(format!("no cluster in {}", self.0.display()))
                .hint("run `bootstrap up`, or name the one you mean: --name or --state-dir")
        })?)
    }

    /// Records what the cluster is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, file: &ClusterFile) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(file)?;
        write_atomically(&self.0.join("cluster.json"), &text, 0o600)
    }

    /// Where the sockets of virtual machines and of the switch between them are.
    pub fn sockets(&self) -> PathBuf {
        self.0.join("sockets")
    }

    /// The loopback port that leads to the API server of a cluster of virtual machines.
    pub fn api_port(&self) -> PathBuf {
        self.0.join("api-port")
    }

    /// What this host can reach of the cluster, or `None` where nothing was published yet.
    ///
    /// # Errors
    /// When the file cannot be read or is no such file.
    pub fn published(&self) -> anyhow::Result<Option<Published>> {
        let path = self.0.join("published.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let published = serde_json::from_slice(&text).or_problem(|| {
            Problem::new(format!(
                "{} is not readable as published ports",
                path.display()
            ))
            .hint("remove it: the next `bootstrap up` writes it again")
        })?;
        Ok(Some(published))
    }

    /// Records what this host can reach.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_published(&self, published: &Published) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(published)?;
        write_atomically(&self.0.join("published.json"), &text, 0o600)
    }

    /// Removes the directory with everything in it.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The port that [`write_port`] wrote, or `None` where there is no file.
///
/// # Errors
/// When the file cannot be read or has no port in it.
pub fn read_port(path: &Path) -> anyhow::Result<Option<u16>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().parse().or_problem(|| {
            Problem::new(format!("{} has no port number in it", path.display()))
        })?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Records a port.
///
/// # Errors
/// When it cannot be written.
pub fn write_port(path: &Path, port: u16) -> anyhow::Result<()> {
    write_atomically(path, format!("{port}\n").as_bytes(), 0o600)
}

/// Writes a file so that it has either its old or its new content, whatever happens.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let failed = || Problem::new(format!("failed to write {}", path.display()));
    let mut file = tempfile::NamedTempFile::new_in(directory).or_problem(failed)?;
    file.write_all(content).or_problem(failed)?;
    file.as_file()
        .set_permissions(PermissionsExt::from_mode(mode))
        .or_problem(failed)?;
    file.persist(path).or_problem(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> ClusterFile {
        let topology = Topology::example(2);
        ClusterFile {
            provider: Kind::Native,
            pace: Pace::USUAL,
            topology,
            bundle: "/bundle".into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory(directory.path().join("immuops"));
        assert!(state.read().unwrap().is_none());
        let error = state.require().unwrap_err();
        assert!(error.to_string().starts_with("no cluster in "), "{error}");
        let lock = state.lock().unwrap();
        state.write(&file()).unwrap();
        assert_eq!(state.read().unwrap(), Some(file()));
        drop(lock);
        state.remove().unwrap();
        state.remove().unwrap();
        assert!(state.read().unwrap().is_none());
    }

    #[test]
    fn one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory(directory.path().to_owned());
        let first = state.lock().unwrap();
        assert!(
            state
                .lock()
                .unwrap_err()
                .to_string()
                .starts_with("another bootstrap")
        );
        drop(first);
        state.lock().unwrap();
    }
}
