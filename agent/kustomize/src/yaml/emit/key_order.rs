//! The order in which go-yaml writes the keys of a map.

use std::cmp::Ordering;

/// The order of keys: digits count as numbers, letters come after everything else.
pub(super) fn key_order(a: &str, b: &str) -> Ordering {
    let common = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    // Plain lower-case keys, nearly all of them, need no second look.
    if let (Some(left), Some(right)) = (a.as_bytes().get(common), b.as_bytes().get(common))
        && left.is_ascii_alphabetic()
        && right.is_ascii_alphabetic()
    {
        return left.cmp(right);
    }
    let (left, right): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = left.iter().zip(&right).position(|(a, b)| a != b) else {
        return left.len().cmp(&right.len());
    };
    let (Some(&x), Some(&y)) = (left.get(at), right.get(at)) else {
        return Ordering::Equal;
    };
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let mut start = 0_i64;
    if x == '0' || y == '0' {
        let before = left.get(..at).unwrap_or_default();
        let digits = before.iter().rev().take_while(|digit| digit.is_numeric());
        start = i64::from(digits.into_iter().any(|digit| *digit != '0'));
    }
    let number = |characters: &[char]| {
        let digits = characters.get(at..).unwrap_or_default();
        let digits = digits.iter().take_while(|digit| digit.is_numeric());
        digits.fold((start, 0_usize), |(value, length), digit| {
            let digit = i64::from(u32::from(*digit)) - i64::from(u32::from('0'));
            (value.wrapping_mul(10).wrapping_add(digit), length + 1)
        })
    };
    let (left, right) = (number(&left), number(&right));
    left.cmp(&right).then(x.cmp(&y))
}
