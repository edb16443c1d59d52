//! One bare repository per source: asks the server what it has, takes what is missing, and checks
//! that the new commit continues the applied one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use git2::{AutotagOption, Direction, ErrorCode, FetchOptions, Oid, RemoteCallbacks, Repository};

use super::access::Access;
use super::revision::{CommitId, Revision};
use super::transport::{self, Refusal};
use crate::api::sync::GitReference;

/// Largest pack that is taken from a server.
const PACK_LIMIT: usize = 512 << 20;
/// Most references that a server may list.
const HEADS_LIMIT: usize = 100_000;
/// How many existing names an error shows.
const SHOWN: usize = 8;

/// Fetching failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The server wants credentials, or other ones.
    #[error("{url} refused the credentials ({status}); hint: {}", credentials_hint(*.sent))]
    Unauthorized { url: String, status: u16, sent: bool },
    /// The server knows no such repository.
    #[error(
        "{url} is not found (404); hint: check spec.source.url; a private repository may also look missing without credentials in spec.source.secretRef"
    )]
    NotFound { url: String },
    /// The server is somewhere else.
    #[error("{url} redirects to {to}; hint: set spec.source.url to that address")]
    Redirected { url: String, to: String },
    /// The server speaks HTTP, but not git.
    #[error("{url} is no git repository; hint: does the address lack `.git`, or the name of the repository?")]
    NotGit { url: String },
    /// Some other status.
    #[error("{url} answered with status {status}; hint: this is the server's fault, it is tried again")]
    Status { url: String, status: u16 },
    /// No connection, no TLS, no answer in time.
    #[error("cannot reach {url}: {reason}; hint: check the address, the server and, for TLS, the key ca.crt of the Secret")]
    Unreachable { url: String, reason: String },
    /// The repository has no commit.
    #[error("{url} is empty; hint: push a first commit")]
    Empty { url: String },
    /// The reference does not exist.
    #[error("{url} has no {what}; hint: it has {available}")]
    MissingReference { url: String, what: String, available: String },
    /// The range does not parse.
    #[error("spec.source.ref.semver `{range}` is not a range of versions: {reason}; hint: write it like `>=1.2.0, <2.0.0`")]
    Range { range: String, reason: String },
    /// The commit is not in what was fetched.
    #[error("{url} has no commit {commit} in {among}; hint: set spec.source.ref.branch to a branch that contains it")]
    MissingCommit { url: String, commit: CommitId, among: String },
    /// The branch was rewound or rewritten.
    #[error(
        "{new} does not descend from {applied}, which is applied; hint: was the branch force-pushed? set spec.source.allowRewind to accept it"
    )]
    Rewound { new: Revision, applied: CommitId },
    /// The fetch took too long.
    #[error("fetching {url} took longer than {seconds} s; hint: raise spec.timeout")]
    TimedOut { url: String, seconds: u64 },
    /// The pack is too large.
    #[error("{url} sends more than {limit} MiB; hint: a repository of manifests should be small, keep data out of it")]
    TooLarge { url: String, limit: usize },
    /// The mirror's directory cannot be used.
    #[error("cannot use the mirror directory {}", .path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    /// Anything else libgit2 says.
    #[error("cannot {doing} {url}")]
    Git { doing: &'static str, url: String, source: git2::Error },
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

/// What to fetch and under which conditions to accept it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Branch, tag, range, name or commit; the server's default branch if empty.
    pub(crate) reference: GitReference,
    /// The commit that is applied now.
    pub(crate) applied: Option<CommitId>,
    /// Whether the new commit must descend from the applied one.
    pub(crate) rewind: Rewind,
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

/// A reference that the server lists.
#[derive(Clone, Debug)]
struct Head {
    name: String,
    oid: Oid,
}

/// What to download, and the name it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Choice {
    /// Full name on the server.
    name: String,
    oid: Oid,
    /// As it stands in the revision text.
    label: Option<String>,
    /// The commit to take instead of the tip.
    commit: Option<CommitId>,
}

impl Mirror {
    /// The mirror below `root` with this directory name; made when it is first fetched.
    pub(crate) fn new(root: &Path, name: &str) -> Self {
        Self { path: root.join(name) }
    }

