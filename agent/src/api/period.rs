//! Lengths of time as users write them in a Sync: `30s`, `1m`, `1h30m` (Go's syntax, as in Flux).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the API server accepts, before the range is checked here.
const PATTERN: &str = "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$";

/// The longest period anybody may ask for.
const LONGEST: Duration = Duration::from_hours(24 * 30);

/// A length of time between 1 ms and 30 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Period(Duration);

/// The text is no period.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{text}` is not a length of time between 1ms and 720h; hint: write it like 30s, 5m or 1h30m"
)]
pub(crate) struct InvalidPeriod {
    text: String,
}

impl Period {
    /// Parses `1h30m`; numbers may have a fraction, units are `ms`, `s`, `m` and `h`.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPeriod> {
        let invalid = || InvalidPeriod {
            text: text.to_owned(),
        };
        let mut rest = text;
        let mut seconds = 0.0_f64;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .ok_or_else(invalid)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let scale = match unit {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(invalid()),
            };
            seconds += number.parse::<f64>().map_err(|_| invalid())? * scale;
            rest = tail;
        }
        let duration = Duration::try_from_secs_f64(seconds).map_err(|_| invalid())?;
        if duration < Duration::from_millis(1) || duration > LONGEST {
            return Err(invalid());
        }
        Ok(Self(duration))
    }

    /// The length as the standard library's type.
    pub(crate) const fn duration(self) -> Duration {
        self.0
    }

    /// `minutes` minutes, for defaults.
    pub(crate) const fn minutes(minutes: u64) -> Self {
        Self(Duration::from_mins(minutes))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
        let mut left = millis;
        for (size, unit) in units {
            if left >= size {
                write!(f, "{}{unit}", left / size)?;
                left %= size;
            }
        }
        Ok(())
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let cases = [
            ("30s", 30_000),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1500),
            ("250ms", 250),
            ("720h", 2_592_000_000),
        ];
        for (text, millis) in cases {
            assert_eq!(
                Period::parse(text).unwrap().duration().as_millis(),
                millis,
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_means_nothing() {
        for text in [
            "", "0s", "5", "m", "-1s", "1d", "1 m", "1..5s", "721h", "9e99h", "1m5",
        ] {
            let error = Period::parse(text).unwrap_err().to_string();
            assert!(error.contains("hint:"), "{text}: {error}");
        }
    }

    #[test]
    fn prints_what_it_reads() {
        for text in ["30s", "1m", "1h30m", "1s500ms", "720h"] {
            assert_eq!(Period::parse(text).unwrap().to_string(), text);
        }
    }
}
