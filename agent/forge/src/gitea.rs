//! Gitea (and Forgejo): its git objects are read-only over the API, so a commit is made by the contents
//! API, which takes many files, a new branch and a forced push in one call. Checked against 1.26.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::credentials::Credentials;
use crate::decide::Commit;
use crate::facts::{File, FileMode};
use crate::fault::{Fault, Kind, Role, Server};
use crate::http::{Address, Http, TransportError, segment, segments};
use crate::pull_request::PullRequest;
use crate::seam::{Answer, Forge, PAGE, Received, Rest, decode, repository_path};
use crate::yaml::FILE_LIMIT;

/// Pages of pull requests that are read, those that changed last first.
const PAGES: u32 = 20;

/// One repository on a Gitea.
#[derive(Clone, Debug)]
pub struct Gitea {
    http: Http,
    address: Address,
    server: Server,
    authorization: Option<HeaderValue>,
    owner: String,
    name: String,
    base: String,
}

#[derive(Deserialize)]
struct ReceivedBranch {
    commit: ReceivedCommit,
}

#[derive(Deserialize)]
struct ReceivedCommit {
    id: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Contents {
    #[serde(rename = "type")]
    kind: String,
    sha: String,
    #[serde(default)]
    size: usize,
    #[serde(default)]
    content: Option<String>,
}

impl Gitea {
    /// The repository `owner/name` of the Gitea at `address` (without `/api/v1`), with the branch that
    /// pull requests go into.
    pub fn new(
        http: Http,
        address: Address,
        credentials: &Credentials,
        (owner, name): (&str, &str),
        base: &str,
    ) -> Self {
        Self {
            http,
            server: Server::new(Role::Forge, address.host()),
            address,
            authorization: credentials.header(),
            owner: owner.to_owned(),
            name: name.to_owned(),
            base: base.to_owned(),
        }
    }

    async fn find_branch(&self, name: &str) -> Result<ReceivedCommit, Fault> {
        let path = format!("/branches/{}", segments(name));
        let answer = self.call(Method::GET, &path, None).await?;
        Ok(answer.json::<ReceivedBranch>()?.commit)
    }
}

impl Rest for Gitea {
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Fault> {
        let path = format!("/api/v1{}{path}", repository_path(&self.owner, &self.name));
        let shown = format!("{method} {}", path.split('?').next().unwrap_or(&path));
        let fault = |kind| Fault::new(&self.server, &shown, kind);
        let mut request = Request::builder()
            .method(method)
            .uri(self.address.join(&path))
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| {
                let reason = error.to_string();
                fault(Kind::Transport(TransportError::Unreachable { reason }))
            })?;
        let answer = self.http.exchange(request).await;
        let answer = answer.map_err(|error| fault(Kind::Transport(error)))?;
        Answer::of(&self.server, shown, answer)
    }

    fn base(&self) -> &str {
        &self.base
    }
}

impl Forge for Gitea {
    async fn base_commit(&self) -> Result<String, Fault> {
        Ok(self.find_branch(&self.base).await?.id)
    }

    async fn file(&self, path: &str, commit: &str) -> Result<Option<File>, Fault> {
        let request = format!("/contents/{}?ref={}", segments(path), segment(commit));
        let answer = match self.call(Method::GET, &request, None).await {
            Ok(answer) => answer,
            Err(fault) if fault.is_not_found() => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let unusable = |text: String| {
            Fault::new(
                &answer.server,
                &answer.request,
                Kind::Refused { status: 422, text },
            )
        };
        // A folder is a list.
        let found: Contents = answer
            .json()
            .map_err(|_| unusable(format!("{path} is no regular file")))?;
        if found.kind != "file" {
            return Err(unusable(format!("{path} is no regular file")));
        }
        if found.size > FILE_LIMIT {
            return Err(unusable(format!("{path} has more than {FILE_LIMIT} bytes")));
        }
        let text = found.content.as_deref().and_then(decode);
        let text = text.ok_or_else(|| unusable(format!("{path} is not UTF-8 text")))?;
        Ok(Some(File {
            text,
            blob: found.sha,
            // The contents API does not tell the mode, and keeps it when it changes a file.
            mode: FileMode::Plain,
        }))
    }

    async fn branch(&self, name: &str) -> Result<Option<(String, String)>, Fault> {
        match self.find_branch(name).await {
            Ok(ReceivedCommit { id, message }) => Ok(Some((id, message))),
            Err(fault) if fault.is_not_found() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn pull_requests(&self, branch: &str) -> Result<Vec<PullRequest>, Fault> {
        let repository = format!("{}/{}", self.owner, self.name);
        let mut found = Vec::new();
        for page in 1..=PAGES {
            let path = format!(
                "/pulls?state=all&sort=recentupdate&base_branch={}&limit={PAGE}&page={page}",
                segment(&self.base)
            );
            let answer = self.call(Method::GET, &path, None).await?;
            let listed: Vec<Received> = answer.json()?;
            let ours = listed.iter().filter(|received| {
                let from = received.head.repo.as_ref();
                // `ref` becomes refs/pull/N/head once the branch is gone; `label` keeps its name.
                received.head.label == branch
                    && from.is_some_and(|from| from.full_name.eq_ignore_ascii_case(&repository))
            });
            found.extend(ours.map(Received::pull_request));
            // Gitea's administrator may have set a smaller page than asked for.
            if listed.is_empty() {
                break;
            }
        }
        found.sort_by_key(|one: &PullRequest| std::cmp::Reverse(one.number));
        found.dedup_by_key(|one| one.number);
        Ok(found)
    }

    async fn commit(&self, branch: &str, commit: &Commit) -> Result<(), Fault> {
        let conflict = |text: String| Fault::new(&self.server, branch, Kind::Conflict { text });
        // Both were read a moment ago; nothing that came in the meantime may be lost or built upon.
        if self.base_commit().await? != commit.base {
            return Err(conflict(format!("the branch {} has moved", self.base)));
        }
        let head = self.branch(branch).await?.map(|(head, _)| head);
        if head != commit.replaces {
            return Err(conflict(format!("the branch {branch} has moved")));
        }
        let files: Vec<Value> = commit
            .changes
            .iter()
            .map(|(path, (file, text))| {
                json!({
                    "operation": "update", "path": path, "sha": file.blob,
                    "content": STANDARD.encode(text),
                })
            })
            .collect();
        let change = json!({
            "branch": self.base, "new_branch": branch, "force_push": head.is_some(),
            "message": commit.message, "files": files,
        });
        self.call(Method::POST, "/contents", Some(&change)).await?;
        Ok(())
    }

    async fn delete_branch(&self, name: &str) -> Result<(), Fault> {
        let path = format!("/branches/{}", segments(name));
        match self.call(Method::DELETE, &path, None).await {
            Err(fault) if !fault.is_not_found() => Err(fault),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
