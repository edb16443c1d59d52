//! Puts immuops on a cluster that answers: generated Secrets, the built-in forge with the first
//! commit, the agent, and the Sync everything else comes from. Every step looks at what is there
//! and adds what is missing, so that it can run again at any time.

mod address;
mod api;
mod gitea;
mod secrets;
mod seed;
mod syncs;
mod tunnel;
mod wait;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use self::api::Api;
use self::gitea::Gitea;
pub use self::seed::Credentials;
pub use self::syncs::{SyncState, SyncStatus};
use self::tunnel::Tunnel;
use crate::cluster::Kubectl;
use crate::edge::Edge;
use crate::pace::Pace;
use crate::pki::Pair;
use crate::reporter::{Reporter, Step};

/// The namespace of the agent and its Syncs.
const SYSTEM: &str = "immuops-system";
/// The namespace of the built-in forge.
const FORGE: &str = "git-system";
/// The namespace of the databases.
const DATABASE: &str = "immudb";
/// The namespace of the edge.
const EDGE: &str = "edge-system";
/// Owner and name of the repository on the built-in forge.
const REPOSITORY_OWNER: &str = "immuops";
const REPOSITORY: &str = "cluster";
/// The built-in forge's address inside the cluster.
const FORGE_IN_CLUSTER: &str = "http://gitea.git-system.svc";
/// The `NodePort` of the built-in forge (cluster-repo/git/base/service.yaml).
pub const FORGE_NODE_PORT: u16 = 30300;
/// The Sync that brings all others.
const ROOT_SYNC: &str = "cluster";
/// Who owns the fields that only the installation writes.
const MANAGER: &str = "immuops-bootstrap";
/// Who owns the fields of objects that the agent takes over: the same name, so that a field removed
/// from git later is removed from the object as well.
const AGENT_MANAGER: &str = "immuops-agent";
/// Gitea's first start includes creating its database.
const FORGE_DEADLINE: Duration = Duration::from_mins(3);
/// All Syncs healthy, on a busy machine with cold page cache.
const SYNCS_DEADLINE: Duration = Duration::from_mins(5);

/// The repository the cluster follows.
#[derive(Debug, Clone)]
pub enum Repository {
    /// Gitea in the cluster, started from the templates.
    BuiltIn {
        /// The folder of the first commit.
        templates: PathBuf,
        /// The port of this host's loopback that leads to the forge.
        port: u16,
        /// What makes it lead there.
        way: ForgeWay,
    },
    /// A repository that exists.
    External {
        /// Its address, as the agent will use it.
        url: String,
        /// The branch to follow.
        branch: String,
        /// How to read it, if it is not public.
        credentials: Option<Credentials>,
    },
}

/// What leads from this host to the built-in forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgeWay {
    /// The provider of the machines.
    Provider,
    /// A tunnel through the API server, while the installation runs.
    Tunnel,
}

/// What an installation needs to know.
#[derive(Debug)]
pub struct Installation<'a> {
    /// The cluster.
    pub kubectl: &'a Kubectl,
    /// The agent's image, already on every node.
    pub agent_image: &'a str,
    /// Where the desired state is.
    pub repository: &'a Repository,
    /// What the repository must say about the edge.
    pub edge: &'a Edge,
    /// The edge's certificate, with its key.
    pub certificate: &'a Pair,
}

/// Checks what can be checked before any machine is made.
///
/// # Errors
/// When an external repository cannot be read or lacks the branch.
pub fn preflight(repository: &Repository) -> Result<()> {
    match repository {
        Repository::BuiltIn { .. } => Ok(()),
        Repository::External {
            url,
            branch,
            credentials,
        } => {
            address::check(url)?;
            Ok(seed::check(url, branch, credentials.as_ref())?)
        }
    }
}

