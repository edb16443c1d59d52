//! Who asks. Nothing in here prints a secret.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// The credentials for one server.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    None,
    /// Whoever holds a token.
    Token(Secret),
    /// A user with a password, or with a token in its place.
    Basic {
        /// Name of the user.
        user: String,
        /// Password or token.
        password: Secret,
    },
}

/// A text that does not show.
#[derive(Clone)]
pub struct Secret(String);

/// A credential that no header can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the credentials contain characters that no header may contain; hint: does the token end in a newline?"
)]
pub struct InvalidCredentials;

impl Credentials {
    /// A token.
    ///
    /// # Errors
    /// If it is empty or has characters that no token has.
    pub fn token(token: &str) -> Result<Self, InvalidCredentials> {
        if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
            return Err(InvalidCredentials);
        }
        Ok(Self::Token(Secret(token.to_owned())))
    }

    /// A user and a password.
    ///
    /// # Errors
    /// If the name has a colon, which would end it.
    pub fn basic(user: &str, password: &str) -> Result<Self, InvalidCredentials> {
        if user.contains(':') {
            return Err(InvalidCredentials);
        }
        Ok(Self::Basic {
            user: user.to_owned(),
            password: Secret(password.to_owned()),
        })
    }

    /// The value of the `Authorization` header.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let text = match self {
            Self::None => return None,
            Self::Token(token) => format!("Bearer {}", token.expose()),
            Self::Basic { user, password } => {
                let pair = format!("{user}:{}", password.expose());
                format!("Basic {}", STANDARD.encode(pair))
            }
        };
        // The constructors let nothing pass that this could refuse.
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl Secret {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token",
            Self::Basic { .. } => "Basic",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_what_never_shows() {
        let token = Credentials::token("canary").unwrap();
        let basic = Credentials::basic("u", "canary").unwrap();
        assert_eq!(token.header().unwrap(), "Bearer canary");
        assert_eq!(basic.header().unwrap(), "Basic dTpjYW5hcnk=");
        assert!(Credentials::None.header().is_none());
        let shown = format!(
            "{token:?} {basic:?} {:?} {:?}",
            token.header(),
            basic.header()
        );
        assert!(
            !shown.contains("canary") && !shown.contains("dTpj"),
            "{shown}"
        );
        for text in ["", "canary\n", "a b", "ü"] {
            let error = Credentials::token(text).unwrap_err().to_string();
            assert!(error.contains("hint:") && !error.contains("canary"));
        }
        assert_eq!(
            Credentials::basic("u:v", "p").unwrap_err(),
            InvalidCredentials
        );
    }
}
