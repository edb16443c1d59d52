//! Sockets by a directory and a short name in it: a socket's name has 107 bytes at most, a state
//! directory may have a longer path.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Connects to the socket `name` in `directory`.
///
/// # Errors
/// As [`UnixStream::connect`].
pub(super) fn connect(directory: &Path, name: &str) -> io::Result<UnixStream> {
    let directory = fs_err::File::open(directory)?;
    let short = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    UnixStream::connect(short)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_long_path_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let long = directory.path().join("d".repeat(120));
        fs_err::create_dir(&long).unwrap();
        let handle = fs_err::File::open(&long).unwrap();
        let short = format!("/proc/self/fd/{}/s", handle.as_raw_fd());
        let _listener = UnixListener::bind(short).unwrap();
        connect(&long, "s").unwrap();
        connect(&long, "t").unwrap_err();
    }
}
