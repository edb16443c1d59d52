//! What the cluster holds: one metadata watch per managed kind, folded into one table.
//!
//! Only objects with the owner label are watched, so an object that is not in the table is absent or
//! nobody's. Each change is told to the Sync that claims the object, by id: an edit may well remove
//! the label.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use plan::live::{Live, LiveMeta};
use plan::object::{ObjectId, Owner};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Cluster;
use crate::kinds::Kind;
use crate::mailbox::Mailbox;
use crate::problem::{Problem, Secrecy};

/// Longest wait for the first list of a kind, at the usual pace.
const FIRST_LIST: Duration = Duration::from_secs(30);

/// Group and kind; the version does not matter for what an object is.
type GroupKind = (String, String);

/// How far a watch is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    Listing,
    Synced,
    Failing(String),
}

#[derive(Debug)]
struct Watch {
    progress: watch::Receiver<Progress>,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    live: BTreeMap<ObjectId, LiveMeta>,
    claims: BTreeMap<ObjectId, Arc<Mailbox>>,
    watches: BTreeMap<GroupKind, Watch>,
}

/// The table and its watches; clones share them.
#[derive(Clone)]
pub(crate) struct Watches {
    cluster: Cluster,
    state: Arc<Mutex<State>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A watch does not deliver.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// The kind is unknown or discovery failed.
    #[error("cannot watch {kind}")]
    Kind { kind: String, source: Problem },
    /// The server refuses, or does not answer.
    #[error("cannot watch {kind}: {reason}")]
    Failing { kind: String, reason: String },
    /// The first list takes too long.
    #[error("the first list of {kind} took longer than {seconds} s")]
    Slow { kind: String, seconds: u64 },
}

