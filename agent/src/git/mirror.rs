//! One bare repository per source: asks the server what it has, takes what is missing, and checks
//! that the new commit continues the applied one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use git2::{AutotagOption, Direction, ErrorCode, FetchOptions, RemoteCallbacks, Repository};

use super::access::Access;
use super::reference::{Choice, Head, choose};
use super::revision::{CommitId, Revision};
use super::transport::{self, Refusal};
use crate::api::sync::GitReference;

/// Largest pack that is taken from a server.
const PACK_LIMIT: usize = 512 << 20;
/// Most references that a server may list.
const HEADS_LIMIT: usize = 100_000;

/// Fetching failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The server wants credentials, or other ones.
    #[error("{url} refused the credentials ({status}); hint: {}", credentials_hint(*.sent))]
    Unauthorized {
        url: String,
        status: u16,
        sent: bool,
    },
    /// The server knows no such repository.
    #[error(
        "{url} is not found (404); hint: check spec.source.url; a private repository may also look missing without credentials in spec.source.secretRef"
    )]
    NotFound { url: String },
    /// The server is somewhere else.
    #[error("{url} redirects to {to}; hint: set spec.source.url to that address")]
    Redirected { url: String, to: String },
    /// The server speaks HTTP, but not git.
    #[error(
        "{url} is no git repository; hint: does the address lack `.git`, or the name of the repository?"
    )]
    NotGit { url: String },
    /// Some other status.
    #[error(
        "{url} answered with status {status}; hint: this is the server's fault, it is tried again"
    )]
    Status { url: String, status: u16 },
    /// No connection, no TLS, no answer in time.
    #[error(
        "cannot reach {url}: {reason}; hint: check the address, the server and, for TLS, the key ca.crt of the Secret"
    )]
    Unreachable { url: String, reason: String },
    /// The repository has no commit.
    #[error("{url} is empty; hint: push a first commit")]
    Empty { url: String },
    /// The reference does not exist.
    #[error("{url} has no {what}; hint: it has {available}")]
    MissingReference {
        url: String,
        what: String,
        available: String,
    },
    /// The range does not parse.
    #[error(
        "spec.source.ref.semver `{range}` is not a range of versions: {reason}; hint: write it like `>=1.2.0, <2.0.0`"
    )]
    Range { range: String, reason: String },
    /// The commit is not in what was fetched.
    #[error(
        "{url} has no commit {commit} in {among}; hint: set spec.source.ref.branch to a branch that contains it"
    )]
    MissingCommit {
        url: String,
        commit: CommitId,
        among: String,
    },
    /// The branch was rewound or rewritten.
    #[error(
        "{new} does not descend from {applied}, which is applied; hint: was the branch force-pushed? set spec.source.allowRewind to accept it"
    )]
    Rewound { new: Revision, applied: CommitId },
    /// The fetch took too long.
    #[error("fetching {url} took longer than {seconds} s; hint: raise spec.timeout")]
    TimedOut { url: String, seconds: u64 },
    /// The pack is too large.
    #[error(
        "{url} sends more than {limit} MiB; hint: a repository of manifests should be small, keep data out of it"
    )]
    TooLarge { url: String, limit: usize },
    /// The mirror's directory cannot be used.
    #[error("cannot use the mirror directory {}", .path.display())]
    Directory {
        path: PathBuf,
        source: std::io::Error,
    },
    /// Anything else libgit2 says.
    #[error("cannot {doing} {url}")]
    Git {
        doing: &'static str,
        url: String,
        source: git2::Error,
    },
    /// The git thread is gone.
    #[error("the git thread has ended")]
    Gone,
}

const fn credentials_hint(sent: bool) -> &'static str {
    if sent {
        "correct the Secret that spec.source.secretRef names; it may lack the right to read the repository"
    } else {
        "name a Secret with the keys username and password, or bearerToken, in spec.source.secretRef"
    }
}

/// What to do with a commit that does not continue the applied one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rewind {
    /// Refuse it.
    Refused,
    /// Take it.
    Allowed,
}

/// A bare repository on disk that is filled from one source only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    path: PathBuf,
}

impl Mirror {
    /// The mirror below `root` with this directory name; made when it is first fetched.
    pub(crate) fn new(root: &Path, name: &str) -> Self {
        Self {
            path: root.join(name),
        }
    }

    /// Opens the repository for reading.
    pub(crate) fn repository(&self) -> Result<Repository, git2::Error> {
        Repository::open_bare(&self.path)
    }

    /// Brings the mirror up to date and returns what the reference stands for now.
    pub(crate) fn fetch(
        &self,
        access: &Arc<Access>,
        reference: &GitReference,
    ) -> Result<Revision, FetchError> {
        let repository = self.open_or_create()?;
        let deadline = Instant::now() + access.timeout();
        let (result, refusal) = transport::with_access(Arc::clone(access), || {
            download(&repository, access, reference, deadline)
        });
        match (result, refusal) {
            (Ok(revision), _) => Ok(revision),
            (Err(FetchError::Git { .. }), Some(refusal)) => Err(refused(access, refusal, deadline)),
            (Err(error), _) => Err(error),
        }
    }

