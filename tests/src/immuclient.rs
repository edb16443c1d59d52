//! The `immuclient` of the bundle against a server inside the cluster: a client that is not ours.

use std::process::Command;

use anyhow::{Context as _, Result};
use fs_err as fs;
use tempfile::TempDir;

use crate::bundle;
use crate::cluster::Cluster;
use crate::port_forward::PortForward;
use crate::process;

/// A connection to one immudb server through the API server's port forwarding.
#[derive(Debug)]
pub struct Immuclient {
    forward: PortForward,
    password: String,
    home: TempDir,
}

impl Immuclient {
    /// Connects to the pod `pod` of the namespace `immudb` as its administrator.
    ///
    /// # Errors
    /// When the pod cannot be reached.
    pub fn connect(cluster: &Cluster, pod: &str) -> Result<Self> {
        let password = cluster.secret("immudb", "immudb-admin", "password")?;
        let forward = PortForward::to(cluster, "immudb", pod, 3322)?;
        let home = TempDir::new().context("failed to make a home for immuclient")?;
        Ok(Self {
            forward,
            password,
            home,
        })
    }

    /// `immuclient safeset`: writes and checks the server's proof of it.
    ///
    /// # Errors
    /// What immuclient said.
    pub fn safe_set(&self, key: &str, value: &str) -> Result<String> {
        self.run(&["safeset", key, value])
    }

    /// `immuclient get --value-only`.
    ///
    /// # Errors
    /// What immuclient said, also when the key is missing.
    pub fn get(&self, key: &str) -> Result<String> {
        Ok(self.run(&["get", key, "--value-only"])?.trim().to_owned())
    }

    /// Runs one immuclient command and gives what it printed.
    ///
    /// # Errors
    /// When it fails; immuclient also exits 0 with an error on stdout, so callers check the text.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        // immuclient 1.11 keeps its login in the home directory that the password file names,
        // whatever HOME and --tokenfile say, and shows it to the next server, which refuses it. So it
        // gets a password file of its own, in a mount namespace of its own.
        let users = self.home.path().join("passwd");
        let home = self.home.path().display();
        fs::write(&users, format!("root:x:0:0::{home}:/bin/sh\n"))?;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--", "sh", "-c"])
            .arg("mount --bind \"$1\" /etc/passwd && shift && exec \"$@\"")
            .arg("sh")
            .arg(&users)
            .arg(bundle::program("immuclient")?)
            // Command first: immuclient prints advice into its output for the other order.
            .args(arguments)
            .args(["--immudb-address", "127.0.0.1"])
            .args(["--immudb-port", &self.forward.port().to_string()])
            .args(["--username", "immudb", "--database", "defaultdb"])
            .env("IMMUCLIENT_PASSWORD", &self.password)
            .env("HOME", self.home.path())
            .current_dir(self.home.path());
        process::text(&mut command, None)
    }
}
