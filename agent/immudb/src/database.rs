//! Names of databases.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name (immudb `pkg/server/server.go`, `isValidDBName`).
const LONGEST: usize = 128;

/// The name of a database: 1 to 128 bytes of lower-case letters, digits and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatabaseName(String);

/// The text cannot be the name of a database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` cannot be the name of a database; hint: 1 to 128 lower-case letters, digits and `_`"
)]
pub struct InvalidDatabaseName {
    text: String,
}

impl DatabaseName {
    /// `systemdb`: users, permissions and settings. Every server has it; no listing shows it.
    pub fn system() -> Self {
        Self("systemdb".to_owned())
    }

    /// `defaultdb`, which every server has.
    pub fn default_database() -> Self {
        Self("defaultdb".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DatabaseName {
    type Err = InvalidDatabaseName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for DatabaseName {
    type Error = InvalidDatabaseName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let allowed = |c: char| c.is_lowercase() || c.is_numeric() || c == '_';
        if (1..=LONGEST).contains(&text.len()) && text.chars().all(allowed) {
            Ok(Self(text))
        } else {
            Err(InvalidDatabaseName { text })
        }
    }
}

impl From<DatabaseName> for String {
    fn from(name: DatabaseName) -> Self {
        name.0
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_rule_of_immudb() {
        let long = "a".repeat(128);
        for (text, valid) in [
            ("defaultdb", true),
            ("app_2", true),
            (long.as_str(), true),
            ("", false),
            ("App", false),
            ("a-b", false),
            ("a b", false),
            (&"a".repeat(129), false),
        ] {
            assert_eq!(text.parse::<DatabaseName>().is_ok(), valid, "{text}");
        }
    }
}
