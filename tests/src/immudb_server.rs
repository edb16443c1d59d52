//! Real immudb servers as processes of this host: a primary, and replicas that follow it.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use immudb::history::{Record, Server};
use immudb::{Address, Client, DatabaseName, Login, State};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::bundle;
use crate::process;
use crate::wait::until;

/// The administrator's password; as good as any, because every server is on loopback.
pub const PASSWORD: &str = "Immu-0ps-test";
/// Longest wait for anything that a server does; its own back-off alone may take a minute.
pub const LIMIT: Duration = Duration::from_mins(3);
/// Longest wait for one call.
const CALL: Duration = Duration::from_secs(10);
/// SIGKILL, which a server that is asked to stop must not need.
const KILLED: i32 = 9;

/// Which program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.11.1.
    Newest,
    /// 1.10.0.
    Older,
}

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows what listens on this port.
    Replica {
        /// The port of its primary.
        primary: u16,
    },
}

/// A server with its data. The process is killed and the data removed when this is dropped.
#[derive(Debug)]
pub struct ImmudbServer {
    /// Its name in records and messages.
    pub name: String,
    /// The program of the next start.
    pub version: Version,
    /// The role of the next start.
    pub role: Role,
    directory: TempDir,
    port: u16,
    metrics: u16,
    child: Option<Child>,
}

impl ImmudbServer {
    /// Starts a server on empty data. A replica may not let anybody in yet.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn start(name: &str, version: Version, role: Role) -> Result<Self> {
        let mut server = Self {
            name: name.to_owned(),
            version,
            role,
            directory: TempDir::new()?,
            port: free_port()?,
            metrics: free_port()?,
            child: None,
        };
        server.run()?;
        Ok(server)
    }

    /// Starts the process and waits until it listens.
    ///
    /// # Errors
    /// If it does not, with the end of its log.
    pub fn run(&mut self) -> Result<()> {
        let program = match self.version {
            Version::Newest => "immudb",
            Version::Older => "immudb-1.10.0",
        };
        let log = process::log(self.log_path())?;
        let mut command = Command::new(bundle::program(program)?);
        command
            .env_clear()
            .env("HOME", self.directory.path())
            .env("USER", "immu")
            .env("IMMUDB_DIR", self.directory.path().join("data"))
            .env("IMMUDB_ADDRESS", "127.0.0.1")
            .env("IMMUDB_PORT", self.port.to_string())
            .env("IMMUDB_METRICS_SERVER_PORT", self.metrics.to_string())
            .env("IMMUDB_PGSQL_SERVER", "false")
            .env("IMMUDB_WEB_SERVER", "false")
            .env("IMMUDB_AUTH", "true")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        match self.role {
            Role::Primary => {
                command.env("IMMUDB_ADMIN_PASSWORD", PASSWORD);
            }
            Role::Replica { primary } => {
                command
                    .env("IMMUDB_REPLICATION_IS_REPLICA", "true")
                    .env("IMMUDB_REPLICATION_PRIMARY_HOST", "127.0.0.1")
                    .env("IMMUDB_REPLICATION_PRIMARY_PORT", primary.to_string())
                    .env("IMMUDB_REPLICATION_PRIMARY_USERNAME", "immudb")
                    .env("IMMUDB_REPLICATION_PRIMARY_PASSWORD", PASSWORD);
            }
        }
        self.child = Some(command.spawn().context("cannot start immudb")?);
        let mut client = self.client()?;
        until(&format!("{} to listen", self.name), LIMIT, || {
            client.run(async |client| client.version().await)
        })
        .with_context(|| self.log())
        .map(drop)
    }

    /// Asks the process to end, as the kubelet does.
    ///
    /// # Errors
    /// If it has to be killed.
    pub fn stop(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server does not run")?;
        let asked = Command::new("kill").arg(child.id().to_string()).status()?;
        if !asked.success() {
            bail!("cannot signal {}", self.name);
        }
        let ended = until(&format!("{} to end", self.name), LIMIT, || {
            child.try_wait()?.context("it still runs")
        });
        if ended?.signal() == Some(KILLED) {
            bail!("{} was killed", self.name);
        }
        Ok(())
    }

    /// Ends the process at once, as a power failure would.
    ///
    /// # Errors
    /// If there is none.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Removes all data of a server that is stopped: its next start is on empty data.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn lose_data(&self) -> Result<()> {
        Ok(fs_err::remove_dir_all(self.directory.path().join("data"))?)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens, as a flag has it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where its metrics are.
    pub fn metrics(&self) -> String {
        format!("127.0.0.1:{}", self.metrics)
    }

    /// A client of the administrator.
    ///
    /// # Errors
    /// If there is no runtime for it.
    pub fn client(&self) -> Result<BlockingClient> {
        BlockingClient::new(&self.address().parse()?)
    }

    /// Waits until this server has the state.
    ///
    /// # Errors
    /// If it does not come to it.
    pub fn reaches(&self, database: &DatabaseName, state: State) -> Result<()> {
        let mut client = self.client()?;
        let what = format!("{} to reach {state} of {database}", self.name);
        until(&what, LIMIT, || {
            let current = client.state(database)?;
            if current == state {
                Ok(())
            } else {
                bail!("it is at {current}")
            }
        })
        .with_context(|| self.log())
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let text = fs_err::read_to_string(self.log_path()).unwrap_or_default();
        let mut lines: Vec<_> = text.lines().rev().take(30).collect();
        lines.reverse();
        lines.join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Where its data is.
    pub fn data(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for ImmudbServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The client with a runtime of its own, for tests that wait in between.
#[derive(Debug)]
pub struct BlockingClient {
    runtime: Runtime,
    client: Client,
}

impl BlockingClient {
    fn new(address: &Address) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = {
            let _inside = runtime.enter();
            Client::new(address, Login::new("immudb", PASSWORD), CALL)?
        };
        Ok(Self { runtime, client })
    }

    /// Does something with the client.
    ///
    /// # Errors
    /// What the server said.
    pub fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, immudb::ClientError>,
    ) -> Result<T> {
        Ok(self.runtime.block_on(work(&mut self.client))?)
    }

    /// The state of a database.
    ///
    /// # Errors
    /// What the server said.
    pub fn state(&mut self, database: &DatabaseName) -> Result<State> {
        self.run(async |client| client.state(database).await)
    }

    /// Sets keys `<prefix>-0`, `<prefix>-1`, ... of `defaultdb`, one transaction each, and gives the state
    /// afterwards.
    ///
    /// # Errors
    /// What the server said.
    pub fn write(&mut self, prefix: &str, count: usize) -> Result<State> {
        let database = DatabaseName::default_database();
        self.run(async |client| {
            for number in 0..count {
                let key = format!("{prefix}-{number}");
                client.set(&database, key.as_bytes(), b"value").await?;
            }
            client.state(&database).await
        })
    }
}

/// Runs something with clients for several servers.
///
/// # Errors
/// What it gave.
pub fn together<T>(
    servers: &[&ImmudbServer],
    work: impl AsyncFnOnce(&mut [Server]) -> Result<T, immudb::ClientError>,
) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut clients = Vec::new();
        for server in servers {
            let address = server.address().parse()?;
            let login = Login::new("immudb", PASSWORD);
            clients.push(Server {
                name: server.name.clone(),
                client: Client::new(&address, login, CALL)?,
            });
        }
        Ok(work(&mut clients).await?)
    })
}

/// Records the states of servers.
///
/// # Errors
/// If one does not answer.
pub fn record(servers: &[&ImmudbServer]) -> Result<Record> {
    together(servers, async |servers| {
        immudb::history::record(servers).await
    })
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
