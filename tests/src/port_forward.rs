//! `kubectl port-forward`: a port of this host that leads to a pod.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use crate::cluster::Cluster;

/// How long it may take to say which port it listens on: an emulated API server needs most of it.
const DEADLINE: Duration = Duration::from_mins(2);

/// A forwarded port; gone when dropped.
#[derive(Debug)]
pub struct PortForward {
    child: Child,
    port: u16,
}

impl PortForward {
    /// Forwards a free port of the loopback address to `port` of an object, as `pod/immudb-primary-0`.
    ///
    /// # Errors
    /// When the object cannot be reached.
    pub fn to(cluster: &Cluster, namespace: &str, object: &str, port: u16) -> Result<Self> {
        let child = cluster
            .kubectl(&[
                "-n",
                namespace,
                "port-forward",
                "--address",
                "127.0.0.1",
                object,
                &format!(":{port}"),
            ])?
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to start kubectl port-forward")?;
        let mut forward = Self { child, port: 0 };
        forward.port = forward.listening_port()?;
        Ok(forward)
    }

    /// The port of this host.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Reads "Forwarding from 127.0.0.1:41234 -> 3322".
    fn listening_port(&mut self) -> Result<u16> {
        let stdout = self
            .child
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
            .recv_timeout(DEADLINE)
            .context("kubectl port-forward did not say that it listens")?
            .ok_or_else(|| anyhow!("kubectl port-forward ended before it listened"))?;
        let port = line
            .split("127.0.0.1:")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        port.and_then(|port| port.parse().ok())
            .ok_or_else(|| anyhow!("kubectl port-forward said `{line}`"))
    }
}

impl Drop for PortForward {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
