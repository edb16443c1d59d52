//! Random bytes from the kernel.

use rustix::rand::{GetRandomFlags, getrandom};

/// `N` random bytes; the kernel gives up to 256 in one piece (getrandom(2)).
///
/// # Errors
/// When the kernel has none to give.
pub(crate) fn bytes<const N: usize>() -> std::io::Result<[u8; N]> {
    const { assert!(N <= 256) };
    let mut bytes = [0; N];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes)
}
