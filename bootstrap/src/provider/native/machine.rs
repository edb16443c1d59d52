//! One machine of a native cluster, seen from the host: namespaces with a supervisor as their first
//! process.
//!
//! ```text
//! <state>/nodes/n1/
//!   machine.json   what it is (see spec)
//!   lock           held by its first process while it runs, which writes its process id into it
//!   launch.log     what its start said
//!   root/          where it mounts its root, empty on the host
//!   etc/           its /etc
//!   var/           its /var: logs, containers, volumes, the supervisor's report
//! ```

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use fs_err::{self as fs, File};
use rustix::process::{Pid, Signal, kill_process_group};

use super::log::previous;
use super::spec::Spec;
use super::supervise::{self, Status};
use crate::command::{self, Finished};
use crate::machine::process::Report;
use crate::machine::{Attached, Ending, Machine, PATH, Written, holder};
use crate::poll::{self, Answer};
use crate::problem::{OrProblem, Problem};
use crate::topology::NodeName;

const START_DEADLINE: Duration = Duration::from_secs(30);
const END_DEADLINE: Duration = Duration::from_secs(30);
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// A machine that exists at least on paper.
#[derive(Clone, Debug)]
pub struct NativeMachine {
    spec: Spec,
}

impl NativeMachine {
    /// A machine as planned. Writes nothing.
    pub fn new(spec: Spec) -> Self {
        Self { spec }
    }

    /// The machine whose directory this is.
    ///
    /// # Errors
    /// When it was never started.
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        Spec::read(&directory.join("machine.json")).map(Self::new)
    }

    /// What it is.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Starts it and calls `plug` with its process id as soon as its network namespace exists.
    /// Returns when its supervisor runs. It outlives this process.
    ///
    /// # Errors
    /// When it does not come up within 30 s or `plug` fails; then nothing of it is left running.
    pub fn start(&self, plug: impl FnOnce(Pid) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let name = &self.spec.name;
        // Groups of containers that died with an earlier start: kubelet would ask containerd about
        // each again and again, 3 s at a time, before it starts the first pod.
        self.remove_cgroups()?;
        for directory in ["etc", "var", "root"] {
            fs::create_dir_all(self.spec.directory.join(directory))?;
        }
        let spec_path = self.spec.write()?;
        let log_path = self.spec.directory.join("launch.log");
        let log = File::create(&log_path)?;
        let mut words = self.spec.cgroup.launcher(std::process::id());
        words.push(std::env::current_exe()?.to_string_lossy().into_owned());
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| Problem::new("the launch command is empty"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .args(["machine", "launch"])
            .arg(&spec_path)
            // Away from the terminal's signals: it must outlive `up`.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.into_parts().0)
            .spawn()
            .or_problem(|| Problem::new(format!("failed to start {program}")))?;
        let group = Pid::from_child(&child);
        let lines = child.stdout.take().map(lines_of);
        let shaken = (|| {
            let lines = lines.ok_or_else(|| Problem::new("no pipe from the machine"))?;
            let first = next_line(&lines)?;
            let pid = first.strip_prefix("pid ").and_then(|pid| pid.parse().ok());
            let pid = pid.and_then(Pid::from_raw).ok_or_else(|| {
                Problem::new(format!(
                    "the machine said {first:?} instead of its process id"
                ))
            })?;
            plug(pid)?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(b"go\n")?;
            }
            match next_line(&lines)?.as_str() {
                "up" => Ok(()),
                other => Err(Problem::new(format!("the machine said {other:?}")).into()),
            }
        })();
        shaken.map_err(|error: anyhow::Error| {
            kill_process_group(group, Signal::KILL).ok();
            let said = fs::read_to_string(&log_path).unwrap_or_default();
            let said = said.trim().replace('\n', "\n    ");
            let message = format!("machine {name} did not start\n    {said}");
            Problem::new(message)
                .because(error)
                .hint(format!("read {}", log_path.display()))
                .into()
        })
    }

    /// Removes the control groups that it leaves behind.
    ///
    /// # Errors
    /// When processes are still in them after 30 s.
    pub fn remove_cgroups(&self) -> anyhow::Result<()> {
        for group in self.spec.cgroup.leftovers() {
            let awaited = format!("cgroup {} to empty", group.display());
            poll::until(&awaited, END_DEADLINE, || {
                Ok(match remove_group(&group) {
                    Ok(()) => Answer::Done(()),
                    Err(error) => Answer::NotYet(error.to_string()),
                })
            })?;
        }
        Ok(())
    }

    /// Removes the cluster's own control groups, which hold those of its machines. Only when no
    /// machine of the cluster is being started: it would lose the place for its group.
    ///
    /// # Errors
    /// When another machine is still there.
    pub fn remove_cluster_cgroups(&self) -> anyhow::Result<()> {
        for group in self.spec.cgroup.leftovers() {
            if let Some(above) = group.parent() {
                remove_group(above)?;
            }
        }
        Ok(())
    }

    /// Where a path of the machine below `/etc` or `/var` is on the host.
    pub fn host_path(&self, path: &str) -> PathBuf {
        debug_assert!(
            path.starts_with("/etc/") || path.starts_with("/var/"),
            "{path}"
        );
        self.spec.directory.join(path.trim_start_matches('/'))
    }

    /// The command that runs another inside the machine.
    fn command(&self, words: &[impl AsRef<OsStr>]) -> anyhow::Result<Command> {
        let name = &self.spec.name;
        let pid = self.pid()?.ok_or_else(|| {
            Problem::new(format!("machine {name} does not run"))
                .hint("run `bootstrap up`: it starts what does not run")
        })?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", pid.as_raw_nonzero()))
            .args([
                "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--",
            ])
            .args(words)
            .env_clear()
            .envs([("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")]);
        Ok(command)
    }

    /// The log of one of its processes, or of `supervisor`, on the host.
    fn log_path(&self, process: &str) -> PathBuf {
        self.host_path(supervise::LOGS)
            .join(format!("{process}.log"))
    }
}

