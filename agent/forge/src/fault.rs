//! What a server answered instead of what was asked for, sorted by what helps.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::http::TransportError;

/// Shortest wait after a limit that names none.
const LIMIT_PAUSE: Duration = Duration::from_mins(1);
/// Longest wait that is believed.
const LONGEST_PAUSE: Duration = Duration::from_hours(6);
/// Longest text of a server that is repeated, in characters.
const TEXT_LIMIT: usize = 300;

/// What a server is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It tells which releases there are.
    Releases,
    /// It has the images.
    Registry,
    /// It has the repository.
    Forge,
}

/// A server, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    role: Role,
    host: String,
}

impl Server {
    /// A host in a role.
    pub fn new(role: Role, host: &str) -> Self {
        Self {
            role,
            host: host.to_owned(),
        }
    }

    /// What it is there for.
    pub const fn role(&self) -> Role {
        self.role
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Releases => "release list",
            Role::Registry => "registry",
            Role::Forge => "forge",
        };
        write!(f, "{role} {}", self.host)
    }
}

/// A request that brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    server: Server,
    request: String,
    kind: Kind,
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.server, self.kind, self.request)?;
        match self.hint() {
            Some(hint) => write!(f, "; hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// What was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No whole answer.
    Transport(TransportError),
    /// 401: who are you?
    Unauthorized,
    /// 403: not you.
    Forbidden {
        /// The server's words.
        text: String,
    },
    /// 404, which also stands for "not you" where that must not show.
    NotFound,
    /// Too many requests.
    RateLimited {
        /// Until when.
        pause: Duration,
    },
    /// It is elsewhere now.
    Moved {
        /// Where.
        to: String,
    },
    /// Somebody else was faster, or it is there already.
    Conflict {
        /// The server's words.
        text: String,
    },
    /// The server does not want it.
    Refused {
        /// HTTP status.
        status: u16,
        /// The server's words.
        text: String,
    },
    /// 5xx.
    Down {
        /// HTTP status.
        status: u16,
    },
    /// It cannot be understood.
    Malformed {
        /// Why.
        reason: String,
    },
}

/// What helps against a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Asking again, with growing pauses.
    Again,
    /// Asking again after this long.
    After(Duration),
    /// Somebody has to change something.
    Person,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => error.fmt(f),
            Self::Unauthorized => f.write_str("the credentials were refused (401)"),
            Self::Forbidden { text } => write!(f, "not allowed (403): {text}"),
            Self::NotFound => f.write_str("not found (404)"),
            Self::RateLimited { pause } => write!(
                f,
                "too many requests; the next one may be sent in {} s",
                pause.as_secs()
            ),
            Self::Moved { to } => write!(f, "it has moved to {to}"),
            Self::Conflict { text } => write!(f, "somebody else was faster: {text}"),
            Self::Refused { status, text } => write!(f, "refused ({status}): {text}"),
            Self::Down { status } => write!(f, "the server has a problem of its own ({status})"),
            Self::Malformed { reason } => write!(f, "the answer makes no sense: {reason}"),
        }
    }
}

impl Fault {
    /// A fault of one request, as `GET /repos/a/b`.
    pub(crate) fn new(server: &Server, request: &str, kind: Kind) -> Self {
        Self {
            server: server.clone(),
            request: request.to_owned(),
            kind,
        }
    }

    /// Who answered.
    pub const fn server(&self) -> &Server {
        &self.server
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match (&self.kind, self.server.role) {
            (Kind::Unauthorized, Role::Registry) => {
                "check the name of the image; a private registry needs spec.image.secretRef"
            }
            (Kind::Unauthorized, _) => "is the token in the Secret right, and not expired?",
            (Kind::Forbidden { .. }, Role::Forge) => {
                "the token needs the right to write contents and pull requests of this repository"
            }
            (Kind::Forbidden { .. }, _) => "the token needs the right to read this",
            (Kind::NotFound, _) => "check the name, and that the token may see it",
            (Kind::Moved { .. }, _) => "use the new address",
            (Kind::Transport(_), _) => "check the address, and the way to it",
            (
                Kind::RateLimited { .. }
                | Kind::Conflict { .. }
                | Kind::Refused { .. }
                | Kind::Down { .. }
                | Kind::Malformed { .. },
                _,
            ) => return None,
        })
    }

    /// What was wrong.
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether there simply is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }

    /// What helps.
    pub const fn remedy(&self) -> Remedy {
        match &self.kind {
            Kind::Transport(TransportError::TooLarge { .. })
            | Kind::Unauthorized
            | Kind::Forbidden { .. }
            | Kind::NotFound
            | Kind::Moved { .. }
            | Kind::Refused { .. } => Remedy::Person,
            Kind::RateLimited { pause } => Remedy::After(*pause),
            Kind::Transport(_)
            | Kind::Conflict { .. }
            | Kind::Down { .. }
            | Kind::Malformed { .. } => Remedy::Again,
        }
    }
}

