//! The first process of a machine: starts its processes, starts them again when they end, reaps
//! what they leave behind, and ends everything when it is told to.
//!
//! One thread owns all state and hears of signals over a channel. When it dies, in whatever way,
//! the kernel kills every other process of the machine, because it is the first of its PID
//! namespace.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGCHLD, SIGTERM};
use signal_hook::iterator::Signals;

use super::log::{CAP, CappedLog};
use super::spec::Spec;
use super::supervised::{Next, Supervised};
use crate::machine::PATH;
use crate::machine::process::Report;
use crate::problem::{OrProblem, Problem};
use crate::topology::NodeName;

/// Where the supervisor keeps its logs inside a machine.
pub(super) const LOGS: &str = "/var/log/immuops";
/// Where it reports inside a machine.
pub(super) const STATUS: &str = "/var/lib/immuops/status.json";

/// How often a required file is asked for.
const FILE_INTERVAL: Duration = Duration::from_millis(50);
/// The longest time between two looks at everything.
const IDLE_INTERVAL: Duration = Duration::from_mins(1);
/// How long a command before a start may take.
const PREPARE_DEADLINE: Duration = Duration::from_secs(20);
/// How long kubelet, and then the containers, get to end by themselves when the machine stops.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// What the supervisor reports, written to [`STATUS`] at every change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Status {
    /// The machine.
    pub(super) name: NodeName,
    /// Its processes, in the order of the machine's file.
    pub(super) processes: Vec<Report>,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    ChildEnded,
    Stop,
}

/// The state of the machine's first process.
#[derive(Debug)]
pub(super) struct Supervisor {
    name: NodeName,
    processes: Vec<Supervised>,
    log: CappedLog,
    events: Receiver<Event>,
    reported: Option<Status>,
}

impl Supervisor {
    /// Prepares the directories and listens for signals.
    ///
    /// # Errors
    /// When the machine's directories cannot be written.
    pub(super) fn new(spec: &Spec) -> anyhow::Result<Self> {
        fs::create_dir_all(LOGS)?;
        if let Some(directory) = Path::new(STATUS).parent() {
            fs::create_dir_all(directory)?;
        }
        let (sender, events) = sync_channel(64);
        let mut signals = Signals::new([SIGCHLD, SIGTERM])?;
        thread::spawn(move || {
            for signal in signals.forever() {
                let event = if signal == SIGTERM {
                    Event::Stop
                } else {
                    Event::ChildEnded
                };
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        let now = Instant::now();
        Ok(Self {
            name: spec.name.clone(),
            processes: spec
                .processes
                .iter()
                .map(|one| Supervised::new(one.clone(), now))
                .collect(),
            log: CappedLog::open(&Path::new(LOGS).join("supervisor.log"), CAP)?,
            events,
            reported: None,
        })
    }

    /// Supervises until the machine is told to stop.
    ///
    /// # Errors
    /// When the signals cannot be heard any more.
    pub(super) fn run(mut self) -> anyhow::Result<()> {
        self.note("the machine runs");
        loop {
            let pause = self.start_what_is_due();
            self.report();
            match self.events.recv_timeout(pause) {
                Ok(Event::ChildEnded) => self.reap(),
                Ok(Event::Stop) => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Problem::new("the supervisor hears no signals any more").into());
                }
            }
        }
        self.stop();
        Ok(())
    }

    /// Starts every process whose time has come; returns how long nothing else is due.
    fn start_what_is_due(&mut self) -> Duration {
        let mut pause = IDLE_INTERVAL;
        for index in 0..self.processes.len() {
            let now = Instant::now();
            let Some(process) = self.processes.get_mut(index) else {
                break;
            };
            match process.next(now, |path| path.exists()) {
                Next::Nothing => {}
                Next::At(at) => pause = pause.min(at.duration_since(now)),
                Next::Missing(_) => pause = pause.min(FILE_INTERVAL),
                Next::Start => {
                    let name = process.process.name.clone();
                    match start(process) {
                        Ok(pid) => {
                            process.started(pid, now);
                            self.note(&format!("{name} started as {pid}"));
                        }
                        Err(problem) => {
                            let text = described(&problem);
                            pause = pause.min(process.ended(text.clone(), now));
                            self.note(&format!("{name} did not start: {text}"));
                        }
                    }
                }
            }
        }
        pause
    }

    /// Collects every ended child: supervised ones are noted, adopted ones forgotten.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            let ended = self.processes.iter_mut().find(|one| one.pid() == Some(pid));
            if let Some(process) = ended {
                let how = described_end(status);
                let delay = process.ended(how.clone(), Instant::now());
                let name = process.process.name.clone();
                self.note(&format!(
                    "{name} ended with {how}, starts again in {delay:.2?}"
                ));
            }
        }
    }

    /// Ends kubelet first, so that nothing starts pods again, then asks every container to end,
    /// and returns when they have or time is up. What is left dies with this process.
    fn stop(&mut self) {
        self.note("asked to stop");
        let kubelet = self
            .processes
            .iter()
            .find(|one| one.process.name == "kubelet");
        if let Some(pid) = kubelet.and_then(Supervised::pid).and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).ok();
            self.wait_until(|| !Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists());
        }
        for pid in containers() {
            kill_process(pid, Signal::TERM).ok();
        }
        self.wait_until(|| containers().is_empty());
        let left = containers().len();
        self.note(&format!(
            "stopped, {left} processes of containers had to be killed"
        ));
    }

    fn wait_until(&mut self, done: impl Fn() -> bool) {
        let end = Instant::now() + STOP_DEADLINE;
        while !done() && Instant::now() < end {
            // Every end of a child wakes this; other processes are looked at again soon.
            if self.events.recv_timeout(FILE_INTERVAL).is_ok() {
                self.reap();
            }
        }
    }

    fn report(&mut self) {
        let processes = self.processes.iter().map(Supervised::report).collect();
        let status = Status {
            name: self.name.clone(),
            processes,
        };
        if self.reported.as_ref() == Some(&status) {
            return;
        }
        let written = serde_json::to_vec_pretty(&status)
            .map_err(anyhow::Error::from)
            .and_then(|text| crate::state::write_atomically(Path::new(STATUS), &text, 0o644));
        match written {
            Ok(()) => self.reported = Some(status),
            Err(error) => self.note(&format!("failed to report: {error:#}")),
        }
    }

    fn note(&mut self, text: &str) {
        let now = jiff::Timestamp::now().strftime("%FT%TZ");
        // A full disk must not end the machine.
        drop(self.log.line(format!("{now} {text}\n").as_bytes()));
    }
}

