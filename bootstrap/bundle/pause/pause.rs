//! `pause`: the process that keeps a pod's namespaces open.
//!
//! It is process 1 of the pod, so it ends on SIGTERM and SIGINT only because it asks for them, and
//! it reaps what a shared process namespace leaves behind. Compiled alone, statically and without
//! any crate: see the recipe in `bootstrap/src/bundle/recipe.rs`.

use std::ffi::c_int;
use std::process::ExitCode;

const SIGINT: c_int = 2;
const SIGTERM: c_int = 15;
const SIGCHLD: c_int = 17;
const SIG_BLOCK: c_int = 0;
const WNOHANG: c_int = 1;

/// glibc's `sigset_t`: 1024 bits.
#[repr(C)]
struct SignalSet([u64; 16]);

// SAFETY: these are the C library's own signatures on Linux; `std` links the C library.
unsafe extern "C" {
    fn sigemptyset(set: *mut SignalSet) -> c_int;
    fn sigaddset(set: *mut SignalSet, signal: c_int) -> c_int;
    fn sigprocmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn sigwait(set: *const SignalSet, signal: *mut c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
}

fn main() -> ExitCode {
    let mut awaited = SignalSet([0; 16]);
    // SAFETY: the set outlives both calls; null asks for nothing back. Blocked signals stay pending
    // until sigwait takes them, also for process 1 and for SIGCHLD, whose default is to be ignored.
    let blocked = unsafe {
        sigemptyset(&raw mut awaited) == 0
            && [SIGINT, SIGTERM, SIGCHLD]
                .iter()
                .all(|&s| sigaddset(&raw mut awaited, s) == 0)
            && sigprocmask(SIG_BLOCK, &raw const awaited, std::ptr::null_mut()) == 0
    };
    if !blocked {
        eprintln!(
            "error: cannot block signals: {}",
            std::io::Error::last_os_error()
        );
        return ExitCode::FAILURE;
    }
    loop {
        let mut signal = 0;
        // SAFETY: both pointers are to live locals.
        let error = unsafe { sigwait(&raw const awaited, &raw mut signal) };
        match signal {
            _ if error != 0 => {
                eprintln!(
                    "error: cannot wait for signals: {}",
                    std::io::Error::from_raw_os_error(error)
                );
                return ExitCode::FAILURE;
            }
            // One SIGCHLD may stand for many children.
            // SAFETY: null asks for no status.
            SIGCHLD => while unsafe { waitpid(-1, std::ptr::null_mut(), WNOHANG) } > 0 {},
            _ => return ExitCode::SUCCESS,
        }
    }
}
