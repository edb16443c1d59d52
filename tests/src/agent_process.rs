//! The agent as its users run it: a process of its own, with a namespace of its own in the shared
//! control plane, so that tests do not get into each other's way.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::control_plane::{AGENT_TOKEN, ControlPlane, free_port, scratch, shared};
use crate::control_plane_client::{Client, PatchKind};
use crate::process;
use crate::wait::until;

/// Token of the webhooks.
pub const HOOK_TOKEN: &str = "hook-t0ken";
/// Longest wait for anything that the agent does.
pub const LIMIT: Duration = Duration::from_mins(1);

/// One agent and what belongs to it. The process is killed when this is dropped.
#[derive(Debug)]
pub struct Agent {
    /// The control plane.
    pub plane: &'static ControlPlane,
    /// A client that may do everything.
    pub client: Client,
    /// Namespace of the Syncs.
    pub namespace: String,
    /// Name under which the process holds the lease.
    pub identity: String,
    /// Where the process asks the API server.
    pub server: String,
    /// Directory for the test's files.
    pub directory: PathBuf,
    port: u16,
    child: Option<Child>,
}

/// The binary under test: the one that `IMMUOPS_AGENT` names, or that of this build, made by cargo if it
/// is not current.
///
/// # Errors
/// If it cannot be built.
pub fn binary() -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    if let Some(path) = std::env::var_os("IMMUOPS_AGENT") {
        return Ok(path.into());
    }
    BUILT
        .get_or_init(|| {
            // The one that `cargo test --workspace` has made already for the agent's own test. `cargo build`
            // would choose other features of its dependencies, and make it and them a second time.
            let words = ["test", "--quiet", "--locked", "--workspace", "--no-run"];
            let mut cargo =
                Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo
                .args(words)
                .args(["--test", "render"])
                .current_dir(env!("CARGO_MANIFEST_DIR"));
            process::text(&mut cargo, None)
                .map(drop)
                .map_err(|error| format!("{error:#}"))
        })
        .clone()
        .map_err(anyhow::Error::msg)?;
    let test = std::env::current_exe()?;
    let target = test
        .parent()
        .and_then(|deps| deps.parent())
        .context("no target directory")?;
    Ok(target.join("agent"))
}

impl Agent {
    /// Installs the agent's manifests into a namespace of this name and starts the agent.
    ///
    /// # Errors
    /// If a part cannot be started.
    pub fn start(name: &str) -> anyhow::Result<Self> {
        let mut agent = Self::install(name)?;
        agent.run()?;
        Ok(agent)
    }

    /// Installs the agent's manifests, without starting it.
    ///
    /// # Errors
    /// If the server refuses them.
    pub fn install(name: &str) -> anyhow::Result<Self> {
        let plane = shared()?;
        let client = plane.client()?;
        let namespace = format!("agent-{name}");
        for file in ["crds.yaml", "namespace.yaml", "rbac.yaml"] {
            install(&client, file, &namespace)?;
        }
        let directory = scratch(&namespace)?;
        fs_err::write(directory.join("token"), format!("{HOOK_TOKEN}\n"))?;
        Ok(Self {
            plane,
            client,
            identity: namespace.clone(),
            server: plane.address.clone(),
            namespace,
            directory,
            port: free_port()?,
            child: None,
        })
    }

