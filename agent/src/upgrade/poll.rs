//! One poll of a policy: a look at everything, a decision, and the decision carried out.

use forge::decide::{Decision, FilesError, current, decide};
use forge::fault::{Fault, Remedy, Role};
use forge::http::InvalidTrust;
use forge::policy::Policy;
use forge::pull_request::PullRequest;
use forge::round::{self, LookError};
use immudb::ClientError;
use jiff::Timestamp;

use super::clients::Clients;
use super::connection::{AnyForge, InvalidSecret};
use super::proof::{self, NoRecord};
use super::settings::{InvalidSpec, Settings};
use crate::api::upgrade_proof::{ProofPhase, ProofStatus};
use crate::cluster::Cluster;
use crate::problem::Problem;

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
    /// Nothing could be recorded that an upgrade would be compared with.
    #[error("nothing is proposed before the servers' histories are recorded: {0}")]
    History(#[from] NoRecord),
    /// A server of the proof cannot be asked.
    #[error("a server of spec.proof cannot be asked: {0}")]
    Witness(#[from] ClientError),
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
            Self::History(NoRecord::Divided(_)) => "HistoryDivided",
            Self::History(NoRecord::Silent(_)) | Self::Witness(_) => "HistoryFailed",
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
            Self::Cluster(_) | Self::History(_) | Self::Witness(_) | Self::TimedOut { .. } => {
                Remedy::Again
            }
            Self::Fault(fault) => fault.remedy(),
        }
    }
}

/// What came of a poll.
#[derive(Debug)]
pub(crate) struct Polled {
    /// What was decided.
    pub(crate) decision: Decision,
    /// The pull request that is open now.
    pub(crate) pull_request: Option<PullRequest>,
    /// Whether there are more releases than were read.
    pub(crate) truncated: bool,
}

/// What a look leads to.
#[derive(Debug)]
pub(crate) enum Look {
    /// Something came up that goes before releases: a merge to be proved, or another history.
    Proof(ProofStatus),
    /// A decision to be carried out, once `proof` is written down.
    Decision {
        /// What to do.
        act: Box<Act>,
        /// What is recorded for it.
        proof: Option<ProofStatus>,
    },
    /// There was no merge, and nothing else was looked at.
    NoMerge,
}

/// A decision and who carries it out.
#[derive(Debug)]
pub(crate) struct Act {
    forge: AnyForge,
    policy: Policy,
    decision: Decision,
    truncated: bool,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Only whether our pull request was merged.
    Merge,
    /// Everything.
    Everything,
}

/// Looks, and decides. Nothing is changed anywhere.
pub(crate) async fn look(
    mut clients: Clients<'_>,
    settings: &Settings,
    old: Option<&ProofStatus>,
    depth: Depth,
) -> Result<Look, PollError> {
    let policy = &settings.policy;
    let record = old
        .filter(|proof| proof.phase == ProofPhase::Recorded)
        .map(|proof| &proof.record);
    // The servers first: what is recorded is older than a merge that is not seen after it.
    let testimony = match depth {
        Depth::Everything => clients.ask(record).await,
        Depth::Merge => None,
    };
    let repository = clients.look().await?;
    let now = Timestamp::now();
    if let (Some(proof), Some(known), Some(merged)) =
        (&settings.proof, old, proof::merged(old, &repository))
    {
        let to = current(policy, &repository)?;
        let pending = proof::pending(known, merged, to.version(), now, proof.timeout);
        return Ok(Look::Proof(pending));
    }
    if depth == Depth::Merge {
        return Ok(Look::NoMerge);
    }
    let upstream = clients.upstream().await?;
    let releases = upstream.releases().await?;
    let upstream = round::upstream(releases, &upstream.registry, policy, &repository, now).await?;
    let decision = decide(policy, &repository, &upstream, now)?;
    let proof = match testimony {
        Some(testimony) if proof::needs_record(&decision.action, decision.open.as_ref()) => {
            let current = &decision.current;
            let proof = proof::recorded(old, testimony, &repository, current, now)?;
            if proof.phase == ProofPhase::Refuted {
                return Ok(Look::Proof(proof));
            }
            Some(proof)
        }
        // Nothing is left to be merged, or nothing is to be proved.
        Some(_) => old
            .filter(|proof| proof.phase != ProofPhase::Recorded)
            .cloned(),
        None => None,
    };
    Ok(Look::Decision {
        act: Box::new(Act {
            forge: clients.into_forge(),
            policy: policy.clone(),
            decision,
            truncated: upstream.releases.truncated,
        }),
        proof,
    })
}

impl Act {
    /// Carries the decision out.
    pub(crate) async fn carry_out(self, cluster: &Cluster) -> Result<Polled, PollError> {
        let Self {
            forge,
            policy,
            decision,
            truncated,
        } = self;
        // Whoever lost the lease must not act: another agent does.
        cluster.authority().held().await?;
        let pull_request = forge.act(&policy, &decision).await?;
        Ok(Polled {
            decision,
            pull_request,
            truncated,
        })
    }
}
