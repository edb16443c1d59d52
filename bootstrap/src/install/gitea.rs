//! The built-in forge through its HTTP API: the repository, the agent's token and the webhook.
//!
//! Every call asks first and changes only what is missing, so that `up` can run again at any time.
//! API: <https://docs.gitea.com/api/>, checked against 1.26.2.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use ureq::http::StatusCode;

use crate::poll::{self, Answer};
use crate::problem::Problem;

/// A single API call is local; longer than this means that Gitea hangs.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// One user's view of one Gitea.
#[derive(Debug)]
pub(crate) struct Gitea {
    agent: ureq::Agent,
    base: String,
    user: String,
    authorization: String,
}

impl Gitea {
    /// Speaks to the Gitea at `base` (no trailing slash) as `user`.
    pub(crate) fn new(base: &str, user: &str, password: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(CALL_DEADLINE))
            .http_status_as_error(false)
            .build()
            .into();
        let credentials = BASE64_STANDARD.encode(format!("{user}:{password}").as_bytes());
        Self {
            agent,
            base: base.to_owned(),
            user: user.to_owned(),
            authorization: format!("Basic {credentials}"),
        }
    }

    /// Waits until it answers. What the cluster says of its pod may be older than the last start of
    /// its machine.
    pub(crate) fn wait_until_it_answers(&self, limit: Duration) -> anyhow::Result<()> {
        poll::sparingly(&format!("Gitea at {}", self.base), limit, || {
            Ok(
                match self.call("GET", "/version", None, "ask for Gitea's version") {
                    Ok((StatusCode::OK, _)) => Answer::Done(()),
                    Ok((status, _)) => Answer::NotYet(format!("it answered {status}")),
                    Err(problem) => Answer::NotYet(problem.to_string()),
                },
            )
        })
    }

    /// Makes the private, empty repository `name` of our user unless it exists.
    pub(crate) fn ensure_repository(&self, name: &str) -> Result<(), Problem> {
        let action = format!("create the repository {}/{name}", self.user);
        let body = json!({
            "name": name,
            "private": true,
            "default_branch": "main",
            "auto_init": false,
            "description": "The desired state of the cluster",
        });
        match self.call("POST", "/user/repos", Some(&body), &action)? {
            (StatusCode::CREATED | StatusCode::CONFLICT, _) => Ok(()),
            (status, answer) => Err(refused(&action, status, &answer)),
        }
    }

    /// Replaces the access token `name` by a new one with `scopes`. A token can be read only once,
    /// when it is made.
    pub(crate) fn renew_token(&self, name: &str, scopes: &[&str]) -> Result<String, Problem> {
        let action = format!("create the access token `{name}`");
        let path = format!("/users/{}/tokens", self.user);
        match self.call("DELETE", &format!("{path}/{name}"), None, &action)? {
            (StatusCode::NO_CONTENT | StatusCode::NOT_FOUND, _) => {}
            (status, answer) => return Err(refused(&action, status, &answer)),
        }
        let body = json!({ "name": name, "scopes": scopes });
        match self.call("POST", &path, Some(&body), &action)? {
            (StatusCode::CREATED, answer) => answer
                .get("sha1")
                .and_then(Value::as_str)
                .map(str::to_owned)
                .ok_or_else(|| {
                    Problem::new(format!("failed to {action}: Gitea's answer has no `sha1`"))
                }),
            (status, answer) => Err(refused(&action, status, &answer)),
        }
    }

    /// Makes pushes to `repository` call `url`, signed with `secret`.
    pub(crate) fn ensure_webhook(
        &self,
        repository: &str,
        url: &str,
        secret: &str,
    ) -> Result<(), Problem> {
        let action = format!("create the webhook of {}/{repository}", self.user);
        let path = format!("/repos/{}/{repository}/hooks", self.user);
        let existing = match self.call("GET", &path, None, &action)? {
            (StatusCode::OK, answer) => answer
                .as_array()
                .into_iter()
                .flatten()
                .find(|hook| hook.pointer("/config/url").and_then(Value::as_str) == Some(url))
                .and_then(|hook| hook.get("id").and_then(Value::as_i64)),
            (status, answer) => return Err(refused(&action, status, &answer)),
        };
        let mut body = json!({
            "type": "gitea",
            "active": true,
            "events": ["push"],
            "config": { "url": url, "content_type": "json", "secret": secret },
        });
        // An existing hook is written again: its secret cannot be read back, so this is the only
        // way to be sure that it is the one the agent has.
        let (method, path, expected) = match existing {
            Some(id) => {
                body.as_object_mut().map(|fields| fields.remove("type"));
                ("PATCH", format!("{path}/{id}"), StatusCode::OK)
            }
            None => ("POST", path, StatusCode::CREATED),
        };
        match self.call(method, &path, Some(&body), &action)? {
            (status, _) if status == expected => Ok(()),
            (status, answer) => Err(refused(&action, status, &answer)),
        }
    }

    fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        action: &str,
    ) -> Result<(StatusCode, Value), Problem> {
        let url = format!("{}/api/v1{path}", self.base);
        let unreachable = |source: ureq::Error| {
            Problem::new(format!("failed to {action}: no answer from {url}")).because(source)
        };
        let bytes = body.map(ToString::to_string).unwrap_or_default();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(&url)
            .header("Authorization", &self.authorization)
            .header("Content-Type", "application/json")
            .body(bytes)
            .map_err(|error| unreachable(error.into()))?;
        let mut response = self.agent.run(request).map_err(unreachable)?;
        let text = response.body_mut().read_to_string().map_err(unreachable)?;
        let answer = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok((response.status(), answer))
    }
}

fn refused(action: &str, status: StatusCode, answer: &Value) -> Problem {
    let message = answer
        .get("message")
        .or(Some(answer))
        .and_then(Value::as_str)
        .unwrap_or("no message")
        .trim();
    Problem::new(format!(
        "failed to {action}: Gitea answered {status}: {message}"
    ))
}