    /// Starts the process.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn run(&mut self) -> anyhow::Result<()> {
        let log = process::log(self.log_path())?;
        let child = Command::new(binary()?)
            .env_clear()
            // As in the manifest of the Deployment.
            .env("MALLOC_ARENA_MAX", "2")
            .env("MALLOC_TRIM_THRESHOLD_", "131072")
            .arg("run")
            .arg(format!("--listen=127.0.0.1:{}", self.port))
            .arg(format!("--namespace={}", self.namespace))
            .arg(format!("--identity={}", self.identity))
            .arg("--mirrors")
            .arg(self.directory.join("mirrors"))
            .arg("--webhook-token-file")
            .arg(self.directory.join("token"))
            .arg("--kubeconfig")
            .arg(
                self.plane
                    .kubeconfig(&self.server, &self.directory, AGENT_TOKEN)?,
            )
            .arg("--log=info,agent=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start the agent")?;
        self.child = Some(child);
        until("the agent to answer", LIMIT, || {
            self.http("/healthz").map(drop)
        })
    }

    /// Ends the process at once, as a power failure would.
    ///
    /// # Errors
    /// If there is no process.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the agent does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Asks the process to stop and waits. Returns whether it ended well.
    ///
    /// # Errors
    /// If it does not end.
    pub fn terminate(&mut self) -> anyhow::Result<bool> {
        let mut child = self.child.take().context("the agent does not run")?;
        let pid = child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let status = until("the agent to stop", LIMIT, || {
            child.try_wait()?.context("it still runs")
        })?;
        Ok(status.success())
    }

    /// Resident memory of the process: now and at its peak, in KiB.
    ///
    /// # Errors
    /// If there is no process.
    pub fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let pid = self.child.as_ref().context("the agent does not run")?.id();
        let status = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        Ok((
            field("VmRSS").context("no VmRSS")?,
            field("VmHWM").context("no VmHWM")?,
        ))
    }

    /// CPU time that the process has used, in clock ticks (hundredths of a second).
    ///
    /// # Errors
    /// If there is no process.
    pub fn cpu_ticks(&self) -> anyhow::Result<u64> {
        let pid = self.child.as_ref().context("the agent does not run")?.id();
        let stat = fs_err::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("no fields")?;
        let number = |index: usize| -> anyhow::Result<u64> {
            Ok(fields
                .split_whitespace()
                .nth(index)
                .context("a field is missing")?
                .parse()?)
        };
        Ok(number(11)? + number(12)?)
    }

    /// Where the agent logs to.
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("agent.log")
    }

    /// Everything the agent has logged.
    ///
    /// # Errors
    /// If there is no log.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(fs_err::read_to_string(self.log_path())?)
    }

    /// Reads a page of the agent's HTTP server.
    ///
    /// # Errors
    /// If the answer is no success.
    pub fn http(&self, path: &str) -> anyhow::Result<String> {
        let mut response = ureq::get(format!("http://127.0.0.1:{}{path}", self.port)).call()?;
        Ok(response.body_mut().read_to_string()?)
    }

    /// Calls a webhook and returns the status.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn hook(&self, path: &str, signature: Option<&str>, body: &str) -> anyhow::Result<u16> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .new_agent();
        let mut call = agent.post(format!("http://127.0.0.1:{}{path}", self.port));
        if let Some(signature) = signature {
            call = call.header("X-Gitea-Signature", signature);
        }
        Ok(call.send(body)?.status().as_u16())
    }

    /// Creates or changes a Sync.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn sync(&self, name: &str, spec: &Value) -> anyhow::Result<()> {
        let object = json!({
            "apiVersion": "immuops.dev/v1alpha1", "kind": "Sync",
            "metadata": { "name": name, "namespace": self.namespace },
            "spec": spec,
        });
        self.client
            .patch(PatchKind::Apply, &self.sync_path(name), "test", &object)
            .map(drop)
    }

    /// Path of a Sync in the API.
    pub fn sync_path(&self, name: &str) -> String {
        format!(
            "/apis/immuops.dev/v1alpha1/namespaces/{}/syncs/{name}",
            self.namespace
        )
    }

    /// What the Inventory of a Sync lists, sorted.
    ///
    /// # Errors
    /// If there is none.
    pub fn inventory(&self, name: &str) -> anyhow::Result<Vec<String>> {
        let namespace = &self.namespace;
        let path = format!("/apis/immuops.dev/v1alpha1/namespaces/{namespace}/inventories/{name}");
        let inventory = self.client.get(&path)?;
        let entries = inventory
            .pointer("/spec/entries")
            .and_then(Value::as_object);
        Ok(entries
            .map(|entries| entries.keys().cloned().collect())
            .unwrap_or_default())
    }

    /// Waits until a condition of a Sync has a status and its message contains a text; returns the
    /// message.
    ///
    /// # Errors
    /// If that does not come, with what there is instead.
    pub fn condition(
        &self,
        name: &str,
        kind: &str,
        status: &str,
        text: &str,
    ) -> anyhow::Result<String> {
        let what = format!("Sync {name} to have {kind}={status} with `{text}`");
        until(&what, LIMIT, || {
            let sync = self.client.get(&self.sync_path(name))?;
            let conditions = sync.pointer("/status/conditions").and_then(Value::as_array);
            let found = conditions.and_then(|conditions| {
                conditions
                    .iter()
                    .find(|condition| condition.get("type") == Some(&kind.into()))
            });
            let field = |name: &str| {
                let value = found.and_then(|condition| condition.get(name));
                value.and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let current =
                sync.pointer("/status/observedGeneration") == sync.pointer("/metadata/generation");
            let message = field("message");
            if field("status") == status && message.contains(text) && current {
                return Ok(message);
            }
            bail!("it is {}={}: {message}", kind, field("status"))
        })
        .with_context(|| format!("see {}", self.log_path().display()))
    }

    /// Waits until a Sync has applied a commit and is ready.
    ///
    /// # Errors
    /// If it does not get there.
    pub fn ready(&self, name: &str, commit: &str) -> anyhow::Result<()> {
        self.condition(name, "Ready", "True", commit).map(drop)
    }

    /// Asks for a reconciliation now.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn request(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let patch = json!({ "metadata": { "annotations": {
            "reconcile.immuops.dev/requestedAt": value,
        }}});
        self.client
            .patch(PatchKind::Merge, &self.sync_path(name), "test", &patch)
            .map(drop)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.child.is_some() {
            drop(self.kill());
        }
    }
}

