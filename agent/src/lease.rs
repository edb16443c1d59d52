//! The right to write: one Lease in the cluster, held by one agent at a time.
//!
//! The holder renews it and writes only while its own clock says that nobody else can have taken it
//! over. An agent that has lost it to another one ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::patience::Patience;
use crate::problem::{Problem, Secrecy};

/// Name of the Lease in the agent's namespace.
const NAME: &str = "immuops-agent";
/// After this long without renewal another agent may take over. This and the others: at the usual pace.
const DURATION: Duration = Duration::from_secs(15);
/// How often the holder renews, and how often others look.
const RENEW: Duration = Duration::from_secs(5);
/// The holder stops writing this long after its last renewal.
const TRUST: Duration = Duration::from_secs(10);
/// Longest wait for one answer.
const CALL: Duration = Duration::from_secs(4);

/// Losing the lease ends the process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    /// Another agent holds it.
    #[error("the lease {NAME} was taken over by {holder}")]
    Lost { holder: String },
    /// The API server does not let us use it.
    #[error("cannot use the lease {NAME}")]
    Refused { source: Problem },
}

/// Says whether this process may write now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authority {
    until: Arc<Mutex<Option<Instant>>>,
}

impl Authority {
    /// Fails unless the lease is held.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        match until {
            Some(until) if Instant::now() < until => Ok(()),
            Some(_) | None => Err(Problem::Fenced),
        }
    }

    fn set(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// One contender for the lease.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    api: Api<Lease>,
    identity: String,
    authority: Authority,
    patience: Patience,
}

/// Whether the lease is ours already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claiming {
    Anew,
    Renewal,
}

/// What a look at the lease showed.
enum Claim {
    Held,
    HeldBy(String),
}

impl Contender {
    /// `identity` stays the same over restarts of one pod, so that a restart need not wait.
    pub(crate) fn new(
        client: kube::Client,
        namespace: &str,
        identity: String,
        patience: Patience,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            identity,
            authority: Authority::default(),
            patience,
        }
    }

    /// The right that comes and goes with the lease.
    pub(crate) fn authority(&self) -> Authority {
        self.authority.clone()
    }

    /// Waits until the lease is ours.
    pub(crate) async fn acquire(&self) -> Result<(), LeaseError> {
        let mut seen = None;
        let mut told = String::new();
        loop {
            let source = match self.claim(&mut seen, Claiming::Anew).await {
                Ok(Claim::Held) => return Ok(()),
                Ok(Claim::HeldBy(holder)) => {
                    if told != holder {
                        tracing::info!(%holder, "waiting for the lease");
                        told = holder;
                    }
                    sleep(RENEW / 5).await;
                    continue;
                }
                Err(source) => source,
            };
            if !source.is_transient() {
                return Err(LeaseError::Refused { source });
            }
            tracing::warn!(error = %source, "cannot look at the lease");
            sleep(RENEW / 5).await;
        }
    }

    /// Renews the lease until `stop`. Returns early, with an error, when it is lost. While the API
    /// server does not answer, the right to write runs out, and comes back if nobody took the lease.
    pub(crate) async fn keep(&self, stop: &CancellationToken) -> Result<(), LeaseError> {
        let mut known = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = sleep(self.patience.times(RENEW)) => {}
            }
            match self.claim(&mut known, Claiming::Renewal).await {
                Ok(Claim::Held) => {}
                Ok(Claim::HeldBy(holder)) => {
                    self.authority.set(None);
                    return Err(LeaseError::Lost { holder });
                }
                Err(error) => tracing::warn!(%error, "cannot renew the lease"),
            }
        }
    }

    /// Gives the lease back, so that the next agent need not wait.
    pub(crate) async fn release(&self) {
        self.authority.set(None);
        let Ok(mut lease) = self.call(self.api.get(NAME)).await else {
            return;
        };
        let Some(spec) = &mut lease.spec else { return };
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return;
        }
        spec.holder_identity = None;
        spec.renew_time = None;
        let params = PostParams::default();
        let returned = self.call(self.api.replace(NAME, &params, &lease)).await;
        if returned.is_err() {
            tracing::info!("the lease was not given back; the next agent waits until it expires");
        }
    }

    /// Takes or renews the lease if nobody else holds it. `seen` is the other holder's last renewal
    /// and when we saw it: clocks of two machines are never compared.
    async fn claim(
        &self,
        seen: &mut Option<(String, Instant)>,
        claiming: Claiming,
    ) -> Result<Claim, Problem> {
        let asked = Instant::now();
        let duration = self.patience.times(DURATION);
        let current = self.call(self.api.get_opt(NAME)).await?;
        let now = MicroTime(jiff::Timestamp::now());
        let mut spec = match &current {
            Some(lease) => lease.spec.clone().unwrap_or_default(),
            None => LeaseSpec::default(),
        };
        if claiming == Claiming::Renewal && spec.holder_identity.as_deref() != Some(&self.identity)
        {
            // Somebody had it in between: what this process remembers may be outdated.
            let holder = spec
                .holder_identity
                .unwrap_or_else(|| "nobody, after another agent".to_owned());
            return Ok(Claim::HeldBy(holder));
        }
        if let Some(holder) = spec.holder_identity.clone()
            && holder != self.identity
        {
            let mark = format!("{holder} {:?}", spec.renew_time);
            match seen {
                Some((known, since)) if *known == mark && since.elapsed() >= duration => {}
                Some((known, _)) if *known == mark => return Ok(Claim::HeldBy(holder)),
                Some(_) | None => {
                    *seen = Some((mark, asked));
                    return Ok(Claim::HeldBy(holder));
                }
            }
        }
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default() + 1);
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(duration.as_secs()).ok();
        spec.renew_time = Some(now);
        let params = PostParams::default();
        let written = if let Some(lease) = current {
            let lease = Lease {
                spec: Some(spec),
                ..lease
            };
            self.call(self.api.replace(NAME, &params, &lease)).await
        } else {
            let metadata = ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            };
            let lease = Lease {
                metadata,
                spec: Some(spec),
            };
            self.call(self.api.create(&params, &lease)).await
        };
        match written {
            Ok(_) => {
                self.authority.set(Some(asked + self.patience.times(TRUST)));
                Ok(Claim::Held)
            }
            Err(problem) if problem.is_conflict() => {
                Ok(Claim::HeldBy("another agent, just now".to_owned()))
            }
            Err(problem) => Err(problem),
        }
    }

    async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, Problem> {
        self.patience.answer_within(CALL, Secrecy::Open, call).await
    }
}
