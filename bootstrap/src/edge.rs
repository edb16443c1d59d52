//! The edge of a cluster as the world outside sees it: its names, its ports, the URLs made of them.
//!
//! Values only. Traefik and its routes are in `cluster-repo/edge/`; the names and ports here and
//! there must agree, which a test below checks.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The `NodePort` behind which Traefik answers TLS (cluster-repo/edge/traefik/service.yaml).
pub const HTTPS_NODE_PORT: u16 = 30443;
/// The `NodePort` behind which Traefik redirects plain HTTP to TLS.
pub const HTTP_NODE_PORT: u16 = 30080;

/// The domain below which every name of the edge is.
///
/// The default is below `localhost`, which RFC 6761 reserves for this host: browsers, curl, git and
/// systems with systemd-resolved or nss-myhostname resolve it without any set-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

/// A text that is no usable domain.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "domain {0:?} is not usable: two or more labels of a-z, 0-9 and -, joined by dots, at most 200 \
     characters"
)]
pub struct DomainError(String);

impl Domain {
    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        // A certificate for everything below one label (`localhost`, `com`) is not accepted by
        // clients; 200 leaves room for the names in a host name's 253 characters.
        let usable = text.len() <= 200 && text.contains('.') && text.split('.').all(label);
        if usable {
            Ok(Self(text.to_owned()))
        } else {
            Err(DomainError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Domain {
    type Error = DomainError;

    fn try_from(text: String) -> Result<Self, DomainError> {
        text.parse()
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> Self {
        domain.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What answers at the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The primary, for gRPC clients that write.
    Write,
    /// Every server that is ready, for gRPC clients that read.
    Read,
    /// The primary, for clients of `PostgreSQL`.
    Sql,
    /// Every server that is ready, for clients of `PostgreSQL` that read.
    SqlRead,
    /// immudb's REST API, and its web console where immudb was built with it.
    Console,
    /// The built-in forge.
    Git,
    /// Prometheus.
    Prometheus,
    /// The agent.
    Status,
}

impl Host {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Write,
        Self::Read,
        Self::Sql,
        Self::SqlRead,
        Self::Console,
        Self::Git,
        Self::Prometheus,
        Self::Status,
    ];

    /// Its label below the domain.
    pub fn label(self) -> &'static str {
        match self {
            Self::Write => "rw",
            Self::Read => "ro",
            Self::Sql => "pg",
            Self::SqlRead => "pg-ro",
            Self::Console => "console",
            Self::Git => "git",
            Self::Prometheus => "prometheus",
            Self::Status => "status",
        }
    }
}

/// Where the edge of one cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// The domain of its names.
    pub domain: Domain,
    /// The port people use for TLS.
    pub https: u16,
    /// The port people use for plain HTTP, which only redirects.
    pub http: u16,
}

impl Edge {
    /// The full name of a host.
    ///
    /// ```
    /// use bootstrap::edge::{Edge, Host};
    ///
    /// let domain = "immuops.localhost".parse()?;
    /// let edge = Edge { domain, https: 8443, http: 8080 };
    /// assert_eq!(edge.name(Host::Write), "rw.immuops.localhost");
    /// assert_eq!(edge.url(Host::Status), "https://status.immuops.localhost:8443");
    /// # Ok::<(), bootstrap::edge::DomainError>(())
    /// ```
    pub fn name(&self, host: Host) -> String {
        format!("{}.{}", host.label(), self.domain)
    }

    /// The URL of a host.
    pub fn url(&self, host: Host) -> String {
        format!("https://{}:{}", self.name(host), self.https)
    }

    /// Every name, for the certificate.
    pub fn names(&self) -> BTreeSet<String> {
        Host::ALL.map(|host| self.name(host)).into()
    }

    /// The file of the cluster repository that tells its manifests the domain and the port.
    pub fn repository_file(&self) -> (&'static str, String) {
        let Self {
            domain,
            https,
            http: _,
        } = self;
        (
            "edge/site/site.yaml",
            format!(
                "# What people type: the domain below which every name is, and the port of https URLs. The\n\
                 # certificate is made for this domain by `bootstrap up --domain`. Never applied itself.\n\
                 apiVersion: v1\n\
                 kind: ConfigMap\n\
                 metadata:\n\
                 \x20 name: site\n\
                 \x20 annotations:\n\
                 \x20   config.kubernetes.io/local-config: \"true\"\n\
                 data:\n\
                 \x20 domain: {domain}\n\
                 \x20 https-port: \"{https}\"\n"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> Edge {
        Edge {
            domain: "immuops.localhost".parse().unwrap(),
            https: 8443,
            http: 8080,
        }
    }

    #[test]
    fn domains() {
        let cases = [
            ("immuops.localhost", true),
            ("db.example.org", true),
            ("localhost", false),
            ("Example.org", false),
            ("example..org", false),
            (".example.org", false),
            ("example.org.", false),
            ("-a.org", false),
            ("a_b.org", false),
            ("*.example.org", false),
            ("", false),
        ];
        for (text, usable) in cases {
            assert_eq!(text.parse::<Domain>().is_ok(), usable, "{text:?}");
        }
    }

    #[test]
    fn the_templates_have_the_default_site() {
        let root = crate::bundle::source_root().unwrap().join("cluster-repo");
        let (path, text) = edge().repository_file();
        assert_eq!(fs_err::read_to_string(root.join(path)).unwrap(), text);
    }

    #[test]
    fn the_templates_have_every_name_and_port() {
        let root = crate::bundle::source_root()
            .unwrap()
            .join("cluster-repo/edge");
        let read = |path: &str| fs_err::read_to_string(root.join(path)).unwrap();
        let gateway = read("site/gateway.yaml");
        for host in Host::ALL {
            let line = format!("hostname: {}.domain\n", host.label());
            assert!(gateway.contains(&line), "the Gateway has no `{line}`");
        }
        let service = read("traefik/service.yaml");
        for port in [HTTPS_NODE_PORT, HTTP_NODE_PORT] {
            let line = format!("nodePort: {port}\n");
            assert!(service.contains(&line), "the Service has no `{line}`");
        }
    }
}