impl Watches {
    /// An empty table. Watches run in `tasks` until `stop`.
    pub(crate) fn new(cluster: Cluster, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            cluster,
            state: Arc::default(),
            tasks,
            stop,
        }
    }

    /// Makes sure that kinds (group, version, kind) are watched and their first list has arrived.
    pub(crate) async fn ensure(
        &self,
        kinds: &BTreeSet<(String, String, String)>,
    ) -> Result<(), WatchError> {
        let limit = self.cluster.patience().times(FIRST_LIST);
        for (group, version, name) in kinds {
            let key = (group.clone(), name.clone());
            let known = self.locked(|state| state.watches.get(&key).map(|w| w.progress.clone()));
            let mut progress = if let Some(progress) = known {
                progress
            } else {
                let kind = self
                    .cluster
                    .kinds()
                    .resolve(group, version, name)
                    .await
                    .map_err(|source| WatchError::Kind {
                        kind: name.clone(),
                        source,
                    })?;
                self.start(key, kind)
            };
            let wait = progress.wait_for(|progress| *progress != Progress::Listing);
            match timeout(limit, wait).await {
                Ok(Ok(state)) => match &*state {
                    Progress::Failing(reason) => {
                        let reason = reason.clone();
                        return Err(WatchError::Failing {
                            kind: name.clone(),
                            reason,
                        });
                    }
                    Progress::Synced | Progress::Listing => {}
                },
                Ok(Err(_)) => {
                    let reason = "the watch has ended".to_owned();
                    return Err(WatchError::Failing {
                        kind: name.clone(),
                        reason,
                    });
                }
                Err(_) => {
                    return Err(WatchError::Slow {
                        kind: name.clone(),
                        seconds: limit.as_secs(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Sets which objects a Sync wants to hear about, in place of what it wanted before, and stops
    /// watches that nobody needs any more.
    pub(crate) fn claim(&self, mailbox: &Arc<Mailbox>, ids: impl IntoIterator<Item = ObjectId>) {
        self.locked(|state| {
            state.claims.retain(|_, owner| !Arc::ptr_eq(owner, mailbox));
            state
                .claims
                .extend(ids.into_iter().map(|id| (id, Arc::clone(mailbox))));
            let used: BTreeSet<GroupKind> = state
                .claims
                .keys()
                .map(|id| (id.group.clone(), id.kind.clone()))
                .collect();
            state.watches.retain(|kind, watch| {
                let keep = used.contains(kind);
                if !keep {
                    watch.stop.cancel();
                }
                keep
            });
            state
                .live
                .retain(|id, _| used.contains(&(id.group.clone(), id.kind.clone())));
        });
    }

    /// What the table says about an object.
    pub(crate) fn live(&self, id: &ObjectId) -> Live {
        self.locked(|state| match state.live.get(id) {
            Some(meta) => Live::Present(meta.clone()),
            None => Live::Absent,
        })
    }

    /// What the table says about several objects.
    pub(crate) fn snapshot<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a ObjectId>,
    ) -> BTreeMap<ObjectId, Live> {
        self.locked(|state| {
            ids.into_iter()
                .map(|id| {
                    let live = state
                        .live
                        .get(id)
                        .cloned()
                        .map_or(Live::Absent, Live::Present);
                    (id.clone(), live)
                })
                .collect()
        })
    }

    /// Puts the answer to a write of our own into the table, ahead of its watch event.
    pub(crate) fn learn(&self, id: &ObjectId, meta: LiveMeta) {
        self.locked(|state| {
            let newer = state
                .live
                .get(id)
                .is_none_or(|known| !outdated(&meta, known));
            if newer {
                state.live.insert(id.clone(), meta);
            }
        });
    }

    /// Number of watches that run.
    pub(crate) fn count(&self) -> usize {
        self.locked(|state| state.watches.len())
    }

    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn start(&self, key: GroupKind, kind: Kind) -> watch::Receiver<Progress> {
        let (report, progress) = watch::channel(Progress::Listing);
        let stop = self.stop.child_token();
        let watch = Watch {
            progress: progress.clone(),
            stop: stop.clone(),
        };
        self.locked(|state| state.watches.insert(key.clone(), watch));
        let watches = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = watches.follow(&key, &kind, &report) => {}
            }
        });
        progress
    }

    /// Folds one watch into the table until it is stopped.
    async fn follow(&self, key: &GroupKind, kind: &Kind, report: &watch::Sender<Progress>) {
        let config = watcher::Config::default()
            .labels(Owner::SELECTOR)
            .streaming_lists();
        let stream = watcher(self.cluster.all_metadata(kind), config).default_backoff();
        let mut stream = std::pin::pin!(stream);
        let mut listed: BTreeSet<ObjectId> = BTreeSet::new();
        while let Some(event) = stream.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    if let Some(id) = self.saw(key, kind, object) {
                        listed.insert(id);
                    }
                }
                Ok(watcher::Event::InitDone) => {
                    self.forget_unlisted(key, &std::mem::take(&mut listed));
                    report.send_replace(Progress::Synced);
                }
                Ok(watcher::Event::Apply(object)) => {
                    self.saw(key, kind, object);
                }
                Ok(watcher::Event::Delete(object)) => {
                    if let Some(id) = identify(key, kind, &object) {
                        self.change(&id, None);
                    }
                }
                Err(error) => {
                    let reason = reason(error);
                    tracing::debug!(kind = %key.1, %reason, "watch interrupted");
                    report.send_if_modified(|progress| {
                        let first = *progress == Progress::Listing;
                        if first {
                            *progress = Progress::Failing(reason);
                        }
                        first
                    });
                }
            }
        }
    }

    fn saw(
        &self,
        key: &GroupKind,
        kind: &Kind,
        object: PartialObjectMeta<DynamicObject>,
    ) -> Option<ObjectId> {
        let id = identify(key, kind, &object)?;
        self.change(&id, Some(crate::sighting::live_meta(object.metadata)));
        Some(id)
    }

    /// Stores what is now known about an object and tells the Sync that claims it.
    fn change(&self, id: &ObjectId, now: Option<LiveMeta>) {
        self.locked(|state| {
            if let (Some(now), Some(known)) = (&now, state.live.get(id))
                && outdated(now, known)
            {
                return;
            }
            let same = match (&now, state.live.get(id)) {
                (Some(now), Some(before)) => now.resource_version == before.resource_version,
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            match now {
                Some(meta) => drop(state.live.insert(id.clone(), meta)),
                None => drop(state.live.remove(id)),
            }
            if !same && let Some(mailbox) = state.claims.get(id) {
                mailbox.touch(id);
            }
        });
    }

    fn forget_unlisted(&self, key: &GroupKind, listed: &BTreeSet<ObjectId>) {
        let gone: Vec<ObjectId> = self.locked(|state| {
            let of_kind = |id: &&ObjectId| id.group == key.0 && id.kind == key.1;
            state
                .live
                .keys()
                .filter(of_kind)
                .filter(|id| !listed.contains(id))
                .cloned()
                .collect()
        });
        for id in gone {
            self.change(&id, None);
        }
    }
}

/// Why a watch was interrupted.
fn reason(error: watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => {
            Problem::from_kube(error, Secrecy::Open).to_string()
        }
        watcher::Error::WatchError(status) => {
            Problem::from_kube(kube::Error::Api(status), Secrecy::Open).to_string()
        }
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// Whether `one` was seen before `other`. Resource versions of one life of an object are numbers that
/// grow (promised since Kubernetes 1.35); what does not look like one is never outdated.
fn outdated(one: &LiveMeta, other: &LiveMeta) -> bool {
    let number = |meta: &LiveMeta| meta.resource_version.parse::<u64>().ok();
    one.uid == other.uid
        && number(one)
            .zip(number(other))
            .is_some_and(|(one, other)| one < other)
}

fn identify(
    key: &GroupKind,
    kind: &Kind,
    object: &PartialObjectMeta<DynamicObject>,
) -> Option<ObjectId> {
    let name = object.metadata.name.as_deref()?;
    let namespace = object
        .metadata
        .namespace
        .as_deref()
        .filter(|_| kind.namespaced());
    Some(ObjectId::new(&key.0, &key.1, namespace, name))
}
