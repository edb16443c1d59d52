//! How long answers of the API server are waited for.

use std::time::Duration;

use tokio::time::timeout;

use crate::problem::{Problem, Secrecy};

/// Longest wait for one answer of the API server at the usual pace.
const CALL: Duration = Duration::from_secs(30);

/// Requests of one kind under way at once at the usual pace.
const AT_ONCE: usize = 32;

/// The factor for the waits for the API server that work depends on, and for the lease: 1 at the usual
/// pace, more where the machines are slower than their clocks, as emulated ones are. An Event and a look
/// for the page are given up as early as ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience(u32);

impl Patience {
    /// Waits `factor` times as long, at least once.
    pub(crate) fn new(factor: u32) -> Self {
        Self(factor.max(1))
    }

    /// What a wait becomes.
    pub(crate) const fn times(self, usual: Duration) -> Duration {
        usual.saturating_mul(self.0)
    }

    /// How many requests of one kind may be under way at once. A slow API server has one emulated processor:
    /// several large objects at once each take as long as all together, and none is answered in time.
    pub(crate) const fn at_once(self) -> usize {
        if self.0 == 1 { AT_ONCE } else { 1 }
    }

    /// Waits for one answer: 30 s at the usual pace.
    pub(crate) fn answer<T>(
        self,
        secrecy: Secrecy,
        call: impl Future<Output = kube::Result<T>>,
    ) -> impl Future<Output = Result<T, Problem>> {
        self.answer_within(CALL, secrecy, call)
    }

    /// Waits for one answer that should be there within `usual`.
    pub(crate) async fn answer_within<T>(
        self,
        usual: Duration,
        secrecy: Secrecy,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Problem> {
        let limit = self.times(usual);
        match timeout(limit, call).await {
            Ok(answer) => answer.map_err(|error| Problem::from_kube(error, secrecy)),
            Err(_) => Err(Problem::TimedOut {
                seconds: limit.as_secs(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_slow_is_asked_one_thing_after_another() {
        for (factor, expected) in [(0, 32), (1, 32), (2, 1), (8, 1)] {
            assert_eq!(Patience::new(factor).at_once(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_waited_for_as_long_as_it_says() {
        for (factor, seconds) in [(0, 30), (1, 30), (8, 240)] {
            let start = tokio::time::Instant::now();
            let silence = std::future::pending::<kube::Result<()>>();
            let answer = Patience::new(factor).answer(Secrecy::Open, silence).await;
            assert_eq!(answer, Err(Problem::TimedOut { seconds }));
            assert_eq!(start.elapsed().as_secs(), seconds);
        }
    }
}