/// Installs everything and waits until every Sync is healthy; gives their last state.
///
/// # Errors
/// Which step failed on what. Running it again goes on from there.
pub fn run(installation: &Installation<'_>, reporter: &dyn Reporter) -> Result<Vec<SyncStatus>> {
    let Installation {
        kubectl,
        agent_image,
        repository,
        edge,
        certificate,
    } = installation;
    let api = &Api(kubectl);
    let step = Step::start(reporter, "agent API and secrets");
    definitions(api)?;
    passwords(api)?;
    edge_certificate(api, certificate)?;
    step.finish("");
    let source = match repository {
        Repository::BuiltIn {
            templates,
            port,
            way,
        } => {
            let step = Step::start(reporter, "git server");
            forge(api, templates)?;
            step.finish("");
            let step = Step::start(reporter, "cluster repository");
            let tunnel = match way {
                ForgeWay::Provider => None,
                ForgeWay::Tunnel => Some(Tunnel::open(kubectl, FORGE, "gitea", *port)?),
            };
            let url = format!("http://127.0.0.1:{port}");
            let source = first_commit(api, templates, &url, edge)?;
            drop(tunnel);
            step.finish("");
            source
        }
        Repository::External {
            url,
            branch,
            credentials,
        } => external_source(api, url, branch, credentials.as_ref())?,
    };
    let step = Step::start(reporter, "agent");
    agent(api, agent_image)?;
    api.apply("create the Sync `cluster`", MANAGER, &source.to_string())?;
    step.finish("");
    let step = Step::start(reporter, "Syncs");
    ask_again(api)?;
    let states = wait::until_healthy(api, kubectl.pace().scale(SYNCS_DEADLINE), &step)?;
    step.finish("");
    Ok(states)
}

/// Reads the Syncs for `status`.
///
/// # Errors
/// When the API server does not answer.
pub fn status(kubectl: &Kubectl) -> Result<Vec<SyncStatus>> {
    read(&Api(kubectl))
}

fn read(api: &Api<'_>) -> Result<Vec<SyncStatus>> {
    let list = api.json(
        "read the Syncs",
        &["-n", SYSTEM, "get", "syncs.immuops.dev"],
    )?;
    Ok(syncs::read(&list))
}

/// Namespace, custom resources and the agent's rights.
fn definitions(api: &Api<'_>) -> Result<()> {
    for (what, manifest) in [
        (
            "create the namespace immuops-system",
            include_str!("../install/namespace.yaml"),
        ),
        (
            "create the custom resource definitions",
            include_str!("../install/crds.yaml"),
        ),
        (
            "create the agent's role",
            include_str!("../install/rbac.yaml"),
        ),
    ] {
        api.apply(what, MANAGER, manifest)?;
    }
    let established = [
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        "crd/syncs.immuops.dev",
    ];
    api.text("wait for the custom resource definitions", &established)?;
    Ok(())
}

/// What nobody should have to choose or remember.
fn passwords(api: &Api<'_>) -> Result<()> {
    // The namespace comes from git later; the Secret has to be there first.
    ensure_namespace(api, DATABASE)?;
    ensure_secret(api, DATABASE, "immudb-admin", || {
        Ok(vec![
            ("username", "immudb".to_owned()),
            ("password", secrets::immudb_password()?),
        ])
    })?;
    // The agent reads no Secret but those of its own namespace for an UpgradePolicy: it gets a copy, which
    // follows when `up` runs again.
    let login = [
        (
            "username",
            read_secret(api, DATABASE, "immudb-admin", "username")?,
        ),
        (
            "password",
            read_secret(api, DATABASE, "immudb-admin", "password")?,
        ),
    ];
    let login = secret(SYSTEM, "immudb-login", OPAQUE, &login);
    let action = format!("write the Secret {SYSTEM}/immudb-login");
    api.apply(&action, MANAGER, &login.to_string())?;
    ensure_secret(api, SYSTEM, "webhook-token", || {
        Ok(vec![("token", secrets::token::<32>()?)])
    })
}

/// Hands the edge its certificate; Traefik takes a new one without a restart.
fn edge_certificate(api: &Api<'_>, pair: &Pair) -> Result<()> {
    ensure_namespace(api, EDGE)?;
    let data = [
        ("tls.crt", pair.certificate.clone()),
        ("tls.key", pair.key.clone()),
    ];
    let secret = secret(EDGE, "edge-certificate", "kubernetes.io/tls", &data);
    let action = format!("write the Secret {EDGE}/edge-certificate");
    Ok(api.apply(&action, MANAGER, &secret.to_string())?)
}

