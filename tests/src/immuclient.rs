//! The `immuclient` of the bundle against a server inside the cluster: a client that is not ours.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use fs_err as fs;
use tempfile::TempDir;

use crate::bundle;
use crate::cluster::Cluster;
use crate::process;

/// How long `kubectl port-forward` may take to say which port it listens on.
const FORWARD_DEADLINE: Duration = Duration::from_secs(20);

/// A connection to one immudb server through the API server's port forwarding.
#[derive(Debug)]
pub struct Immuclient {
    forward: Child,
    port: String,
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
        let mut forward = cluster
            .kubectl(&[
                "-n",
                "immudb",
                "port-forward",
                "--address",
                "127.0.0.1",
                pod,
                ":3322",
            ])?
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to start kubectl port-forward")?;
        let port = listening_port(&mut forward).inspect_err(|_| end(&mut forward))?;
        let home = TempDir::new().context("failed to make a home for immuclient")?;
        Ok(Self {
            forward,
            port,
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
            .args(["--immudb-address", "127.0.0.1", "--immudb-port", &self.port])
            .args(["--username", "immudb", "--database", "defaultdb"])
            .env("IMMUCLIENT_PASSWORD", &self.password)
            .env("HOME", self.home.path())
            .current_dir(self.home.path());
        process::text(&mut command, None)
    }
}

impl Drop for Immuclient {
    fn drop(&mut self) {
        end(&mut self.forward);
    }
}

fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

/// Reads "Forwarding from 127.0.0.1:41234 -> 3322".
fn listening_port(forward: &mut Child) -> Result<String> {
    let stdout = forward
        .stdout
        .take()
        .ok_or_else(|| anyhow!("port-forward has no stdout"))?;
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        drop(sender.send(lines.next()));
        // Keeps reading so that the forwarder never blocks on a full pipe.
        lines.for_each(drop);
    });
    let line = receiver
        .recv_timeout(FORWARD_DEADLINE)
        .context("kubectl port-forward did not say that it listens")?
        .ok_or_else(|| anyhow!("kubectl port-forward ended before it listened"))?;
    line.split("127.0.0.1:")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("kubectl port-forward said `{line}`"))
}
