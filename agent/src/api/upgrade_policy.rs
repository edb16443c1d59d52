//! `UpgradePolicy`: what to watch for releases, which of them may be proposed, what to edit, and where to
//! open the pull request.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::period::Period;
use super::sync::{LocalName, conditions_schema};
use super::upgrade_proof::{Proof, ProofStatus};

/// Which upgrades to propose, and how.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "immuops.dev",
    version = "v1alpha1",
    kind = "UpgradePolicy",
    plural = "upgradepolicies",
    doc = "Proposes new releases as pull requests, one at a time.",
    category = "immuops",
    namespaced,
    status = "UpgradePolicyStatus",
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Current", "type": "string", "jsonPath": ".status.current"}"#,
    printcolumn = r#"{"name": "Candidate", "type": "string", "jsonPath": ".status.candidate.version"}"#,
    printcolumn = r#"{"name": "Pull request", "type": "string", "jsonPath": ".status.pullRequest.url"}"#,
    printcolumn = r#"{"name": "Proven", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Proven\")].status"}"#,
    printcolumn = r#"{"name": "Status", "type": "string", "priority": 1, "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpgradePolicySpec {
    /// How often to look.
    #[serde(default = "default_interval")]
    pub(crate) interval: Period,
    /// Look at nothing and change nothing.
    #[serde(default)]
    pub(crate) suspend: bool,
    /// Where releases are announced.
    pub(crate) releases: ReleaseSource,
    /// Where the images are. A release is proposed only once its image is there.
    pub(crate) image: ImageSource,
    /// Which versions are wanted, in Cargo's syntax, as `>=1.11, <2`; all if absent. Pre-releases never are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub(crate) range: Option<String>,
    /// How long a release must have been out before it is proposed.
    #[serde(default = "default_minimum_age")]
    pub(crate) minimum_age: Period,
    /// What to edit. All of them must name the same version.
    #[schemars(length(min = 1, max = 16))]
    pub(crate) files: Vec<FileEdit>,
    /// Where the pull request goes.
    pub(crate) repository: ForgeRepository,
    /// The two servers that must hold after an upgrade what they held before it; nothing is proved if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proof: Option<Proof>,
}

/// Releases on GitHub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReleaseSource {
    /// `owner/name` on GitHub.
    #[schemars(regex(pattern = "^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$"))]
    pub(crate) github: String,
    /// Address of GitHub's API, for a GitHub of one's own.
    #[serde(default = "default_github_api")]
    #[schemars(length(max = 2048), regex(pattern = "^https?://"))]
    pub(crate) api_url: String,
    /// Allow an address without TLS.
    #[serde(default)]
    pub(crate) insecure: bool,
    /// Secret of this namespace with `token`, or `username` and `password`; and `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret_ref: Option<LocalName>,
}

/// A repository of images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageSource {
    /// Name without tag, as `docker.io/codenotary/immudb`.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) repository: String,
    /// The registry has no TLS.
    #[serde(default)]
    pub(crate) insecure: bool,
    /// Secret of this namespace with `username` and `password`, or `token`; and `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret_ref: Option<LocalName>,
}

/// One value of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!(has(self.keyPath) && has(self.image))",
        "message": "set keyPath or image, not both"
    }
]))]
pub(crate) struct FileEdit {
    /// Path of the file in the repository.
    #[schemars(length(min = 1, max = 1024))]
    pub(crate) path: String,
    /// The image whose tag is meant; `spec.image.repository` if neither is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub(crate) image: Option<String>,
    /// The value that is meant, as `images.[name=docker.io/codenotary/immudb].newTag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub(crate) key_path: Option<String>,
}

/// A repository and the forge that it is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ForgeRepository {
    /// Which forge it is.
    #[serde(rename = "type")]
    pub(crate) kind: ForgeKind,
    /// Address of a Gitea, or of the API of a GitHub of one's own; GitHub's own API if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = "^https?://"))]
    pub(crate) url: Option<String>,
    /// Allow an address without TLS.
    #[serde(default)]
    pub(crate) insecure: bool,
    /// `owner/name`.
    #[schemars(regex(pattern = "^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$"))]
    pub(crate) name: String,
    /// The branch that pull requests go into.
    #[serde(default = "default_branch")]
    #[schemars(length(min = 1, max = 255))]
    pub(crate) branch: String,
    /// Secret of this namespace with `token`, or `username` and `password`; and `ca.crt`.
    pub(crate) secret_ref: LocalName,
}

/// A kind of forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum ForgeKind {
    /// GitHub.
    GitHub,
    /// Gitea or Forgejo.
    Gitea,
}

/// What the agent saw and did last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpgradePolicyStatus {
    /// Ready, and Reconciling or Stalled while they are true; Proven once there is something to prove.
    #[serde(default)]
    #[schemars(schema_with = "conditions_schema")]
    pub(crate) conditions: Vec<Condition>,
    /// Generation of the spec that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) observed_generation: Option<i64>,
    /// Last value of the annotation `reconcile.immuops.dev/requestedAt` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_handled_reconcile_at: Option<String>,
    /// Version in the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// The release that should come next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) candidate: Option<CandidateStatus>,
    /// The open pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pull_request: Option<PullRequestStatus>,
    /// Whether the servers still hold after the latest upgrade what they held before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proof: Option<ProofStatus>,
    /// Releases that are not proposed, and why; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ignored: Vec<IgnoredStatus>,
    /// How many releases are not proposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ignored_total: Option<u32>,
    /// When everything was last looked at with success, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_poll: Option<String>,
    /// When the next look is due, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_poll: Option<String>,
}

/// A release that may be proposed and whose image is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CandidateStatus {
    /// Its version.
    pub(crate) version: String,
    /// Its image.
    pub(crate) image: String,
    /// Digest of the image, if the registry told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// When it was published, in RFC 3339.
    pub(crate) published_at: String,
    /// Page of the release.
    pub(crate) url: String,
}

/// A pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PullRequestStatus {
    /// Its number.
    pub(crate) number: u64,
    /// Its page.
    pub(crate) url: String,
    /// Its title.
    pub(crate) title: String,
}

/// A release that is not proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IgnoredStatus {
    /// Its tag.
    pub(crate) tag: String,
    /// Why.
    pub(crate) reason: String,
}

const fn default_interval() -> Period {
    Period::minutes(60)
}

/// Three days: long enough for the first corrections of a release.
const fn default_minimum_age() -> Period {
    Period::minutes(3 * 24 * 60)
}

fn default_github_api() -> String {
    forge::github::PUBLIC_API.to_owned()
}

fn default_branch() -> String {
    "main".to_owned()
}
