//! What runs inside a virtual machine for `bootstrap`: compiled alone, statically and without any
//! crate, like pause.
//!
//! - `guest serve PORT` answers the questions of [`wire`] on a virtio serial port.
//! - `guest run NAME` becomes the process that `/etc/immuops/processes/NAME` describes, as soon as
//!   the files that it needs exist.
//! - As the first process of a machine without a disk it says that the machine runs, and ends: how
//!   `bootstrap` finds out whether guests run here at all.

mod wire;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use wire::Message;

/// What the probe guest prints; `bootstrap` looks for it.
const ALIVE: &str = "immuops: the guest runs\n";
/// Where processes are described.
const PROCESSES: &str = "/etc/immuops/processes";
/// How often something that nobody announces is looked for.
const INTERVAL: Duration = Duration::from_millis(200);
/// How often a port reads as ended, one after the other, until its other side counts as gone.
const ENDS: u32 = 5;
/// How much output one message carries at most.
const CHUNK: usize = 32 << 10;
/// The longest line that is read; a file comes in one line.
const LONGEST_LINE: u64 = 16 << 20;
/// Messages of input or output that wait for their reader.
const QUEUE: usize = 16;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["serve", port] => serve_port(Path::new(port)),
        ["run", name] => run(name),
        _ if std::process::id() == 1 => {
            // The kernel then panics and, told so on its command line, ends the machine.
            io::stdout().write_all(ALIVE.as_bytes())
        }
        _ => Err(io::Error::other("usage: guest serve PORT | run NAME")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed log is no reason to end in another way.
            drop(writeln!(io::stderr(), "error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Serves one port for as long as the machine runs.
fn serve_port(path: &Path) -> io::Result<()> {
    // udev makes the name some time after the kernel makes the port.
    while !path.exists() {
        thread::park_timeout(INTERVAL);
    }
    let mut port = OpenOptions::new().read(true).write(true).open(path)?;
    let mut first = [0];
    loop {
        // A port whose other side is not connected reads as ended. Most are idle most of the time, so
        // that costs one read and no thread.
        match port.read(&mut first)? {
            0 => thread::park_timeout(INTERVAL),
            _ => serve(
                io::Cursor::new(first).chain(port.try_clone()?),
                port.try_clone()?,
            )?,
        }
    }
}

/// What can happen while a port is served.
enum Event {
    /// The host said something.
    Asked(Message),
    /// The host went away.
    Gone,
    /// The command of a session wrote something, or ended after everything it wrote was told.
    Tell(Message),
}

/// The command that runs for a session.
struct Running {
    session: String,
    pid: u32,
    /// Closed when the host has said everything.
    input: Option<Sender<Vec<u8>>>,
}

/// Answers until the other side goes away; what still runs for it then is killed.
pub(crate) fn serve(read: impl Read + Send + 'static, mut write: impl Write) -> io::Result<()> {
    let (sender, events) = sync_channel(QUEUE);
    let asked = sender.clone();
    thread::spawn(move || listen(read, &asked));
    let mut running: Option<Running> = None;
    for event in &events {
        match event {
            Event::Asked(message) => {
                let answer = ask(&message, &mut running, &sender);
                if let Some(answer) = answer {
                    write.write_all(answer.line().as_bytes())?;
                }
            }
            Event::Tell(told) => {
                // A command that was killed for the next one may still tell something.
                let current = running
                    .as_ref()
                    .is_some_and(|one| one.session == told.session);
                if current {
                    write.write_all(told.line().as_bytes())?;
                }
                if current && told.verb == "exit" {
                    running = None;
                }
            }
            Event::Gone => {
                if let Some(Running { pid, .. }) = running.take() {
                    kill_group(pid);
                }
                break;
            }
        }
    }
    Ok(())
}

/// Passes on what the host says until it is gone for a second.
///
/// The kernel learns of a connection in another way than of what is said over it, and later: a port can
/// read as ended, for the session before, when the next question has come already.
fn listen(read: impl Read, sender: &SyncSender<Event>) {
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    let mut ends = 0;
    while ends < ENDS {
        let mut rest = read.by_ref().take(LONGEST_LINE);
        match rest.read_until(b'\n', &mut line) {
            Ok(0) => {
                ends += 1;
                thread::park_timeout(INTERVAL);
                continue;
            }
            Ok(_) => ends = 0,
            Err(_) => break,
        }
        let whole = line.ends_with(b"\n");
        if let Some(message) = Message::parse(&line).filter(|_| whole)
            && sender.send(Event::Asked(message)).is_err()
        {
            return;
        }
        if whole || line.len() as u64 >= LONGEST_LINE {
            line.clear();
        }
    }
    // Nobody listens any more only when serving ended by itself.
    drop(sender.send(Event::Gone));
}

/// Carries a message out; gives the answer if that is known at once.
fn ask(
    message: &Message,
    running: &mut Option<Running>,
    sender: &SyncSender<Event>,
) -> Option<Message> {
    let Message {
        session,
        verb,
        fields,
    } = message;
    let failed = |error: &dyn std::fmt::Display| {
        Some(Message::new(
            session,
            "failed",
            &[error.to_string().as_bytes()],
        ))
    };
    match (verb.as_str(), fields.as_slice()) {
        ("put", [path, mode, content]) => match put(path, mode, content) {
            Ok(()) => Some(Message::new(session, "done", &[])),
            Err(error) => failed(&error),
        },
        ("run", [program, arguments @ ..]) => {
            if let Some(Running { pid, .. }) = running.take() {
                // The host gave up on it: it asks the next question without an answer.
                kill_group(pid);
            }
            match start(session, program, arguments, sender) {
                Ok((pid, input)) => {
                    *running = Some(Running {
                        session: session.clone(),
                        pid,
                        input: Some(input),
                    });
                    None
                }
                Err(error) => failed(&error),
            }
        }
        ("in", [bytes]) => {
            let own = running.as_ref().filter(|one| one.session == *session);
            if let Some(input) = own.and_then(|one| one.input.as_ref()) {
                // A command may end without reading its input.
                drop(input.send(bytes.clone()));
            }
            None
        }
        ("eof", []) => {
            if let Some(one) = running.as_mut().filter(|one| one.session == *session) {
                one.input = None;
            }
            None
        }
        _ => failed(&"not understood"),
    }
}

/// Writes a file so that it has either its old or its new content.
fn put(path: &[u8], mode: &[u8], content: &[u8]) -> io::Result<()> {
    let path = text(path)?;
    let mode = u32::from_str_radix(text(mode)?, 8).map_err(io::Error::other)?;
    let path = Path::new(path);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let fresh = path.with_extension("immuops-new");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    fs::rename(fresh, path)
}

fn text(bytes: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(bytes).map_err(io::Error::other)
}

/// Starts a command in a process group of its own.
fn start(
    session: &str,
    program: &[u8],
    arguments: &[Vec<u8>],
    sender: &SyncSender<Event>,
) -> io::Result<(u32, Sender<Vec<u8>>)> {
    let mut command = Command::new(text(program)?);
    for argument in arguments {
        command.arg(text(argument)?);
    }
    let mut child = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::other(format!("{}: {error}", text(program).unwrap_or("?"))))?;
    let (input, bytes) = channel();
    if let Some(stdin) = child.stdin.take() {
        thread::spawn(move || feed(stdin, &bytes));
    }
    let pid = child.id();
    let (session, sender) = (session.to_owned(), sender.clone());
    thread::spawn(move || follow(&session, child, &sender));
    Ok((pid, input))
}

fn feed(mut stdin: impl Write, bytes: &Receiver<Vec<u8>>) {
    for bytes in bytes {
        if stdin.write_all(&bytes).is_err() {
            break;
        }
    }
}

/// Tells what a command writes, then how it ended.
fn follow(session: &str, mut child: Child, sender: &SyncSender<Event>) {
    let copy = |verb, pipe: Option<Box<dyn Read + Send>>| {
        let (session, sender) = (session.to_owned(), sender.clone());
        thread::spawn(move || {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = vec![0; CHUNK];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                let bytes = buffer.get(..count).unwrap_or_default();
                let told = Message::new(&session, verb, &[bytes]);
                if sender.send(Event::Tell(told)).is_err() {
                    break;
                }
            }
        })
    };
    let out = child
        .stdout
        .take()
        .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
    let err = child
        .stderr
        .take()
        .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
    let threads = [copy("out", out), copy("err", err)];
    let status = child.wait();
    for thread in threads {
        // A thread that panicked has nothing more to tell.
        drop(thread.join());
    }
    let code = status.map_or(1, |status| {
        let signal = status.signal().map(|signal| 128 + signal);
        status.code().or(signal).unwrap_or(1)
    });
    let told = Message::new(session, "exit", &[code.to_string().as_bytes()]);
    drop(sender.send(Event::Tell(told)));
}

/// Kills everything in a process group. By the shell, because the standard library cannot.
fn kill_group(pid: u32) {
    let kill = format!("kill -KILL -{pid}");
    drop(Command::new("sh").args(["-c", &kill]).status());
}

/// Becomes a process of the node.
fn run(name: &str) -> io::Result<()> {
    let file = Path::new(PROCESSES).join(name);
    // Comes with the files of this machine.
    while !file.exists() {
        thread::park_timeout(INTERVAL);
    }
    let mut lines = Vec::new();
    for line in BufReader::new(File::open(&file)?).lines() {
        lines.push(line?);
    }
    let words = |kind: &str| -> Vec<&str> {
        let of_kind = lines.iter().filter_map(|line| line.split_once(' '));
        of_kind
            .filter(|(key, _)| *key == kind)
            .map(|(_, word)| word)
            .collect()
    };
    for path in words("require") {
        while !Path::new(path).exists() {
            thread::park_timeout(INTERVAL);
        }
    }
    if let [program, arguments @ ..] = words("prepare").as_slice() {
        let status = Command::new(program).args(arguments).status()?;
        if !status.success() {
            return Err(io::Error::other(format!("{program} failed with {status}")));
        }
    }
    notify()?;
    let command = words("command");
    let [program, arguments @ ..] = command.as_slice() else {
        return Err(io::Error::other(format!(
            "{} has no command",
            file.display()
        )));
    };
    Err(Command::new(program).args(arguments).exec())
}

/// Tells systemd that the process is no longer waiting (`sd_notify(3)`).
fn notify() -> io::Result<()> {
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET") {
        UnixDatagram::unbound()?.send_to(b"READY=1", path)?;
    }
    Ok(())
}