    /// Refuses a revision that does not continue the applied commit: a rewound branch brings back
    /// old mistakes.
    pub(crate) fn accept(
        &self,
        revision: &Revision,
        applied: Option<CommitId>,
        rewind: Rewind,
    ) -> Result<(), FetchError> {
        let Some(applied) = applied else {
            return Ok(());
        };
        if rewind == Rewind::Allowed || applied == revision.commit {
            return Ok(());
        }
        let descends = self
            .repository()
            .and_then(|mirror| mirror.graph_descendant_of(revision.commit.oid(), applied.oid()));
        match descends {
            Ok(true) => Ok(()),
            Ok(false) => Err(FetchError::Rewound {
                new: revision.clone(),
                applied,
            }),
            // The applied commit is not in the history of the branch, or not on the server.
            Err(error) if error.code() == ErrorCode::NotFound => Err(FetchError::Rewound {
                new: revision.clone(),
                applied,
            }),
            Err(source) => Err(FetchError::Git {
                doing: "compare commits of",
                url: self.path.display().to_string(),
                source,
            }),
        }
    }

    /// A mirror that was damaged by a crash or a full disk is thrown away: the server has it all.
    fn open_or_create(&self) -> Result<Repository, FetchError> {
        if let Ok(repository) = self.repository() {
            return Ok(repository);
        }
        let directory = |source| FetchError::Directory {
            path: self.path.clone(),
            source,
        };
        if self.path.exists() {
            fs_err::remove_dir_all(&self.path).map_err(directory)?;
        }
        fs_err::create_dir_all(&self.path).map_err(directory)?;
        Repository::init_bare(&self.path).map_err(|source| FetchError::Git {
            doing: "make a mirror of",
            url: self.path.display().to_string(),
            source,
        })
    }
}

fn refused(access: &Access, refusal: Refusal, deadline: Instant) -> FetchError {
    let url = access.url().to_owned();
    match refusal {
        Refusal::Status(status @ (401 | 403)) => FetchError::Unauthorized {
            url,
            status,
            sent: access.has_credentials(),
        },
        Refusal::Status(404) => FetchError::NotFound { url },
        Refusal::Status(status) => FetchError::Status { url, status },
        Refusal::Redirect(to) => FetchError::Redirected { url, to },
        Refusal::NotGit => FetchError::NotGit { url },
        Refusal::Unreachable(_) if Instant::now() >= deadline => FetchError::TimedOut {
            url,
            seconds: access.timeout().as_secs(),
        },
        Refusal::Unreachable(reason) => FetchError::Unreachable { url, reason },
    }
}

fn download(
    repository: &Repository,
    access: &Access,
    reference: &GitReference,
    deadline: Instant,
) -> Result<Revision, FetchError> {
    let url = access.url();
    let git = |doing| {
        move |source| FetchError::Git {
            doing,
            url: url.to_owned(),
            source,
        }
    };
    let mut remote = repository.remote_anonymous(url).map_err(git("address"))?;
    let mut connection = remote
        .connect_auth(Direction::Fetch, None, None)
        .map_err(git("connect to"))?;
    let heads: Vec<Head> = connection
        .list()
        .map_err(git("list the references of"))?
        .iter()
        .take(HEADS_LIMIT)
        .map(|head| Head {
            name: head.name().to_owned(),
            oid: head.oid(),
        })
        .collect();
    let default = connection
        .default_branch()
        .ok()
        .and_then(|name| name.as_str().ok().map(str::to_owned));
    let choice = choose(url, &heads, default.as_deref(), reference)?;

    let kept = format!("refs/immuops/{}", choice.name.trim_start_matches("refs/"));
    if repository.find_object(choice.oid, None).is_err() {
        let mut too_large = false;
        let mut too_late = false;
        let mut callbacks = RemoteCallbacks::new();
        callbacks.transfer_progress(|progress| {
            too_large = progress.received_bytes() > PACK_LIMIT;
            too_late = Instant::now() > deadline;
            !too_large && !too_late
        });
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(callbacks)
            .download_tags(AutotagOption::None);
        let result = connection
            .remote()
            .download(&[format!("+{}:{kept}", choice.name)], Some(&mut options));
        drop(options);
        if let Err(source) = result {
            return Err(if too_large {
                FetchError::TooLarge {
                    url: url.to_owned(),
                    limit: PACK_LIMIT >> 20,
                }
            } else if too_late {
                FetchError::TimedOut {
                    url: url.to_owned(),
                    seconds: access.timeout().as_secs(),
                }
            } else {
                git("download from")(source)
            });
        }
    }
    // A reference keeps the objects known to the next negotiation.
    repository
        .reference(&kept, choice.oid, true, "fetch")
        .map_err(git("record what came from"))?;
    pin(repository, url, choice)
}

/// Turns the chosen reference into the commit it stands for.
fn pin(repository: &Repository, url: &str, choice: Choice) -> Result<Revision, FetchError> {
    let git = |source| FetchError::Git {
        doing: "read the commit from",
        url: url.to_owned(),
        source,
    };
    let tip = repository
        .find_object(choice.oid, None)
        .and_then(|object| object.peel_to_commit())
        .map_err(git)?;
    let Some(commit) = choice.commit else {
        return Ok(Revision {
            reference: choice.label,
            commit: CommitId::new(tip.id()),
        });
    };
    let reachable = commit.oid() == tip.id()
        || match repository.graph_descendant_of(tip.id(), commit.oid()) {
            Ok(reachable) => reachable,
            Err(error) if error.code() == ErrorCode::NotFound => false,
            Err(error) => return Err(git(error)),
        };
    if !reachable {
        return Err(FetchError::MissingCommit {
            url: url.to_owned(),
            commit,
            among: choice.name,
        });
    }
    Ok(Revision {
        reference: choice.label,
        commit,
    })
}