    /// Opens the repository for reading.
    pub(crate) fn repository(&self) -> Result<Repository, git2::Error> {
        Repository::open_bare(&self.path)
    }

    /// Brings the mirror up to date and returns what the reference stands for now.
    pub(crate) fn fetch(&self, access: &Arc<Access>, wanted: &Wanted) -> Result<Revision, FetchError> {
        let repository = self.open_or_create()?;
        let deadline = Instant::now() + access.timeout();
        let (result, refusal) = transport::with_access(Arc::clone(access), || {
            download(&repository, access, wanted, deadline)
        });
        match (result, refusal) {
            (Ok(revision), _) => {
                check_descent(&repository, access, &revision, wanted)?;
                Ok(revision)
            }
            (Err(FetchError::Git { .. }), Some(refusal)) => Err(refused(access, refusal, deadline)),
            (Err(error), _) => Err(error),
        }
    }

    /// A mirror that was damaged by a crash or a full disk is thrown away: the server has it all.
    fn open_or_create(&self) -> Result<Repository, FetchError> {
        if let Ok(repository) = self.repository() {
            return Ok(repository);
        }
        let directory = |source| FetchError::Directory { path: self.path.clone(), source };
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
        Refusal::Status(status @ (401 | 403)) => {
            FetchError::Unauthorized { url, status, sent: access.has_credentials() }
        }
        Refusal::Status(404) => FetchError::NotFound { url },
        Refusal::Status(status) => FetchError::Status { url, status },
        Refusal::Redirect(to) => FetchError::Redirected { url, to },
        Refusal::NotGit => FetchError::NotGit { url },
        Refusal::Unreachable(_) if Instant::now() >= deadline => {
            FetchError::TimedOut { url, seconds: access.timeout().as_secs() }
        }
        Refusal::Unreachable(reason) => FetchError::Unreachable { url, reason },
    }
}

fn download(
    repository: &Repository,
    access: &Access,
    wanted: &Wanted,
    deadline: Instant,
) -> Result<Revision, FetchError> {
    let url = access.url();
    let git = |doing| {
        move |source| FetchError::Git { doing, url: url.to_owned(), source }
    };
    let mut remote = repository.remote_anonymous(url).map_err(git("address"))?;
    let mut connection =
        remote.connect_auth(Direction::Fetch, None, None).map_err(git("connect to"))?;
    let heads: Vec<Head> = connection
        .list()
        .map_err(git("list the references of"))?
        .iter()
        .take(HEADS_LIMIT)
        .map(|head| Head { name: head.name().to_owned(), oid: head.oid() })
        .collect();
    let default = connection
        .default_branch()
        .ok()
        .and_then(|name| name.as_str().ok().map(str::to_owned));
    let choice = choose(url, &heads, default.as_deref(), &wanted.reference)?;

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
        options.remote_callbacks(callbacks).download_tags(AutotagOption::None);
        let result = connection
            .remote()
            .download(&[format!("+{}:{kept}", choice.name)], Some(&mut options));
        drop(options);
        if let Err(source) = result {
            return Err(if too_large {
                FetchError::TooLarge { url: url.to_owned(), limit: PACK_LIMIT >> 20 }
            } else if too_late {
                FetchError::TimedOut { url: url.to_owned(), seconds: access.timeout().as_secs() }
            } else {
                git("download from")(source)
            });
        }
    }
    // A reference keeps the objects known to the next negotiation.
    repository.reference(&kept, choice.oid, true, "fetch").map_err(git("record what came from"))?;
    pin(repository, url, choice)
}

/// Turns the chosen reference into the commit it stands for.
fn pin(repository: &Repository, url: &str, choice: Choice) -> Result<Revision, FetchError> {
    let git = |source| FetchError::Git { doing: "read the commit from", url: url.to_owned(), source };
    let tip = repository
        .find_object(choice.oid, None)
        .and_then(|object| object.peel_to_commit())
        .map_err(git)?;
    let Some(commit) = choice.commit else {
        return Ok(Revision { reference: choice.label, commit: CommitId::new(tip.id()) });
    };
    let reachable = commit.oid() == tip.id()
        || match repository.graph_descendant_of(tip.id(), commit.oid()) {
            Ok(reachable) => reachable,
            Err(error) if error.code() == ErrorCode::NotFound => false,
            Err(error) => return Err(git(error)),
        };
    if !reachable {
        return Err(FetchError::MissingCommit { url: url.to_owned(), commit, among: choice.name });
    }
    Ok(Revision { reference: choice.label, commit })
}

