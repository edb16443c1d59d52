//! Branches, commits and files on GitHub, by way of the Git Data API: no clone, one commit whatever the
//! number of files, and the mode of a file stays as it is.

use std::cmp::Reverse;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use crate::decide::Commit;
use crate::facts::{File, FileMode};
use crate::fault::{Fault, Kind};
use crate::http::segments;
use crate::pull_request::PullRequest;
use crate::seam::{Answer, Forge, Received, Rest, decode, repository_path};
use crate::yaml::FILE_LIMIT;

/// Pages of a hundred pull requests that are read.
const PAGES: usize = 5;

/// One repository on GitHub.
#[derive(Clone, Debug)]
pub struct GitHub {
    api: Api,
    owner: String,
    name: String,
    base: String,
}

#[derive(Deserialize)]
struct Reference {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    sha: String,
}

#[derive(Deserialize)]
struct ReceivedCommit {
    tree: Object,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Tree {
    #[serde(default)]
    tree: Vec<Entry>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    mode: String,
    sha: String,
    #[serde(default)]
    size: usize,
}

#[derive(Deserialize)]
struct Blob {
    content: String,
}

impl GitHub {
    /// The repository `owner/name`, with the branch that pull requests go into.
    pub fn new(api: Api, owner: &str, name: &str, base: &str) -> Self {
        Self {
            api,
            owner: owner.to_owned(),
            name: name.to_owned(),
            base: base.to_owned(),
        }
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        self.call(Method::GET, path, None).await?.json()
    }

    async fn post<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<T, Fault> {
        self.call(Method::POST, path, Some(body)).await?.json()
    }

    /// The commit that a branch points to.
    async fn head(&self, branch: &str) -> Result<String, Fault> {
        let path = format!("/git/ref/heads/{}", segments(branch));
        Ok(self.get::<Reference>(&path).await?.object.sha)
    }

    async fn read_commit(&self, id: &str) -> Result<ReceivedCommit, Fault> {
        self.get(&format!("/git/commits/{id}")).await
    }

    /// What is at a path, found by walking down the trees: the contents API follows symbolic links, and
    /// an edit would then replace the link.
    async fn entry(&self, path: &str, commit: &str) -> Result<Option<Entry>, Fault> {
        let mut tree = self.read_commit(commit).await?.tree.sha;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let request = format!("/git/trees/{tree}");
            let answer = self.call(Method::GET, &request, None).await?;
            let listed: Tree = answer.json()?;
            let found = listed.tree.into_iter().find(|entry| entry.path == part);
            let Some(entry) = found else {
                if listed.truncated {
                    return Err(answer.malformed("the folder has too many files to be listed"));
                }
                return Ok(None);
            };
            if parts.peek().is_none() {
                return Ok(Some(entry));
            }
            if entry.mode != "040000" {
                return Ok(None);
            }
            tree = entry.sha;
        }
        Ok(None)
    }

    fn unusable(&self, path: &str, text: String) -> Fault {
        Fault::new(&self.api.server, path, Kind::Refused { status: 422, text })
    }
}

impl Rest for GitHub {
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Fault> {
        let path = format!("{}{path}", repository_path(&self.owner, &self.name));
        self.api.call(method, &path, body).await
    }

    fn base(&self) -> &str {
        &self.base
    }
}

impl Forge for GitHub {
    async fn base_commit(&self) -> Result<String, Fault> {
        self.head(&self.base).await
    }

    async fn file(&self, path: &str, commit: &str) -> Result<Option<File>, Fault> {
        let Some(entry) = self.entry(path, commit).await? else {
            return Ok(None);
        };
        let mode = match entry.mode.as_str() {
            "100644" => FileMode::Plain,
            "100755" => FileMode::Executable,
            _ => return Err(self.unusable(path, format!("{path} is no regular file"))),
        };
        if entry.size > FILE_LIMIT {
            let text = format!("{path} has more than {FILE_LIMIT} bytes");
            return Err(self.unusable(path, text));
        }
        let request = format!("/git/blobs/{}", entry.sha);
        let answer = self.call(Method::GET, &request, None).await?;
        let blob: Blob = answer.json()?;
        let text = decode(&blob.content)
            .ok_or_else(|| self.unusable(path, format!("{path} is not UTF-8 text")))?;
        Ok(Some(File {
            text,
            blob: entry.sha,
            mode,
        }))
    }

    async fn branch(&self, name: &str) -> Result<Option<(String, String)>, Fault> {
        let head = match self.head(name).await {
            Ok(head) => head,
            Err(fault) if fault.is_not_found() => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let message = self.read_commit(&head).await?.message;
        Ok(Some((head, message)))
    }

    async fn pull_requests(&self, branch: &str) -> Result<Vec<PullRequest>, Fault> {
        let repository = format!("{}/{}", self.owner, self.name);
        let mut path = format!(
            "{}/pulls?state=all&head={}:{}&base={}&sort=created&direction=desc&per_page=100",
            repository_path(&self.owner, &self.name),
            crate::http::segment(&self.owner),
            crate::http::segment(branch),
            crate::http::segment(&self.base)
        );
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let answer = self.api.call(Method::GET, &path, None).await?;
            let page: Vec<Received> = answer.json()?;
            let ours = page.iter().filter(|received| {
                let from = received.head.repo.as_ref();
                // The repository of a fork that was deleted is null: that was no branch of ours.
                received.head.reference == branch
                    && from.is_some_and(|from| from.full_name.eq_ignore_ascii_case(&repository))
            });
            found.extend(ours.map(Received::pull_request));
            match self.api.next_page(&answer) {
                Some(next) => path = next,
                None => break,
            }
        }
        found.sort_by_key(|one: &PullRequest| Reverse(one.number));
        Ok(found)
    }

    async fn commit(&self, branch: &str, commit: &Commit) -> Result<(), Fault> {
        let base_tree = self.read_commit(&commit.base).await?.tree.sha;
        let mut entries = Vec::new();
        for (path, (file, text)) in &commit.changes {
            let blob = json!({ "content": STANDARD.encode(text), "encoding": "base64" });
            let blob: Object = self.post("/git/blobs", &blob).await?;
            entries.push(json!({
                "path": path, "mode": file.mode.as_str(), "type": "blob", "sha": blob.sha,
            }));
        }
        let tree = json!({ "base_tree": base_tree, "tree": entries });
        let tree: Object = self.post("/git/trees", &tree).await?;
        let made = json!({ "message": commit.message, "tree": tree.sha, "parents": [commit.base] });
        let made: Object = self.post("/git/commits", &made).await?;
        if let Some(replaced) = &commit.replaces {
            // Nothing that came in the meantime may be lost.
            if self.head(branch).await? != *replaced {
                let text = format!("the branch {branch} has moved");
                return Err(Fault::new(
                    &self.api.server,
                    branch,
                    Kind::Conflict { text },
                ));
            }
            let path = format!("/git/refs/heads/{}", segments(branch));
            let change = json!({ "sha": made.sha, "force": true });
            self.call(Method::PATCH, &path, Some(&change)).await?;
        } else {
            let reference = json!({ "ref": format!("refs/heads/{branch}"), "sha": made.sha });
            self.call(Method::POST, "/git/refs", Some(&reference))
                .await?;
        }
        Ok(())
    }

    async fn delete_branch(&self, name: &str) -> Result<(), Fault> {
        let path = format!("/git/refs/heads/{}", segments(name));
        match self.call(Method::DELETE, &path, None).await {
            Err(fault) if !fault.is_not_found() => Err(fault),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