/// Sorts an answer: a success passes, everything else becomes the kind of fault that it is.
pub(crate) fn sort(answer: Response<Bytes>, now: Timestamp) -> Result<Response<Bytes>, Kind> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let (headers, body) = (answer.headers(), answer.body());
    if status.is_redirection() {
        let to = text_of(headers, header::LOCATION.as_str())
            .unwrap_or("an address that it does not name");
        return Err(Kind::Moved { to: shorten(to) });
    }
    let text = words(body);
    // GitHub says "too many" with 403 as well; only headers and words tell it from "not you".
    let limited = status == StatusCode::TOO_MANY_REQUESTS
        || (status == StatusCode::FORBIDDEN
            && (headers.contains_key(header::RETRY_AFTER)
                || text_of(headers, "x-ratelimit-remaining") == Some("0")
                || text.to_ascii_lowercase().contains("rate limit")));
    if limited {
        return Err(Kind::RateLimited {
            pause: pause(headers, now),
        });
    }
    Err(match status.as_u16() {
        401 => Kind::Unauthorized,
        403 => Kind::Forbidden { text },
        404 | 410 => Kind::NotFound,
        409 => Kind::Conflict { text },
        422 if text.contains("already exists") || text.contains("not a fast") => {
            Kind::Conflict { text }
        }
        500.. => Kind::Down {
            status: status.as_u16(),
        },
        other => Kind::Refused {
            status: other,
            text,
        },
    })
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn pause(headers: &HeaderMap, now: Timestamp) -> Duration {
    let seconds = |name: &str| text_of(headers, name)?.trim().parse::<i64>().ok();
    let told = seconds("retry-after").or_else(|| {
        let reset = seconds("x-ratelimit-reset")?;
        Some(reset.saturating_sub(now.as_second()))
    });
    let told = told.and_then(|seconds| u64::try_from(seconds).ok());
    told.map_or(LIMIT_PAUSE, Duration::from_secs)
        .clamp(Duration::from_secs(1), LONGEST_PAUSE)
}

/// What servers put into the body of a refusal: GitHub a message and errors with messages or fields, Gitea
/// a message and texts, registries errors only.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Complaint {
    message: String,
    errors: Option<Vec<Value>>,
}

fn words(body: &[u8]) -> String {
    let complaint: Complaint = serde_json::from_slice(body).unwrap_or_default();
    let details = complaint
        .errors
        .unwrap_or_default()
        .into_iter()
        .map(|detail| {
            let text = |key: &str| detail.get(key).and_then(Value::as_str).unwrap_or_default();
            match (detail.as_str(), text("message")) {
                (Some(words), _) => words.to_owned(),
                (None, "") => format!("{} {}", text("field"), text("code")),
                (None, message) => message.to_owned(),
            }
        });
    let all: Vec<String> = std::iter::once(complaint.message)
        .chain(details)
        .filter(|text| !text.trim().is_empty())
        .collect();
    if all.is_empty() {
        return "no reason was given".to_owned();
    }
    shorten(&all.join("; "))
}

/// Cuts what a server said, and takes the line breaks out of it.
fn shorten(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(TEXT_LIMIT)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, headers: &[(&str, &str)], body: &'static str) -> Kind {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let now = Timestamp::from_second(1000).unwrap();
        sort(
            answer.body(Bytes::from_static(body.as_bytes())).unwrap(),
            now,
        )
        .unwrap_err()
    }

    /// Bodies as GitHub, Gitea and a registry were seen to send them.
    #[test]
    fn sorts_refusals() {
        let forbidden = r#"{"message":"Resource not accessible by personal access token","documentation_url":"https://docs"}"#;
        let secondary =
            r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes"}"#;
        let duplicate = r#"{"message":"Validation Failed","errors":[{"resource":"PullRequest","code":"custom","message":"A pull request already exists for bot:b."}],"status":"422"}"#;
        let invalid = r#"{"message":"Validation Failed","errors":[{"resource":"PullRequest","field":"head","code":"invalid"}]}"#;
        let gitea = r#"{"errors":null,"message":"pull request already exists for these targets [id: 1]","url":"u"}"#;
        let texts = r#"{"errors":["branch does not exist [name: a]"],"message":"not found"}"#;
        let registry = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate"}]}"#;
        let seconds = Duration::from_secs;
        let cases = [
            (
                kind(401, &[], r#"{"message":"Bad credentials"}"#),
                Remedy::Person,
                "refused (401)",
            ),
            (
                kind(403, &[], forbidden),
                Remedy::Person,
                "Resource not accessible",
            ),
            (
                kind(403, &[], secondary),
                Remedy::After(seconds(60)),
                "too many requests",
            ),
            (
                kind(
                    403,
                    &[
                        ("x-ratelimit-remaining", "0"),
                        ("x-ratelimit-reset", "1090"),
                    ],
                    "{}",
                ),
                Remedy::After(seconds(90)),
                "in 90 s",
            ),
            (
                kind(429, &[("retry-after", "7")], ""),
                Remedy::After(seconds(7)),
                "in 7 s",
            ),
            (
                kind(429, &[("retry-after", "99999999")], ""),
                Remedy::After(LONGEST_PAUSE),
                "too many requests",
            ),
            (
                kind(429, &[("retry-after", "soon")], ""),
                Remedy::After(seconds(60)),
                "in 60 s",
            ),
            (kind(404, &[], "<html>"), Remedy::Person, "not found (404)"),
            (
                kind(409, &[], gitea),
                Remedy::Again,
                "already exists for these targets",
            ),
            (
                kind(422, &[], duplicate),
                Remedy::Again,
                "A pull request already exists for bot:b.",
            ),
            (
                kind(422, &[], invalid),
                Remedy::Person,
                "Validation Failed; head invalid",
            ),
            (
                kind(400, &[], texts),
                Remedy::Person,
                "not found; branch does not exist [name: a]",
            ),
            (
                kind(400, &[], registry),
                Remedy::Person,
                "refused (400): pull rate",
            ),
            (kind(502, &[], "<html>Bad gateway"), Remedy::Again, "(502)"),
            (
                kind(301, &[("location", "https://x/y")], ""),
                Remedy::Person,
                "moved to https://x/y",
            ),
        ];
        for (kind, remedy, text) in cases {
            let fault = Fault::new(&Server::new(Role::Forge, "h"), "GET /a", kind);
            assert_eq!(fault.remedy(), remedy, "{fault}");
            assert!(fault.to_string().contains(text), "{fault}");
        }
    }
}
