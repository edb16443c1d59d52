//! Where an immudb server listens.

use std::fmt;
use std::str::FromStr;

/// The port of immudb's gRPC.
const DEFAULT_PORT: u16 = 3322;

/// Host and port of a server. Plaintext: TLS ends at the edge, as immudb's own replication needs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    host: String,
    port: u16,
}

/// The text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address of an immudb server; hint: write it like `immudb-primary:3322`")]
pub struct InvalidAddress {
    text: String,
}

impl Address {
    /// The address as gRPC wants it.
    pub(crate) fn url(&self) -> String {
        format!("http://{self}")
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    /// Reads `host`, `host:port` or `[v6]:port`; without a port it is 3322.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidAddress {
            text: text.to_owned(),
        };
        let (host, port) = match text.rsplit_once(':') {
            // The colons of a bare IPv6 address are no port.
            Some((host, _)) if host.contains(':') && !host.ends_with(']') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let valid = match bare {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
            }
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| invalid())?,
            None => DEFAULT_PORT,
        };
        if valid && port != 0 {
            Ok(Self {
                host: host.to_owned(),
                port,
            })
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        for (text, expected) in [
            ("immudb-primary", Some("immudb-primary:3322")),
            ("127.0.0.1:4000", Some("127.0.0.1:4000")),
            ("a.immudb.svc:1", Some("a.immudb.svc:1")),
            ("[::1]:4000", Some("[::1]:4000")),
            ("[::1]", Some("[::1]:3322")),
            ("::1", None),
            ("", None),
            (":3322", None),
            ("host:", None),
            ("host:0", None),
            ("host:65536", None),
            ("http://host:3322", None),
            ("host/path", None),
            ("user@host", None),
        ] {
            let read = text.parse::<Address>().ok().map(|a| a.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
