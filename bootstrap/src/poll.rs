//! Waits for a condition with a deadline, by asking again and again.
//!
//! For conditions that nobody announces: an API server that answers, a cgroup that empties.

use std::thread;
use std::time::{Duration, Instant};

use crate::problem::Problem;

/// How long the pause between two questions grows, at least.
const LONG_PAUSE: Duration = Duration::from_millis(250);
/// And at most, for what may take very long: asking is work for who is asked.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Questions until the deadline, when it is far.
const QUESTIONS: u32 = 2400;

/// What one question found.
#[derive(Debug)]
pub enum Answer<T> {
    /// The condition holds.
    Done(T),
    /// Not yet, and why: becomes part of the error when time runs out.
    NotYet(String),
}

/// Asks `question` until it answers [`Answer::Done`], at first every 10 ms and then less often: every
/// 250 ms, or every 2 s when `deadline` is an hour away as it is for emulated machines.
///
/// # Errors
/// When `question` fails, or `deadline` passes: then the error says what was awaited, for how long,
/// and what the last answer was.
pub fn until<T>(
    awaited: &str,
    deadline: Duration,
    mut question: impl FnMut() -> anyhow::Result<Answer<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(10);
    let longest = (deadline / QUESTIONS).clamp(LONG_PAUSE, LONGEST_PAUSE);
    loop {
        let last = match question()? {
            Answer::Done(value) => return Ok(value),
            Answer::NotYet(why) => why,
        };
        if begun.elapsed() >= deadline {
            let message = format!("waited {deadline:.0?} for {awaited}: {last}");
            return Err(Problem::new(message).into());
        }
        thread::park_timeout(pause);
        pause = (pause * 2).min(longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
