//! The life of one supervised process as a state machine without a clock of its own.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::machine::process::{Process, Report, ReportedState};

/// The first delay after an unexpected end, doubled by each further one.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A process that ran this long starts again without a history.
const HEALTHY_AFTER: Duration = Duration::from_mins(1);

/// A process and what became of it.
#[derive(Debug)]
pub(super) struct Supervised {
    /// What to run.
    pub(super) process: Process,
    state: State,
    /// Unexpected ends in a row.
    failures: u32,
    /// Unexpected ends in all.
    restarts: u32,
    last_end: Option<String>,
}

#[derive(Debug)]
enum State {
    /// To be started at this instant, when all its files exist.
    Due(Instant),
    Running {
        pid: i32,
        since: Instant,
    },
}

/// What to do with a process now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing until something happens.
    Nothing,
    /// Ask again at this instant.
    At(Instant),
    /// A required file is missing: ask again soon.
    Missing(PathBuf),
    /// Start it.
    Start,
}

impl Supervised {
    /// A process that is due now.
    pub(super) fn new(process: Process, now: Instant) -> Self {
        Self {
            process,
            state: State::Due(now),
            failures: 0,
            restarts: 0,
            last_end: None,
        }
    }

    /// Decides what to do; `exists` asks whether a file is there.
    pub(super) fn next(&self, now: Instant, exists: impl Fn(&PathBuf) -> bool) -> Next {
        match self.state {
            State::Running { .. } => Next::Nothing,
            State::Due(at) if at > now => Next::At(at),
            State::Due(_) => match self.process.requires.iter().find(|path| !exists(path)) {
                Some(missing) => Next::Missing(missing.clone()),
                None => Next::Start,
            },
        }
    }

    /// It was started.
    pub(super) fn started(&mut self, pid: i32, now: Instant) {
        self.state = State::Running { pid, since: now };
    }

    /// It ended, or could not be started; returns the delay until the next start.
    pub(super) fn ended(&mut self, how: String, now: Instant) -> Duration {
        if let State::Running { since, .. } = self.state
            && now.duration_since(since) >= HEALTHY_AFTER
        {
            self.failures = 0;
        }
        let delay = delay(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.restarts = self.restarts.saturating_add(1);
        self.last_end = Some(how);
        self.state = State::Due(now + delay);
        delay
    }

    /// Its process id while it runs.
    pub(super) fn pid(&self) -> Option<i32> {
        match self.state {
            State::Running { pid, .. } => Some(pid),
            State::Due(_) => None,
        }
    }

    /// What to show of it.
    pub(super) fn report(&self) -> Report {
        let state = match self.state {
            State::Running { .. } => ReportedState::Running,
            State::Due(_) if self.failures == 0 => ReportedState::Waiting,
            State::Due(_) => ReportedState::Restarting,
        };
        Report {
            name: self.process.name.clone(),
            state,
            pid: self.pid(),
            restarts: self.restarts,
            last_end: self.last_end.clone(),
        }
    }
}

/// The delay before the start that follows `failures` unexpected ends in a row and one more.
fn delay(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubelet(now: Instant) -> Supervised {
        let process = Process {
            name: "kubelet".into(),
            command: vec!["kubelet".into()],
            prepare: None,
            requires: vec!["/etc/kubernetes/kubelet.conf".into()],
        };
        Supervised::new(process, now)
    }

    #[test]
    fn it_starts_when_its_files_exist() {
        let now = Instant::now();
        let process = kubelet(now);
        let missing = Next::Missing("/etc/kubernetes/kubelet.conf".into());
        assert_eq!(process.next(now, |_| false), missing);
        assert_eq!(process.next(now, |_| true), Next::Start);
        assert_eq!(process.report().state, ReportedState::Waiting);
    }

    #[test]
    fn it_backs_off_while_it_fails_and_forgets_when_it_was_well() {
        let mut now = Instant::now();
        let mut process = kubelet(now);
        let mut delays = Vec::new();
        for _ in 0..9 {
            process.started(7, now);
            delays.push(process.ended("exit status: 1".into(), now).as_millis());
            assert_eq!(process.report().state, ReportedState::Restarting);
        }
        assert_eq!(
            delays,
            [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]
        );
        assert_eq!(process.next(now, |_| true), Next::At(now + LONGEST_DELAY));

        process.started(8, now);
        assert_eq!(process.next(now, |_| true), Next::Nothing);
        now += HEALTHY_AFTER;
        assert_eq!(process.ended("signal: 9".into(), now), FIRST_DELAY);
        assert_eq!(process.report().restarts, 10);
    }

    #[test]
    fn the_delay_never_overflows() {
        assert_eq!(delay(u32::MAX), LONGEST_DELAY);
    }
}