/// Refuses what does not continue the applied commit: a rewound branch brings back old mistakes.
fn check_descent(
    repository: &Repository,
    access: &Access,
    revision: &Revision,
    wanted: &Wanted,
) -> Result<(), FetchError> {
    let Some(applied) = wanted.applied else { return Ok(()) };
    if wanted.rewind == Rewind::Allowed || applied == revision.commit {
        return Ok(());
    }
    match repository.graph_descendant_of(revision.commit.oid(), applied.oid()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(FetchError::Rewound { new: revision.clone(), applied }),
        Err(error) if error.code() == ErrorCode::NotFound => {
            Err(FetchError::Rewound { new: revision.clone(), applied })
        }
        Err(source) => Err(FetchError::Git {
            doing: "compare commits of",
            url: access.url().to_owned(),
            source,
        }),
    }
}

/// Picks what the user asked for among what the server lists; the last one set of branch, tag,
/// semver, name and commit counts, as in Flux.
fn choose(
    url: &str,
    heads: &[Head],
    default: Option<&str>,
    reference: &GitReference,
) -> Result<Choice, FetchError> {
    if heads.is_empty() {
        return Err(FetchError::Empty { url: url.to_owned() });
    }
    if let Some(commit) = &reference.commit {
        let name = branch_name(url, heads, default, reference)?;
        let commit = commit.parse().map_err(|_| FetchError::MissingReference {
            url: url.to_owned(),
            what: format!("commit `{commit}`"),
            available: "commit ids of 40 hexadecimal digits".to_owned(),
        })?;
        let mut choice = find(url, heads, &name, None, "reference")?;
        choice.commit = Some(commit);
        return Ok(choice);
    }
    if let Some(name) = &reference.name {
        return find(url, heads, name, Some(name), "reference");
    }
    if let Some(range) = &reference.semver {
        return highest(url, heads, range);
    }
    if let Some(tag) = &reference.tag {
        return find(url, heads, &format!("refs/tags/{tag}"), Some(tag), "tag");
    }
    let name = branch_name(url, heads, default, reference)?;
    let label = name.strip_prefix("refs/heads/").unwrap_or(&name);
    find(url, heads, &name, Some(label), "branch")
}

fn branch_name(
    url: &str,
    heads: &[Head],
    default: Option<&str>,
    reference: &GitReference,
) -> Result<String, FetchError> {
    match (&reference.branch, default) {
        (Some(branch), _) => Ok(format!("refs/heads/{branch}")),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(FetchError::MissingReference {
            url: url.to_owned(),
            what: "default branch".to_owned(),
            available: known(heads, "refs/heads/", "branch"),
        }),
    }
}

fn find(
    url: &str,
    heads: &[Head],
    name: &str,
    label: Option<&str>,
    what: &str,
) -> Result<Choice, FetchError> {
    let Some(head) = heads.iter().find(|head| head.name == name) else {
        let prefix = if what == "tag" { "refs/tags/" } else { "refs/heads/" };
        return Err(FetchError::MissingReference {
            url: url.to_owned(),
            what: format!("{what} `{}`", label.unwrap_or(name)),
            available: known(heads, prefix, if what == "tag" { "tag" } else { "branch" }),
        });
    };
    Ok(Choice {
        name: head.name.clone(),
        oid: head.oid,
        label: label.map(str::to_owned),
        commit: None,
    })
}