/// Starts the built-in forge from the same manifests that the agent will keep it equal to.
fn forge(api: &Api<'_>, templates: &Path) -> Result<()> {
    ensure_namespace(api, FORGE)?;
    ensure_secret(api, FORGE, "gitea", || {
        Ok(vec![
            ("admin-user", REPOSITORY_OWNER.to_owned()),
            ("admin-password", secrets::token::<16>()?),
            ("secret-key", secrets::token::<32>()?),
            ("internal-token", secrets::token::<32>()?),
            ("jwt-secret", secrets::jwt_secret()?),
        ])
    })?;
    let folder = templates.join("git/overlay");
    let folder = folder
        .to_str()
        .context("the path of the templates is not UTF-8")?;
    if api
        .json(
            "look for the git server",
            &["-n", FORGE, "get", "deployment/gitea", "--ignore-not-found"],
        )?
        .is_null()
    {
        let manifests = api.text("render the git server", &["kustomize", folder])?;
        api.apply("start the git server", AGENT_MANAGER, &manifests)?;
    }
    api.rollout(FORGE, "deployment/gitea", FORGE_DEADLINE)?;
    Ok(())
}

/// Repository, first commit, the agent's tokens and the webhook; gives the root Sync.
fn first_commit(api: &Api<'_>, templates: &Path, url: &str, edge: &Edge) -> Result<Value> {
    let password = read_secret(api, FORGE, "gitea", "admin-password")?;
    let gitea = Gitea::new(url, REPOSITORY_OWNER, &password);
    gitea.wait_until_it_answers(api.0.pace().scale(FORGE_DEADLINE))?;
    gitea.ensure_repository(REPOSITORY)?;
    let credentials = Credentials {
        username: REPOSITORY_OWNER.to_owned(),
        password,
    };
    let remote = format!("{url}/{REPOSITORY_OWNER}/{REPOSITORY}.git");
    if !seed::branch_exists(&remote, "main", Some(&credentials))? {
        let files = seed::filled(templates, &[edge.repository_file()])?;
        seed::push_first_commit(files.path(), &remote, "main", &credentials)?;
    }
    ensure_secret(api, SYSTEM, "git-credentials", || {
        let token = gitea.renew_token("agent", &["read:repository"])?;
        Ok(vec![
            ("username", REPOSITORY_OWNER.to_owned()),
            ("password", token),
        ])
    })?;
    // What reads the repository every minute cannot write to it; this is for pull requests only.
    ensure_secret(api, SYSTEM, "forge", || {
        let scopes = ["write:repository", "write:issue"];
        Ok(vec![("token", gitea.renew_token("upgrades", &scopes)?)])
    })?;
    let webhook = read_secret(api, SYSTEM, "webhook-token", "token")?;
    gitea.ensure_webhook(
        REPOSITORY,
        "http://agent.immuops-system.svc/hook/cluster",
        &webhook,
    )?;
    Ok(root_sync(
        &format!("{FORGE_IN_CLUSTER}/{REPOSITORY_OWNER}/{REPOSITORY}.git"),
        "main",
        true,
        "./clusters/built-in-git",
    ))
}

fn external_source(
    api: &Api<'_>,
    url: &str,
    branch: &str,
    credentials: Option<&Credentials>,
) -> Result<Value> {
    if let Some(Credentials { username, password }) = credentials {
        let values = [
            ("username", username.clone()),
            ("password", password.clone()),
        ];
        let secret = secret(SYSTEM, "git-credentials", OPAQUE, &values);
        api.apply(
            "create the Secret git-credentials",
            MANAGER,
            &secret.to_string(),
        )?;
    }
    Ok(root_sync(
        url,
        branch,
        credentials.is_some(),
        "./clusters/default",
    ))
}

