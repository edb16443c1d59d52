//! The git thread: libgit2 blocks, so every fetch of the process runs here, one after the other.
//!
//! Syncs that share a source share its fetches as well: a job says how old an answer may be.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use super::access::Access;
use super::mirror::{FetchError, Mirror, Wanted};
use super::revision::Revision;

/// Jobs that may wait; more Syncs than that wait in line for a place.
const QUEUE: usize = 64;
/// Answers that are remembered; a source that is no longer used falls out.
const REMEMBERED: usize = 1024;

/// Names one mirror: everything that decides what may be read from where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SourceKey {
    /// Namespace of the Sync; two namespaces never share a mirror.
    pub(crate) namespace: String,
    /// Address of the repository.
    pub(crate) url: String,
    /// Secret with the credentials, if any.
    pub(crate) secret: Option<String>,
}

impl SourceKey {
    /// Directory name of the mirror.
    fn directory(&self) -> String {
        let secret = self.secret.as_deref().unwrap_or_default();
        let digest = Sha256::digest(format!("{}\n{}\n{secret}", self.namespace, self.url));
        crate::hex::hex(&digest)
    }
}

/// One fetch to do.
#[derive(Debug)]
pub(crate) struct Job {
    /// The mirror.
    pub(crate) key: SourceKey,
    /// How to reach the server.
    pub(crate) access: Arc<Access>,
    /// What to fetch.
    pub(crate) wanted: Wanted,
    /// An answer that was asked for after this moment will do.
    pub(crate) not_before: Instant,
}

/// What a fetch found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// The pinned commit.
    pub(crate) revision: Revision,
    /// Where to read it.
    pub(crate) mirror: Mirror,
}

struct Order {
    job: Job,
    reply: oneshot::Sender<Result<Fetched, FetchError>>,
}

/// Sends jobs to the git thread.
#[derive(Clone)]
pub(crate) struct Fetcher {
    root: Arc<PathBuf>,
    orders: mpsc::Sender<Order>,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetcher")
    }
}

impl Fetcher {
    /// Starts the thread. It ends when the last `Fetcher` is dropped; the receiver resolves then, or
    /// when the thread dies.
    pub(crate) fn start(root: PathBuf) -> std::io::Result<(Self, oneshot::Receiver<()>)> {
        let (orders, inbox) = mpsc::channel(QUEUE);
        let (alive, ended) = oneshot::channel::<()>();
        let root = Arc::new(root);
        let directory = Arc::clone(&root);
        std::thread::Builder::new()
            .name("git".to_owned())
            .spawn(move || {
                serve(&directory, inbox);
                drop(alive);
            })?;
        Ok((Self { root, orders }, ended))
    }

    /// Where a source is kept, whether it was fetched yet or not.
    pub(crate) fn mirror(&self, key: &SourceKey) -> Mirror {
        Mirror::new(&self.root, &key.directory())
    }

    /// Fetches, or returns a recent enough answer to the same question.
    pub(crate) async fn fetch(&self, job: Job) -> Result<Fetched, FetchError> {
        let (reply, answer) = oneshot::channel();
        self.orders
            .send(Order { job, reply })
            .await
            .map_err(|_| FetchError::Gone)?;
        answer.await.map_err(|_| FetchError::Gone)?
    }
}

fn serve(root: &std::path::Path, mut inbox: mpsc::Receiver<Order>) {
    git2::opts::enable_caching(false);
    let mut answers: BTreeMap<(SourceKey, String), (Instant, Fetched)> = BTreeMap::new();
    while let Some(Order { job, reply }) = inbox.blocking_recv() {
        let question = (job.key.clone(), format!("{:?}", job.wanted));
        if let Some((asked, fetched)) = answers.get(&question)
            && *asked >= job.not_before
        {
            drop(reply.send(Ok(fetched.clone())));
            continue;
        }
        let asked = Instant::now();
        let mirror = Mirror::new(root, &job.key.directory());
        let result = mirror
            .fetch(&job.access, &job.wanted)
            .map(|revision| Fetched { revision, mirror });
        if answers.len() >= REMEMBERED {
            answers.clear();
        }
        match &result {
            Ok(fetched) => drop(answers.insert(question, (asked, fetched.clone()))),
            Err(_) => drop(answers.remove(&question)),
        }
        drop(reply.send(result));
    }
}
