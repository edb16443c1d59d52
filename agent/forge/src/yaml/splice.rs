//! Replaces the bytes of one scalar, and proves that nothing else changed.

use granit_parser::{Event, ScalarStyle};

use super::EditError;
use super::tree::{Scalar, parser};

/// Returns the text with `value` in the place and in the quotes of `scalar`.
pub(super) fn splice(
    file: &str,
    text: &str,
    scalar: &Scalar,
    value: &str,
) -> Result<String, EditError> {
    let failed = || EditError::Verification {
        file: file.to_owned(),
        line: scalar.line,
    };
    // Tags and image names have no character that needs quotes or an escape in any style.
    if !value
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-/:".contains(c))
    {
        return Err(failed());
    }
    let quote = match scalar.style {
        ScalarStyle::Plain => "",
        ScalarStyle::SingleQuoted => "'",
        ScalarStyle::DoubleQuoted => "\"",
        ScalarStyle::Literal | ScalarStyle::Folded => return Err(failed()),
    };
    let (Some(before), Some(after)) =
        (text.get(..scalar.bytes.start), text.get(scalar.bytes.end..))
    else {
        return Err(failed());
    };
    let edited = format!("{before}{quote}{value}{quote}{after}");
    if only_this_changed(text, &edited, scalar, value) {
        Ok(edited)
    } else {
        Err(failed())
    }
}

/// Whether both texts have the same events, except for the text of the scalar at that place.
fn only_this_changed(old: &str, new: &str, scalar: &Scalar, value: &str) -> bool {
    let (mut old, mut new) = (parser(old), parser(new));
    let mut changed = 0_usize;
    loop {
        let (before, after) = match (old.next(), new.next()) {
            (None, None) => break,
            (Some(Ok(before)), Some(Ok(after))) => (before, after),
            (Some(_), _) | (None, Some(_)) => return false,
        };
        let here = before.1.byte_range().as_ref() == Some(&scalar.bytes);
        match (before.0, after.0) {
            (
                Event::Scalar(was, style, anchor, tag),
                Event::Scalar(is, new_style, new_anchor, new_tag),
            ) if here => {
                let rest_is_equal = style == new_style && anchor == new_anchor && tag == new_tag;
                if was != scalar.text || is != value || !rest_is_equal {
                    return false;
                }
                changed += 1;
            }
            (before, after) if before == after => {}
            _ => return false,
        }
    }
    changed == 1
}
