//! Passwords and keys that nobody chooses: generated once, kept in Secrets, never printed.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::digest::hex;
use crate::random;

/// `2 * N` lower-case hexadecimal digits.
///
/// # Errors
/// When the kernel has no random numbers to give.
pub(crate) fn token<const N: usize>() -> std::io::Result<String> {
    Ok(hex(&random::bytes::<N>()?))
}

/// A password that immudb accepts: 8 to 32 characters with an upper-case letter, a digit and a
/// special character (immudb `pkg/auth/passwords.go`). 112 random bits and a fixed ending that
/// meets the rule.
///
/// # Errors
/// When the kernel has no random numbers to give.
pub(crate) fn immudb_password() -> std::io::Result<String> {
    Ok(format!("{}A1_", hex(&random::bytes::<14>()?)))
}

/// Base64url of 32 random bytes without padding: what Gitea takes for a JWT secret.
///
/// # Errors
/// When the kernel has no random numbers to give.
pub(crate) fn jwt_secret() -> std::io::Result<String> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(random::bytes::<32>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn immudb_passwords_meet_its_rule_and_differ() {
        let password = immudb_password().unwrap();
        assert!(
            (8..=32).contains(&password.len()),
            "{} characters",
            password.len()
        );
        assert!(password.chars().any(|c| c.is_ascii_uppercase()));
        assert!(password.chars().any(|c| c.is_ascii_digit()));
        assert!(password.chars().any(|c| c.is_ascii_punctuation()));
        assert_ne!(password, immudb_password().unwrap());
    }
}
