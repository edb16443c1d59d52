//! One virtual machine, seen from the host.
//!
//! ```text
//! <state>/nodes/n1/
//!   machine.json   what it is (see spec)
//!   lock           held by QEMU while it runs, with its process id in it
//!   files/         what the host put into it, given to it at every start
//!   root.qcow2     its root: an overlay over the node disk, new at every start
//!   data.raw       what lasts: etcd and volumes
//!   launch.log     what QEMU said; serial.log: what the guest's kernel and console said
//! ```

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fs_err::{self as fs, File};
use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::boot::FILES;
use super::exec::Lane;
use super::spec::VmSpec;
use super::{qemu, qmp, sockets, terminal};
use crate::command::{Finished, last_lines};
use crate::machine::process::{Process, Report, ReportedState};
use crate::machine::{Attached, Ending, Machine, Written, holder};
use crate::poll::{self, Answer};
use crate::problem::{OrProblem, Problem};
use crate::reporter::Step;
use crate::topology::NodeName;

/// Until the guest answers, with KVM.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// Until the guest has ended everything in it, with KVM.
const POWER_OFF_DEADLINE: Duration = Duration::from_secs(40);
const KILL_DEADLINE: Duration = Duration::from_secs(30);
/// A small question, with KVM.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
/// What only the host has: what the guest wrote to its serial line, and what QEMU said.
const SERIAL: &str = "serial";
const QEMU: &str = "qemu";

/// A virtual machine.
#[derive(Debug)]
pub struct VmMachine {
    spec: VmSpec,
    processes: Vec<Process>,
}

impl VmMachine {
    /// A machine as planned. Makes its directory and nothing else.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub(super) fn new(spec: VmSpec, processes: Vec<Process>) -> anyhow::Result<Self> {
        fs::create_dir_all(&spec.directory)?;
        Ok(Self { spec, processes })
    }

    /// The machine whose directory this is.
    ///
    /// # Errors
    /// When it was never started.
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        let names = ["containerd", "kubelet", "kube-proxy"];
        let processes = names.map(|name| Process {
            name: name.into(),
            command: Vec::new(),
            prepare: None,
            requires: Vec::new(),
        });
        Ok(Self {
            spec: VmSpec::read(directory)?,
            processes: processes.into(),
        })
    }

    /// Whether the machine in a directory runs.
    ///
    /// # Errors
    /// When its lock cannot be read.
    pub(super) fn is_running(directory: &Path) -> anyhow::Result<bool> {
        Ok(holder::of(&directory.join("lock"))?.is_some())
    }

    /// What it is.
    pub(super) fn spec(&self) -> &VmSpec {
        &self.spec
    }

    /// What will run in it.
    pub(super) fn planned(&self) -> &[Process] {
        &self.processes
    }

    /// Starts it and returns when its guest answers. It outlives this process.
    ///
    /// # Errors
    /// When QEMU ends, or the guest does not answer in time; then nothing is left running.
    pub(super) fn start(&self, step: &Step<'_>) -> anyhow::Result<()> {
        let spec = &self.spec;
        let name = &spec.name;
        let path = spec.write()?;
        let log = spec.file("launch.log");
        let mut child = Command::new(std::env::current_exe()?)
            .args(["machine", "boot"])
            .arg(&path)
            // Away from the terminal's signals: it must outlive `up`.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?.into_file())
            .spawn()
            .or_problem(|| Problem::new(format!("failed to start machine {name}")))?;
        step.progress("booting");
        let answered = poll::until(
            &format!("the guest of {name} to answer"),
            spec.accelerator.scale(START_DEADLINE),
            || {
                if let Some(status) = child.try_wait()? {
                    let said = fs::read_to_string(&log).unwrap_or_default();
                    let guest = fs::read_to_string(spec.file("serial.log")).unwrap_or_default();
                    let message = format!(
                        "QEMU of machine {name} ended with {status}{}{}",
                        last_lines(&said),
                        last_lines(&guest)
                    );
                    return Err(Problem::new(message)
                        .hint(format!("read {} and serial.log beside it", log.display()))
                        .into());
                }
                let limit = spec.accelerator.scale(ANSWER_DEADLINE) / 10;
                Ok(match self.run(&["true"], b"", limit) {
                    Ok(_) => Answer::Done(()),
                    Err(error) => Answer::NotYet(self.state_of_guest(&error)),
                })
            },
        );
        answered.inspect_err(|_| {
            self.stop(Ending::Immediate).ok();
        })
    }

    /// Why a guest does not answer, as far as QEMU knows: a stopped processor never will.
    fn state_of_guest(&self, error: &anyhow::Error) -> String {
        let status = qmp::ask(&self.spec, "query-status", &Value::Null);
        let status = status.ok().and_then(|status| {
            let status = status.get("status")?.as_str()?;
            (status != "running").then(|| format!("QEMU says {status}"))
        });
        status.unwrap_or_else(|| error.to_string())
    }

    /// Makes the guest's network what its files say.
    pub(super) fn reload_network(&self) -> anyhow::Result<()> {
        let words = ["systemctl", "restart", "systemd-networkd", "nftables"];
        let limit = self.spec.accelerator.scale(ANSWER_DEADLINE);
        self.run(&words, b"", limit).map(drop)
    }

    /// Where a file of the machine is kept on the host.
    fn kept(&self, path: &str) -> PathBuf {
        self.spec.file(FILES).join(path.trim_start_matches('/'))
    }

    fn unit(process: &str) -> String {
        format!("process@{process}.service")
    }
}

