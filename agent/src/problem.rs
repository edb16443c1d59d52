//! What went wrong between this program and the API server, in words that may be shown to anybody.
//!
//! The server repeats parts of what it was sent. For a Secret that is the secret itself, so such a
//! message is withheld and only the names of the fields are kept.

use std::fmt;

pub(crate) use forge::chain::chain;
use kube::core::Status;

/// Longest message that is kept, in characters.
const MESSAGE_LIMIT: usize = 2000;

/// Whether an answer may repeat secret values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// It speaks of a Secret.
    Secret,
    /// It may be shown.
    Open,
}

impl Secrecy {
    /// Decides by group and kind.
    pub(crate) fn of(group: &str, kind: &str) -> Self {
        if group.is_empty() && kind == "Secret" {
            Self::Secret
        } else {
            Self::Open
        }
    }
}

/// A request that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// The server said no.
    #[error("{0}")]
    Refused(Refusal),
    /// The server did not answer.
    #[error("the API server did not answer within {seconds} s")]
    TimedOut { seconds: u64 },
    /// The server could not be asked.
    #[error("cannot reach the API server: {reason}")]
    Unreachable { reason: String },
    /// The answer makes no sense.
    #[error("cannot understand the API server's answer: {reason}")]
    Answer { reason: String },
    /// The server does not serve the kind.
    #[error(
        "the server has no kind {kind} in {api_version}; hint: is its CRD in the repository, and applied first?"
    )]
    NoSuchKind { api_version: String, kind: String },
    /// Another agent has taken over.
    #[error("this agent does not hold the lease and must not write")]
    Fenced,
    /// The lease is ours, but could not be renewed.
    #[error(
        "the agent's lease could not be renewed for {seconds} s; nothing is written until it is"
    )]
    Lapsed { seconds: u64 },
}

/// What the server gave as the reason for a no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// HTTP status.
    pub(crate) code: u16,
    /// Machine-readable reason, as `Invalid`.
    pub(crate) reason: String,
    /// Text for people, free of secrets.
    pub(crate) message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.message, self.code, self.reason)?;
        match self.code {
            401 => f.write_str("; hint: the agent's token is not valid"),
            403 => f.write_str("; hint: grant it in the agent's ClusterRole"),
            _ => Ok(()),
        }
    }
}

impl Problem {
    /// Keeps of an error what may be shown.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all other variants are failures of the connection, and differ by kube's features"
    )]
    pub(crate) fn from_kube(error: kube::Error, secrecy: Secrecy) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(Refusal::new(&status, secrecy)),
            kube::Error::SerdeError(source) => match secrecy {
                Secrecy::Open => Self::Answer {
                    reason: source.to_string(),
                },
                Secrecy::Secret => Self::Answer {
                    reason: "details withheld".to_owned(),
                },
            },
            other => Self::Unreachable {
                reason: chain(&other),
            },
        }
    }

    /// Whether the object is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Whether the object as a whole would not be valid.
    pub(crate) fn is_invalid(&self) -> bool {
        self.code() == Some(422)
    }

    /// Whether another write came first, or a precondition does not hold.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Whether the same request can succeed later without anybody changing anything.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Refused(refusal) => matches!(refusal.code, 409 | 429 | 500 | 502 | 503 | 504),
            Self::TimedOut { .. } | Self::Unreachable { .. } | Self::Lapsed { .. } => true,
            Self::Answer { .. } | Self::NoSuchKind { .. } | Self::Fenced => false,
        }
    }

    /// HTTP status, if there was an answer.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            Self::TimedOut { .. }
            | Self::Unreachable { .. }
            | Self::Answer { .. }
            | Self::NoSuchKind { .. }
            | Self::Fenced
            | Self::Lapsed { .. } => None,
        }
    }
}

impl Refusal {
    fn new(status: &Status, secrecy: Secrecy) -> Self {
        let message = match secrecy {
            Secrecy::Open => shorten(&status.message),
            Secrecy::Secret => withheld(status),
        };
        Self {
            code: status.code,
            reason: status.reason.clone(),
            message,
        }
    }
}

/// Names the fields that the server complained about, and nothing else.
fn withheld(status: &Status) -> String {
    let causes = status
        .details
        .as_ref()
        .map(|details| details.causes.as_slice())
        .unwrap_or_default();
    let fields: Vec<&str> = causes
        .iter()
        .map(|cause| cause.field.as_str())
        .filter(|field| !field.is_empty() && field.len() < 200)
        .collect();
    if fields.is_empty() {
        "the server refused this Secret (its answer may repeat the secret and is withheld)"
            .to_owned()
    } else {
        format!(
            "the server refused this Secret because of {} (values withheld)",
            fields.join(", ")
        )
    }
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(MESSAGE_LIMIT).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::{StatusCause, StatusDetails};

    fn status() -> Status {
        let cause = StatusCause {
            reason: "FieldValueInvalid".to_owned(),
            message: "Invalid value: \"canary\"".to_owned(),
            field: "data[password]".to_owned(),
        };
        let details = StatusDetails {
            name: "a".to_owned(),
            group: String::new(),
            kind: "Secret".to_owned(),
            uid: String::new(),
            causes: vec![cause],
            retry_after_seconds: 0,
        };
        Status::failure("Secret \"a\" is invalid: canary", "Invalid")
            .with_code(422)
            .with_details(details)
    }

    #[test]
    fn withholds_what_may_be_secret() {
        let error =
            |secrecy| Problem::from_kube(kube::Error::Api(status().boxed()), secrecy).to_string();
        let secret = error(Secrecy::of("", "Secret"));
        assert!(!secret.contains("canary"), "{secret}");
        assert!(
            secret.contains("data[password]") && secret.contains("422"),
            "{secret}"
        );
        assert!(error(Secrecy::of("", "ConfigMap")).contains("canary"));
        assert!(error(Secrecy::of("example.com", "Secret")).contains("canary"));
    }

    #[test]
    fn sorts_answers() {
        let refused = |code| {
            Problem::Refused(Refusal {
                code,
                reason: String::new(),
                message: String::new(),
            })
        };
        assert!(refused(503).is_transient() && refused(429).is_transient());
        assert!(!refused(422).is_transient() && !refused(403).is_transient());
        assert!(refused(404).is_not_found() && refused(409).is_conflict());
        assert!(!Problem::Fenced.is_transient());
    }
}
