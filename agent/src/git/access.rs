//! How to reach a git server: address, credentials and trusted certificates.
//!
//! Secrets have Flux's keys (`username` and `password`, `bearerToken`, `ca.crt`). Nothing in here
//! prints a credential: the types have no such `Debug`, and errors name keys, never values.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider};

/// Longest time to find the server and shake hands with it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The address or the Secret of a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    /// The URL has another scheme, or none.
    #[error(
        "cannot fetch from `{url}`: only http:// and https:// are supported; hint: set spec.source.url to the repository's HTTPS address"
    )]
    Scheme { url: String },
    /// The URL does not parse.
    #[error("`{url}` is not a URL: {reason}; hint: correct spec.source.url")]
    Url { url: String, reason: String },
    /// The URL contains a password, which would be seen by everybody who may read the Sync.
    #[error(
        "spec.source.url contains credentials; hint: put them into a Secret with the keys username and password and name it in spec.source.secretRef"
    )]
    CredentialsInUrl,
    /// A Secret key is not text.
    #[error("key `{key}` of Secret {secret} is not UTF-8 text")]
    NotText { secret: String, key: &'static str },
    /// A Secret value cannot be a header.
    #[error(
        "key `{key}` of Secret {secret} contains characters that no HTTP header may contain; hint: does it end in a newline?"
    )]
    NotHeader { secret: String, key: &'static str },
    /// The Secret has none of the keys we know.
    #[error(
        "Secret {secret} has no credentials; hint: it needs the keys username and password, or bearerToken, or ca.crt"
    )]
    Empty { secret: String },
    /// The CA bundle does not parse.
    #[error("key `ca.crt` of Secret {secret} holds no PEM certificate")]
    Certificate { secret: String },
}

/// Everything needed to talk to one git server.
#[derive(Clone)]
pub(crate) struct Access {
    url: String,
    authorization: Option<String>,
    roots: Option<Vec<Certificate<'static>>>,
    timeout: Duration,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A Secret of the cluster, by name and decoded data.
#[derive(Clone, Copy)]
pub(crate) struct SecretData<'a> {
    /// `<namespace>/<name>`, for errors.
    pub(crate) name: &'a str,
    /// Decoded values.
    pub(crate) data: &'a BTreeMap<String, Vec<u8>>,
}

impl Access {
    /// Checks the address and the Secret. `timeout` bounds one whole request.
    pub(crate) fn new(
        url: &str,
        secret: Option<SecretData<'_>>,
        timeout: Duration,
    ) -> Result<Self, AccessError> {
        check_url(url)?;
        let (authorization, roots) = match secret {
            Some(secret) => (authorization(secret)?, roots(secret)?),
            None => (None, None),
        };
        if let Some(secret) = secret
            && authorization.is_none()
            && roots.is_none()
        {
            return Err(AccessError::Empty {
                secret: secret.name.to_owned(),
            });
        }
        Ok(Self {
            url: url.to_owned(),
            authorization,
            roots,
            timeout,
        })
    }

    /// The repository's address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether credentials are sent.
    pub(crate) const fn has_credentials(&self) -> bool {
        self.authorization.is_some()
    }

    /// Longest time that one fetch may take.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The value of the `Authorization` header, if credentials are sent.
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// Builds the client that carries the requests. It never follows a redirect, so credentials
    /// cannot reach another host.
    pub(crate) fn client(&self) -> ureq::Agent {
        let roots = match &self.roots {
            Some(roots) => RootCerts::new_with_certs(roots),
            None => RootCerts::WebPki,
        };
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(roots)
            .build();
        ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!(
                "git/2.0 (immuops-agent ",
                env!("CARGO_PKG_VERSION"),
                ")"
            ))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(self.timeout))
            .build()
            .new_agent()
    }
}

fn check_url(url: &str) -> Result<(), AccessError> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(AccessError::Scheme {
            url: url.to_owned(),
        });
    }
    let parsed: Uri =
        url.parse()
            .map_err(|error: ureq::http::uri::InvalidUri| AccessError::Url {
                url: url.to_owned(),
                reason: error.to_string(),
            })?;
    if parsed
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(AccessError::CredentialsInUrl);
    }
    Ok(())
}

fn text<'a>(secret: SecretData<'a>, key: &'static str) -> Result<Option<&'a str>, AccessError> {
    let Some(bytes) = secret.data.get(key) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(bytes).map_err(|_| AccessError::NotText {
        secret: secret.name.to_owned(),
        key,
    })?;
    Ok(Some(text))
}

fn authorization(secret: SecretData<'_>) -> Result<Option<String>, AccessError> {
    if let Some(token) = text(secret, "bearerToken")? {
        if token.is_empty() || token.chars().any(|c| !c.is_ascii_graphic()) {
            let secret = secret.name.to_owned();
            return Err(AccessError::NotHeader {
                secret,
                key: "bearerToken",
            });
        }
        return Ok(Some(format!("Bearer {token}")));
    }
    match (text(secret, "username")?, text(secret, "password")?) {
        (None, None) => Ok(None),
        (user, password) => {
            let pair = format!(
                "{}:{}",
                user.unwrap_or_default(),
                password.unwrap_or_default()
            );
            Ok(Some(format!("Basic {}", STANDARD.encode(pair))))
        }
    }
}

fn roots(secret: SecretData<'_>) -> Result<Option<Vec<Certificate<'static>>>, AccessError> {
    let Some(pem) = secret.data.get("ca.crt") else {
        return Ok(None);
    };
    let invalid = || AccessError::Certificate {
        secret: secret.name.to_owned(),
    };
    let mut found = Vec::new();
    for item in ureq::tls::parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|_| invalid())? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(invalid());
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(url: &str, pairs: &[(&str, &str)]) -> Result<Access, AccessError> {
        let data = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect();
        let secret = SecretData {
            name: "immuops-system/git",
            data: &data,
        };
        Access::new(
            url,
            (!pairs.is_empty()).then_some(secret),
            Duration::from_secs(1),
        )
    }

    #[test]
    fn builds_the_header_from_flux_keys() {
        let url = "https://git.example.com/a.git";
        let basic = access(url, &[("username", "u"), ("password", "p")]).unwrap();
        assert_eq!(basic.authorization(), Some("Basic dTpw"));
        let bearer = access(url, &[("bearerToken", "t0ken")]).unwrap();
        assert_eq!(bearer.authorization(), Some("Bearer t0ken"));
        assert!(!access(url, &[]).unwrap().has_credentials());
    }

    #[test]
    fn names_the_key_and_never_the_value() {
        let url = "https://git.example.com/a.git";
        for pairs in [
            &[("bearerToken", "canary\n")][..],
            &[("token", "canary")][..],
            &[("ca.crt", "canary")][..],
        ] {
            let error = access(url, pairs).unwrap_err().to_string();
            assert!(error.contains("immuops-system/git"), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
        let shown = format!("{:?}", access(url, &[("bearerToken", "canary")]).unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn refuses_addresses_it_cannot_or_must_not_use() {
        for url in [
            "git@host:a.git",
            "file:///tmp/a",
            "ssh://host/a",
            "-oProxyCommand=x",
            "ext::sh",
        ] {
            assert!(
                matches!(access(url, &[]), Err(AccessError::Scheme { .. })),
                "{url}"
            );
        }
        assert!(matches!(
            access("https://u:p@host/a", &[]),
            Err(AccessError::CredentialsInUrl)
        ));
        assert!(matches!(
            access("https://ho st/a", &[]),
            Err(AccessError::Url { .. })
        ));
    }
}
