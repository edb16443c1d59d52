//! One poll of a policy: its Secrets, a look at everything, a decision, and the decision carried out.

use std::collections::BTreeMap;

use forge::decide::{Decision, FilesError, decide};
use forge::fault::{Fault, Remedy, Role};
use forge::http::InvalidTrust;
use forge::pull_request::PullRequest;
use forge::round::{self, LookError};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;

use super::connection::{AnyForge, Identity, InvalidSecret, Upstream};
use super::settings::{InvalidSpec, Settings};
use crate::api::upgrade_policy::UpgradePolicySpec;
use crate::cluster::{Cluster, read};
use crate::problem::{Problem, Secrecy};

/// A poll that came to no end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PollError {
    /// The spec means nothing.
    #[error(transparent)]
    Spec(#[from] InvalidSpec),
    /// A Secret does not exist.
    #[error(
        "Secret {name}, named in {field}, does not exist; hint: create it in the namespace of the policy"
    )]
    NoSecret {
        /// `<namespace>/<name>`.
        name: String,
        /// Where it is named.
        field: &'static str,
    },
    /// A Secret is of no use.
    #[error("Secret {name}, named in {field}: {source}")]
    Secret {
        /// `<namespace>/<name>`.
        name: String,
        /// Where it is named.
        field: &'static str,
        /// Why.
        source: InvalidSecret,
    },
    /// Its certificates are of no use.
    #[error("the Secrets of the policy: {0}")]
    Trust(#[from] InvalidTrust),
    /// The API server did not give it out, or this process may not write any more.
    #[error(transparent)]
    Cluster(#[from] Problem),
    /// The files of the repository are of no use.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A server did not answer as it should.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// It took too long.
    #[error("the poll took more than {seconds} s")]
    TimedOut {
        /// Allowed.
        seconds: u64,
    },
}

impl From<LookError> for PollError {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Fault(fault) => Self::Fault(fault),
            LookError::Files(error) => Self::Files(error),
        }
    }
}

impl PollError {
    /// One word for the condition.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Spec(_) => "InvalidSpec",
            Self::NoSecret { .. } | Self::Secret { .. } | Self::Trust(_) => "InvalidSecret",
            Self::Cluster(_) => "ClusterFailed",
            Self::Files(_) => "InvalidFiles",
            Self::TimedOut { .. } => "TimedOut",
            Self::Fault(fault) => match fault.server().role() {
                Role::Releases => "ReleasesFailed",
                Role::Registry => "RegistryFailed",
                Role::Forge => "ForgeFailed",
            },
        }
    }

    /// What helps.
    pub(crate) const fn remedy(&self) -> Remedy {
        match self {
            Self::Spec(_)
            | Self::NoSecret { .. }
            | Self::Secret { .. }
            | Self::Trust(_)
            | Self::Files(_) => Remedy::Person,
            Self::Cluster(_) | Self::TimedOut { .. } => Remedy::Again,
            Self::Fault(fault) => fault.remedy(),
        }
    }
}

/// What came of a poll.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What was decided.
    pub(crate) decision: Decision,
    /// The pull request that is open now.
    pub(crate) pull_request: Option<PullRequest>,
    /// Whether there are more releases than were read.
    pub(crate) truncated: bool,
}

/// Polls once.
pub(crate) async fn poll(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    spec: &UpgradePolicySpec,
) -> Result<Outcome, PollError> {
    let settings = Settings::of(name, spec)?;
    let secrets = Secrets { cluster, namespace };
    let releases = settings.releases.secret.as_deref();
    let releases = secrets
        .identity(releases, "spec.releases.secretRef")
        .await?;
    let registry = settings.registry_secret.as_deref();
    let registry = secrets.identity(registry, "spec.image.secretRef").await?;
    let repository = settings.repository.secret.as_deref();
    let repository = secrets
        .identity(repository, "spec.repository.secretRef")
        .await?;
    let upstream = Upstream::new(&settings, &releases, &registry)?;
    let forge = AnyForge::new(&settings, &repository)?;

    let policy = &settings.policy;
    let repository = forge.look(policy).await?;
    let now = Timestamp::now();
    let releases = upstream.releases().await?;
    let upstream = round::upstream(releases, &upstream.registry, policy, &repository, now).await?;
    let decision = decide(policy, &repository, &upstream, now)?;
    // Whoever lost the lease must not act: another agent does.
    cluster.authority().check()?;
    let pull_request = forge.act(policy, &decision).await?;
    Ok(Outcome {
        decision,
        pull_request,
        truncated: upstream.releases.truncated,
    })
}

/// Reads the Secrets that a policy names.
struct Secrets<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
}

impl Secrets<'_> {
    async fn identity(
        &self,
        name: Option<&str>,
        field: &'static str,
    ) -> Result<Identity, PollError> {
        let Some(name) = name else {
            return Ok(Identity::default());
        };
        let shown = format!("{}/{name}", self.namespace);
        let api: Api<Secret> = Api::namespaced(self.cluster.client(), self.namespace);
        let secret = read(Secrecy::Secret, api.get_opt(name)).await?;
        let Some(secret) = secret else {
            return Err(PollError::NoSecret { name: shown, field });
        };
        let data: BTreeMap<String, Vec<u8>> = secret
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, bytes)| (key, bytes.0))
            .collect();
        Identity::of(&data).map_err(|source| PollError::Secret {
            name: shown,
            field,
            source,
        })
    }
}
