//! Starts everything in order, keeps one task per Sync, and ends the process when something that must
//! live has died.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use kustomize::Memo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::names::REQUESTED_AT;
use crate::api::sync::Sync;
use crate::board::{Board, SyncName};
use crate::cluster::Cluster;
use crate::events::Events;
use crate::git::fetcher::Fetcher;
use crate::http::{self, Heartbeat};
use crate::lease::Contender;
use crate::lookup::Lookup;
use crate::mailbox::Mailbox;
use crate::metrics::Metrics;
use crate::patience::Patience;
use crate::reconcile::Reconciler;
use crate::render::MEMO_BYTES;
use crate::shared::{Readers, Shared};
use crate::upgrade;
use crate::watches::Watches;
use crate::webhook::Gate;

/// How often the loop proves that it advances.
const BEAT: Duration = Duration::from_secs(1);

/// What the process was told.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Address of the HTTP server.
    pub(crate) listen: SocketAddr,
    /// Namespace of the Syncs.
    pub(crate) namespace: String,
    /// Directory for git mirrors.
    pub(crate) mirrors: PathBuf,
    /// File with the token that signs webhooks.
    pub(crate) webhook_token_file: Option<PathBuf>,
    /// Name in the lease.
    pub(crate) identity: String,
    /// How long the API server is waited for.
    pub(crate) patience: Patience,
}

/// Runs until `stop`, or until a part has died.
pub(crate) async fn run(
    config: Config,
    client: Client,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Config {
        listen,
        namespace,
        mirrors,
        webhook_token_file,
        identity,
        patience,
    } = config;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; hint: choose another --listen"))?;
    let contender = Contender::new(client.clone(), &namespace, identity.clone(), patience);
    let cluster = Cluster::new(client.clone(), contender.authority(), patience);
    let (fetcher, git_ended) = Fetcher::start(mirrors).context("cannot start the git thread")?;
    let tasks = TaskTracker::new();
    let shared = Arc::new(Shared {
        watches: Watches::new(cluster.clone(), tasks.clone(), stop.clone()),
        events: Events::new(client, contender.authority(), &identity),
        namespace,
        cluster,
        fetcher,
        board: Board::new(),
        metrics: Metrics::new(),
        heartbeat: Heartbeat::new(),
        listed: CancellationToken::new(),
        readers: Readers::default(),
        memo: Arc::new(Memo::new(MEMO_BYTES)),
        lookup: Lookup::default(),
    });
    let gate = Gate::new(webhook_token_file);
    let serving = http::serve(listener, Arc::clone(&shared), gate, stop.clone());
    tracing::info!(%listen, namespace = %shared.namespace, version = env!("CARGO_PKG_VERSION"), "started");

    // When one ends, for whatever reason, so does the other.
    let ends = stop.clone().drop_guard();
    let serving = async move {
        let result = serving.await.context("the HTTP server failed");
        drop(ends);
        result
    };
    let ends = stop.clone().drop_guard();
    let work = async {
        let result = lead(&contender, Arc::clone(&shared), git_ended, stop.clone()).await;
        drop(ends);
        result
    };
    let (served, worked) = tokio::join!(serving, work);
    tasks.close();
    tasks.wait().await;
    contender.release().await;
    tracing::info!("stopped");
    worked.and(served)
}

/// Waits for the lease, then works for as long as it is held.
async fn lead(
    contender: &Contender,
    shared: Arc<Shared>,
    git_ended: oneshot::Receiver<()>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    {
        let acquire = contender.acquire();
        let mut acquire = std::pin::pin!(acquire);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = beat.tick() => shared.heartbeat.advance(),
                result = &mut acquire => break result?,
            }
        }
    }
    tracing::info!("holding the lease");
    let watch = Controller::new(Arc::clone(&shared), stop.clone()).watch();
    let upgrades = Box::pin(upgrade::controller::watch(
        Arc::clone(&shared),
        stop.clone(),
    ));
    tokio::select! {
        // The tasks end where they are: not one more write.
        lost = contender.keep() => Err(lost).context("this agent must not write any more"),
        // Both end when they are told to; one that fails ends the other.
        result = async { tokio::try_join!(watch, upgrades) } => result.map(drop),
        _ = git_ended, if !stop.is_cancelled() => bail!("the git thread has died; this is a bug"),
    }
}

/// Keeps the tasks of all Syncs.
struct Controller {
    shared: Arc<Shared>,
    stop: CancellationToken,
    known: BTreeMap<SyncName, Known>,
    tasks: JoinSet<(SyncName, Arc<Mailbox>)>,
}