fn root_sync(url: &str, branch: &str, authenticated: bool, path: &str) -> Value {
    let source = if authenticated {
        let secret = json!({ "name": "git-credentials" });
        json!({ "url": url, "ref": { "branch": branch }, "secretRef": secret })
    } else {
        json!({ "url": url, "ref": { "branch": branch } })
    };
    json!({
        "apiVersion": "immuops.dev/v1alpha1",
        "kind": "Sync",
        "metadata": { "name": ROOT_SYNC, "namespace": SYSTEM },
        "spec": {
            "source": source,
            "path": path,
            "interval": "1m",
            "timeout": "5m",
            "prune": true,
            "wait": true,
        },
    })
}

fn agent(api: &Api<'_>, image: &str) -> Result<()> {
    let manifest = deployment(image, api.0.pace());
    api.apply("start the agent", MANAGER, &manifest)?;
    Ok(())
}

/// The Deployment, with the image of this very build and the pace of the cluster.
fn deployment(image: &str, pace: Pace) -> String {
    let patience = |factor| format!("IMMUOPS_PATIENCE, value: \"{factor}\"");
    include_str!("../install/deployment.yaml")
        .replace("immuops.dev/agent:bundle", image)
        .replace(&patience(1), &patience(pace.factor()))
}

/// Has every Sync that there is reconciled once more: what they said before a machine or the agent
/// was away does not count.
fn ask_again(api: &Api<'_>) -> Result<()> {
    let request = format!("{}={}", syncs::REQUESTED_AT, jiff::Timestamp::now());
    let manager = format!("--field-manager={MANAGER}");
    let words = ["-n", SYSTEM, "annotate", "syncs.immuops.dev", "--all"];
    let words = [&words[..], &["--overwrite", &manager, &request]].concat();
    api.text("ask the agent to reconcile every Sync", &words)?;
    Ok(())
}

fn ensure_namespace(api: &Api<'_>, name: &str) -> Result<()> {
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let action = format!("create the namespace {name}");
    Ok(api.apply(&action, MANAGER, &namespace.to_string())?)
}

/// Creates a Secret with generated values unless it exists: what is in use is never replaced.
fn ensure_secret(
    api: &Api<'_>,
    namespace: &str,
    name: &str,
    values: impl FnOnce() -> Result<Vec<(&'static str, String)>>,
) -> Result<()> {
    let action = format!("look for the Secret {namespace}/{name}");
    let arguments = ["-n", namespace, "get", "secret", name, "--ignore-not-found"];
    if !api.json(&action, &arguments)?.is_null() {
        return Ok(());
    }
    let values =
        values().with_context(|| format!("failed to make the Secret {namespace}/{name}"))?;
    let action = format!("create the Secret {namespace}/{name}");
    Ok(api.apply(
        &action,
        MANAGER,
        &secret(namespace, name, OPAQUE, &values).to_string(),
    )?)
}

/// The type of a Secret that means nothing to Kubernetes.
const OPAQUE: &str = "Opaque";

fn secret(namespace: &str, name: &str, kind: &str, values: &[(&'static str, String)]) -> Value {
    let data: serde_json::Map<_, _> = values
        .iter()
        .map(|(key, value)| ((*key).to_owned(), BASE64_STANDARD.encode(value).into()))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "namespace": namespace },
        "type": kind,
        "data": data,
    })
}

fn read_secret(api: &Api<'_>, namespace: &str, name: &str, key: &str) -> Result<String> {
    let action = format!("read the Secret {namespace}/{name}");
    let secret = api.json(&action, &["-n", namespace, "get", "secret", name])?;
    let missing = || format!("the Secret {namespace}/{name} has no usable `{key}`");
    let encoded = secret
        .get("data")
        .and_then(|data| data.get(key))
        .and_then(Value::as_str);
    let bytes = BASE64_STANDARD
        .decode(encoded.with_context(missing)?)
        .with_context(missing)?;
    String::from_utf8(bytes).with_context(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_told_its_image_and_how_patient_to_be() {
        let text = deployment("registry/agent@sha256:00", Pace::slower(8));
        assert!(text.contains("image: registry/agent@sha256:00\n"));
        assert!(text.contains("{ name: IMMUOPS_PATIENCE, value: \"8\" }"));
    }
}
