//! What a forge must be able to do. Two kinds can: GitHub and Gitea. They have the same API for pull
//! requests and comments, and different ones for branches and commits.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::decide::Commit;
use crate::facts::File;
use crate::fault::{Fault, Kind, Server, sort};
use crate::http::segment;
use crate::pull_request::{PullRequest, State};

/// Comments that are looked through for the one to change.
const COMMENT_PAGES: u32 = 10;
/// Entries of one page.
pub(crate) const PAGE: usize = 50;

/// A forge's API, one request at a time.
pub trait Rest {
    /// Sends a request below the repository's path and returns the answer if it is a success.
    ///
    /// # Errors
    /// Whatever else came.
    fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> impl Future<Output = Result<Answer, Fault>>;

    /// The branch that pull requests go into.
    fn base(&self) -> &str;
}

/// What a forge has beyond pull requests.
pub trait Forge: Rest {
    /// The newest commit of the base branch.
    ///
    /// # Errors
    /// If it cannot be read.
    fn base_commit(&self) -> impl Future<Output = Result<String, Fault>>;

    /// A regular file at a commit; `None` if it is not there.
    ///
    /// # Errors
    /// If it cannot be read, or is no regular text file.
    fn file(&self, path: &str, commit: &str) -> impl Future<Output = Result<Option<File>, Fault>>;

    /// Head and message of a branch; `None` if it does not exist.
    ///
    /// # Errors
    /// If it cannot be read.
    fn branch(&self, name: &str) -> impl Future<Output = Result<Option<(String, String)>, Fault>>;

    /// Every pull request from a branch of the same repository into the base branch, newest first.
    ///
    /// # Errors
    /// If they cannot be read.
    fn pull_requests(&self, branch: &str) -> impl Future<Output = Result<Vec<PullRequest>, Fault>>;

    /// Makes one commit and lets the branch point to it.
    ///
    /// # Errors
    /// If the forge refuses. The branch then is as it was.
    fn commit(&self, branch: &str, commit: &Commit) -> impl Future<Output = Result<(), Fault>>;

    /// Removes a branch. One that is not there is no error.
    ///
    /// # Errors
    /// If the forge refuses.
    fn delete_branch(&self, name: &str) -> impl Future<Output = Result<(), Fault>>;
}

/// A success.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Who sent it, and for which request: for errors.
    pub(crate) server: Server,
    pub(crate) request: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// What `server` sent for `request`, unless it is no success.
    ///
    /// # Errors
    /// What it was instead.
    pub(crate) fn of(
        server: &Server,
        request: String,
        response: Response<Bytes>,
    ) -> Result<Self, Fault> {
        match sort(response, Timestamp::now()) {
            Ok(success) => {
                let (parts, body) = success.into_parts();
                Ok(Self {
                    server: server.clone(),
                    request,
                    headers: parts.headers,
                    body,
                })
            }
            Err(kind) => Err(Fault::new(server, &request, kind)),
        }
    }

    /// Reads the body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|error| self.malformed(&error.to_string()))
    }

    pub(crate) fn malformed(&self, reason: &str) -> Fault {
        let reason = reason.to_owned();
        Fault::new(&self.server, &self.request, Kind::Malformed { reason })
    }
}

/// The fields that both forges have in a pull request.
#[derive(Debug, Deserialize)]
pub(crate) struct Received {
    number: u64,
    #[serde(default)]
    html_url: String,
    title: String,
    state: String,
    #[serde(default)]
    merged_at: Option<String>,
    pub(crate) head: Head,
}

/// Where a pull request comes from.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Head {
    #[serde(rename = "ref")]
    pub(crate) reference: String,
    pub(crate) label: String,
    pub(crate) repo: Option<Repo>,
}

/// A repository, as far as it must be told from forks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Repo {
    pub(crate) full_name: String,
}

