//! Log files with a size cap: one file being written and the one before it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use fs_err::{self as fs, File, OpenOptions};

/// When a log file has this size, it becomes `<name>.1` and a new one begins: at most twice as much
/// lies on disk per process.
pub(super) const CAP: u64 = 8 << 20;

/// A file that never grows above its cap.
#[derive(Debug)]
pub(super) struct CappedLog {
    path: PathBuf,
    file: File,
    size: u64,
    cap: u64,
}

impl CappedLog {
    /// Opens `path` for appending; `cap` is in bytes.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn open(path: &Path, cap: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            cap,
        })
    }

    /// Appends one line (with its end).
    ///
    /// # Errors
    /// When the disk is full or the file cannot be turned over.
    pub(super) fn line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size > 0 && self.size + line.len() as u64 > self.cap {
            fs::rename(&self.path, previous(&self.path))?;
            *self = Self::open(&self.path, self.cap)?;
        }
        self.file.write_all(line)?;
        self.size += line.len() as u64;
        Ok(())
    }

    /// Copies lines from `source` until it ends. What cannot be written is dropped, because a full
    /// disk must not block the process that writes.
    pub(super) fn follow(&mut self, source: impl Read) {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        // A line without an end in 64 KiB is cut there, so memory stays bounded.
        while matches!(
            source.by_ref().take(64 << 10).read_until(b'\n', &mut line),
            Ok(1..)
        ) {
            drop(self.line(&line));
            line.clear();
        }
    }
}

/// Where the lines before the current file are.
pub(super) fn previous(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_turned_over_at_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubelet.log");
        let mut log = CappedLog::open(&path, 10).unwrap();
        log.follow(&b"one\ntwo\nthree\nfour\n"[..]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
        assert_eq!(fs::read_to_string(previous(&path)).unwrap(), "three\n");
    }

    #[test]
    fn a_log_is_continued() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubelet.log");
        CappedLog::open(&path, 100).unwrap().follow(&b"one\n"[..]);
        CappedLog::open(&path, 100).unwrap().follow(&b"two\n"[..]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }
}
