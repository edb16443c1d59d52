//! SHA-256 of files and of lists of values, in lower-case hexadecimal.

use std::io::{self, Read};
use std::path::Path;

use fs_err as fs;
use sha2::{Digest, Sha256};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// A file's hash and length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSum {
    /// Lower-case hexadecimal.
    pub(crate) hex: String,
    /// Bytes.
    pub(crate) size: u64,
}

/// Hashes a file.
pub(crate) fn of_file(path: &Path) -> io::Result<FileSum> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let read = file.read(&mut chunk)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        hasher.update(bytes);
        size += read as u64;
    }
    Ok(FileSum {
        hex: hex(&hasher.finalize()),
        size,
    })
}

/// The hash of bytes in memory.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Hashes a list of named values; no two different lists run into the same bytes.
#[derive(Debug, Default)]
pub(crate) struct ListHasher(Sha256);

impl ListHasher {
    /// Adds one value.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for bytes in [name.as_bytes(), value.as_ref()] {
            self.0.update((bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
        self
    }

    /// The hash of everything added.
    pub(crate) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_be_mistaken_for_two() {
        let one = ListHasher::default().with("a", "bc").finish();
        let other = ListHasher::default().with("ab", "c").finish();
        assert_ne!(one, other);
        assert_eq!(one.len(), 64);
    }

    #[test]
    fn of_file_is_sha256() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("abc");
        fs::write(&path, "abc").unwrap();
        let sum = of_file(&path).unwrap();
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            sum.hex,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(sum.size, 3);
    }
}
