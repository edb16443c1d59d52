//! The few things the installation asks of the API server, each named for the error message.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::Kubectl;
use crate::poll::{self, Answer};
use crate::problem::{OrProblem as _, Problem};

/// One request, with the start of kubectl.
const REQUEST_DEADLINE: Duration = Duration::from_mins(1);

/// A cluster's API, through kubectl.
#[derive(Debug)]
pub(super) struct Api<'a>(pub(super) &'a Kubectl);

impl Api<'_> {
    /// Server-side applies `manifests` (YAML or JSON documents) as the field manager `manager`.
    pub(super) fn apply(
        &self,
        action: &str,
        manager: &str,
        manifests: &str,
    ) -> Result<(), Problem> {
        let manager = format!("--field-manager={manager}");
        let words = [
            "apply",
            "--server-side",
            "--force-conflicts",
            &manager,
            "--filename=-",
        ];
        self.call(action, &words, manifests).map(drop)
    }

    /// What kubectl prints for `words`.
    pub(super) fn text(&self, action: &str, words: &[&str]) -> Result<String, Problem> {
        self.call(action, words, "")
    }

    /// What kubectl prints with `-o json`; nothing at all (`--ignore-not-found`) is `Null`.
    pub(super) fn json(&self, action: &str, words: &[&str]) -> Result<Value, Problem> {
        let text = self.call(action, &[words, &["-o", "json"]].concat(), "")?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text)
            .or_problem(|| Problem::new(format!("failed to {action}: kubectl printed no JSON")))
    }

    /// Waits until the newest version of a workload runs, for at most `limit`.
    pub(super) fn rollout(
        &self,
        namespace: &str,
        workload: &str,
        limit: Duration,
    ) -> Result<(), Problem> {
        let timeout = format!("--timeout={}s", limit.as_secs());
        let words = ["-n", namespace, "rollout", "status", workload, &timeout];
        let waited = self.0.run(&words, b"", limit + REQUEST_DEADLINE);
        waited.map(drop).or_problem(|| {
            Problem::new(format!("{namespace}/{workload} did not start")).hint(format!(
                "look at it with `kubectl -n {namespace} describe {workload}`"
            ))
        })
    }

    /// Asks again while the server has no time: every request here can be repeated.
    fn call(&self, action: &str, words: &[&str], input: &str) -> Result<String, Problem> {
        let limit = self.0.pace().scale(REQUEST_DEADLINE);
        let printed = poll::until("the API server to have time", limit, || {
            match self.0.run(words, input.as_bytes(), REQUEST_DEADLINE) {
                Ok(finished) => Ok(Answer::Done(finished.stdout)),
                Err(problem) => {
                    let error = anyhow::Error::from(problem);
                    let said = format!("{error:#}");
                    if is_passing(&said) {
                        Ok(Answer::NotYet(said))
                    } else {
                        Err(error)
                    }
                }
            }
        });
        printed.or_problem(|| Problem::new(format!("failed to {action}")))
    }
}

/// Whether kubectl was told that the same request can succeed a moment later: the reasons of
/// `k8s.io/apimachinery/pkg/apis/meta/v1/types.go` that mean so, and a server that is there but too
/// busy to shake hands.
fn is_passing(said: &str) -> bool {
    const REASONS: [&str; 4] = [
        "Timeout",
        "ServerTimeout",
        "TooManyRequests",
        "ServiceUnavailable",
    ];
    said.contains("TLS handshake timeout")
        || REASONS
            .iter()
            .any(|reason| said.contains(&format!("Error from server ({reason})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_asked_again() {
        for (said, expected) in [
            (
                "Error from server (Timeout): request did not complete within requested timeout",
                true,
            ),
            ("Error from server (TooManyRequests): try again", true),
            (
                "Get \"https://127.0.0.1:1/api\": net/http: TLS handshake timeout",
                true,
            ),
            ("Error from server (Forbidden): secrets is forbidden", false),
            ("Error from server (NotFound): no Timeout", false),
            ("the connection to the server was refused", false),
        ] {
            assert_eq!(is_passing(said), expected, "{said}");
        }
    }
}
