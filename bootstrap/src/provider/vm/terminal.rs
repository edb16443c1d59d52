//! This terminal in raw mode: every key goes to the machine, and what the machine writes comes out as
//! it is.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Ctrl-], as telnet and virsh have it.
const ESCAPE: u8 = 0x1d;

/// Raw mode; ends when dropped.
#[derive(Debug)]
pub(super) struct Raw(Termios);

impl Raw {
    /// Begins if standard input is a terminal.
    pub(super) fn begin() -> io::Result<Option<Self>> {
        let Ok(former) = tcgetattr(io::stdin()) else {
            return Ok(None);
        };
        let mut raw = former.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(Self(former)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nobody is left to tell when the terminal has gone away.
        tcsetattr(io::stdin(), OptionalActions::Now, &self.0).ok();
    }
}

/// Rows and columns of the terminal on standard input.
pub(super) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdin()).ok()?;
    Some((size.ws_row, size.ws_col))
}

/// Copies both ways until the other side ends or Ctrl-] is typed.
pub(super) fn connect(stream: &UnixStream) -> io::Result<()> {
    let mut output = stream.try_clone()?;
    let closing = stream.try_clone()?;
    // Not waited for: it hangs in a read until this process ends.
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = io::stdin().lock().read(&mut chunk) {
            let typed = chunk.get(..count).unwrap_or_default();
            let (before, left) = until_escape(typed);
            if output.write_all(before).is_err() || left {
                break;
            }
        }
        closing.shutdown(std::net::Shutdown::Both).ok();
    });
    let mut input = stream;
    match io::copy(&mut input, &mut io::stdout().lock()) {
        // Whoever leaves while the machine writes is told so in this way.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        copied => copied.map(drop),
    }
}

/// What was typed before the escape, and whether it was typed.
fn until_escape(typed: &[u8]) -> (&[u8], bool) {
    match typed.iter().position(|&key| key == ESCAPE) {
        Some(at) => (typed.get(..at).unwrap_or_default(), true),
        None => (typed, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_ends_and_is_not_sent() {
        assert_eq!(until_escape(b"ls\r"), (&b"ls\r"[..], false));
        assert_eq!(until_escape(b"ls\x1dmore"), (&b"ls"[..], true));
    }
}
