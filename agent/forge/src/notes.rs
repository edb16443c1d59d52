//! Makes the release notes of a stranger harmless inside a pull request.
//!
//! In a pull request `@name` sends mail, `#12` and links to issues leave traces in other people's
//! repositories, "fixes #12" closes an issue of the reader's own, a comment could forge a marker, and a
//! picture tells its host who reads. What was written stays readable; none of that works.

/// Breaks a word for machines and not for people.
const BREAK: char = '\u{200b}';

/// Makes a text harmless and cuts it at `limit` bytes.
///
/// ```
/// let notes = forge::notes::harmless("Thanks @alice, fixes #12", 100);
/// assert_eq!(notes, "Thanks @\u{200b}alice, fixes #\u{200b}12");
/// ```
pub fn harmless(text: &str, limit: usize) -> String {
    let mut safe = String::new();
    // The host that GitHub offers for links that leave no trace.
    let text = text
        .replace("://www.github.com/", "://redirect.github.com/")
        .replace("://github.com/", "://redirect.github.com/");
    let mut letters = text.chars().filter(|c| !is_invisible(*c)).peekable();
    let mut word = String::new();
    while let Some(letter) = letters.next() {
        if safe.len() >= limit {
            safe.push_str("\n\n(shortened)");
            break;
        }
        let next = letters.peek().copied().unwrap_or(' ');
        if letter.is_whitespace() {
            word.clear();
        }
        match letter {
            '<' if next.is_ascii_alphabetic() || "/!?".contains(next) => safe.push_str("&lt;"),
            '!' if next == '[' => {}
            '@' if next.is_alphanumeric() => safe.extend(['@', BREAK]),
            '#' | '!' if next.is_ascii_digit() => safe.extend([letter, BREAK]),
            digit if digit.is_ascii_digit() && points_at_issue(&word) => {
                safe.extend([BREAK, digit]);
            }
            other => safe.push(other),
        }
        word.push(letter);
    }
    safe
}

/// Whether a number after this is that of an issue or pull request.
fn points_at_issue(word: &str) -> bool {
    if word.contains("://redirect.github.com/") {
        return false;
    }
    let word = word.to_ascii_lowercase();
    ["/issues/", "/pull/", "/pulls/", "gh-"]
        .iter()
        .any(|end| word.ends_with(end))
}

/// Control characters, and those that turn the direction of the text around.
fn is_invisible(letter: char) -> bool {
    (letter.is_control() && letter != '\n' && letter != '\t')
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_would_act_does_not() {
        let cases = [
            ("## Fixes", "## Fixes"),
            ("hi @bob", "hi @~bob"),
            ("a#12 o/r#3, !4", "a#~12 o/r#~3, !~4"),
            ("GH-7 gh-8", "GH-~7 gh-~8"),
            ("<!-- immuops: {} -->", "&lt;!-- immuops: {} -->"),
            (
                "<img src=x> a < b <https://x>",
                "&lt;img src=x> a < b &lt;https://x>",
            ),
            ("![a](https://x/y.png)", "[a](https://x/y.png)"),
            (
                "https://github.com/o/r/pull/1",
                "https://redirect.github.com/o/r/pull/1",
            ),
            (
                "https://git.example.com/o/r/issues/1",
                "https://git.example.com/o/r/issues/~1",
            ),
            ("a\r\nb\u{202e}c\u{0}", "a\nbc"),
        ];
        for (text, expected) in cases {
            assert_eq!(harmless(text, 1000).replace(BREAK, "~"), expected, "{text}");
        }
        assert_eq!(harmless("123456", 3), "123\n\n(shortened)");
    }

    proptest! {
        #[test]
        fn nothing_gets_through(text in "[@#!<>a-z0-9/ \\[\\]-]{0,60}") {
            let safe = harmless(&text, 1000);
            let letters: Vec<char> = safe.chars().collect();
            for pair in letters.windows(2) {
                let (one, next) = (pair[0], pair[1]);
                prop_assert!(!(one == '@' && next.is_ascii_alphanumeric()), "{}", safe);
                prop_assert!(!(one == '#' && next.is_ascii_digit()), "{}", safe);
                prop_assert!(!(one == '<' && (next.is_ascii_alphabetic() || next == '!')), "{}", safe);
            }
        }
    }
}
