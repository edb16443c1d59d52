//! Runs something until it ends or the process is told to stop.

use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// After a signal, whatever still runs is ended. Shorter than the grace period of the pod.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Runs `work` on this thread until it ends. SIGTERM and SIGINT cancel its token; it then has 20 seconds.
///
/// # Errors
/// What `work` gives; if the runtime cannot be started; if `work` does not stop in time.
pub(super) fn run<F>(work: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_keep_alive(Duration::from_secs(2))
        .build()
        .context("failed to start the runtime")?;
    // Everything runs on this thread, so the tasks need not be able to move to another one.
    let result = tokio::task::LocalSet::new().block_on(&runtime, async {
        let stop = CancellationToken::new();
        let mut term = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to SIGINT")?;
        let mut work = std::pin::pin!(work(stop.clone()));
        tokio::select! {
            result = &mut work => return result,
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.cancel();
        tokio::time::timeout(STOP_DEADLINE, work)
            .await
            .with_context(|| {
                format!(
                    "not everything stopped within {} s",
                    STOP_DEADLINE.as_secs()
                )
            })?
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}
