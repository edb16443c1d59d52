//! The right to write: one Lease in the cluster, held by one agent at a time.
//!
//! The holder renews it and writes only while its own clock says that nobody else can have taken it
//! over. When a renewal comes late, writes wait for it. An agent that has lost it to another one ends.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::patience::Patience;
use crate::problem::{Problem, Secrecy};

/// Name of the Lease in the agent's namespace.
const NAME: &str = "immuops-agent";
/// After this long without renewal another agent may take over. This and the others: at the usual pace.
const DURATION: Duration = Duration::from_secs(15);
/// How often the holder renews.
const RENEW: Duration = Duration::from_secs(3);
/// How soon it tries again after a renewal that failed, and how often others look.
const RETRY: Duration = Duration::from_secs(1);
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
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    /// Until when nobody else can have the lease. `None` when this process does not lead.
    until: Arc<watch::Sender<Option<Instant>>>,
    patience: Patience,
}

impl Authority {
    /// Without the right to anything, so far.
    fn new(patience: Patience) -> Self {
        Self {
            until: Arc::new(watch::Sender::new(None)),
            patience,
        }
    }

    /// Whether the lease is held, now.
    pub(crate) fn is_held(&self) -> bool {
        self.until
            .borrow()
            .is_some_and(|until| Instant::now() < until)
    }

    /// Returns once this process may write. While a renewal is late, that is after the next one: it
    /// says that nobody had the lease in between.
    ///
    /// # Errors
    /// At once when this process does not lead, and when no renewal came through for as long as it takes
    /// another agent to take over.
    pub(crate) async fn held(&self) -> Result<(), Problem> {
        let limit = self.patience.times(DURATION);
        let mut until = self.until.subscribe();
        let settled = until.wait_for(|until| until.is_none_or(|until| Instant::now() < until));
        match timeout(limit, settled).await {
            Ok(Ok(until)) if until.is_some() => Ok(()),
            Ok(_) => Err(Problem::Fenced),
            Err(_) => Err(Problem::Lapsed {
                seconds: limit.as_secs(),
            }),
        }
    }

