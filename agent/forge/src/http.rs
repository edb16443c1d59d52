//! One HTTP exchange as everything here makes it: a bounded time, a bounded answer, no redirects, and
//! certificate authorities that are named.
//!
//! Redirects are reported and not followed: a credential must not reach a host that nobody named.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use crate::chain::chain;

/// Longest time until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest time for one exchange, connection and body included.
const EXCHANGE: Duration = Duration::from_secs(30);
/// Longest answer, in bytes: a hundred releases with their notes and assets are about one million.
pub const ANSWER_LIMIT: usize = 8 << 20;

/// Which certificate authorities count.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// Those that browsers trust.
    Web,
    /// Those in this PEM text and no others.
    Only(&'a [u8]),
}

/// The PEM text holds no certificate authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ca.crt holds no certificate that can be trusted; hint: it must be PEM text")]
pub struct InvalidTrust;

/// An exchange that did not end with a whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// There was none.
    #[error("{reason}")]
    Unreachable {
        /// Why.
        reason: String,
    },
    /// It took too long.
    #[error("there was no whole answer within {} s", EXCHANGE.as_secs())]
    TimedOut,
    /// It is too long.
    #[error("the answer has more than {limit} bytes")]
    TooLarge {
        /// Allowed.
        limit: usize,
    },
    /// It ended before it was complete.
    #[error("the answer broke off: {reason}")]
    Broken {
        /// Why.
        reason: String,
    },
}

/// Makes exchanges; clones share their connections.
#[derive(Clone)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// A client that trusts these authorities.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn new(trust: Trust<'_>) -> Result<Self, InvalidTrust> {
        let roots = match trust {
            Trust::Web => RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            },
            Trust::Only(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|_| InvalidTrust)?;
                    roots.add(certificate).map_err(|_| InvalidTrust)?;
                }
                if roots.is_empty() {
                    return Err(InvalidTrust);
                }
                roots
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| InvalidTrust)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(5))
            .build(connector);
        Ok(Self { client })
    }

    /// Sends a request and reads the answer, whatever its status, up to [`ANSWER_LIMIT`].
    ///
    /// # Errors
    /// If there is no whole answer.
    pub async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, TransportError> {
        let agent = HeaderValue::from_static(concat!("immuops-agent/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        match timeout(EXCHANGE, self.whole(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(TransportError::TimedOut),
        }
    }

    async fn whole(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, TransportError> {
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| TransportError::Unreachable {
            reason: chain(&error),
        })?;
        let (parts, body) = answer.into_parts();
        match Limited::new(body, ANSWER_LIMIT).collect().await {
            Ok(body) => Ok(Response::from_parts(parts, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Err(TransportError::TooLarge {
                limit: ANSWER_LIMIT,
            }),
            Err(error) => Err(TransportError::Broken {
                reason: chain(error.as_ref()),
            }),
        }
    }
}

/// Whether a connection without TLS will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// Only to this machine itself.
    Loopback,
    /// To any host: whoever set it up said so.
    Allowed,
}

/// The address of an API: scheme, host, and a path that everything is below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Uri);

/// A text that is no address to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// It does not parse.
    #[error("`{text}` is no URL; hint: write it like https://api.github.com")]
    Syntax {
        /// What was written.
        text: String,
    },
    /// Everybody on the way could read and change it.
    #[error(
        "`{text}` has no TLS; hint: use https, or set insecure: true if the network between is yours"
    )]
    NotSecure {
        /// What was written.
        text: String,
    },
    /// It would show a password to whoever may read the policy.
    #[error("the URL contains credentials; hint: put them into a Secret")]
    Credentials,
}

impl Address {
    /// Reads and checks an address.
    ///
    /// # Errors
    /// If it is no http(s) URL, has credentials or a query, or has no TLS where that is needed.
    pub fn parse(text: &str, plain: Plain) -> Result<Self, InvalidAddress> {
        let syntax = || InvalidAddress::Syntax {
            text: text.to_owned(),
        };
        let uri: Uri = text.parse().map_err(|_| syntax())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(syntax());
        };
        if authority.as_str().contains('@') {
            return Err(InvalidAddress::Credentials);
        }
        if uri.query().is_some() || authority.host().is_empty() {
            return Err(syntax());
        }
        match scheme {
            "https" => Ok(Self(uri)),
            "http" if plain == Plain::Allowed || is_loopback(authority.host()) => Ok(Self(uri)),
            "http" => Err(InvalidAddress::NotSecure {
                text: text.to_owned(),
            }),
            _ => Err(syntax()),
        }
    }

    /// As a URI.
    pub const fn uri(&self) -> &Uri {
        &self.0
    }

    /// The host, for messages.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    /// The address of a path below this one, which begins with a slash.
    pub fn join(&self, path: &str) -> String {
        let base = self.0.to_string();
        format!("{}{path}", base.trim_end_matches('/'))
    }

    /// The path of another address, if that is on the same host and below this one.
    pub fn path_below(&self, other: &Uri) -> Option<String> {
        if self.0.scheme() != other.scheme() || self.0.authority() != other.authority() {
            return None;
        }
        let base = self.0.path().trim_end_matches('/');
        let path = other.path_and_query().map_or("/", PathAndQuery::as_str);
        path.strip_prefix(base).map(str::to_owned)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a host, as written, can only be this machine.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// A name as one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// A path of several segments.
pub(crate) fn segments(path: &str) -> String {
    let parts: Vec<String> = path.split('/').map(segment).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cases = [
            ("https://api.github.com", Plain::Loopback, true),
            ("https://ghe.example.com/api/v3", Plain::Loopback, true),
            ("http://127.0.0.1:4000", Plain::Loopback, true),
            ("http://[::1]:4000", Plain::Loopback, true),
            ("http://localhost", Plain::Loopback, true),
            ("http://git.example.com", Plain::Loopback, false),
            ("http://localhost.example.com", Plain::Loopback, false),
            ("http://gitea.git-system.svc", Plain::Allowed, true),
            ("https://u:p@example.com", Plain::Allowed, false),
            ("ftp://example.com", Plain::Allowed, false),
            ("example.com", Plain::Allowed, false),
            ("https://example.com/?a=b", Plain::Allowed, false),
            ("", Plain::Allowed, false),
        ];
        for (text, plain, valid) in cases {
            let address = Address::parse(text, plain);
            assert_eq!(address.is_ok(), valid, "{text}");
            if let Err(error) = address {
                assert!(error.to_string().contains("hint:"), "{error}");
            }
        }
    }

    #[test]
    fn paths_stay_on_the_host() {
        let address = Address::parse("https://h/api/v3", Plain::Loopback).unwrap();
        assert_eq!(address.join("/repos"), "https://h/api/v3/repos");
        let below = |text: &str| address.path_below(&text.parse().unwrap());
        assert_eq!(
            below("https://h/api/v3/a?page=2").as_deref(),
            Some("/a?page=2")
        );
        for other in [
            "https://h/other",
            "http://h/api/v3/a",
            "https://x/api/v3/a",
            "/api/v3/a",
        ] {
            assert_eq!(below(other), None, "{other}");
        }
        assert_eq!(segments("a b/ü?.yaml"), "a%20b/%C3%BC%3F.yaml");
    }
}
