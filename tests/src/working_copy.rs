//! A person's clone of the cluster repository: edit files, commit, push.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use fs_err as fs;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::process;

/// A clone with the credentials to push.
#[derive(Debug)]
pub struct WorkingCopy {
    directory: TempDir,
    url: String,
}

impl WorkingCopy {
    /// Clones `url` (http), logging in as `user`.
    ///
    /// # Errors
    /// What git said.
    pub fn clone(url: &str, user: &str, password: &str) -> Result<Self> {
        let directory = TempDir::new().context("failed to make a directory for a clone")?;
        let url = url.replacen("http://", &format!("http://{user}:{password}@"), 1);
        let copy = Self { directory, url };
        copy.git(&["clone", "--quiet", &copy.url, "."])?;
        Ok(copy)
    }

    /// Clones the repository that a cluster with the built-in forge follows.
    ///
    /// # Errors
    /// When the forge does not answer.
    pub fn of_built_in_forge(cluster: &Cluster) -> Result<Self> {
        let url = format!("{}/immuops/cluster.git", cluster.forge_url()?);
        let user = cluster.secret("git-system", "gitea", "admin-user")?;
        let password = cluster.secret("git-system", "gitea", "admin-password")?;
        Self::clone(&url, &user, &password)
    }

    /// Where the files are.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file, with the folders it needs.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(fs::write(path, text)?)
    }

    /// Replaces `from`, which must be there, by `to` in a file.
    ///
    /// # Errors
    /// When the file does not have the text.
    pub fn replace(&self, path: &str, from: &str, to: &str) -> Result<()> {
        let file = self.path().join(path);
        let text = fs::read_to_string(&file)?;
        anyhow::ensure!(
            text.contains(from),
            "{path} does not contain `{from}`:\n{text}"
        );
        Ok(fs::write(file, text.replace(from, to))?)
    }

    /// Commits everything and pushes it; gives the commit's id.
    ///
    /// # Errors
    /// What git said, for example that there is nothing to commit.
    pub fn push(&self, message: &str) -> Result<String> {
        self.commit(message)?;
        self.git(&["push", "--quiet", "origin", "HEAD:main"])?;
        Ok(self.git(&["rev-parse", "HEAD"])?.trim().to_owned())
    }

    /// Commits everything without pushing it.
    ///
    /// # Errors
    /// What git said, for example that there is nothing to commit.
    pub fn commit(&self, message: &str) -> Result<()> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message])
            .map(drop)
    }

    /// Runs git in the clone, without the user's or the system's configuration.
    ///
    /// # Errors
    /// What git said.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_AUTHOR_NAME", "A Person")
            .env("GIT_AUTHOR_EMAIL", "person@example.com")
            .env("GIT_COMMITTER_NAME", "A Person")
            .env("GIT_COMMITTER_EMAIL", "person@example.com");
        process::text(&mut command, None)
    }
}