impl Machine for NativeMachine {
    fn name(&self) -> &NodeName {
        &self.spec.name
    }

    fn pid(&self) -> anyhow::Result<Option<Pid>> {
        holder::of(&lock_path(&self.spec.directory))
    }

    fn put(&self, path: &str, content: &[u8], mode: u32) -> anyhow::Result<Written> {
        let path = self.host_path(path);
        if fs::read(&path).is_ok_and(|old| old == content) {
            return Ok(Written::Unchanged);
        }
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        crate::state::write_atomically(&path, content, mode)?;
        Ok(Written::New)
    }

    fn run(&self, words: &[&str], stdin: &[u8], limit: Duration) -> anyhow::Result<Finished> {
        Ok(command::run(&mut self.command(words)?, stdin, limit)?)
    }

    /// Becomes the command, so that nothing stands between it and the terminal.
    fn attach(
        &self,
        words: &[OsString],
        environment: &[(&str, OsString)],
    ) -> anyhow::Result<Attached> {
        let mut command = self.command(words)?;
        command.envs(environment.iter().map(|(key, value)| (*key, value)));
        Err(Problem::new("failed to run `nsenter`")
            .because(command.exec())
            .into())
    }

    /// Namespaces have no console of their own: a shell is the nearest thing.
    fn console(&self) -> anyhow::Result<Attached> {
        let terminal = std::env::var_os("TERM").unwrap_or_else(|| "dumb".into());
        self.attach(&["bash".into(), "--login".into()], &[("TERM", terminal)])
    }

    fn processes(&self) -> anyhow::Result<Vec<Report>> {
        if self.pid()?.is_none() {
            return Ok(Vec::new());
        }
        match fs::read(self.host_path(supervise::STATUS)) {
            Ok(text) => Ok(serde_json::from_slice::<Status>(&text)?.processes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn logs(&self) -> Vec<String> {
        let processes = self.spec.processes.iter().map(|one| one.name.clone());
        ["supervisor".to_owned()]
            .into_iter()
            .chain(processes)
            .collect()
    }

    fn log(&self, name: &str, out: &mut dyn Write) -> anyhow::Result<()> {
        let path = self.log_path(name);
        for file in [previous(&path), path].iter().filter(|file| file.exists()) {
            io::copy(&mut File::open(file)?, out)?;
        }
        Ok(())
    }

    fn restart(&self, process: &str) -> anyhow::Result<()> {
        let running = self
            .processes()?
            .into_iter()
            .find(|one| one.name == process);
        if let Some(pid) = running.and_then(|one| one.pid) {
            self.run(&["sh", "-c", &format!("kill {pid}")], b"", KILL_DEADLINE)?;
        }
        Ok(())
    }

    fn stop(&self, ending: Ending) -> anyhow::Result<()> {
        let signal = match ending {
            Ending::Graceful => Signal::TERM,
            Ending::Immediate => Signal::KILL,
        };
        let what = format!("machine {}", self.spec.name);
        holder::end(
            &lock_path(&self.spec.directory),
            &what,
            signal,
            END_DEADLINE,
        )
    }
}

/// The lock of the machine in `directory`.
pub(super) fn lock_path(directory: &Path) -> PathBuf {
    directory.join("lock")
}

/// Reads lines on a thread of its own, so that waiting for one can have a deadline.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok).take(2) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn next_line(lines: &Receiver<String>) -> Result<String, Problem> {
    lines
        .recv_timeout(START_DEADLINE)
        .or_problem(|| Problem::new("the machine ended or said nothing within 30 s"))
}

/// Removes a cgroup directory with those below it; they hold no real files.
fn remove_group(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
