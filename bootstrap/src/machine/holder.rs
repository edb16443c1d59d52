//! Which process holds a lock file: how a machine, or a part of one, is known to run.
//!
//! The kernel releases the lock when the process ends in whatever way, so unlike a process id in a
//! file it never names a stranger.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use fs_err::{File, OpenOptions};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::poll::{self, Answer};
use crate::problem::{OrProblem, Problem};

/// Takes the lock for the process `pid`, which is this one or one that inherits the file.
///
/// # Errors
/// When another process holds it; `what` is said to run already.
pub fn take(path: &Path, pid: &str, what: &str) -> anyhow::Result<File> {
    let mut lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)?;
    lock.file()
        .try_lock()
        .or_problem(|| Problem::new(format!("{what} already runs")))?;
    lock.set_len(0)?;
    write!(lock, "{pid}")?;
    Ok(lock)
}

/// The process that holds the lock, if any does.
///
/// # Errors
/// When the file cannot be read.
pub fn of(path: &Path) -> anyhow::Result<Option<Pid>> {
    let mut lock = match File::open(path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match lock.file().try_lock_shared() {
        Ok(()) => Ok(None),
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut text = String::new();
            lock.read_to_string(&mut text)?;
            Ok(text.trim().parse().ok().and_then(Pid::from_raw))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Sends `signal` to the holder, if there is one, and waits until the lock is free.
///
/// # Errors
/// When it is still held after `deadline`.
pub fn end(path: &Path, what: &str, signal: Signal, deadline: Duration) -> anyhow::Result<()> {
    let Some(pid) = of(path)? else {
        return Ok(());
    };
    match pidfd_open(pid, PidfdFlags::empty()) {
        // The lock is asked again with the handle open: the id still means this process.
        Ok(handle) if of(path)? == Some(pid) => pidfd_send_signal(handle, signal)
            .or_problem(|| Problem::new(format!("failed to signal {what}")))?,
        Ok(_) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(error.into()),
    }
    wait_until_free(path, what, deadline)
}

/// Waits until nobody holds the lock.
///
/// # Errors
/// When it is still held after `deadline`.
pub fn wait_until_free(path: &Path, what: &str, deadline: Duration) -> anyhow::Result<()> {
    poll::until(&format!("{what} to end"), deadline, || {
        Ok(match of(path)? {
            None => Answer::Done(()),
            Some(pid) => Answer::NotYet(format!("process {} still runs", pid.as_raw_nonzero())),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_tells_who_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        assert_eq!(of(&path).unwrap(), None);
        let own = std::process::id().to_string();
        let lock = take(&path, &own, "machine n1").unwrap();
        let holder = of(&path).unwrap().unwrap();
        assert_eq!(holder.as_raw_nonzero().get().to_string(), own);
        let error = take(&path, &own, "machine n1").unwrap_err();
        assert_eq!(error.to_string(), "machine n1 already runs");
        drop(lock);
        assert_eq!(of(&path).unwrap(), None);
        end(&path, "machine n1", Signal::TERM, Duration::ZERO).unwrap();
    }
}
