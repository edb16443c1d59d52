//! How much slower than usual the machines of a cluster are.
//!
//! Deadlines in this program are written for machines that run at the speed of their host. A machine
//! whose processor is emulated is several times slower; its cluster multiplies every deadline by a
//! factor that was measured, see [`crate::provider::vm::accelerator`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The factor for every deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pace(u32);

impl Default for Pace {
    fn default() -> Self {
        Self::USUAL
    }
}

impl Pace {
    /// Machines at the speed of their host.
    pub const USUAL: Self = Self(1);

    /// Machines that take `factor` times as long, at least once.
    pub fn slower(factor: u32) -> Self {
        Self(factor.max(1))
    }

    /// What a deadline becomes.
    ///
    /// ```
    /// use bootstrap::pace::Pace;
    /// use std::time::Duration;
    /// assert_eq!(Pace::slower(6).scale(Duration::from_secs(90)), Duration::from_secs(540));
    /// ```
    #[must_use]
    pub fn scale(self, deadline: Duration) -> Duration {
        deadline.saturating_mul(self.0)
    }

    /// Whether components must be told to be patient with each other as well.
    pub fn is_slow(self) -> bool {
        self != Self::USUAL
    }

    /// The factor.
    pub fn factor(self) -> u32 {
        self.0
    }
}
