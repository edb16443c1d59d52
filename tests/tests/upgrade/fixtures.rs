//! Forges, policies and releases that several tests use.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::agent_process::{Agent, LIMIT};
use tests::control_plane_client::PatchKind;
use tests::github_emulator::{CLUSTER, GitHubEmulator, RELEASES, TOKEN};
use tests::image_registry::ImageRegistry;
use tests::json_api::JsonApi;
use tests::upgrade_policy::condition;
use tests::wait::until;

/// The file that holds the version.
pub(crate) const FILE: &str = "immudb/version/kustomization.yaml";
/// The branch of the policy `immudb`.
pub(crate) const BRANCH: &str = "immuops/upgrade-immudb";

/// The file at a version: the one that users get.
pub(crate) fn file(version: &str) -> String {
    let text = include_str!("../../../cluster-repo/immudb/version/kustomization.yaml");
    assert_eq!(text.matches("newTag: 1.11.1\n").count(), 1);
    text.replace("newTag: 1.11.1\n", &format!("newTag: {version}\n"))
}

/// A repository on a forge, as a person uses it. GitHub and Gitea have the same API for what is done here.
#[derive(Debug)]
pub(crate) struct Person {
    /// The API.
    pub(crate) api: JsonApi,
    /// How a pull request is merged.
    merge: (&'static str, Value),
}

impl Person {
    /// On the emulator.
    pub(crate) fn on_github(github: &GitHubEmulator) -> Self {
        Self {
            api: github.api.clone(),
            merge: ("PUT", json!({})),
        }
    }

    /// On a Gitea.
    pub(crate) fn on_gitea(api: &JsonApi) -> Self {
        Self {
            api: api.clone(),
            merge: ("POST", json!({ "Do": "merge" })),
        }
    }

    fn path(path: &str) -> String {
        format!("/repos/{CLUSTER}{path}")
    }

    /// Writes the file to a branch.
    pub(crate) fn write(&self, branch: &str, text: &str) -> Result<()> {
        let path = Self::path(&format!("/contents/{FILE}"));
        let old = self.api.get(&format!("{path}?ref={branch}"));
        let sha = old.ok().and_then(|old| old.get("sha").cloned());
        // Gitea creates with POST and changes with PUT, GitHub does both with PUT.
        let method = match (&sha, self.merge.0) {
            (None, "POST") => "POST",
            (Some(_) | None, _) => "PUT",
        };
        let mut change = json!({
            "message": "by hand", "content": STANDARD.encode(text), "branch": branch,
        });
        if let (Some(sha), Some(change)) = (sha, change.as_object_mut()) {
            change.insert("sha".to_owned(), sha);
        }
        self.api.call(method, &path, Some(&change)).map(drop)
    }

    /// Reads the file from a branch.
    pub(crate) fn read(&self, branch: &str) -> Result<String> {
        let path = Self::path(&format!("/contents/{FILE}?ref={branch}"));
        let found = self.api.get(&path)?;
        let content = found.get("content").and_then(Value::as_str);
        let plain: String = content.context("no content")?.split_whitespace().collect();
        Ok(String::from_utf8(STANDARD.decode(plain)?)?)
    }

    /// The newest commit of a branch.
    pub(crate) fn branch(&self, branch: &str) -> Result<String> {
        let path = Self::path(&format!("/branches/{}", branch.replace('/', "%2F")));
        let found = self.api.get(&path)?;
        let commit = found.get("commit").context("no commit")?;
        let id = commit.get("sha").or_else(|| commit.get("id"));
        Ok(id.and_then(Value::as_str).context("no commit")?.to_owned())
    }

    /// The parents of the newest commit of a branch.
    pub(crate) fn parents(&self, branch: &str) -> Result<Vec<String>> {
        let path = Self::path(&format!("/git/commits/{}", self.branch(branch)?));
        let commit = self.api.get(&path)?;
        let parents = commit.get("parents").and_then(Value::as_array);
        let parents = parents.context("no parents")?.iter();
        Ok(parents
            .filter_map(|parent| parent.get("sha").and_then(Value::as_str))
            .map(str::to_owned)
            .collect())
    }

    /// All pull requests as `number state title`, oldest first.
    pub(crate) fn pull_requests(&self) -> Result<Vec<String>> {
        let list = self.api.get(&Self::path("/pulls?state=all"))?;
        let mut found: Vec<(u64, String)> = Vec::new();
        for one in list.as_array().context("no list")? {
            let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
            let number = one.get("number").and_then(Value::as_u64);
            let number = number.context("no number")?;
            let state = if one.get("merged_at").is_some_and(Value::is_string) {
                "merged"
            } else {
                text("state")
            };
            found.push((number, format!("{number} {state} {}", text("title"))));
        }
        found.sort_unstable();
        Ok(found.into_iter().map(|(_, text)| text).collect())
    }

    /// One pull request.
    pub(crate) fn pull_request(&self, number: u64) -> Result<Value> {
        self.api.get(&Self::path(&format!("/pulls/{number}")))
    }

