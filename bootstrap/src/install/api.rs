//! The few things the installation asks of the API server, each named for the error message.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::Kubectl;
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
        let applied = self
            .0
            .apply(manager, manifests.as_bytes(), REQUEST_DEADLINE);
        applied
            .map(drop)
            .or_problem(|| Problem::new(format!("failed to {action}")))
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

    /// Waits until the newest version of a workload runs, for at most `limit`, scaled by
    /// the pace.
    pub(super) fn rollout(
        &self,
        namespace: &str,
        workload: &str,
        limit: Duration,
    ) -> Result<(), Problem> {
        let scaled = self.0.pace().scale(limit);
        let timeout = format!("--timeout={}s", scaled.as_secs());
        let words = ["-n", namespace, "rollout", "status", workload, &timeout];
        let waited = self.0.ask(&words, b"", limit + REQUEST_DEADLINE);
        waited.map(drop).or_problem(|| {
            Problem::new(format!("{namespace}/{workload} did not start")).hint(format!(
                "look at it with `kubectl -n {namespace} describe {workload}`"
            ))
        })
    }

    /// Every request here can be repeated.
    fn call(&self, action: &str, words: &[&str], input: &str) -> Result<String, Problem> {
        let finished = self.0.ask(words, input.as_bytes(), REQUEST_DEADLINE);
        finished
            .map(|finished| finished.stdout)
            .or_problem(|| Problem::new(format!("failed to {action}")))
    }
}