impl Machine for VmMachine {
    fn name(&self) -> &NodeName {
        &self.spec.name
    }

    fn pid(&self) -> anyhow::Result<Option<Pid>> {
        holder::of(&self.spec.lock())
    }

    /// The host keeps what it put, so the guest is asked only for what changed.
    fn put(&self, path: &str, content: &[u8], mode: u32) -> anyhow::Result<Written> {
        let kept = self.kept(path);
        if fs::read(&kept).is_ok_and(|old| old == content) {
            return Ok(Written::Unchanged);
        }
        // The guest first: what is kept counts as delivered.
        if self.pid()?.is_some() {
            let limit = self.spec.accelerator.scale(ANSWER_DEADLINE);
            Lane::open(&self.spec)?.put(path, content, mode, limit)?;
        }
        if let Some(directory) = kept.parent() {
            fs::create_dir_all(directory)?;
        }
        crate::state::write_atomically(&kept, content, mode)?;
        Ok(Written::New)
    }

    fn run(&self, words: &[&str], stdin: &[u8], limit: Duration) -> anyhow::Result<Finished> {
        Lane::open(&self.spec)?.run(words, stdin, limit)
    }

    /// With a terminal on this side there is one on the other.
    fn attach(
        &self,
        words: &[OsString],
        environment: &[(&str, OsString)],
    ) -> anyhow::Result<Attached> {
        let text = |word: &OsString| {
            let word = word.to_str().map(str::to_owned);
            word.ok_or_else(|| Problem::new("the command is not UTF-8"))
        };
        let mut command = vec!["env".to_owned()];
        for (key, value) in environment {
            command.push(format!("{key}={}", text(value)?));
        }
        let own: Vec<String> = words.iter().map(text).collect::<Result<_, _>>()?;
        command.extend(own);
        let lane = Lane::open(&self.spec)?;
        let raw = terminal::Raw::begin()?;
        if raw.is_some() {
            let (rows, columns) = terminal::size().unwrap_or((24, 80));
            let quoted: Vec<String> = command.iter().map(|word| quoted(word)).collect();
            let typed = format!(
                "stty rows {rows} columns {columns}; exec {}",
                quoted.join(" ")
            );
            command = [
                "script",
                "--quiet",
                "--return",
                "--command",
                &typed,
                "/dev/null",
            ]
            .map(String::from)
            .into();
        }
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        lane.attach(&words, io::stdin(), io::stdout(), io::stderr())
    }

    fn console(&self) -> anyhow::Result<Attached> {
        let name = &self.spec.name;
        let socket = qemu::socket(&self.spec, "console");
        let stream = sockets::connect(&self.spec.sockets, &socket).or_problem(|| {
            Problem::new(format!("machine {name} does not run"))
                .hint("run `bootstrap start`: it starts what does not run")
        })?;
        let raw = terminal::Raw::begin()?;
        if raw.is_some() {
            // On standard error, so that the output is the machine's alone.
            let hint = format!("console of {name}; Ctrl-] leaves it\r\n");
            io::stderr().write_all(hint.as_bytes())?;
        }
        terminal::connect(&stream)?;
        Ok(Attached { code: 0 })
    }

    fn processes(&self) -> anyhow::Result<Vec<Report>> {
        if self.pid()?.is_none() {
            return Ok(Vec::new());
        }
        let units = self.processes.iter().map(|one| Self::unit(&one.name));
        let units: Vec<String> = units.collect();
        let mut words = vec![
            "systemctl",
            "show",
            "--property=Id,ActiveState,MainPID,NRestarts,Result,ExecMainStatus",
        ];
        words.extend(units.iter().map(String::as_str));
        let limit = self.spec.accelerator.scale(ANSWER_DEADLINE);
        Ok(reports(&self.run(&words, b"", limit)?.stdout))
    }

