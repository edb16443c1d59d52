//! Waiting on a condition with a deadline. The only place in the tests that lets time pass.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

/// How long the first pause between two questions is; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause between two questions to local servers.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

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
    let mut pause = FIRST_PAUSE;
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(reason) if start.elapsed() >= limit => {
                return Err(reason).with_context(|| {
                    format!("gave up waiting for {what} after {} s", limit.as_secs())
                });
            }
            Err(_) => park_timeout(pause),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
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
        park_timeout(LONGEST_PAUSE);
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
