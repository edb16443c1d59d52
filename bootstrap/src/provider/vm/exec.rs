//! Questions to a running machine over its serial ports; see [`super::wire`] for what is said.
//!
//! A port answers one question at a time and QEMU lets one process use it, so a machine has several
//! ports, each with a lock on the host; whoever asks takes the first that is free.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use fs_err::File;

use super::spec::VmSpec;
use super::wire::Message;
use super::{qemu, sockets};
use crate::bundle::LANES;
use crate::command::{Finished, last_lines};
use crate::digest;
use crate::machine::{Attached, holder};
use crate::poll::{self, Answer};
use crate::problem::{OrProblem, Problem};

/// How long to wait for a free port.
const LANE_DEADLINE: Duration = Duration::from_mins(1);
/// How long the guest may take to read what is written to it, with KVM.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// How much input one message carries.
const CHUNK: usize = 16 << 10;
/// The most that is kept of what a command writes.
const MOST_OUTPUT: usize = 64 << 20;

/// One open port.
#[derive(Debug)]
pub(super) struct Lane {
    machine: String,
    session: String,
    stream: UnixStream,
    read: BufReader<UnixStream>,
    line: Vec<u8>,
    /// Held while the port is used.
    lock: Option<File>,
}

impl Lane {
    /// Takes a free port of a running machine.
    ///
    /// # Errors
    /// When none gets free within a minute, or the machine does not take the connection.
    pub(super) fn open(spec: &VmSpec) -> anyhow::Result<Self> {
        let name = &spec.name;
        let (lane, lock) = poll::until(&format!("a free port of {name}"), LANE_DEADLINE, || {
            for lane in 0..LANES {
                let lock = spec.file(&format!("exec.{lane}.lock"));
                let own = std::process::id().to_string();
                if let Ok(lock) = holder::take(&lock, &own, "the port") {
                    return Ok(Answer::Done((lane, lock)));
                }
            }
            Ok(Answer::NotYet("all are used by other commands".into()))
        })?;
        let socket = qemu::socket(spec, &format!("exec.{lane}"));
        let stream = sockets::connect(&spec.sockets, &socket).or_problem(|| {
            Problem::new(format!("machine {name} does not take a question"))
                .hint("run `bootstrap start`: it starts what does not run")
        })?;
        let limit = spec.accelerator.scale(WRITE_DEADLINE);
        let mut lane = Self::over(stream, name.as_str(), limit)?;
        lane.lock = Some(lock);
        Ok(lane)
    }