    /// Texts of its comments.
    pub(crate) fn comments(&self, number: u64) -> Result<Vec<String>> {
        let path = Self::path(&format!("/issues/{number}/comments"));
        let list = self.api.get(&path)?;
        let list = list.as_array().context("no list")?.iter();
        Ok(list
            .filter_map(|comment| comment.get("body").and_then(Value::as_str))
            .map(str::to_owned)
            .collect())
    }

    /// Closes a pull request.
    pub(crate) fn close(&self, number: u64) -> Result<()> {
        let path = Self::path(&format!("/pulls/{number}"));
        let change = json!({ "state": "closed" });
        self.api.call("PATCH", &path, Some(&change)).map(drop)
    }

    /// Removes a branch.
    pub(crate) fn delete_branch(&self, branch: &str) -> Result<()> {
        let branch = branch.replace('/', "%2F");
        let path = Self::path(&match self.merge.0 {
            "POST" => format!("/branches/{branch}"),
            _ => format!("/git/refs/heads/{branch}"),
        });
        self.api.call("DELETE", &path, None).map(drop)
    }

    /// Merges a pull request. Gitea first has to find out whether that is possible.
    pub(crate) fn merge(&self, number: u64) -> Result<()> {
        let path = Self::path(&format!("/pulls/{number}/merge"));
        let (method, body) = &self.merge;
        until("the merge", LIMIT, || {
            self.api.call(method, &path, Some(body)).map(drop)
        })?;
        // The emulator marks it as merged and leaves the files of the base branch alone.
        let merged = self.read(BRANCH)?;
        if self.read("main")? == merged {
            return Ok(());
        }
        ensure!(self.merge.0 == "PUT", "Gitea did not merge");
        self.write("main", &merged)
    }
}

/// A policy, in the namespace of an agent.
pub(crate) struct Policy<'a> {
    agent: &'a Agent,
    name: &'static str,
}

/// How many polls were asked for: each of them has a number of its own, whoever asks.
static POLLS: AtomicU32 = AtomicU32::new(0);

/// The spec of a policy that reads releases from the emulator and images from the registry.
pub(crate) fn spec(releases: &str, registry: &ImageRegistry, repository: &Value) -> Value {
    json!({
        "interval": "1h",
        "minimumAge": "1ms",
        "releases": { "github": RELEASES, "apiUrl": releases, "secretRef": { "name": "releases" } },
        "image": { "repository": format!("{}/codenotary/immudb", registry.host), "insecure": true },
        "files": [{ "path": FILE, "image": "docker.io/codenotary/immudb" }],
        "repository": repository,
    })
}

/// Makes a Secret with a token.
pub(crate) fn secret(agent: &Agent, name: &str, data: &Value) -> Result<()> {
    let path = format!("/api/v1/namespaces/{}/secrets/{name}", agent.namespace);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": data,
    });
    agent
        .client
        .patch(PatchKind::Apply, &path, "test", &secret)
        .map(drop)
}

impl<'a> Policy<'a> {
    /// The policy `immudb` with a spec, and the Secret for the emulator.
    pub(crate) fn new(agent: &'a Agent, spec: &Value) -> Result<Self> {
        Self::named(agent, "immudb", spec)
    }

    /// A policy of any name.
    pub(crate) fn named(agent: &'a Agent, name: &'static str, spec: &Value) -> Result<Self> {
        secret(agent, "releases", &json!({ "token": TOKEN }))?;
        let policy = Self { agent, name };
        policy.set(spec)?;
        Ok(policy)
    }

    fn path(&self) -> String {
        format!(
            "/apis/immuops.dev/v1alpha1/namespaces/{}/upgradepolicies/{}",
            self.agent.namespace, self.name
        )
    }

    /// Gives it another spec.
    pub(crate) fn set(&self, spec: &Value) -> Result<()> {
        let object = json!({
            "apiVersion": "immuops.dev/v1alpha1", "kind": "UpgradePolicy",
            "metadata": { "name": self.name }, "spec": spec,
        });
        self.agent
            .client
            .patch(PatchKind::Apply, &self.path(), "test", &object)
            .map(drop)
    }

    /// Asks for a poll, waits until it was made, and returns the object.
    pub(crate) fn poll(&mut self) -> Result<Value> {
        let number = POLLS.fetch_add(1, Ordering::Relaxed);
        let wanted = json!(number.to_string());
        let patch = json!({ "metadata": { "annotations": {
            "reconcile.immuops.dev/requestedAt": wanted,
        }}});
        self.agent
            .client
            .patch(PatchKind::Merge, &self.path(), "test", &patch)?;
        let what = format!("poll {number} of the policy {}", self.name);
        until(&what, LIMIT, || {
            let policy = self.agent.client.get(&self.path())?;
            if policy.pointer("/status/lastHandledReconcileAt") != Some(&wanted) {
                bail!("{}", policy.get("status").unwrap_or(&Value::Null))
            }
            Ok(policy)
        })
        .with_context(|| format!("see {}", self.agent.log_path().display()))
    }

    /// The object as it is.
    pub(crate) fn get(&self) -> Result<Value> {
        self.agent.client.get(&self.path())
    }

    /// Polls and returns status, reason and message of a condition; empty if it does not exist.
    pub(crate) fn condition(&mut self, kind: &str) -> Result<String> {
        let policy = self.poll()?;
        Ok(condition(&policy, kind))
    }
}
