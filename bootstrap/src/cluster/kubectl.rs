//! kubectl as this program uses it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::{self, Finished};
use crate::pace::Pace;
use crate::poll::{self, Answer};
use crate::problem::{OrProblem as _, Problem};

/// The bundle's kubectl with the access of one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    pace: Pace,
    environment: Environment,
}

/// What kubectl gets of this process's environment.
#[derive(Clone, Copy, Debug)]
enum Environment {
    /// Nothing: nobody's own settings (aliases, other clusters) may change what it does.
    Empty,
    /// All of it: the access may need a login program, which needs its own settings.
    Inherited,
}

impl Kubectl {
    /// kubectl at `program` with the access in `kubeconfig`.
    pub fn new(program: &Path, kubeconfig: &Path) -> Self {
        Self {
            program: program.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            pace: Pace::USUAL,
            environment: Environment::Empty,
        }
    }

    /// The same for access that may need a login program.
    #[must_use]
    pub fn with_environment(self) -> Self {
        Self {
            environment: Environment::Inherited,
            ..self
        }
    }

    /// The same with every deadline as a cluster of this pace needs it.
    #[must_use]
    pub fn paced(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// How slow the cluster is.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// The command that runs kubectl with this access.
    pub fn command<W: AsRef<OsStr>>(&self, words: &[W]) -> Command {
        let mut command = Command::new(&self.program);
        match self.environment {
            Environment::Empty => command.env_clear().env("HOME", "/nonexistent"),
            Environment::Inherited => &mut command,
        };
        command.env("KUBECONFIG", &self.kubeconfig).args(words);
        command
    }

    /// Runs kubectl to its end.
    ///
    /// # Errors
    /// When it fails or takes longer than `deadline`, scaled by the pace: the error has what it said.
    pub fn run<W: AsRef<OsStr>>(
        &self,
        words: &[W],
        stdin: &[u8],
        deadline: Duration,
    ) -> Result<Finished, Problem> {
        let deadline = self.pace.scale(deadline);
        let mut all = Vec::with_capacity(words.len() + 1);
        // Left alone it gives up on finding out what a server has after 32 s.
        let patient = format!("--request-timeout={}s", deadline.as_secs());
        if self.pace.is_slow() {
            all.push(OsStr::new(&patient));
        }
        all.extend(words.iter().map(AsRef::as_ref));
        command::run(&mut self.command(&all), stdin, deadline)
    }

    /// [`Self::run`], again and again while the server has no time, at most for as long as one run may
    /// take: only for what can be repeated.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn ask<W: AsRef<OsStr>>(
        &self,
        words: &[W],
        stdin: &[u8],
        deadline: Duration,
    ) -> Result<Finished, Problem> {
        let limit = self.pace.scale(deadline);
        poll::sparingly("the API server to have time", limit, || {
            Ok(match self.run(words, stdin, deadline) {
                Err(problem) if is_passing(&problem.to_string()) => {
                    Answer::NotYet(problem.to_string())
                }
                finished => Answer::Done(finished),
            })
        })
        .or_problem(|| Problem::new("the API server has no time"))?
    }

    /// Server-side applies the objects in `manifest` (YAML or JSON) as the field manager `manager`.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn apply(
        &self,
        manager: &str,
        manifest: &[u8],
        deadline: Duration,
    ) -> Result<Finished, Problem> {
        let manager = format!("--field-manager={manager}");
        // Strict, kubectl asks for the schema of each kind first: too much for a server without time. A
        // field that a type does not have is an error of the merge then, one that is there twice is not.
        let validation = if self.pace.is_slow() {
            "--validate=false"
        } else {
            "--validate=strict"
        };
        let words = [
            "apply",
            "--server-side",
            "--force-conflicts",
            &manager,
            validation,
            "--filename=-",
        ];
        self.ask(&words, manifest, deadline)
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