/// Starts a process; its output goes to a capped log of its name.
fn start(supervised: &Supervised) -> Result<i32, Problem> {
    let process = &supervised.process;
    if let Some((program, arguments)) = process.prepare.as_deref().and_then(<[_]>::split_first) {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", PATH);
        crate::command::run(&mut command, b"", PREPARE_DEADLINE)?;
    }
    let name = &process.name;
    let (program, arguments) = process
        .command
        .split_first()
        .ok_or_else(|| Problem::new(format!("process {name} has an empty command")))?;
    let log_path = PathBuf::from(LOGS).join(format!("{name}.log"));
    let mut log = CappedLog::open(&log_path, CAP)
        .or_problem(|| Problem::new(format!("failed to open the log of {name}")))?;
    let (reader, writer) =
        std::io::pipe().or_problem(|| Problem::new(format!("failed to make a pipe for {name}")))?;
    let failed = || Problem::new(format!("failed to start {name}"));
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs([("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")])
        .stdin(Stdio::null())
        .stdout(writer.try_clone().or_problem(failed)?)
        .stderr(writer)
        .spawn()
        .or_problem(failed)?;
    thread::spawn(move || log.follow(reader));
    Ok(Pid::from_child(&child).as_raw_nonzero().get())
}

/// Every process that runs in a container: in a PID namespace below the machine's.
fn containers() -> Vec<Pid> {
    let Ok(own) = fs::read_link("/proc/self/ns/pid") else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let in_container = |pid: &i32| {
        let kind = |file: &str| fs::read_link(format!("/proc/{pid}/ns/{file}"));
        let pause = fs::read_to_string(format!("/proc/{pid}/comm"));
        kind("pid").is_ok_and(|its| its != own) && pause.is_ok_and(|name| name.trim() != "pause")
    };
    pids.filter(in_container)
        .filter_map(Pid::from_raw)
        .collect()
}

fn described_end(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".into(),
    }
}

/// An error and its causes on one line.
fn described(problem: &Problem) -> String {
    let mut text = problem.to_string();
    let mut cause = std::error::Error::source(problem);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
