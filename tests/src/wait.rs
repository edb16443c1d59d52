//! Waiting on a condition with a deadline. The only place in the tests that lets time pass.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

/// How often a condition is asked again. Conditions are cheap questions to local servers.
const PAUSE: Duration = Duration::from_millis(200);

/// Asks `condition` until it gives a value, for at most `limit`.
///
/// # Errors
/// Says what was waited for, for how long, and the last reason `condition` gave.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(reason) if start.elapsed() >= limit => {
                return Err(reason).with_context(|| {
                    format!("gave up waiting for {what} after {} s", limit.as_secs())
                });
            }
            Err(_) => park_timeout(PAUSE),
        }
    }
}

/// Fails if `condition` stops holding within `period`: for "this must stay as it is".
///
/// # Errors
/// The reason `condition` gave when it failed.
pub fn holds(
    what: &str,
    period: Duration,
    mut condition: impl FnMut() -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < period {
        condition().with_context(|| format!("{what} did not hold for {} s", period.as_secs()))?;
        park_timeout(PAUSE);
    }
    Ok(())
}

/// Turns a plain truth into a condition.
///
/// # Errors
/// `reason` when `truth` does not hold.
pub fn ensure(truth: bool, reason: impl FnOnce() -> String) -> Result<()> {
    if truth {
        Ok(())
    } else {
        Err(anyhow!(reason()))
    }
}
