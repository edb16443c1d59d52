//! People who write to immudb and are told that it is kept: several connections of immudb-py, which is not
//! ours, through the edge. What they were told is what must be there later.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::edge::{Edge, client, said};
use crate::port_forward::PortForward;
use crate::process;

/// Writers at work. They end when this is dropped.
#[derive(Debug)]
pub struct Writers {
    child: Child,
    output: BufReader<ChildStdout>,
    /// The file with its authority, which every new connection reads.
    _edge: Edge,
}

impl Writers {
    /// Starts `connections` writers through `rw.`. Each writes `count` keys as fast as it can, and then goes on
    /// slowly.
    ///
    /// # Errors
    /// When the client cannot be started.
    pub fn start(edge: Edge, connections: u8, count: u32) -> Result<Self> {
        let mut child = edge
            .client("write_on", &edge.name("rw"), connections)?
            .args(["--count", &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the writers")?;
        let output = child.stdout.take().context("the writers have no stdout")?;
        Ok(Self {
            child,
            output: BufReader::new(output),
            _edge: edge,
        })
    }

    /// Waits until every writer has written its keys.
    ///
    /// # Errors
    /// When they end before.
    pub fn enough(&mut self) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(line.trim() == "enough", "the writers said {line}");
        Ok(())
    }

    /// Stops them and gives the acknowledged keys, each with its transaction.
    ///
    /// # Errors
    /// When they crashed.
    pub fn stop(mut self) -> Result<BTreeMap<String, u64>> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text)?;
        let acknowledged = said(&text)?;
        Ok(serde_json::from_value(acknowledged)?)
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// All keys of writers with their values, as one server has them.
///
/// # Errors
/// When the server does not answer.
pub fn written(cluster: &Cluster, pod: &str) -> Result<BTreeMap<String, String>> {
    let forward = PortForward::to(cluster, "immudb", pod, 3322)?;
    let password = cluster.secret("immudb", "immudb-admin", "password")?;
    let mut command = client("scan", &password)?;
    command
        .args(["--address", &format!("127.0.0.1:{}", forward.port())])
        .args(["--timeout", "30", "--plaintext"]);
    let found: Value = said(&process::text(&mut command, None)?)?;
    Ok(serde_json::from_value(found)?)
}
