//! A person outside the cluster who uses its edge: `curl` for the web, immudb's own Python client for
//! gRPC. Neither is ours.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::cluster::Cluster;
use crate::process;
use crate::python;

/// The Python program that runs immudb-py.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/edge_client.py");

/// The edge of one cluster, with the authority that it is trusted by.
#[derive(Debug)]
pub struct Edge {
    authority: NamedTempFile,
    domain: String,
    port: String,
    password: String,
}

/// What a web server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Where it leads, for redirects.
    pub location: String,
    /// What it says.
    pub body: String,
}

/// How a gRPC client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// As it should.
    Tls,
    /// Without TLS, to the port for TLS.
    Plaintext,
}

impl Edge {
    /// Asks `bootstrap` where the edge is and whom to trust.
    ///
    /// # Errors
    /// When the cluster has no edge.
    pub fn of(cluster: &Cluster) -> Result<Self> {
        let authority = NamedTempFile::new().context("failed to make a file for the authority")?;
        let certificate = process::text(&mut cluster.bootstrap(&["ca"])?, None)?;
        fs_err::write(authority.path(), certificate)?;
        let status = process::text(
            &mut cluster.bootstrap(&["status", "--output", "json"])?,
            None,
        )?;
        let status: Value = serde_json::from_str(&status)?;
        let address = status.pointer("/urls/rw").and_then(Value::as_str);
        let (name, port) = address
            .and_then(|address| address.split_once(':'))
            .with_context(|| format!("bootstrap status names no edge: {status}"))?;
        let domain = name.strip_prefix("rw.").context("the name is not rw.")?;
        Ok(Self {
            authority,
            domain: domain.to_owned(),
            port: port.to_owned(),
            password: cluster.secret("immudb", "immudb-admin", "password")?,
        })
    }

    /// The full name of a host, from its first label.
    pub fn name(&self, label: &str) -> String {
        format!("{label}.{}", self.domain)
    }

    /// `GET https://<label>.<domain>:<port><path>`.
    ///
    /// # Errors
    /// What curl said when it got no answer or did not trust the server.
    pub fn get(&self, label: &str, path: &str) -> Result<Answer> {
        self.curl(&format!("https://{}:{}{path}", self.name(label), self.port))
    }

    /// `GET` of any URL, trusting the edge's authority and nobody else.
    ///
    /// # Errors
    /// As [`Edge::get`].
    pub fn curl(&self, url: &str) -> Result<Answer> {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--max-time", "20"])
            .arg("--cacert")
            .arg(self.authority.path())
            .args(["--write-out", "\n%{http_code} %{redirect_url}", url]);
        let text = process::text(&mut command, None)?;
        let (body, end) = text.rsplit_once('\n').context("curl printed no status")?;
        let (status, location) = end.split_once(' ').unwrap_or((end, ""));
        Ok(Answer {
            status: status.parse()?,
            location: location.to_owned(),
            body: body.to_owned(),
        })
    }

    /// Runs one action of `python/edge_client.py` against the name `name`.
    ///
    /// # Errors
    /// The gRPC code and text when the call failed; what Python said when it crashed.
    pub fn immudb(
        &self,
        action: &str,
        name: &str,
        connections: u8,
        transport: Transport,
    ) -> Result<Value> {
        let mut command = self.client(action, name, connections)?;
        if transport == Transport::Plaintext {
            command.arg("--plaintext");
        }
        said(&process::text(&mut command, None)?)
    }

    /// The command for one action, over TLS.
    ///
    /// # Errors
    /// When immudb-py cannot be installed.
    pub(crate) fn client(&self, action: &str, name: &str, connections: u8) -> Result<Command> {
        let mut command = client(action, &self.password)?;
        command
            .args(["--address", &format!("127.0.0.1:{}", self.port)])
            .args(["--name", name])
            .args(["--connections", &connections.to_string()])
            .arg("--ca")
            .arg(self.authority.path());
        Ok(command)
    }
}

/// The command for one action of `python/edge_client.py`, which still needs an address.
///
/// # Errors
/// When immudb-py cannot be installed.
pub(crate) fn client(action: &str, password: &str) -> Result<Command> {
    let mut command = Command::new("python3");
    command
        .arg(CLIENT)
        .arg(action)
        .env("PYTHONPATH", python::packages()?)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("GRPC_VERBOSITY", "NONE")
        .env("IMMUDB_PASSWORD", password);
    Ok(command)
}

/// What a client printed at its end.
///
/// # Errors
/// The gRPC code and text when the call failed.
pub(crate) fn said(text: &str) -> Result<Value> {
    let answer: Value = serde_json::from_str(text)
        .with_context(|| format!("the client printed no JSON: {text}"))?;
    match answer.get("ok") {
        Some(value) => Ok(value.clone()),
        None => bail!("the client got {answer}"),
    }
}
