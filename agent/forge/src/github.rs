//! GitHub: releases, and pull requests by way of the Git Data API.
//!
//! octocrab builds and authenticates the requests; what carries them is our own [`Http`], so that time
//! and size have a bound, and so that nothing is sent twice: octocrab's own retries repeat a POST whose
//! answer was lost.

mod releases;
mod repository;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use serde_json::Value;
use tower_service::Service;

pub use repository::GitHub;

use crate::chain::chain;
use crate::credentials::Credentials;
use crate::fault::{Fault, Kind, Role, Server};
use crate::http::{Address, Http, TransportError};
use crate::seam::Answer;

/// GitHub's own API.
pub const PUBLIC_API: &str = "https://api.github.com";

/// The API of one GitHub, as one user.
#[derive(Clone)]
pub struct Api {
    octocrab: Octocrab,
    address: Address,
    server: Server,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Api {
    /// The API at an address, for releases or for a repository. Must be made inside of a tokio runtime.
    pub fn new(http: Http, address: Address, credentials: Credentials, role: Role) -> Self {
        let auth = match credentials {
            Credentials::None => AuthState::None,
            Credentials::Token(token) => AuthState::AccessToken {
                token: token.expose().into(),
            },
            Credentials::Basic { user, password } => AuthState::BasicAuth {
                username: user,
                password: password.expose().to_owned(),
            },
        };
        let built = OctocrabBuilder::new_empty()
            .with_service(Carrier(http))
            .with_layer(&BaseUriLayer::new(address.uri().clone()))
            .with_auth(auth)
            .build();
        let octocrab = match built {
            Ok(octocrab) => octocrab,
            Err(never) => match never {},
        };
        let server = Server::new(role, address.host());
        Self {
            octocrab,
            address,
            server,
        }
    }

    /// Sends a request to a path of the API. The path has no host, so the credentials go with it and go
    /// nowhere else.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Fault> {
        let shown = format!("{method} {}", path.split('?').next().unwrap_or(path));
        let fault = |kind| Fault::new(&self.server, &shown, kind);
        let builder = Request::builder()
            .method(method.clone())
            .uri(path)
            .header(http::header::ACCEPT, "application/vnd.github+json");
        let request = self
            .octocrab
            .build_request(builder, body)
            .map_err(|error| fault(kind_of(&error)))?;
        let answer = self
            .octocrab
            .execute(request)
            .await
            .map_err(|error| fault(kind_of(&error)))?;
        let (parts, body) = answer.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| fault(kind_of(&error)))?;
        let answer = Response::from_parts(parts, body.to_bytes());
        Answer::of(&self.server, shown, answer)
    }

    /// The path of the next page, if there is one on the same host.
    pub(crate) fn next_page(&self, answer: &Answer) -> Option<String> {
        let links = answer.headers.get(http::header::LINK)?.to_str().ok()?;
        let next = links.split(',').find_map(|link| {
            let (target, parameters) = link.split_once(';')?;
            let is_next = parameters
                .split(';')
                .any(|parameter| matches!(parameter.trim(), r#"rel="next""# | "rel=next"));
            let target = target.trim().strip_prefix('<')?.strip_suffix('>')?;
            is_next.then_some(target)
        })?;
        self.address.path_below(&next.parse().ok()?)
    }
}

/// Finds our transport's own error under octocrab's.
fn kind_of(error: &octocrab::Error) -> Kind {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(next) = cause {
        if let Some(found) = next.downcast_ref::<TransportError>() {
            return Kind::Transport(found.clone());
        }
        cause = next.source();
    }
    Kind::Transport(TransportError::Unreachable {
        reason: chain(error),
    })
}

/// Lets octocrab send with our [`Http`].
#[derive(Clone)]
struct Carrier(Http);

impl Service<Request<OctoBody>> for Carrier {
    type Response = Response<Full<Bytes>>;
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<OctoBody>) -> Self::Future {
        let http = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|error| TransportError::Unreachable {
                    reason: chain(&error),
                })?;
            let request = Request::from_parts(parts, Full::new(body.to_bytes()));
            Ok(http.exchange(request).await?.map(Full::new))
        })
    }
}
