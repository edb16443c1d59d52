//! Errors that a person can act on: what failed, why, and what to do about it.
//!
//! Modules return [`Problem`] (alone or inside [`anyhow::Error`]) wherever there is something to
//! do; the printer of the command line finds the hints and the exit code by walking the chain.

use std::fmt;

/// Decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It was tried and did not work: exit code 1.
    Failed,
    /// A safety rule forbids it: exit code 3.
    Refused,
}

/// One thing that is wrong, with a hint where there is something to do.
///
/// ```
/// use bootstrap::problem::Problem;
///
/// let problem = Problem::new("no program `go`").hint("install Go 1.26 or newer");
/// assert_eq!(problem.to_string(), "no program `go`");
/// assert_eq!(problem.hint_text(), Some("install Go 1.26 or newer"));
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    message: String,
    hint: Option<String>,
    class: Class,
    #[source]
    cause: Option<anyhow::Error>,
}

impl Problem {
    /// A failure that says what was being done and to what: lower case, no trailing period, no
    /// text of its cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            class: Class::Failed,
            cause: None,
        }
    }

    /// Something that a safety rule forbids.
    pub fn refused(message: impl Into<String>) -> Self {
        Self {
            class: Class::Refused,
            ..Self::new(message)
        }
    }

    /// What to do: names the flag, file, package or command.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The error underneath.
    #[must_use]
    pub fn because(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The hint, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether it failed or was refused.
    pub fn class(&self) -> Class {
        self.class
    }
}

/// Everything that is wrong at once, so that it is fixed in one go instead of one per run.
#[derive(Debug)]
pub struct Problems {
    /// What all of them are about, as in `this machine lacks 2 prerequisites`.
    summary: String,
    list: Vec<Problem>,
}

impl Problems {
    /// Ends a list of checks.
    ///
    /// # Errors
    /// All of `list`, when it is not empty.
    pub fn check(list: Vec<Problem>, summary: impl FnOnce(usize) -> String) -> Result<(), Self> {
        if list.is_empty() {
            return Ok(());
        }
        Err(Self {
            summary: summary(list.len()),
            list,
        })
    }

    /// What is wrong, in the order it was found.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)
    }
}

impl std::error::Error for Problems {}

/// Turns any error into a [`Problem`] where it happens.
pub trait OrProblem<T> {
    /// Puts `problem` above the error.
    ///
    /// # Errors
    /// The problem, with the error as its cause.
    fn or_problem(self, problem: impl FnOnce() -> Problem) -> Result<T, Problem>;
}

impl<T, E: Into<anyhow::Error>> OrProblem<T> for Result<T, E> {
    fn or_problem(self, problem: impl FnOnce() -> Problem) -> Result<T, Problem> {
        self.map_err(|error| problem().because(error))
    }
}
