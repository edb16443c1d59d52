//! `agent probe` as the sidecar of a server: a process of its own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::agent_process;
use crate::immudb_server::{ImmudbServer, LIMIT, PASSWORD};
use crate::wait::until;

/// A probe. The process is killed when this is dropped.
#[derive(Debug)]
pub struct Probe {
    directory: TempDir,
    port: u16,
    child: Child,
}

impl Probe {
    /// Probes a primary.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn of_primary(server: &ImmudbServer) -> Result<Self> {
        Self::start(server, PASSWORD, &["--role=primary"])
    }

    /// Probes a primary with a password that may be wrong.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn with_password(server: &ImmudbServer, password: &str) -> Result<Self> {
        Self::start(server, password, &["--role=primary"])
    }

    /// Probes a replica, with more flags.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn of_replica(
        server: &ImmudbServer,
        primary: &ImmudbServer,
        flags: &[&str],
    ) -> Result<Self> {
        let primary = format!("--primary={}", primary.address());
        let flags = [&["--role=replica", &primary], flags].concat();
        Self::start(server, PASSWORD, &flags)
    }

    fn start(server: &ImmudbServer, password: &str, flags: &[&str]) -> Result<Self> {
        let directory = TempDir::new()?;
        let password_file = directory.path().join("password");
        fs_err::write(&password_file, password)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = fs_err::File::create(directory.path().join("log"))?
            .into_parts()
            .0;
        let child = Command::new(agent_process::binary()?)
            .env_clear()
            // As in the pod.
            .env("MALLOC_ARENA_MAX", "2")
            .arg("probe")
            .arg(format!("--server={}", server.address()))
            .arg(format!("--server-metrics={}", server.metrics()))
            .arg(format!("--listen=127.0.0.1:{port}"))
            .arg("--password-file")
            .arg(&password_file)
            .args(["--interval=200ms", "--log=info,agent=debug"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start agent probe")?;
        let mut probe = Self {
            directory,
            port,
            child,
        };
        until("the probe to answer", LIMIT, || {
            if let Some(status) = probe.child.try_wait()? {
                bail!("it ended with {status}");
            }
            probe.get("/livez").map(drop)
        })
        .with_context(|| probe.log())?;
        Ok(probe)
    }

    /// Changes the password in the file, as a Secret's volume does.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn set_password(&self, password: &str) -> Result<()> {
        Ok(fs_err::write(
            self.directory.path().join("password"),
            password,
        )?)
    }

    /// The status code and the report.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn readyz(&self) -> Result<(u16, Value)> {
        let (code, text) = self.get("/readyz")?;
        Ok((code, serde_json::from_str(&text)?))
    }

    /// Waits for a reason, and gives the report. The status code must be what the report says.
    ///
    /// # Errors
    /// If it does not come to that.
    pub fn says(&self, reason: &str) -> Result<Value> {
        until(&format!("the probe to say {reason}"), LIMIT, || {
            let (code, report) = self.readyz()?;
            let told = |field: &str| report.get(field).cloned().unwrap_or_default();
            if told("reason") != reason {
                bail!("it says {report}");
            }
            if (code == 200) != (told("ready") == true) {
                bail!("status {code} with {report}");
            }
            Ok(report)
        })
        .with_context(|| self.log())
    }

    /// The metrics.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn metrics(&self) -> Result<String> {
        Ok(self.get("/metrics")?.1)
    }

    /// Resident memory in KiB that is not the program itself.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn anonymous_memory(&self) -> Result<u64> {
        let status = fs_err::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.context("no RssAnon")?.parse().context("RssAnon")
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs_err::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn get(&self, path: &str) -> Result<(u16, String)> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(5)))
            .build()
            .into();
        let mut answer = agent
            .get(format!("http://127.0.0.1:{}{path}", self.port))
            .call()?;
        let text = answer.body_mut().read_to_string()?;
        Ok((answer.status().as_u16(), text))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