struct Known {
    mailbox: Arc<Mailbox>,
    stop: CancellationToken,
    /// What a task has to hear about: everything but its own status.
    marks: Marks,
    uid: Option<String>,
}

/// The parts of a Sync that somebody else writes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Marks {
    generation: Option<i64>,
    requested_at: Option<String>,
    deleted: bool,
    finalizers: Vec<String>,
}

impl Marks {
    fn of(sync: &Sync) -> Self {
        Self {
            generation: sync.metadata.generation,
            requested_at: sync.annotations().get(REQUESTED_AT).cloned(),
            deleted: sync.metadata.deletion_timestamp.is_some(),
            finalizers: sync.finalizers().to_vec(),
        }
    }
}

impl Controller {
    fn new(shared: Arc<Shared>, stop: CancellationToken) -> Self {
        Self {
            shared,
            stop,
            known: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Follows the Syncs until `stop`.
    async fn watch(mut self) -> anyhow::Result<()> {
        let api: Api<DeserializeGuard<Sync>> =
            Api::namespaced(self.shared.cluster.client(), &self.shared.namespace);
        let config = watcher::Config::default().page_size(50);
        let stream = watcher(api, config).default_backoff();
        let mut stream = std::pin::pin!(stream);
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut listed: Vec<SyncName> = Vec::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                _ = beat.tick() => self.shared.heartbeat.advance(),
                Some(ended) = self.tasks.join_next() => {
                    let (name, mailbox) = ended.context("the task of a Sync has died; this is a bug")?;
                    // A Sync of the same name may have taken its place.
                    if self.known.get(&name).is_some_and(|known| Arc::ptr_eq(&known.mailbox, &mailbox)) {
                        self.forget(&name);
                    }
                }
                event = stream.next() => match event {
                    Some(Ok(watcher::Event::Init)) => listed.clear(),
                    Some(Ok(watcher::Event::InitApply(sync))) => {
                        listed.push(self.saw(sync));
                    }
                    Some(Ok(watcher::Event::InitDone)) => {
                        let gone: Vec<SyncName> =
                            self.known.keys().filter(|name| !listed.contains(name)).cloned().collect();
                        for name in &gone {
                            self.forget(name);
                        }
                        self.shared.listed.cancel();
                    }
                    Some(Ok(watcher::Event::Apply(sync))) => drop(self.saw(sync)),
                    Some(Ok(watcher::Event::Delete(sync))) => {
                        self.forget(&SyncName::new(sync.name_any()));
                    }
                    Some(Err(error)) => {
                        let error = crate::problem::chain(&error);
                        tracing::warn!(%error, "cannot watch the Syncs; hint: are the CRDs of the agent installed?");
                    }
                    None => bail!("the watch of the Syncs has ended"),
                },
            }
        }
        // Each task finishes the object in flight and then sees that it is to stop.
        while self.tasks.join_next().await.is_some() {}
        Ok(())
    }

    /// Starts the task of a new Sync, or tells the one of a known Sync what changed.
    fn saw(&mut self, sync: DeserializeGuard<Sync>) -> SyncName {
        let name = SyncName::new(sync.name_any());
        let sync = match sync.0 {
            Ok(sync) => sync,
            Err(invalid) => {
                tracing::warn!(sync = %name, error = %invalid.error, "this Sync cannot be read; hint: correct its spec");
                return name;
            }
        };
        let marks = Marks::of(&sync);
        let uid = sync.uid();
        if self.known.get(&name).is_some_and(|known| known.uid != uid) {
            self.forget(&name);
        }
        if let Some(known) = self.known.get_mut(&name) {
            if known.marks != marks {
                known.marks = marks;
                known.mailbox.changed(Arc::new(sync));
            }
            return name;
        }
        let mailbox = Arc::new(Mailbox::default());
        let stop = self.stop.child_token();
        let task = Reconciler::new(
            Arc::clone(&self.shared),
            Arc::clone(&mailbox),
            Arc::new(sync),
            stop.clone(),
        );
        let ended = (name.clone(), Arc::clone(&mailbox));
        self.tasks.spawn_local(async move {
            task.run().await;
            ended
        });
        self.known.insert(
            name.clone(),
            Known {
                mailbox,
                stop,
                marks,
                uid,
            },
        );
        name
    }

    /// A Sync is gone, or its task has ended.
    fn forget(&mut self, name: &SyncName) {
        let Some(known) = self.known.remove(name) else {
            return;
        };
        known.stop.cancel();
        self.shared.watches.claim(&known.mailbox, []);
        self.shared.readers.remove(name);
        self.shared.board.remove(name);
        self.shared.metrics.forget(name.as_str());
    }
}