/// Applies one of the install manifests, into another namespace than the usual one.
fn install(client: &Client, file: &str, namespace: &str) -> anyhow::Result<()> {
    let path = format!("{}/../bootstrap/install/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = fs_err::read_to_string(path)?;
    for object in serde_saphyr::from_multiple::<Value>(&text)? {
        let mut object = object;
        let kind = object
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let name = if kind == "Namespace" {
            namespace.to_owned()
        } else {
            name.to_owned()
        };
        let path = match kind.as_str() {
            "CustomResourceDefinition" => {
                format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
            }
            "Namespace" => format!("/api/v1/namespaces/{name}"),
            "ServiceAccount" => format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}"),
            "ClusterRole" | "ClusterRoleBinding" => {
                format!(
                    "/apis/rbac.authorization.k8s.io/v1/{}s/{name}",
                    kind.to_lowercase()
                )
            }
            "Role" | "RoleBinding" => {
                let plural = kind.to_lowercase();
                format!(
                    "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/{plural}s/{name}"
                )
            }
            other => bail!("no path for {other}"),
        };
        if let Some(metadata) = object
            .pointer_mut("/metadata")
            .and_then(Value::as_object_mut)
        {
            if metadata.contains_key("namespace") {
                metadata.insert("namespace".to_owned(), namespace.into());
            }
            metadata.insert("name".to_owned(), name.into());
        }
        client.patch(PatchKind::Apply, &path, "test-install", &object)?;
    }
    if file == "crds.yaml" {
        let list = "/apis/immuops.dev/v1alpha1/namespaces/default/inventories";
        until("the CRDs to be served", LIMIT, || {
            client.get(list).map(drop)
        })?;
        let list = "/apis/immuops.dev/v1alpha1/namespaces/default/syncs";
        until("the CRDs to be served", LIMIT, || {
            client.get(list).map(drop)
        })?;
    }
    Ok(())
}