    /// Speaks over a connection.
    fn over(stream: UnixStream, machine: &str, limit: Duration) -> anyhow::Result<Self> {
        stream.set_write_timeout(Some(limit))?;
        let read = BufReader::new(stream.try_clone()?);
        let mut lane = Self {
            machine: machine.to_owned(),
            session: digest::hex(&crate::random::bytes::<8>()?),
            stream,
            read,
            line: Vec::new(),
            lock: None,
        };
        // Ends a line that someone else left unfinished.
        lane.write(b"\n")?;
        Ok(lane)
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// When the guest says why not, or nothing within `limit`.
    pub(super) fn put(
        &mut self,
        path: &str,
        content: &[u8],
        mode: u32,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let mode = format!("{mode:o}");
        self.say("put", &[path.as_bytes(), mode.as_bytes(), content])?;
        let answer = self.next(Instant::now() + limit)?;
        match answer.as_ref().map(|message| message.verb.as_str()) {
            Some("done") => Ok(()),
            _ => Err(self
                .refused(&format!("write {path}"), answer.as_ref(), limit)
                .into()),
        }
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it fails, with the last lines of what it wrote, or outlasts `limit`.
    pub(super) fn run(
        mut self,
        words: &[&str],
        stdin: &[u8],
        limit: Duration,
    ) -> anyhow::Result<Finished> {
        let shown = words.join(" ");
        let bytes: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.say("run", &bytes)?;
        let end = Instant::now() + limit;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = thread::scope(|scope| -> anyhow::Result<u8> {
            let input = self.input()?;
            scope.spawn(move || input.feed(stdin));
            loop {
                let Some(message) = self.next(end)? else {
                    return Err(self.refused(&format!("run `{shown}`"), None, limit).into());
                };
                let field = message
                    .fields
                    .first()
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                match message.verb.as_str() {
                    "out" if out.len() < MOST_OUTPUT => out.extend_from_slice(field),
                    "err" if err.len() < MOST_OUTPUT => err.extend_from_slice(field),
                    "out" | "err" => {}
                    "exit" => return Ok(code(field)),
                    _ => {
                        let what = format!("run `{shown}`");
                        return Err(self.refused(&what, Some(&message), limit).into());
                    }
                }
            }
        })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if code == 0 {
            return Ok(Finished { stdout: text(&out) });
        }
        let said = if err.trim_ascii().is_empty() {
            out
        } else {
            err
        };
        Err(Problem::new(format!(
            "`{shown}` on {} failed with exit code {code}{}",
            self.machine,
            last_lines(&text(&said))
        ))
        .into())
    }

    /// Runs a command with what `input` gives as its input, writing to `out` and `err`, however long
    /// it takes.
    ///
    /// # Errors
    /// When it cannot be started or the machine ends.
    pub(super) fn attach(
        mut self,
        words: &[&str],
        mut input: impl Read + Send + 'static,
        mut out: impl Write,
        mut err: impl Write,
    ) -> anyhow::Result<Attached> {
        let bytes: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.say("run", &bytes)?;
        let feed = self.input()?;
        // Not waited for: it hangs in a read until this process ends.
        thread::spawn(move || {
            let mut chunk = vec![0; CHUNK];
            while let Ok(count @ 1..) = input.read(&mut chunk) {
                if feed
                    .say("in", &[chunk.get(..count).unwrap_or_default()])
                    .is_err()
                {
                    return;
                }
            }
            // The command may have ended meanwhile.
            drop(feed.say("eof", &[]));
        });
        self.stream.set_read_timeout(None)?;
        loop {
            let Some(message) = self.read_message()? else {
                let text = format!("machine {} ended", self.machine);
                return Err(Problem::new(text).into());
            };
            let field = message
                .fields
                .first()
                .map(Vec::as_slice)
                .unwrap_or_default();
            match message.verb.as_str() {
                "out" => {
                    out.write_all(field)?;
                    out.flush()?;
                }
                "err" => {
                    err.write_all(field)?;
                    err.flush()?;
                }
                "exit" => return Ok(Attached { code: code(field) }),
                _ => {
                    let what = format!("run `{}`", words.join(" "));
                    return Err(self.refused(&what, Some(&message), Duration::ZERO).into());
                }
            }
        }
    }

    fn input(&self) -> anyhow::Result<Input> {
        Ok(Input {
            session: self.session.clone(),
            stream: self.stream.try_clone()?,
        })
    }

    fn say(&mut self, verb: &str, fields: &[&[u8]]) -> anyhow::Result<()> {
        let line = Message::new(&self.session, verb, fields).line();
        self.write(line.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let name = &self.machine;
        Ok(self.stream.write_all(bytes).or_problem(|| {
            Problem::new(format!("machine {name} does not read its port")).hint(format!(
                "see whether it hangs: `bootstrap logs {name} serial`"
            ))
        })?)
    }

    /// The next message of this session; `None` when `end` comes first or the machine ends.
    fn next(&mut self, end: Instant) -> anyhow::Result<Option<Message>> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        self.stream.set_read_timeout(Some(left))?;
        match self.read_message() {
            Err(error) if is_timeout(&error) => Ok(None),
            other => Ok(other?),
        }
    }

    /// The next message of this session; what is left of others is skipped. What was read of a line
    /// before an error is kept for the next call.
    fn read_message(&mut self) -> io::Result<Option<Message>> {
        loop {
            if self.read.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            let message = Message::parse(&self.line);
            self.line.clear();
            if let Some(message) = message.filter(|one| one.session == self.session) {
                return Ok(Some(message));
            }
        }
    }

    fn refused(&self, what: &str, answer: Option<&Message>, limit: Duration) -> Problem {
        let name = &self.machine;
        match answer {
            Some(Message { verb, fields, .. }) if verb == "failed" => {
                let why = fields.first().map(Vec::as_slice).unwrap_or_default();
                let why = String::from_utf8_lossy(why);
                Problem::new(format!("machine {name} failed to {what}: {why}"))
            }
            Some(_) | None => Problem::new(format!(
                "machine {name} did not {what} within {} s",
                limit.as_secs()
            ))
            .hint(format!("see what it does: `bootstrap logs {name} serial`")),
        }
    }
}

/// What a command reads.
struct Input {
    session: String,
    stream: UnixStream,
}

impl Input {
    fn say(&self, verb: &str, fields: &[&[u8]]) -> io::Result<()> {
        let line = Message::new(&self.session, verb, fields).line();
        (&self.stream).write_all(line.as_bytes())
    }

    /// A command may end without reading its input; its exit code says whether that is bad.
    fn feed(&self, bytes: &[u8]) {
        for chunk in bytes.chunks(CHUNK) {
            if self.say("in", &[chunk]).is_err() {
                return;
            }
        }
        drop(self.say("eof", &[]));
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn code(field: &[u8]) -> u8 {
    let text = std::str::from_utf8(field).unwrap_or_default();
    text.parse().unwrap_or(1)
}

#[cfg(test)]
#[expect(
    dead_code,
    clippy::disallowed_methods,
    clippy::duplicate_mod,
    reason = "a program of its own that is compiled without crates"
)]
#[path = "../../../bundle/machine/guest.rs"]
mod guest;

#[cfg(test)]
mod tests {
    use super::*;

    /// A lane to the guest's own code.
    fn lane() -> Lane {
        let (host, machine) = UnixStream::pair().unwrap();
        let read = machine.try_clone().unwrap();
        thread::spawn(move || guest::serve(read, machine));
        Lane::over(host, "n1", LIMIT).unwrap()
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn input_goes_in_and_output_comes_out() {
        // More than any buffer on the way, in both directions at the same time.
        let input = "0123456789abcdef".repeat(40_000);
        let finished = lane().run(&["cat"], input.as_bytes(), LIMIT).unwrap();
        assert!(finished.stdout == input, "{} bytes", finished.stdout.len());
    }

    #[test]
    fn a_failure_shows_what_the_command_said() {
        let error = lane().run(&["sh", "-c", "echo why >&2; exit 3"], b"", LIMIT);
        assert_eq!(
            error.unwrap_err().to_string(),
            "`sh -c echo why >&2; exit 3` on n1 failed with exit code 3\n    why"
        );
        let error = lane().run(&["no-such-program"], b"", LIMIT).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("machine n1 failed to run `no-such-program`: "),
            "{error}"
        );
    }

    #[test]
    fn a_command_that_hangs_is_given_up_and_killed() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        let script = format!(
            "mkfifo {0}; echo ready > {0} & exec sleep 600",
            fifo.display()
        );
        let error = lane().run(&["sh", "-c", &script], b"", Duration::from_millis(500));
        let text = error.unwrap_err().to_string();
        assert!(text.ends_with("within 0 s"), "{text}");
    }

    #[test]
    fn what_another_session_left_is_no_answer() {
        let (host, mut machine) = UnixStream::pair().unwrap();
        machine
            .write_all(b"half a line of another session\nother exit MA==\n")
            .unwrap();
        let read = machine.try_clone().unwrap();
        thread::spawn(move || guest::serve(read, machine));
        let lane = Lane::over(host, "n1", LIMIT).unwrap();
        assert_eq!(
            lane.run(&["echo", "mine"], b"", LIMIT).unwrap().stdout,
            "mine\n"
        );
    }

    /// A port as the guest's kernel shows it: it reads as ended before the first byte of a question,
    /// and in the middle of it.
    struct Stuttering {
        port: UnixStream,
        ends: bool,
    }

    impl Read for Stuttering {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.ends = !self.ends;
            let most = if self.ends { 0 } else { into.len().min(40) };
            self.port.read(&mut into[..most])
        }
    }

