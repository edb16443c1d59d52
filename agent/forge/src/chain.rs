//! An error and what caused it, in one line.

use std::error::Error;

/// Joins an error and its causes, leaving out a cause that the text above it already contains: some
/// libraries repeat theirs.
///
/// ```
/// let error = "x".parse::<u16>().unwrap_err();
/// assert_eq!(forge::chain::chain(&error), "invalid digit found in string");
/// ```
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let line = next.to_string();
        if !text.contains(&line) {
            text = format!("{text}: {line}");
        }
        cause = next.source();
    }
    text
}
