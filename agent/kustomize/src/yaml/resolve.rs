//! Which type a plain scalar has, by the rules of the two readers that kustomize uses.
//!
//! Resources are read by go-yaml v3 ([`tag_of`], [`value_of`]): `yes` is a string, `012` and
//! `0o12` are octal, `1_000` is a number. Kustomization files and JSON patches are read by
//! go-yaml v2 ([`tag_of_v2`]): `y`, `yes`, `on` and their kin are booleans. The output is written
//! by v2, so a string must be quoted when v2 would read it as something else.

use super::node::Tag;

/// A typed scalar, as JSON would show it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Typed {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    /// A date, already in RFC 3339.
    Timestamp(String),
    Str,
}

/// The type of a plain scalar in a resource.
pub(crate) fn tag_of(text: &str) -> Tag {
    tag(&value_of(text))
}

/// The type of a plain scalar in a kustomization file.
pub(crate) fn tag_of_v2(text: &str) -> Tag {
    if bool_v2(text).is_some() {
        Tag::Bool
    } else {
        tag(&value_of(text))
    }
}

/// The value of a plain scalar in a kustomization file.
pub(crate) fn value_of_v2(text: &str) -> Typed {
    bool_v2(text).map_or_else(|| value_of(text), Typed::Bool)
}

/// Whether `text` without quotes is anything but a string to go-yaml v2, or looks like a base-60
/// number to older readers.
pub(crate) fn needs_quotes(text: &str) -> bool {
    tag_of_v2(text) != Tag::Str || is_base_60(text)
}

/// Whether a key that kustomize sets itself can be printed: it writes such keys without quotes and
/// reads them again, and then one like `true` is no string any more.
pub(crate) fn bare_key(key: &str) -> Result<(), String> {
    match tag_of(key) {
        Tag::Str => Ok(()),
        other @ (Tag::Null | Tag::Bool | Tag::Int | Tag::Float | Tag::Timestamp | Tag::Binary) => {
            Err(format!(
                "the key \"{key}\" loses its quotes in kustomize, and then it is {}, not a string",
                other.name()
            ))
        }
    }
}

fn tag(value: &Typed) -> Tag {
    match value {
        Typed::Null => Tag::Null,
        Typed::Bool(_) => Tag::Bool,
        Typed::Int(_) | Typed::Uint(_) => Tag::Int,
        Typed::Float(_) => Tag::Float,
        Typed::Timestamp(_) => Tag::Timestamp,
        Typed::Str => Tag::Str,
    }
}

fn bool_v2(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// The value of a plain scalar in a resource.
pub(crate) fn value_of(text: &str) -> Typed {
    let Some(&first) = text.as_bytes().first() else {
        return Typed::Null;
    };
    match first {
        b'~' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' => word(text),
        b'.' => match text {
            ".nan" | ".NaN" | ".NAN" => Typed::Float(f64::NAN),
            ".inf" | ".Inf" | ".INF" => Typed::Float(f64::INFINITY),
            _ => text.parse().map_or(Typed::Str, Typed::Float),
        },
        b'+' | b'-' | b'0'..=b'9' => number(text),
        _ => Typed::Str,
    }
}

fn word(text: &str) -> Typed {
    match text {
        "~" | "null" | "Null" | "NULL" => Typed::Null,
        "true" | "True" | "TRUE" => Typed::Bool(true),
        "false" | "False" | "FALSE" => Typed::Bool(false),
        _ => Typed::Str,
    }
}

fn number(text: &str) -> Typed {
    match text {
        "+.inf" | "+.Inf" | "+.INF" => return Typed::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Typed::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if let Some(stamp) = super::timestamp::parse(text) {
        return Typed::Timestamp(stamp);
    }
    let stripped;
    let plain = if text.contains('_') {
        stripped = text.replace('_', "");
        stripped.as_str()
    } else {
        text
    };
    let (negative, digits) = match plain.as_bytes().first() {
        Some(b'-') => (true, plain.get(1..).unwrap_or_default()),
        Some(b'+') => (false, plain.get(1..).unwrap_or_default()),
        _ => (false, plain),
    };
    if let Some(magnitude) = integer(digits) {
        if !negative && let Ok(value) = i64::try_from(magnitude) {
            return Typed::Int(value);
        }
        // Go reads `+` only in front of what fits a signed number.
        if !negative && !plain.starts_with('+') {
            return Typed::Uint(magnitude);
        }
        if negative && let Some(value) = 0_i64.checked_sub_unsigned(magnitude) {
            return Typed::Int(value);
        }
    }
    if is_float(plain) {
        plain.parse().map_or(Typed::Str, Typed::Float)
    } else {
        Typed::Str
    }
}

/// Go's `strconv.ParseUint(digits, 0, 64)`: the prefix chooses the base.
fn integer(digits: &str) -> Option<u64> {
    let (base, rest) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if rest.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(rest, base).ok()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    mantissa_fits
        && exponent.is_none_or(|part| digits(part.strip_prefix(['-', '+']).unwrap_or(part)))
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`
fn is_base_60(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return false;
    }
    let (text, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'_')
    {
        return false;
    }
    let mut parts = text.split(':');
    let whole = parts.next().unwrap_or_default();
    let whole_fits = whole
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'_');
    let mut groups = 0;
    whole_fits
        && parts.all(|part| {
            groups += 1;
            match part.as_bytes() {
                [digit] => digit.is_ascii_digit(),
                [tens, digit] => (b'0'..=b'5').contains(tens) && digit.is_ascii_digit(),
                _ => false,
            }
        })
        && groups > 0
}
