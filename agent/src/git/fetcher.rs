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
use super::mirror::{FetchError, Mirror, Rewind};
use super::revision::{CommitId, Revision};
use crate::api::sync::GitReference;

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
    /// Branch, tag, range, name or commit; the server's default branch if empty.
    pub(crate) reference: GitReference,
    /// The commit that is applied now.
    pub(crate) applied: Option<CommitId>,
    /// Whether the new commit must descend from it.
    pub(crate) rewind: Rewind,
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
    let mut answers = Answers::new();
    while let Some(Order { job, reply }) = inbox.blocking_recv() {
        let mirror = Mirror::new(root, &job.key.directory());
        let result = answer(&mut answers, &job, &mirror).and_then(|revision| {
            mirror.accept(&revision, job.applied, job.rewind)?;
            Ok(Fetched { revision, mirror })
        });
        // A Sync that has gone meanwhile does not need the answer.
        drop(reply.send(result));
    }
}

/// When a question was asked last, and the answer.
type Answers = BTreeMap<(SourceKey, String), (Instant, Revision)>;

/// What the reference stands for: from the server, or from a moment ago.
fn answer(answers: &mut Answers, job: &Job, mirror: &Mirror) -> Result<Revision, FetchError> {
    let question = (job.key.clone(), format!("{:?}", job.reference));
    if let Some((asked, revision)) = answers.get(&question)
        && *asked >= job.not_before
    {
        return Ok(revision.clone());
    }
    let asked = Instant::now();
    answers.remove(&question);
    let revision = mirror.fetch(&job.access, &job.reference)?;
    if answers.len() >= REMEMBERED {
        answers.clear();
    }
    answers.insert(question, (asked, revision.clone()));
    Ok(revision)
}
