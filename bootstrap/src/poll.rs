//! Waits for a condition with a deadline, by asking again and again.
//!
//! For conditions that nobody announces: an API server that answers, a cgroup that empties.

use std::thread;
use std::time::{Duration, Instant};

use crate::problem::Problem;

/// How long the pause between two questions grows.
const PAUSE: Duration = Duration::from_millis(250);
/// And at most, where each answer takes long.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Pauses for one answer, each as long as it took.
const REST: u32 = 4;

/// What one question found.
#[derive(Debug)]
pub enum Answer<T> {
    /// The condition holds.
    Done(T),
    /// Not yet, and why: becomes part of the error when time runs out.
    NotYet(String),
}

/// Asks `question` until it answers [`Answer::Done`], at first every 10 ms and then every 250 ms.
///
/// # Errors
/// When `question` fails, or `deadline` passes: then the error says what was awaited, for how long,
/// and what the last answer was.
pub fn until<T>(
    awaited: &str,
    deadline: Duration,
    question: impl FnMut() -> anyhow::Result<Answer<T>>,
) -> anyhow::Result<T> {
    ask(awaited, deadline, |_| Duration::ZERO, question)
}

/// As [`until`], of somebody who works for each answer, such as an API server: where an answer takes long,
/// as on an emulated machine, the pause after it is four times as long, at most 15 s.
///
/// # Errors
/// As [`until`].
pub fn sparingly<T>(
    awaited: &str,
    deadline: Duration,
    question: impl FnMut() -> anyhow::Result<Answer<T>>,
) -> anyhow::Result<T> {
    ask(awaited, deadline, rest, question)
}

fn ask<T>(
    awaited: &str,
    deadline: Duration,
    rest: impl Fn(Duration) -> Duration,
    mut question: impl FnMut() -> anyhow::Result<Answer<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        let asked = Instant::now();
        let last = match question()? {
            Answer::Done(value) => return Ok(value),
            Answer::NotYet(why) => why,
        };
        if begun.elapsed() >= deadline {
            let message = format!("waited {deadline:.0?} for {awaited}: {last}");
            return Err(Problem::new(message).into());
        }
        thread::park_timeout(pause.max(rest(asked.elapsed())));
        pause = (pause * 2).min(PAUSE);
    }
}

/// The pause after an answer that took this long.
fn rest(took: Duration) -> Duration {
    took.saturating_mul(REST).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_slowly_is_asked_seldom() {
        for (took, expected) in [(0, 0), (50, 200), (2_000, 8_000), (60_000, 15_000)] {
            let [took, expected] = [took, expected].map(Duration::from_millis);
            assert_eq!(rest(took), expected, "{took:?}");
        }
    }

    #[test]
    fn asks_until_it_is_done() {
        let mut asked = 0;
        let answer = until("three", Duration::from_secs(10), || {
            asked += 1;
            Ok(if asked == 3 {
                Answer::Done(asked)
            } else {
                Answer::NotYet("counting".into())
            })
        });
        assert_eq!(answer.unwrap(), 3);
    }

    #[test]
    fn says_what_it_waited_for() {
        let error = until("godot", Duration::ZERO, || {
            Ok(Answer::<()>::NotYet("he is not here".into()))
        });
        assert_eq!(
            error.unwrap_err().to_string(),
            "waited 0ns for godot: he is not here"
        );
    }
}