    fn logs(&self) -> Vec<String> {
        let processes = self.processes.iter().map(|one| one.name.as_str());
        processes.chain([SERIAL, QEMU]).map(str::to_owned).collect()
    }

    fn log(&self, name: &str, out: &mut dyn Write) -> anyhow::Result<()> {
        let file = match name {
            SERIAL => "serial.log",
            QEMU => "launch.log",
            process => {
                let unit = Self::unit(process);
                let words = [
                    "journalctl",
                    "--no-pager",
                    "--output=short-iso",
                    "--unit",
                    &unit,
                ];
                let limit = self.spec.accelerator.scale(ANSWER_DEADLINE * 3);
                let said = self.run(&words, b"", limit)?;
                return Ok(out.write_all(said.stdout.as_bytes())?);
            }
        };
        io::copy(&mut File::open(self.spec.file(file))?, out)?;
        Ok(())
    }

    fn restart(&self, process: &str) -> anyhow::Result<()> {
        let unit = Self::unit(process);
        let limit = self.spec.accelerator.scale(ANSWER_DEADLINE);
        // Not waited for: a process that waits for its files has not started.
        self.run(&["systemctl", "restart", "--no-block", &unit], b"", limit)?;
        Ok(())
    }

    fn stop(&self, ending: Ending) -> anyhow::Result<()> {
        let what = format!("machine {}", self.spec.name);
        let lock = self.spec.lock();
        if self.pid()?.is_none() {
            return Ok(());
        }
        if ending == Ending::Graceful {
            let limit = self.spec.accelerator.scale(ANSWER_DEADLINE);
            // Not `systemctl poweroff`: that asks a login manager first, and there is none.
            let words = ["systemctl", "start", "--no-block", "poweroff.target"];
            let asked = self.run(&words, b"", limit);
            let limit = self.spec.accelerator.scale(POWER_OFF_DEADLINE);
            // A guest that hangs or takes too long is ended like one whose host loses power: its
            // data is on a file system with a journal.
            if asked.is_ok() && holder::wait_until_free(&lock, &what, limit).is_ok() {
                return Ok(());
            }
        }
        holder::end(&lock, &what, Signal::KILL, KILL_DEADLINE)
    }
}

/// Reads what `systemctl show` says of several units: blocks of `Key=value` with empty lines between.
fn reports(text: &str) -> Vec<Report> {
    let block = |block: &str| {
        let value = |key: &str| {
            let lines = block.lines();
            lines
                .filter_map(|line| line.split_once('='))
                .find(|(name, _)| *name == key)
        };
        let value = |key: &str| value(key).map(|(_, value)| value);
        let name = value("Id")?.strip_prefix("process@")?;
        let state = match value("ActiveState")? {
            "active" => ReportedState::Running,
            // It waits for its files before it says that it runs.
            "activating" if value("NRestarts") == Some("0") => ReportedState::Waiting,
            _ => ReportedState::Restarting,
        };
        let result = value("Result").unwrap_or("success");
        let status = value("ExecMainStatus").unwrap_or_default();
        Some(Report {
            name: name.trim_end_matches(".service").to_owned(),
            state,
            pid: value("MainPID")?.parse().ok().filter(|pid| *pid != 0),
            restarts: value("NRestarts")?.parse().ok()?,
            last_end: (result != "success").then(|| format!("{result}, status {status}")),
        })
    };
    text.split("\n\n").filter_map(block).collect()
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_read_from_systemd() {
        let text = "Id=process@containerd.service\nActiveState=active\nMainPID=310\nNRestarts=0\n\
                    Result=success\nExecMainStatus=0\n\n\
                    Id=process@kubelet.service\nActiveState=activating\nMainPID=311\nNRestarts=0\n\
                    Result=success\nExecMainStatus=0\n\n\
                    Id=process@kube-proxy.service\nActiveState=activating\nMainPID=0\nNRestarts=3\n\
                    Result=exit-code\nExecMainStatus=1\n";
        let shown: Vec<_> = reports(text)
            .into_iter()
            .map(|one| (one.name, one.state, one.pid, one.restarts, one.last_end))
            .collect();
        let end = Some("exit-code, status 1".to_owned());
        assert_eq!(
            shown,
            [
                (
                    "containerd".into(),
                    ReportedState::Running,
                    Some(310),
                    0,
                    None
                ),
                ("kubelet".into(), ReportedState::Waiting, Some(311), 0, None),
                ("kube-proxy".into(), ReportedState::Restarting, None, 3, end),
            ]
        );
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("a 'b'"), r"'a '\''b'\'''");
    }
}
