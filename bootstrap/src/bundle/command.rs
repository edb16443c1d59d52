//! Runs a compiler with a known environment, a log and a deadline.

use std::env;
use std::ffi::OsStr;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::problem::{OrProblem, Problem};

/// No build took a third of it on 2 cores.
const DEADLINE: Duration = Duration::from_mins(90);
/// What a program gets to clean up after it was told to end.
const GRACE: Duration = Duration::from_secs(20);
/// How much of a log an error shows.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 16 << 10;

/// Variables that decide where things are kept and how registries are reached; everything that
/// could change what comes out of a compiler stays behind.
const PASSED: &[&str] = &[
    "CARGO_HOME",
    "CARGO_NET_OFFLINE",
    "GOCACHE",
    "GOINSECURE",
    "GOMODCACHE",
    "GONOPROXY",
    "GONOSUMDB",
    "GOPATH",
    "GOPRIVATE",
    "GOPROXY",
    "GOSUMDB",
    "GOTMPDIR",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PATH",
    "PIP_CERT",
    "PIP_CONFIG_FILE",
    "PIP_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "RUSTUP_HOME",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// A command that starts with nothing but [`PASSED`].
pub(super) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C.UTF-8");
    command.envs(
        PASSED
            .iter()
            .filter_map(|name| Some((name, env::var_os(name)?))),
    );
    command
}

/// Runs `command` to its end; its output goes to the end of `log`.
///
/// # Errors
/// When it cannot start, fails, or outlasts the deadline: the command, the last lines of the log,
/// the log's path and what to do.
pub(super) fn run(command: &mut Command, log: &Path) -> Result<(), Problem> {
    let line = line(command);
    let output = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .or_problem(|| Problem::new("cannot write the log of a build"))?;
    let errors = output
        .try_clone()
        .or_problem(|| Problem::new("cannot write the log of a build"))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::from(output.into_file()))
        .stderr(Stdio::from(errors.into_file()))
        .spawn()
        .or_problem(|| Problem::new(format!("cannot run `{line}`")))?;
    let status = wait(&mut child, DEADLINE)
        .or_problem(|| Problem::new(format!("cannot wait for `{line}`")))?;
    let ended = match status {
        Some(status) if status.success() => return Ok(()),
        Some(status) => format!("ended with {status}"),
        None => format!("was stopped after {} minutes", DEADLINE.as_secs() / 60),
    };
    let tail = tail(log).or_problem(|| Problem::new("cannot read the log of a build"))?;
    let text = format!(
        "`{line}` {ended}; the last lines of {} are\n{tail}",
        log.display()
    );
    Err(Problem::new(text).hint(hint(&tail, log)))
}

/// Waits for the end; `None` when the deadline came first and the child was stopped.
fn wait(child: &mut Child, deadline: Duration) -> std::io::Result<Option<ExitStatus>> {
    if ends_within(child, deadline)? {
        return child.wait().map(Some);
    }
    kill_process(pid(child)?, Signal::TERM)?;
    if !ends_within(child, GRACE)? {
        child.kill()?;
    }
    child.wait()?;
    Ok(None)
}

fn pid(child: &Child) -> std::io::Result<Pid> {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    id.ok_or_else(|| std::io::Error::other("the child has no process id"))
}

/// Whether the child ends in time. It is not reaped.
fn ends_within(child: &Child, time: Duration) -> std::io::Result<bool> {
    let handle = pidfd_open(pid(child)?, PidfdFlags::empty())?;
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(std::io::Error::other)?;
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The command as one would type it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(quoted).collect();
    let line = words.join(" ");
    match command.get_current_dir() {
        Some(directory) => format!("cd {} && {line}", directory.display()),
        None => line,
    }
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(log)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let shown = lines
        .get(lines.len().saturating_sub(TAIL_LINES)..)
        .unwrap_or_default();
    if shown.is_empty() {
        return Ok("(it is empty)".to_owned());
    }
    Ok(shown.join("\n"))
}

/// What to do, by what the tools print when something outside the sources is wrong.
fn hint(tail: &str, log: &Path) -> String {
    const CAUSES: &[(&[&str], &str)] = &[
        (
            &["no space left on device"],
            "free disk space, or set TMPDIR, GOCACHE or XDG_CACHE_HOME to another disk",
        ),
        (
            &[
                "signal: killed",
                "signal: 9",
                "cannot allocate memory",
                "out of memory",
            ],
            "memory ran out: end other programs or add swap, then run it again",
        ),
        (
            &[
                "security error",
                "checksum mismatch",
                "do not match the hashes",
                "signature could not be verified",
                "gpg error",
            ],
            "what was downloaded is not what was published: check the proxy or mirror in use; do not switch the check off",
        ),
        (
            &[
                "dial tcp",
                "no such host",
                "proxyconnect",
                "i/o timeout",
                "could not resolve",
                "failed to fetch",
                "spurious network error",
            ],
            "a registry cannot be reached: check the network, GOPROXY and https_proxy, then run it again; finished parts are kept",
        ),
        (
            &[
                "missing go.sum entry",
                "updates to go.mod needed",
                "needs to be updated",
            ],
            "a lock file does not fit its manifest: run `go mod tidy` or `cargo update -w` there and commit the result",
        ),
    ];
    let lower = tail.to_lowercase();
    let known = CAUSES
        .iter()
        .find(|(signs, _)| signs.iter().any(|sign| lower.contains(sign)));
    known.map_or_else(
        || {
            format!(
                "read {}; run it again when the cause is gone: finished parts are kept",
                log.display()
            )
        },
        |(_, hint)| (*hint).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = command("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failure_shows_command_log_and_hint() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("part.log");
        let script = "seq 30; echo 'dial tcp: no route' >&2; exit 4";
        let problem = run(shell(script).current_dir("/"), &log).unwrap_err();
        let text = problem
            .to_string()
            .replace(&log.display().to_string(), "LOG");
        assert!(text.starts_with(
            "`cd / && sh -c 'seq 30; echo '\\''dial tcp: no route'\\'' >&2; exit 4'` ended with exit \
             status: 4; the last lines of LOG are\n12\n13\n"
        ), "{text}");
        assert!(text.ends_with("30\ndial tcp: no route"), "{text}");
        assert!(problem.hint_text().unwrap().contains("GOPROXY"));
    }

    #[test]
    fn the_environment_is_ours() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        // Cargo sets it for tests; it must not reach a build.
        assert!(env::var_os("CARGO_MANIFEST_DIR").is_some());
        run(
            &mut shell("test -z \"$CARGO_MANIFEST_DIR\" && test -n \"$PATH\""),
            &log,
        )
        .unwrap();
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let problem = run(
            &mut command("no-such-compiler"),
            &directory.path().join("log"),
        );
        assert_eq!(
            problem.unwrap_err().to_string(),
            "cannot run `no-such-compiler`"
        );
    }

    #[test]
    fn the_deadline_ends_it() {
        let mut child = shell("exec sleep 600").spawn().unwrap();
        assert_eq!(wait(&mut child, Duration::from_millis(1)).unwrap(), None);
    }

    #[test]
    fn known_causes_have_their_own_hint() {
        let log = Path::new("/log");
        let cases = [
            ("write /tmp/x: No space left on device", "free disk space"),
            ("go build: link: signal: killed", "memory ran out"),
            ("verifying module: checksum mismatch", "what was downloaded"),
            ("undefined: foo", "read /log"),
        ];
        for (tail, start) in cases {
            assert!(hint(tail, log).starts_with(start), "{tail}");
        }
    }
}