    fn set(&self, until: Option<Instant>) {
        self.until.send_replace(until);
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

/// What a look at the lease showed.
enum Claim {
    /// We hold it; the lease as it was written last.
    Held(Box<Lease>),
    /// Somebody else does.
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
            authority: Authority::new(patience),
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
            match self.claim(&mut seen).await {
                Ok(Claim::Held(_)) => return Ok(()),
                Ok(Claim::HeldBy(holder)) if told == holder => {}
                Ok(Claim::HeldBy(holder)) => {
                    tracing::info!(%holder, "waiting for the lease");
                    told = holder;
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "cannot look at the lease");
                }
                Err(source) => return Err(LeaseError::Refused { source }),
            }
            sleep(RETRY).await;
        }
    }

    /// Renews the lease until it is lost. While the API server does not answer, the right to write runs
    /// out, and comes back if nobody took the lease.
    pub(crate) async fn keep(&self) -> LeaseError {
        let mut held = None;
        let mut pause = RENEW;
        loop {
            sleep(self.patience.times(pause)).await;
            pause = RENEW;
            match self.renew(held.take()).await {
                Ok(Claim::Held(lease)) => held = Some(*lease),
                Ok(Claim::HeldBy(holder)) => {
                    self.authority.set(None);
                    return LeaseError::Lost { holder };
                }
                // Refused, for example, because an earlier try came through and its answer did not: the
                // next one looks first.
                Err(error) => {
                    tracing::warn!(%error, "cannot renew the lease");
                    pause = RETRY;
                }
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

    /// Renews the lease: with one request while nothing has changed since `held` was written.
    async fn renew(&self, held: Option<Lease>) -> Result<Claim, Problem> {
        let asked = Instant::now();
        let current = match held {
            Some(lease) => Some(lease),
            None => self.call(self.api.get_opt(NAME)).await?,
        };
        let holder = current.as_ref().and_then(holder);
        if holder.as_ref() == Some(&self.identity) {
            return self.write(current, asked).await;
        }
        // Somebody had it in between: what this process remembers may be outdated.
        let holder = holder.unwrap_or_else(|| "nobody, after another agent".to_owned());
        Ok(Claim::HeldBy(holder))
    }

    /// Takes the lease if nobody else holds it. `seen` is the other holder's last renewal and when we
    /// saw it: clocks of two machines are never compared.
    async fn claim(&self, seen: &mut Option<(String, Instant)>) -> Result<Claim, Problem> {
        let asked = Instant::now();
        let current = self.call(self.api.get_opt(NAME)).await?;
        if let Some(holder) = current.as_ref().and_then(holder)
            && holder != self.identity
        {
            let renewed = current.as_ref().and_then(|lease| lease.spec.as_ref());
            let mark = format!("{holder} {:?}", renewed.map(|spec| &spec.renew_time));
            match seen {
                Some((known, since))
                    if *known == mark && since.elapsed() >= self.patience.times(DURATION) => {}
                Some((known, _)) if *known == mark => return Ok(Claim::HeldBy(holder)),
                Some(_) | None => {
                    *seen = Some((mark, asked));
                    return Ok(Claim::HeldBy(holder));
                }
            }
        }
        match self.write(current, asked).await {
            Err(problem) if problem.is_conflict() => {
                Ok(Claim::HeldBy("another agent, just now".to_owned()))
            }
            written => written,
        }
    }

    /// Makes the lease ours from now on, if it is still the one that was read. `asked` is when that was.
    async fn write(&self, current: Option<Lease>, asked: Instant) -> Result<Claim, Problem> {
        let now = MicroTime(jiff::Timestamp::now());
        let ours = current.as_ref().and_then(holder).as_ref() == Some(&self.identity);
        let exists = current.is_some();
        let mut lease = current.unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let spec = lease.spec.get_or_insert_default();
        if !ours {
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default() + 1);
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(self.patience.times(DURATION).as_secs()).ok();
        spec.renew_time = Some(now);
        let params = PostParams::default();
        let written = if exists {
            self.call(self.api.replace(NAME, &params, &lease)).await?
        } else {
            self.call(self.api.create(&params, &lease)).await?
        };
        self.authority.set(Some(asked + self.patience.times(TRUST)));
        Ok(Claim::Held(Box::new(written)))
    }

    async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, Problem> {
        self.patience.answer_within(CALL, Secrecy::Open, call).await
    }
}

/// Who holds it.
fn holder(lease: &Lease) -> Option<String> {
    lease.spec.as_ref()?.holder_identity.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(patience: u32) -> Authority {
        Authority::new(Patience::new(patience))
    }

    fn seconds_on(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_lease_nothing_waits() {
        let right = right(1);
        assert_eq!(right.held().await, Err(Problem::Fenced));
        right.set(Some(seconds_on(10)));
        assert_eq!(right.held().await, Ok(()));
        right.set(None);
        assert_eq!(right.held().await, Err(Problem::Fenced));
    }

    /// What a write is told that begins when the right has run out, and 14 s later this is known of it.
    async fn after_waiting(known: impl FnOnce() -> Option<Instant>) -> Result<(), Problem> {
        let right = right(1);
        right.set(Some(seconds_on(0)));
        let later = async {
            sleep(Duration::from_secs(14)).await;
            right.set(known());
        };
        let (held, ()) = tokio::join!(right.held(), later);
        held
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_renewal_is_waited_for() {
        assert_eq!(after_waiting(|| Some(seconds_on(10))).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_learns_that_another_agent_leads() {
        assert_eq!(after_waiting(|| None).await, Err(Problem::Fenced));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_never_comes_is_given_up() {
        for (patience, seconds) in [(1, 15), (8, 120)] {
            let right = right(patience);
            right.set(Some(seconds_on(0)));
            let start = Instant::now();
            assert_eq!(right.held().await, Err(Problem::Lapsed { seconds }));
            assert_eq!(start.elapsed().as_secs(), seconds);
            assert!(Problem::Lapsed { seconds }.is_transient());
        }
    }
}
