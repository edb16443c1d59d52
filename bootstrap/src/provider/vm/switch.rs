//! The network between virtual machines: one process that passes frames on, by unix sockets.
//!
//! Every machine's QEMU sends each frame as one datagram to the socket `switch` and receives on a
//! socket of its own beside it. Like any switch it learns which address is where, and sends what it
//! cannot place to everybody. Sockets live in a directory that only the owner can enter, so nobody
//! else on the host can listen or send. Machines and switch may start and end in any order.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fs_err as fs;
use rustix::process::setsid;

use crate::machine::holder;
use crate::poll::{self, Answer};
use crate::problem::{OrProblem, Problem};

/// The socket that machines send to.
pub(super) const SOCKET: &str = "switch";
/// How the socket of a machine ends.
const MACHINE: &str = "lan";
/// A frame with every offload that virtio has fits.
const LONGEST_FRAME: usize = 96 << 10;
/// How long one slow receiver may hold up the others before its frame is dropped.
const PATIENCE: Duration = Duration::from_millis(50);
/// More addresses than machines have: beyond it something is wrong, and all are learned anew.
const MOST_ADDRESSES: usize = 4096;
const START_DEADLINE: Duration = Duration::from_secs(10);

/// A hardware address.
type Address = [u8; 6];

/// The lock that the switch holds while it runs.
pub(super) fn lock(sockets: &Path) -> PathBuf {
    sockets.join("switch.lock")
}

/// Starts the switch of a directory of sockets unless it runs. It outlives this process.
///
/// # Errors
/// When it does not start; what it said is in the error.
pub(super) fn ensure(sockets: &Path) -> anyhow::Result<()> {
    if !sockets.exists() {
        fs::create_dir(sockets)?;
        fs::set_permissions(sockets, PermissionsExt::from_mode(0o700))?;
    }
    if holder::of(&lock(sockets))?.is_some() {
        return Ok(());
    }
    let log = sockets.join("switch.log");
    let mut child = Command::new(std::env::current_exe()?)
        .args(["machine", "switch"])
        .arg(sockets)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?.into_file())
        .spawn()
        .or_problem(|| Problem::new("failed to start the switch"))?;
    poll::until("the switch", START_DEADLINE, || {
        if let Some(status) = child.try_wait()? {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let message = format!("the switch ended with {status}: {}", said.trim());
            return Err(Problem::new(message).into());
        }
        let ready = holder::of(&lock(sockets))?.is_some() && sockets.join(SOCKET).exists();
        Ok(if ready {
            Answer::Done(())
        } else {
            Answer::NotYet("it does not listen".into())
        })
    })
}

/// Is the switch until it is killed.
///
/// # Errors
/// When another process is, or its socket fails.
pub fn run(sockets: &Path) -> anyhow::Result<Infallible> {
    rustix::process::chdir(sockets)?;
    // The terminal that `up` runs on must not end it.
    setsid().ok();
    let own = std::process::id().to_string();
    let _lock = holder::take(&lock(Path::new("")), &own, "the switch")?;
    if Path::new(SOCKET).exists() {
        fs::remove_file(SOCKET)?;
    }
    let socket = UnixDatagram::bind(SOCKET)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut table = Table::default();
    let mut frame = vec![0; LONGEST_FRAME];
    loop {
        let (length, from) = socket.recv_from(&mut frame)?;
        let Some(from) = from.as_pathname().map(Path::as_os_str) else {
            continue;
        };
        let Some(frame) = frame.get(..length) else {
            continue;
        };
        let receivers = match table.pass(frame, from) {
            Pass::To(one) => vec![one],
            Pass::Everybody => others(from)?,
            Pass::Nobody => Vec::new(),
        };
        for receiver in receivers {
            // One that has ended or does not keep up loses the frame, as on any network.
            socket.send_to(frame, &receiver).ok();
        }
    }
}

/// The sockets of all machines but one.
fn others(from: &OsStr) -> anyhow::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(".")? {
        let name = entry?.file_name();
        if name != from && Path::new(&name).extension() == Some(OsStr::new(MACHINE)) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Which address is behind which socket.
#[derive(Debug, Default)]
struct Table(BTreeMap<Address, OsString>);

/// Where a frame goes.
#[derive(Debug, PartialEq, Eq)]
enum Pass {
    To(OsString),
    Everybody,
    Nobody,
}

impl Table {
    /// Learns from a frame where its sender is and decides where it goes.
    fn pass(&mut self, frame: &[u8], from: &OsStr) -> Pass {
        let address =
            |from: usize| -> Option<Address> { frame.get(from..from + 6)?.try_into().ok() };
        let (Some(to), Some(sender)) = (address(0), address(6)) else {
            return Pass::Nobody;
        };
        if self.0.len() >= MOST_ADDRESSES {
            self.0.clear();
        }
        // A group address (IEEE 802.3: the lowest bit of the first byte) is nobody's own.
        if sender.first().is_some_and(|byte| byte & 1 == 0) {
            self.0.insert(sender, from.to_owned());
        }
        match self.0.get(&to) {
            Some(place) if place == from => Pass::Nobody,
            Some(place) => Pass::To(place.clone()),
            None => Pass::Everybody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(to: Address, from: Address) -> Vec<u8> {
        [to.as_slice(), from.as_slice(), b"data"].concat()
    }

    #[test]
    fn it_learns_who_is_where() {
        let (one, two, all) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [0xff; 6]);
        let (n1, n2) = (OsStr::new("n1.lan"), OsStr::new("n2.lan"));
        let mut table = Table::default();
        assert_eq!(table.pass(&frame(two, one), n1), Pass::Everybody);
        assert_eq!(table.pass(&frame(one, two), n2), Pass::To(n1.to_owned()));
        assert_eq!(table.pass(&frame(two, one), n1), Pass::To(n2.to_owned()));
        assert_eq!(table.pass(&frame(all, one), n1), Pass::Everybody);
        // What is behind the socket it came from has been there already.
        assert_eq!(table.pass(&frame(one, one), n1), Pass::Nobody);
        // A machine that moved is found at its new place.
        assert_eq!(table.pass(&frame(one, two), n1), Pass::Nobody);
        assert_eq!(table.pass(b"short", n1), Pass::Nobody);
    }
}
