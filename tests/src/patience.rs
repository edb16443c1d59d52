//! Waiting in tests: on a condition, with a deadline, and never longer than needed.

use std::time::{Duration, Instant};

/// Pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks again and again until there is something, and returns it.
///
/// # Errors
/// After `limit`, with `what` and the last error.
pub fn eventually<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("waited {limit:?} for: {what}")));
            }
            Err(_) => std::thread::park_timeout(PAUSE),
        }
    }
}
