//! A real etcd and a real kube-apiserver on loopback, from the bundle's `kubebox`.
//!
//! They are children of a thread that lives as long as the test program, and the kernel kills them
//! when it ends, however it ends. One is shared by all tests of a program.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::control_plane_client::Client;
use crate::wait::until;

/// Longest wait until the API server is ready; it takes about 5 s on two idle cores.
const READY: Duration = Duration::from_mins(2);
/// Token of the tests themselves.
const ADMIN_TOKEN: &str = "admin-token";
/// Token of the agent, which has the rights that its manifests give it.
pub const AGENT_TOKEN: &str = "agent-token";
/// The user that the agent's manifests speak of.
pub const AGENT_USER: &str = "system:serviceaccount:immuops-system:agent";

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    directory: PathBuf,
    /// Where the API server listens, as `https://127.0.0.1:6443`.
    pub address: String,
}

/// The control plane of this test program, started on first use.
///
/// # Errors
/// If a part is missing or does not become ready.
pub fn shared() -> anyhow::Result<&'static ControlPlane> {
    static SHARED: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
    let started =
        SHARED.get_or_init(|| ControlPlane::start().map_err(|error| format!("{error:#}")));
    started
        .as_ref()
        .map_err(|error| anyhow::anyhow!(error.clone()))
}

/// A port that was free a moment ago.
///
/// # Errors
/// If the host has none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A directory of this test program; those of programs that have ended are removed.
///
/// # Errors
/// If it cannot be made.
pub fn scratch(name: &str) -> anyhow::Result<PathBuf> {
    static CLEANED: OnceLock<()> = OnceLock::new();
    let prefix = "immuops-tests-";
    CLEANED.get_or_init(|| {
        let entries = fs_err::read_dir(std::env::temp_dir())
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries {
            let file = entry.file_name();
            let pid = file.to_str().and_then(|name| name.strip_prefix(prefix));
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                drop(fs_err::remove_dir_all(entry.path()));
            }
        }
    });
    let path = std::env::temp_dir()
        .join(format!("{prefix}{}", std::process::id()))
        .join(name);
    fs_err::create_dir_all(&path)?;
    Ok(path)
}

impl ControlPlane {
    fn start() -> anyhow::Result<Self> {
        let kubebox = crate::bundle::program("kubebox")?;
        let directory = scratch("control-plane")?;
        let (client_port, peer_port, port) = (free_port()?, free_port()?, free_port()?);
        write_pki(&directory)?;
        fs_err::write(
            directory.join("tokens.csv"),
            format!(
                "{ADMIN_TOKEN},admin,admin,system:masters\n\
                 {AGENT_TOKEN},{AGENT_USER},agent,\"system:serviceaccounts,system:serviceaccounts:immuops-system\"\n"
            ),
        )?;
        fs_err::write(
            directory.join("audit.yaml"),
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n  - level: Metadata\n",
        )?;
        let etcd = format!("http://127.0.0.1:{client_port}");
        let peer = format!("http://127.0.0.1:{peer_port}");
        let file = |name: &str| directory.join(name).display().to_string();
        let etcd_args = vec![
            "etcd".to_owned(),
            format!("--data-dir={}", file("etcd")),
            format!("--listen-client-urls={etcd}"),
            format!("--advertise-client-urls={etcd}"),
            format!("--listen-peer-urls={peer}"),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        let server_args = vec![
            "kube-apiserver".to_owned(),
            format!("--etcd-servers={etcd}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", file("accounts.pub")),
            format!(
                "--service-account-signing-key-file={}",
                file("accounts.key")
            ),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            format!("--audit-policy-file={}", file("audit.yaml")),
            format!("--audit-log-path={}", file("audit.log")),
            format!("--cert-dir={}", file("certificates")),
        ];
        keep(&kubebox, etcd_args, directory.join("etcd.log"))?;
        keep(&kubebox, server_args, directory.join("apiserver.log"))?;
        let address = format!("https://127.0.0.1:{port}");
        let plane = Self { directory, address };
        let client = plane.client()?;
        until("the API server to be ready", READY, || {
            client.text("/readyz").map(drop)
        })
        .with_context(|| format!("see {}", file_hint(&plane.directory)))?;
        Ok(plane)
    }

    /// A client that may do everything.
    ///
    /// # Errors
    /// If the certificate cannot be read.
    pub fn client(&self) -> anyhow::Result<Client> {
        let ca = fs_err::read(self.directory.join("ca.crt"))?;
        Client::new(&self.address, ADMIN_TOKEN, &ca)
    }

    /// Writes a kubeconfig for a token and returns its path. The API server is asked at `address`: its
    /// own, or the near end of a link to it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn kubeconfig(
        &self,
        address: &str,
        directory: &Path,
        token: &str,
    ) -> anyhow::Result<PathBuf> {
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": {
                "server": address,
                "certificate-authority": self.directory.join("ca.crt"),
            }}],
            "users": [{ "name": "u", "user": { "token": token } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        });
        let path = directory.join("kubeconfig");
        fs_err::write(&path, config.to_string())?;
        Ok(path)
    }

    /// What a user did in the cluster so far, from the audit log: `verb path` per request.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn audit(&self, agent: &str) -> anyhow::Result<Vec<AuditLine>> {
        let log = fs_err::read_to_string(self.directory.join("audit.log"))?;
        let mut lines = Vec::new();
        for line in log.lines() {
            let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
                continue;
            };
            let text = |path: &str| {
                event
                    .pointer(path)
                    .and_then(|v| v.as_str())
                    .unwrap_or_default()
            };
            if text("/userAgent").contains(agent) || text("/user/username") == agent {
                lines.push(AuditLine {
                    verb: text("/verb").to_owned(),
                    resource: text("/objectRef/resource").to_owned(),
                    namespace: text("/objectRef/namespace").to_owned(),
                    uri: text("/requestURI").to_owned(),
                });
            }
        }
        Ok(lines)
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// `get`, `patch` and so on.
    pub verb: String,
    /// Plural name of the kind.
    pub resource: String,
    /// Namespace of the object, empty if it has none.
    pub namespace: String,
    /// Path and query.
    pub uri: String,
}

impl AuditLine {
    /// Whether the request wants to write, the renewal of a lease aside.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch") && self.resource != "leases"
    }
}

fn file_hint(directory: &Path) -> String {
    directory.join("apiserver.log").display().to_string()
}

/// Starts a program that lives as long as this one.
pub(crate) fn keep(program: &Path, args: Vec<String>, log: PathBuf) -> anyhow::Result<()> {
    let program = program.to_owned();
    let log = fs_err::File::create(log)?.into_parts().0;
    let (report, started) = std::sync::mpsc::channel();
    // The kernel's death signal goes with the thread that started the child: this one never ends.
    std::thread::spawn(move || {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&program)
            .args(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {} {:?}", program.display(), args.first()));
        drop(report.send(child.map(drop)));
        loop {
            std::thread::park();
        }
    });
    started
        .recv()
        .context("the thread that starts programs has died")?
}

/// A CA, a serving certificate for loopback, and a key that signs service account tokens.
fn write_pki(directory: &Path) -> anyhow::Result<()> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate()?;
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?
        .signed_by(&key, &issuer)?;
    let write = |name: &str, text: String| fs_err::write(directory.join(name), text);
    write("ca.crt", ca_certificate.pem())?;
    write("server.crt", server.pem())?;
    write("server.key", key.serialize_pem())?;
    let accounts = KeyPair::generate()?;
    write("accounts.key", accounts.serialize_pem())?;
    write("accounts.pub", accounts.public_key_pem())?;
    Ok(())
}