impl Received {
    pub(crate) fn pull_request(&self) -> PullRequest {
        let state = match (self.merged_at.is_some(), self.state.as_str()) {
            (true, _) => State::Merged,
            (false, "open") => State::Open,
            (false, _) => State::Closed,
        };
        PullRequest {
            number: self.number,
            url: self.html_url.clone(),
            title: self.title.clone(),
            state,
        }
    }
}

/// Opens a pull request.
///
/// # Errors
/// If the forge refuses; a [`Kind::Conflict`] if there is one already.
pub async fn open<F: Rest>(
    forge: &F,
    branch: &str,
    title: &str,
    body: &str,
) -> Result<PullRequest, Fault> {
    let request = json!({
        "title": title, "body": body, "head": branch, "base": forge.base(),
    });
    let answer = forge.call(Method::POST, "/pulls", Some(&request)).await?;
    Ok(answer.json::<Received>()?.pull_request())
}

/// Sets title and text of a pull request.
///
/// # Errors
/// If the forge refuses.
pub async fn edit<F: Rest>(
    forge: &F,
    number: u64,
    title: &str,
    body: &str,
) -> Result<PullRequest, Fault> {
    let change = json!({ "title": title, "body": body });
    let path = format!("/pulls/{number}");
    let answer = forge.call(Method::PATCH, &path, Some(&change)).await?;
    Ok(answer.json::<Received>()?.pull_request())
}

/// Closes a pull request and gives it another title, in one step: a title says whether a person closed it.
///
/// # Errors
/// If the forge refuses.
pub async fn close<F: Rest>(forge: &F, number: u64, title: &str) -> Result<PullRequest, Fault> {
    let change = json!({ "title": title, "state": "closed" });
    let path = format!("/pulls/{number}");
    let answer = forge.call(Method::PATCH, &path, Some(&change)).await?;
    Ok(answer.json::<Received>()?.pull_request())
}

#[derive(Deserialize)]
struct Comment {
    id: u64,
    #[serde(default)]
    body: String,
}

/// Says something about a pull request: one comment per topic, changed when there is news.
///
/// # Errors
/// If the forge refuses.
pub async fn comment<F: Rest>(
    forge: &F,
    number: u64,
    topic: &str,
    text: &str,
) -> Result<(), Fault> {
    let marker = format!("<!-- immuops: {topic} -->");
    let body = format!("{marker}\n{text}\n");
    let change = json!({ "body": body });
    for page in 1..=COMMENT_PAGES {
        let path = format!("/issues/{number}/comments?per_page={PAGE}&limit={PAGE}&page={page}");
        let answer = forge.call(Method::GET, &path, None).await?;
        let comments: Vec<Comment> = answer.json()?;
        let count = comments.len();
        for comment in comments {
            if !comment.body.starts_with(&marker) {
                continue;
            }
            if comment.body.trim_end() != body.trim_end() {
                let path = format!("/issues/comments/{}", comment.id);
                forge.call(Method::PATCH, &path, Some(&change)).await?;
            }
            return Ok(());
        }
        // Gitea gives all of them at once, whatever was asked for.
        if count != PAGE {
            break;
        }
    }
    let path = format!("/issues/{number}/comments");
    forge.call(Method::POST, &path, Some(&change)).await?;
    Ok(())
}

/// Reads every file of a list that exists at a commit.
pub(crate) async fn files<F: Forge>(
    forge: &F,
    paths: &[&str],
    commit: &str,
) -> Result<BTreeMap<String, File>, Fault> {
    let mut found = BTreeMap::new();
    for path in paths {
        if let Some(file) = forge.file(path, commit).await? {
            found.insert((*path).to_owned(), file);
        }
    }
    Ok(found)
}

/// Reads base64 with line breaks as UTF-8.
pub(crate) fn decode(content: &str) -> Option<String> {
    let plain: String = content
        .chars()
        .filter(|letter| !letter.is_ascii_whitespace())
        .collect();
    String::from_utf8(STANDARD.decode(plain).ok()?).ok()
}

/// The path of a repository's API.
pub(crate) fn repository_path(owner: &str, name: &str) -> String {
    format!("/repos/{}/{}", segment(owner), segment(name))
}
