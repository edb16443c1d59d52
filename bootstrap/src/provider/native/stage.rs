//! How a machine starts: three stages, each replacing the one before by exec.
//!
//! 1. `launch` (on the host, detached from `up`): makes the control group, then
//!    `unshare`s the network, mount, UTS, IPC and PID namespaces.
//! 2. `enter` (first process of the PID namespace, still the host's file system): enters the
//!    control group, then `unshare`s the cgroup namespace so that the group is its root.
//! 3. `init`: takes the lock, shakes hands with `up`, mounts the root and supervises until the end.
//!
//! The handshake over standard input and output: `init` writes `pid N` (its process id on the
//! host), `up` plugs in the network and writes `go`, `init` writes `up` once its root is mounted.
//! If `up` dies before `go`, the input ends, `init` ends, and nothing is left.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use fs_err::{self as fs, OpenOptions};
use rustix::process::setsid;
use rustix::stdio::{dup2_stdin, dup2_stdout};
use rustix::system::sethostname;

use super::spec::Spec;
use super::{root, supervise};
use crate::machine::holder;
use crate::problem::Problem;

/// First stage: the control group and most namespaces.
///
/// # Errors
/// When the group cannot be made or `unshare` cannot be started; does not return otherwise.
pub fn launch(spec_path: &Path) -> anyhow::Result<Infallible> {
    let spec = Spec::read(spec_path)?;
    spec.cgroup.make()?;
    let namespaces = ["--net", "--mount", "--uts", "--ipc", "--pid", "--fork"];
    become_stage("enter", &namespaces, spec_path)
}

/// Second stage: into the group, then the cgroup namespace.
///
/// # Errors
/// When the group does not take the process; does not return otherwise.
pub fn enter(spec_path: &Path) -> anyhow::Result<Infallible> {
    let spec = Spec::read(spec_path)?;
    spec.cgroup.enter()?;
    become_stage("init", &["--cgroup"], spec_path)
}

/// Replaces this process by `unshare` and that by the next stage.
fn become_stage(stage: &str, namespaces: &[&str], spec: &Path) -> anyhow::Result<Infallible> {
    let program = std::env::current_exe()?;
    let error = Command::new("unshare")
        .args(namespaces)
        .arg("--")
        .args([
            program.as_os_str(),
            OsStr::new("machine"),
            OsStr::new(stage),
            spec.as_os_str(),
        ])
        .exec();
    Err(Problem::new("failed to run `unshare`")
        .because(error)
        .hint("install the Debian package util-linux")
        .into())
}

/// Last stage: becomes the machine. Returns when the machine was asked to stop.
///
/// # Errors
/// When another process already is this machine, the handshake breaks off, or the root cannot be
/// mounted.
pub fn init(spec_path: &Path) -> anyhow::Result<()> {
    let spec = Spec::read(spec_path)?;
    // `/proc` is still the host's and names this process as the host sees it.
    let host_pid = fs::read_link("/proc/self")?;
    let what = format!("machine {}", spec.name);
    let lock = holder::take(
        &super::machine::lock_path(&spec.directory),
        &host_pid.to_string_lossy(),
        &what,
    )?;
    // The terminal that `up` runs on must not end the machine.
    setsid().ok();

    let mut stdout = io::stdout().lock();
    writeln!(stdout, "pid {}", host_pid.display())?;
    stdout.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() != "go" {
        return Err(Problem::new("`bootstrap up` ended before the network was there").into());
    }
    sethostname(spec.name.as_str().as_bytes())?;
    root::enter(&spec)?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    let supervisor = supervise::Supervisor::new(&spec)?;
    writeln!(stdout, "up")?;
    stdout.flush()?;

    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    drop(stdout);
    supervisor.run()?;
    drop(lock);
    Ok(())
}
