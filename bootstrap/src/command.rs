//! Runs one program of the host to its end, within a deadline.
//!
//! The output is kept in memory and becomes part of the error when the program fails, so nothing
//! that went wrong is lost. A program that outlives its deadline is killed.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::problem::{OrProblem, Problem};

/// How many lines of a failed program's output become part of the error.
const SHOWN_LINES: usize = 12;

/// What a program wrote to its standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Standard output, invalid UTF-8 replaced.
    pub stdout: String,
}

/// Runs `command` with `stdin` as its input.
///
/// # Errors
/// When it cannot be started, does not end within `deadline`, or ends with another code than 0; the
/// error carries the last lines it wrote.
pub fn run(command: &mut Command, stdin: &[u8], deadline: Duration) -> Result<Finished, Problem> {
    let shown = shown(command);
    let mut child = command
        // A group of its own, so that a late program can be ended together with what it started.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .or_problem(|| Problem::new(format!("failed to start `{shown}`")))?;
    let begun = Instant::now();
    let (status, stdout, stderr) = thread::scope(|scope| {
        let input = child.stdin.take();
        scope.spawn(move || {
            // A program may end without reading its input; its exit code says whether that is bad.
            input.map(|mut pipe| pipe.write_all(stdin))
        });
        let stdout = child.stdout.take();
        let stdout = scope.spawn(move || collect(stdout));
        let stderr = child.stderr.take();
        let stderr = scope.spawn(move || collect(stderr));
        let status = wait(&mut child, deadline);
        if !matches!(status, Ok(Some(_))) {
            // Closes the pipes as well, so the readers end.
            kill_process_group(Pid::from_child(&child), Signal::KILL).ok();
            drop(child.wait());
        }
        (
            status,
            stdout.join().unwrap_or_default(),
            stderr.join().unwrap_or_default(),
        )
    });
    let status = status.or_problem(|| Problem::new(format!("failed to wait for `{shown}`")))?;
    let said = if stderr.trim().is_empty() {
        &stdout
    } else {
        &stderr
    };
    match status {
        Some(status) if status.success() => Ok(Finished { stdout }),
        Some(status) => Err(Problem::new(format!(
            "`{shown}` failed with {status}{}",
            last_lines(said)
        ))),
        None => Err(Problem::new(format!(
            "`{shown}` did not end within {:.0?}{}",
            begun.elapsed(),
            last_lines(said)
        ))),
    }
}

/// Waits for the end of a child, or `None` when the deadline comes first.
fn wait(child: &mut Child, deadline: Duration) -> std::io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let end = Instant::now() + deadline;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or(Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        });
        let mut waiting = [PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)];
        match poll(&mut waiting, Some(&timeout)) {
            Ok(0) => return Ok(None),
            Ok(_) => return child.wait().map(Some),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn collect(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What was read before an error is still worth showing.
        drop(pipe.read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let first = lines.len().saturating_sub(SHOWN_LINES);
    lines
        .iter()
        .skip(first)
        .fold(String::new(), |all, line| all + "\n    " + line)
}

/// The command as a person would type it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, stdin: &[u8], deadline: Duration) -> Result<Finished, Problem> {
        run(Command::new("sh").args(["-c", script]), stdin, deadline)
    }

    #[test]
    fn input_goes_in_and_output_comes_out() {
        let finished = shell("cat; echo done", b"hello ", Duration::from_secs(10)).unwrap();
        assert_eq!(finished.stdout, "hello done\n");
    }

    #[test]
    fn a_failure_shows_what_the_program_said() {
        let error = shell("echo why >&2; exit 3", b"", Duration::from_secs(10)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c echo why >&2; exit 3` failed with exit status: 3\n    why"
        );
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let error = shell("exec sleep 600", b"", Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("did not end within"), "{error}");
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let error = run(
            &mut Command::new("no-such-program"),
            b"",
            Duration::from_secs(1),
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "failed to start `no-such-program`"
        );
    }
}
