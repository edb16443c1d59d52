//! What can go wrong between this program and an immudb server.
//!
//! immudb sends most of its errors as gRPC code `Unknown`, so they are told apart by their text
//! (`pkg/server/errors.go`, `pkg/server/sessions/errors.go`, `pkg/database/errors.go`).

use tonic::{Code, Status};

use crate::address::Address;
use crate::database::DatabaseName;

/// Longest text of a server that is kept, in characters.
const MESSAGE_LIMIT: usize = 500;

/// A call that did not give what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot reach immudb at {server}: {reason}")]
    Unreachable {
        /// Which server.
        server: Address,
        /// What the system said.
        reason: String,
    },
    /// No answer in time.
    #[error("immudb at {server} did not answer {call} within {millis} ms")]
    TimedOut {
        /// Which server.
        server: Address,
        /// The method.
        call: &'static str,
        /// The deadline in milliseconds.
        millis: u128,
    },
    /// Wrong user or password, or a replica that has not received its users yet.
    #[error(
        "immudb at {server} refuses the login of {username}; hint: check the password; a replica knows \
         no user before it has followed its primary once"
    )]
    LoginRefused {
        /// Which server.
        server: Address,
        /// The user.
        username: String,
    },
    /// The server does not have the database.
    #[error("immudb at {server} has no database {database}")]
    NoSuchDatabase {
        /// Which server.
        server: Address,
        /// The database.
        database: DatabaseName,
    },
    /// The server said no.
    #[error("immudb at {server} refused {call}: {message}")]
    Refused {
        /// Which server.
        server: Address,
        /// The method.
        call: &'static str,
        /// What it said.
        message: String,
    },
    /// The answer makes no sense.
    #[error("cannot understand the answer of immudb at {server} to {call}: {what}")]
    Answer {
        /// Which server.
        server: Address,
        /// The method.
        call: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

impl ClientError {
    /// Whether the server could not be talked to at all.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::LoginRefused { .. }
            | Self::NoSuchDatabase { .. }
            | Self::Refused { .. }
            | Self::Answer { .. } => false,
        }
    }
}

/// What a status means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The session is gone: the server restarted, or it was idle for too long.
    SessionLost,
    /// Wrong user or password.
    LoginRefused,
    /// No such database.
    NoSuchDatabase,
    /// No such key.
    NoSuchKey,
    /// No such transaction.
    NoSuchTransaction,
    /// No connection.
    Unreachable,
    /// The deadline that the server was told of has passed.
    TimedOut,
    /// Anything else.
    Refused,
}

/// Reads a status.
pub(crate) fn meaning(status: &Status) -> Meaning {
    let text = status.message();
    match status.code() {
        Code::Unavailable => return Meaning::Unreachable,
        Code::DeadlineExceeded | Code::Cancelled => return Meaning::TimedOut,
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => {}
    }
    let has = |words: &str| text.contains(words);
    if has("session not found") || has("no session found") {
        Meaning::SessionLost
    } else if has("invalid user name or password") {
        Meaning::LoginRefused
    } else if has("database does not exist") || (text.starts_with('\'') && has("does not exist")) {
        Meaning::NoSuchDatabase
    } else if has("tx not found") {
        Meaning::NoSuchTransaction
    } else if has("key not found") {
        Meaning::NoSuchKey
    } else if is_of_transport(status) {
        Meaning::Unreachable
    } else {
        Meaning::Refused
    }
}

/// Whether the connection broke, rather than the server answering: only then there is a cause.
fn is_of_transport(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// The text of a status, and of what caused it.
pub(crate) fn text(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let line = error.to_string();
        if !text.contains(&line) {
            text = format!("{text}: {line}");
        }
        cause = error.source();
    }
    let mut short: String = text.chars().take(MESSAGE_LIMIT).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meanings_of_what_immudb_says() {
        for (code, text, expected) in [
            (
                Code::PermissionDenied,
                "session not found",
                Meaning::SessionLost,
            ),
            (Code::Unknown, "session not found", Meaning::SessionLost),
            (
                Code::InvalidArgument,
                "no session found",
                Meaning::SessionLost,
            ),
            (
                Code::Unknown,
                "invalid user name or password",
                Meaning::LoginRefused,
            ),
            (
                Code::Unknown,
                "database does not exist",
                Meaning::NoSuchDatabase,
            ),
            (
                Code::InvalidArgument,
                "'app' does not exist",
                Meaning::NoSuchDatabase,
            ),
            (Code::Unknown, "tx not found", Meaning::NoSuchTransaction),
            (Code::Unknown, "tbtree: key not found", Meaning::NoSuchKey),
            (Code::Unavailable, "tcp connect error", Meaning::Unreachable),
            (
                Code::DeadlineExceeded,
                "context deadline exceeded",
                Meaning::TimedOut,
            ),
            (
                Code::Unknown,
                "database is read-only because it's a replica",
                Meaning::Refused,
            ),
        ] {
            assert_eq!(meaning(&Status::new(code, text)), expected, "{text}");
        }
    }
}
