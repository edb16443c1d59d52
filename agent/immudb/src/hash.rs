//! SHA-256 sums.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Length of a sum in bytes.
const LENGTH: usize = 32;

/// A SHA-256 sum. Shown and stored as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; LENGTH]);

/// The text or bytes are not a SHA-256 sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 sum: 32 bytes, or 64 hexadecimal digits, are needed")]
pub struct InvalidHash;

impl Hash {
    /// All bits zero: what immudb has where there is nothing to hash.
    pub(crate) const ZERO: Self = Self([0; LENGTH]);

    /// The sum of the parts, one after the other.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = InvalidHash;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self).map_err(|_| InvalidHash)
    }
}

impl FromStr for Hash {
    type Err = InvalidHash;

    fn from_str(digits: &str) -> Result<Self, Self::Err> {
        let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
            return Err(InvalidHash);
        };
        let value = |digit: u8| char::from(digit).to_digit(16);
        let bytes: Option<Vec<u8>> = pairs
            .iter()
            .map(|&[high, low]| u8::try_from(value(high)? << 4 | value(low)?).ok())
            .collect();
        Self::try_from(bytes.ok_or(InvalidHash)?.as_slice())
    }
}

impl TryFrom<String> for Hash {
    type Error = InvalidHash;

    fn try_from(digits: String) -> Result<Self, Self::Error> {
        digits.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let empty = Hash::of(&[]);
        let digits = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(empty.to_string(), digits);
        assert_eq!(digits.parse(), Ok(empty));
        assert_eq!(digits.to_uppercase().parse(), Ok(empty));
        for text in ["", "e3", "e3b", &format!("{digits}00"), "é"] {
            assert_eq!(text.parse::<Hash>(), Err(InvalidHash), "{text}");
        }
    }
}
