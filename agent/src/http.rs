//! The HTTP server: health, metrics, status and webhooks on one port.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::{Timestamp, Unit};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::board::SyncName;
use crate::metrics::Hook;
use crate::page;
use crate::shared::Shared;
use crate::status::Status;
use crate::webhook::{BODY_LIMIT, Gate, HookError, Push};

/// The loop counts as stuck when it has not advanced for this long.
const STUCK: Duration = Duration::from_secs(30);
/// Longest wait for the body of a webhook.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// When the main loop advanced last.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    start: Instant,
    beat: AtomicU64,
}

impl Heartbeat {
    /// Starts with a beat.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            beat: AtomicU64::new(0),
        }
    }

    /// The loop advanced.
    pub(crate) fn advance(&self) {
        self.beat
            .store(self.start.elapsed().as_secs(), Ordering::Relaxed);
    }

    fn age(&self) -> Duration {
        let beat = Duration::from_secs(self.beat.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(beat)
    }
}

/// What the handlers work with.
#[derive(Clone)]
struct Site {
    shared: Arc<Shared>,
    gate: Arc<Gate>,
}

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    gate: Gate,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/", get(page))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
        .route("/api/v1/status/schema", get(schema))
        .route("/hook/{id}", post(hook))
        .with_state(Site {
            shared,
            gate: Arc::new(gate),
        });
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

async fn healthz(State(site): State<Site>) -> Response {
    let age = site.shared.heartbeat.age();
    if age < STUCK {
        return (StatusCode::OK, "ok\n").into_response();
    }
    let text = format!("the loop has not advanced for {} s\n", age.as_secs());
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn readyz(State(site): State<Site>) -> Response {
    if !site.shared.listed.is_cancelled() {
        let text = "waiting for the lease or the list of Syncs\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    if site.shared.board.all_attempted() {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the first sync is not done\n",
        )
            .into_response()
    }
}

async fn metrics(State(site): State<Site>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match site.shared.metrics.text(site.shared.watches.count()) {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Site {
    async fn status(&self, now: Timestamp) -> Status {
        let Shared {
            cluster, namespace, ..
        } = &*self.shared;
        Status {
            version: env!("CARGO_PKG_VERSION"),
            leader: cluster.authority().is_held(),
            time: now.round(Unit::Second).unwrap_or(now).to_string(),
            syncs: self.shared.board.lines(),
            seen: self.shared.lookup.seen(cluster, namespace).await,
        }
    }
}

async fn status(State(site): State<Site>) -> Response {
    axum::Json(site.status(Timestamp::now()).await).into_response()
}

async fn schema() -> Response {
    axum::Json(schemars::schema_for!(Status)).into_response()
}

async fn page(State(site): State<Site>) -> Response {
    let now = Timestamp::now();
    let html = page::page(&site.status(now).await, now).into_string();
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        // Nothing is loaded, nothing runs, nobody frames it.
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, html).into_response()
}

/// `POST /hook/<name of a Sync>`: everything that reads the same source looks at it now.
async fn hook(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let result = match site.gate.admit() {
        Ok(()) => receive(&site.gate, &headers, body).await,
        Err(error) => Err((StatusCode::TOO_MANY_REQUESTS, error.to_string())),
    };
    let push = match result {
        Ok(push) => push,
        Err((code, text)) => {
            site.shared.metrics.hook(Hook::Refused);
            return (code, text + "\n").into_response();
        }
    };
    let told = site.shared.pushed(&SyncName::new(id), &push.reference);
    if told == 0 {
        site.shared.metrics.hook(Hook::Ignored);
        return (StatusCode::OK, "no Sync reads that reference\n").into_response();
    }
    site.shared.metrics.hook(Hook::Accepted);
    (StatusCode::ACCEPTED, format!("{told} Syncs are looking\n")).into_response()
}

async fn receive(
    gate: &Gate,
    headers: &HeaderMap,
    body: Body,
) -> Result<Push, (StatusCode, String)> {
    let body = match timeout(BODY_TIMEOUT, to_bytes(body, BODY_LIMIT)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            return Err((
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is too large".to_owned(),
            ));
        }
        Err(_) => {
            return Err((
                StatusCode::REQUEST_TIMEOUT,
                "the body took too long".to_owned(),
            ));
        }
    };
    let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let signature = field("x-hub-signature-256").or_else(|| field("x-gitea-signature"));
    gate.open(signature, &body).map_err(|error| {
        let code = match error {
            HookError::Off => StatusCode::NOT_FOUND,
            HookError::TooMany => StatusCode::TOO_MANY_REQUESTS,
            HookError::NotSigned | HookError::WrongSignature => StatusCode::UNAUTHORIZED,
            HookError::NotAPush => StatusCode::BAD_REQUEST,
        };
        (code, error.to_string())
    })
}