    #[test]
    fn a_port_that_reads_as_ended_may_go_on() {
        let (host, machine) = UnixStream::pair().unwrap();
        let port = machine.try_clone().unwrap();
        let read = Stuttering { port, ends: false };
        thread::spawn(move || guest::serve(read, machine));
        let lane = Lane::over(host, "n1", LIMIT).unwrap();
        assert_eq!(
            lane.run(&["echo", "mine"], b"", LIMIT).unwrap().stdout,
            "mine\n"
        );
    }

    #[test]
    fn files_arrive_whole_and_with_their_mode() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/key.pem");
        let mut lane = lane();
        let text = path.to_str().unwrap();
        lane.put(text, b"secret\n\0", 0o600, LIMIT).unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"secret\n\0");
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // The same lane, and a place where no file can be.
        let error = lane.put("/proc/no/file", b"", 0o600, LIMIT).unwrap_err();
        assert!(
            error.to_string().contains("failed to write /proc/no/file"),
            "{error}"
        );
    }

    #[test]
    fn an_attached_command_gives_its_exit_code() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let script = "cat; echo wrong >&2; exit 7";
        let ended = lane()
            .attach(
                &["sh", "-c", script],
                io::Cursor::new(b"in"),
                &mut out,
                &mut err,
            )
            .unwrap();
        assert_eq!(
            (ended.code, out, err),
            (7, b"in".to_vec(), b"wrong\n".to_vec())
        );
    }
}
