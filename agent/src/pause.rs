//! Pauses that differ a little from each other.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// How much a pause may differ, as a share of it.
const JITTER: f64 = 0.1;

/// Lengthens or shortens a pause by up to a tenth, so that not everything looks at the same moment.
pub(crate) fn spread(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let share = f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    pause.mul_f64(1.0 - JITTER + 2.0 * JITTER * share)
}
