//! The HTTP server of the probe: readiness, liveness, metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::gauges::Gauges;
use super::report::{Reason, Report};

/// What the handlers work with.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// The newest verdict.
    pub(crate) report: watch::Receiver<Report>,
    pub(crate) gauges: Arc<Gauges>,
    /// A verdict that is older than this counts for nothing: the loop is stuck.
    pub(crate) patience: Duration,
}

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    page: Page,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/readyz", get(readyz))
        .route("/livez", get(livez))
        .route("/metrics", get(metrics))
        .with_state(page);
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// 200 if clients should be sent to the server, else 503; the report in any case.
async fn readyz(State(page): State<Page>) -> Response {
    let mut report = page.report.borrow().clone();
    if page.is_stuck() {
        report.ready = false;
        report.reason = Reason::CheckFailed;
        report.message = page.stuck_for();
    }
    let code = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, Json(report)).into_response()
}

/// 200 while the probe's own loop goes round, whatever it sees.
async fn livez(State(page): State<Page>) -> Response {
    if page.is_stuck() {
        let text = format!("{}\n", page.stuck_for());
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    } else {
        (StatusCode::OK, "ok\n").into_response()
    }
}

async fn metrics(State(page): State<Page>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match page.gauges.text() {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Page {
    fn age(&self) -> Duration {
        self.report.borrow().at.elapsed()
    }

    fn is_stuck(&self) -> bool {
        self.age() > self.patience
    }

    fn stuck_for(&self) -> String {
        format!("no check has ended for {} s", self.age().as_secs())
    }
}
