//! How many objects one reconciliation may delete.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `spec.pruneLimit` of a Sync.
///
/// A limit is measured against what git wants, never against what the Sync had before: objects that are kept because of
/// the limit stay in the inventory, next to those that replaced them, and a share of that sum would let them go one
/// reconciliation later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PruneLimit {
    /// Not set: 5 objects, or half as many as git wants if that is more; none when git wants nothing.
    #[default]
    Default,
    /// That many objects.
    Objects(usize),
    /// That share, 0 to 100, of the objects that git wants and those that left it, rounded up.
    Percent(u8),
}

/// The text is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no limit for pruning\nhint: write a number of objects (`20`) or a share of them (`100%`)"
)]
pub struct ParseLimitError {
    text: String,
}

/// Without a limit of its own, a Sync may always lose this many objects, unless git wants nothing at all.
const ALWAYS_ALLOWED: usize = 5;

impl PruneLimit {
    /// How many objects may be deleted when git wants `desired` and `stale` ones left it.
    pub(crate) fn allowed(self, desired: usize, stale: usize) -> usize {
        match self {
            Self::Objects(count) => count,
            Self::Percent(percent) => ((desired + stale) * usize::from(percent)).div_ceil(100),
            Self::Default if desired == 0 => 0,
            Self::Default => ALWAYS_ALLOWED.max(desired / 2),
        }
    }
}

impl FromStr for PruneLimit {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseLimitError {
            text: text.to_owned(),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match text.strip_suffix('%') {
            Some(share) if digits(share) => {
                let percent = share.parse().map_err(|_| error())?;
                if percent <= 100 {
                    Ok(Self::Percent(percent))
                } else {
                    Err(error())
                }
            }
            None if digits(text) => text.parse().map(Self::Objects).map_err(|_| error()),
            Some(_) | None => Err(error()),
        }
    }
}

impl fmt::Display for PruneLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => Ok(()),
            Self::Objects(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for PruneLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Default => serializer.serialize_none(),
            Self::Objects(_) | Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for PruneLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<String>::deserialize(deserializer)? {
            None => Ok(Self::Default),
            Some(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed() {
        let cases = [
            ("few", PruneLimit::Default, 4, 9, 5),
            ("half of many", PruneLimit::Default, 100, 60, 50),
            ("git is empty", PruneLimit::Default, 0, 1, 0),
            ("objects", PruneLimit::Objects(7), 0, 9, 7),
            ("percent rounds up", PruneLimit::Percent(10), 9, 2, 2),
            ("all", PruneLimit::Percent(100), 0, 3, 3),
            ("none", PruneLimit::Objects(0), 3, 3, 0),
        ];
        for (case, limit, desired, stale, expected) in cases {
            assert_eq!(limit.allowed(desired, stale), expected, "{case}");
        }
    }

    #[test]
    fn written_forms() {
        for (text, limit) in [
            ("0", PruneLimit::Objects(0)),
            ("12", PruneLimit::Objects(12)),
            ("50%", PruneLimit::Percent(50)),
        ] {
            assert_eq!(text.parse(), Ok(limit));
            assert_eq!(limit.to_string(), text);
            let json = serde_json::to_string(&limit).unwrap();
            assert_eq!(serde_json::from_str::<PruneLimit>(&json).unwrap(), limit);
        }
        assert_eq!(
            serde_json::from_str::<PruneLimit>("null").unwrap(),
            PruneLimit::Default
        );
        for text in [
            "",
            "%",
            "101%",
            "-1",
            "+5",
            "all",
            "5 %",
            "99999999999999999999",
        ] {
            assert!(text.parse::<PruneLimit>().is_err(), "{text}");
        }
    }
}
