//! Dates, which go-yaml reads from plain scalars and Go's JSON shows in RFC 3339.

/// Reads a date of one of go-yaml's four forms (`2006-1-2`, `2006-1-2 15:4:5.999`,
/// `2006-1-2T15:4:5.999Z07:00` and the same with `t`) and returns it in RFC 3339 with the
/// shortest fraction; `None` if the text is no date.
pub(crate) fn parse(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let year_digits = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if year_digits != 4 || bytes.get(4) != Some(&b'-') {
        return None;
    }
    let mut rest = Cursor(text.get(5..)?);
    let year: u32 = text.get(..4)?.parse().ok()?;
    let month = rest.number(1..=12)?;
    rest.literal('-')?;
    let day = rest.number(1..=31)?;
    if day > days_in(year, month) {
        return None;
    }
    if rest.0.is_empty() {
        return Some(format!("{year:04}-{month:02}-{day:02}T00:00:00Z"));
    }
    let with_zone = match rest.next()? {
        'T' | 't' => true,
        ' ' => false,
        _ => return None,
    };
    let hour = rest.number(0..=23)?;
    rest.literal(':')?;
    let minute = rest.number(0..=59)?;
    rest.literal(':')?;
    let second = rest.number(0..=59)?;
    let fraction = rest.fraction()?;
    let zone = if with_zone {
        rest.zone()?
    } else {
        "Z".to_owned()
    };
    rest.0.is_empty().then(|| {
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}")
    })
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn next(&mut self) -> Option<char> {
        let first = self.0.chars().next()?;
        self.0 = self.0.get(first.len_utf8()..)?;
        Some(first)
    }

    fn literal(&mut self, expected: char) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    /// One or two digits in a range.
    fn number(&mut self, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let digits = self
            .0
            .bytes()
            .take(2)
            .take_while(u8::is_ascii_digit)
            .count();
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.parse().ok().filter(|number| range.contains(number))
    }

    /// `.` and up to nine digits, without trailing zeros; empty if there is none.
    fn fraction(&mut self) -> Option<String> {
        let Some(rest) = self.0.strip_prefix(['.', ',']) else {
            return Some(String::new());
        };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (fraction, rest) = rest.split_at_checked(digits)?;
        if digits == 0 {
            return None;
        }
        self.0 = rest;
        let nanoseconds: String = fraction.chars().take(9).collect();
        let shown = nanoseconds.trim_end_matches('0');
        Some(if shown.is_empty() {
            String::new()
        } else {
            format!(".{shown}")
        })
    }

    /// `Z` or `+07:00`; an offset of zero is shown as `Z`.
    fn zone(&mut self) -> Option<String> {
        if self.0.starts_with('Z') {
            self.literal('Z')?;
            return Some("Z".to_owned());
        }
        let sign = self.next().filter(|sign| matches!(sign, '+' | '-'))?;
        let (hours, rest) = self.0.split_at_checked(2)?;
        let (minutes, rest) = rest.strip_prefix(':')?.split_at_checked(2)?;
        self.0 = rest;
        let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
        if hours > 24 || minutes > 60 {
            return None;
        }
        Some(if hours == 0 && minutes == 0 {
            "Z".to_owned()
        } else {
            format!("{sign}{hours:02}:{minutes:02}")
        })
    }
}