/// The highest tag inside the range. A leading `v` is allowed; build metadata breaks ties by name.
fn highest(url: &str, heads: &[Head], range: &str) -> Result<Choice, FetchError> {
    let wanted = semver::VersionReq::parse(range).map_err(|error| FetchError::Range {
        range: range.to_owned(),
        reason: error.to_string(),
    })?;
    let best = heads
        .iter()
        .filter_map(|head| {
            let tag = head.name.strip_prefix("refs/tags/")?;
            let version = semver::Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()?;
            wanted.matches(&version).then_some((version, tag, head))
        })
        .max_by(|one, other| one.0.cmp(&other.0).then(one.1.cmp(other.1)));
    match best {
        Some((_, tag, head)) => Ok(Choice {
            name: head.name.clone(),
            oid: head.oid,
            label: Some(tag.to_owned()),
            commit: None,
        }),
        None => Err(FetchError::MissingReference {
            url: url.to_owned(),
            what: format!("tag in the range `{range}`"),
            available: known(heads, "refs/tags/", "tag"),
        }),
    }
}

/// Lists a few existing names for a hint.
fn known(heads: &[Head], prefix: &str, what: &str) -> String {
    let mut names: Vec<&str> = heads
        .iter()
        .filter_map(|head| head.name.strip_prefix(prefix))
        .filter(|name| !name.ends_with("^{}"))
        .collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    match (names.as_slice(), more) {
        ([], _) => format!("no {what}"),
        (names, 0) => format!("{what} {}", names.join(", ")),
        (names, more) => format!("{what} {} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://git.example.com/cluster.git";

    fn heads() -> Vec<Head> {
        let names = [
            "HEAD",
            "refs/heads/main",
            "refs/heads/next",
            "refs/tags/v1.2.0",
            "refs/tags/v1.10.0",
            "refs/tags/v1.10.0^{}",
            "refs/tags/2.0.0-rc.1",
            "refs/tags/nightly",
        ];
        names
            .iter()
            .zip(1_u8..)
            .map(|(name, byte)| Head {
                name: (*name).to_owned(),
                oid: Oid::from_bytes(&[byte; 20]).unwrap(),
            })
            .collect()
    }

    fn pick(reference: &GitReference) -> Result<(String, Option<String>), String> {
        choose(URL, &heads(), Some("refs/heads/main"), reference)
            .map(|choice| (choice.name, choice.label))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn takes_the_last_one_that_is_set() {
        let some = |text: &str| Some(text.to_owned());
        let mut reference = GitReference::default();
        assert_eq!(pick(&reference), Ok(("refs/heads/main".into(), some("main"))));
        reference.branch = some("next");
        assert_eq!(pick(&reference), Ok(("refs/heads/next".into(), some("next"))));
        reference.tag = some("nightly");
        assert_eq!(pick(&reference), Ok(("refs/tags/nightly".into(), some("nightly"))));
        reference.semver = some("^1.2");
        assert_eq!(pick(&reference), Ok(("refs/tags/v1.10.0".into(), some("v1.10.0"))));
        reference.name = some("refs/heads/main");
        assert_eq!(pick(&reference), Ok(("refs/heads/main".into(), some("refs/heads/main"))));
        reference.commit = some("0123456789abcdef0123456789abcdef01234567");
        assert_eq!(pick(&reference), Ok(("refs/heads/next".into(), None)));
    }

    #[test]
    fn says_what_there_is_instead() {
        let some = |text: &str| Some(text.to_owned());
        let cases = [
            (GitReference { branch: some("mian"), ..GitReference::default() }, "branch main, next"),
            (GitReference { tag: some("v9"), ..GitReference::default() }, "tag v1.2.0, v1.10.0"),
            (GitReference { semver: some(">=3"), ..GitReference::default() }, "tag v1.2.0"),
            (GitReference { semver: some("x y"), ..GitReference::default() }, "hint: write it like"),
        ];
        for (reference, expected) in cases {
            let error = pick(&reference).unwrap_err();
            assert!(error.contains(expected), "{reference:?}: {error}");
        }
        let error = choose(URL, &[], None, &GitReference::default()).unwrap_err().to_string();
        assert!(error.contains("is empty"), "{error}");
    }

    #[test]
    fn pre_releases_count_only_when_asked_for() {
        let range = |range: &str| GitReference { semver: Some(range.to_owned()), ..GitReference::default() };
        assert_eq!(pick(&range("*")).unwrap().0, "refs/tags/v1.10.0");
        assert_eq!(pick(&range(">=2.0.0-0")).unwrap().0, "refs/tags/2.0.0-rc.1");
    }
}
