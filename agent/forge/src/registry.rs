//! Asks a registry whether it has an image: one `HEAD` of its manifest, by the
//! [OCI distribution specification](https://github.com/opencontainers/distribution-spec).
//!
//! A `HEAD` does not count as a pull where pulls are limited.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use jiff::Timestamp;
use serde::Deserialize;

use crate::credentials::Credentials;
use crate::facts::Presence;
use crate::fault::{Fault, Kind, Role, Server, sort};
use crate::http::{Address, Http, Plain, TransportError, segment};
use crate::image::ImageName;
use crate::version::ImageTag;

/// Every kind of manifest that runs.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// How a registry is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// With TLS.
    Https,
    /// Without: whoever set it up said so.
    Http,
}

/// One repository of images in one registry.
#[derive(Clone, Debug)]
pub struct Registry {
    http: Http,
    image: ImageName,
    scheme: Scheme,
    credentials: Credentials,
    server: Server,
}

/// What a registry wants to see before it answers.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    /// The credentials themselves.
    Basic,
    /// A token, which this address gives out.
    Bearer { realm: String, service: String },
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

impl Registry {
    /// The repository of an image.
    pub fn new(http: Http, image: ImageName, scheme: Scheme, credentials: Credentials) -> Self {
        let server = Server::new(Role::Registry, image.registry());
        Self {
            http,
            image,
            scheme,
            credentials,
            server,
        }
    }

    /// Whether the registry has the image with this tag.
    ///
    /// # Errors
    /// If it does not say: what is not known is not taken for a no.
    pub async fn find(&self, tag: &ImageTag) -> Result<Presence, Fault> {
        // Docker Hub's registry has another name than its images.
        let host = match self.image.registry() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let scheme = match self.scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        let path = self.image.path();
        let url = format!("{scheme}://{host}/v2/{path}/manifests/{tag}");
        let shown = format!("HEAD {url}");
        let fault = |kind| Fault::new(&self.server, &shown, kind);

        let mut answer = self.send(Method::HEAD, &url, None).await.map_err(fault)?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let authorization = self.authorize(&answer).await.map_err(fault)?;
            answer = self
                .send(Method::HEAD, &url, Some(authorization))
                .await
                .map_err(fault)?;
            if answer.status() == StatusCode::UNAUTHORIZED {
                return Err(fault(Kind::Unauthorized));
            }
        }
        match sort(answer, Timestamp::now()) {
            Ok(answer) => Ok(Presence::Present {
                digest: digest(answer.headers()),
            }),
            Err(Kind::NotFound) => Ok(Presence::Missing),
            Err(kind) => Err(fault(kind)),
        }
    }

    /// Does what a refusal asks for and returns the header for the second try.
    async fn authorize(&self, refusal: &Response<Bytes>) -> Result<HeaderValue, Kind> {
        let challenge = refusal
            .headers()
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .find_map(|value| challenge(value.to_str().ok()?));
        match (challenge, self.credentials.header()) {
            (Some(Challenge::Bearer { realm, service }), credentials) => {
                self.token(&realm, &service, credentials).await
            }
            (Some(Challenge::Basic), Some(credentials)) => Ok(credentials),
            (Some(Challenge::Basic) | None, _) => Err(Kind::Unauthorized),
        }
    }

    async fn token(
        &self,
        realm: &str,
        service: &str,
        credentials: Option<HeaderValue>,
    ) -> Result<HeaderValue, Kind> {
        let malformed = |reason: String| Kind::Malformed { reason };
        let plain = match self.scheme {
            Scheme::Https => Plain::Loopback,
            Scheme::Http => Plain::Allowed,
        };
        let address = Address::parse(realm, plain)
            .map_err(|error| malformed(format!("its token server is of no use: {error}")))?;
        let url = format!(
            "{address}?service={}&scope=repository:{}:pull",
            segment(service),
            self.image.path()
        );
        let answer = self.send(Method::GET, &url, credentials).await?;
        let answer = sort(answer, Timestamp::now())?;
        let token: Token = serde_json::from_slice(answer.body())
            .map_err(|_| malformed("its token server gave no token".to_owned()))?;
        let credentials = Credentials::token(&token.token)
            .map_err(|_| malformed("its token server gave no token that can be sent".to_owned()))?;
        credentials.header().ok_or(Kind::Unauthorized)
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Bytes>, Kind> {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::ACCEPT, MANIFESTS);
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Full::default()).map_err(|error| {
            let reason = error.to_string();
            Kind::Transport(TransportError::Unreachable { reason })
        })?;
        self.http.exchange(request).await.map_err(Kind::Transport)
    }
}

/// The digest of the manifest, if it is one.
fn digest(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("docker-content-digest")?.to_str().ok()?;
    let hex = text.strip_prefix("sha256:")?;
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    (hex.len() == 64 && hex.chars().all(is_hex)).then(|| text.to_owned())
}

/// Reads `Bearer realm="…",service="…"` or `Basic …`.
fn challenge(text: &str) -> Option<Challenge> {
    let (scheme, parameters) = text.split_once(' ').unwrap_or((text, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let value = |key: &str| {
        let (_, rest) = parameters.split_once(&format!("{key}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    Some(Challenge::Bearer {
        realm: value("realm")?,
        service: value("service").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: &str| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.to_owned(),
        };
        let cases = [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:pull""#,
                Some(bearer("https://auth.docker.io/token", "registry.docker.io")),
            ),
            (r#"bearer realm="https://a""#, Some(bearer("https://a", ""))),
            (r#"Basic realm="x""#, Some(Challenge::Basic)),
            ("Negotiate", None),
            ("Bearer nothing", None),
        ];
        for (text, expected) in cases {
            assert_eq!(challenge(text), expected, "{text}");
        }
    }

    #[test]
    fn only_digests_are_digests() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("docker-content-digest", text.parse().unwrap());
            digest(&headers)
        };
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(of(&good), Some(good.clone()));
        for text in ["sha256:0", "sha512:00", "-->", &good.to_uppercase()] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
