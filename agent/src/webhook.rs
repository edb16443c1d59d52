//! Push notifications from a forge: who may send them, and which Syncs they are about.
//!
//! The order is: rate, size, signature, and only then a look at what is inside. The signature is
//! HMAC-SHA256 over the body, as Gitea (`X-Gitea-Signature`) and GitHub (`X-Hub-Signature-256`) send it.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ring::hmac;
use serde::Deserialize;
use tokio::time::Instant;

use crate::hex::unhex;

/// Largest body that is read.
pub(crate) const BODY_LIMIT: usize = 3 << 20;
/// Calls that may come at once.
const BURST: u32 = 20;
/// Afterwards, one call per this long.
const REFILL: Duration = Duration::from_millis(100);

/// The call is not acted on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HookError {
    /// No token is configured.
    #[error(
        "webhooks are off; hint: create the Secret webhook-token with the key token in the agent's namespace"
    )]
    Off,
    /// Too many calls.
    #[error("too many calls")]
    TooMany,
    /// No signature.
    #[error(
        "the call is not signed; hint: set the secret of the webhook to the token in the Secret webhook-token"
    )]
    NotSigned,
    /// A wrong signature.
    #[error(
        "the signature does not match; hint: the secret of the webhook differs from the Secret webhook-token"
    )]
    WrongSignature,
    /// Signed, but not a push.
    #[error("the body is no push event")]
    NotAPush,
}

/// Checks calls.
#[derive(Debug)]
pub(crate) struct Gate {
    token_file: Option<PathBuf>,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    filled: Instant,
}

/// What a push says; everything else in it is ignored.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Push {
    /// Full name of the reference that moved, as `refs/heads/main`.
    #[serde(rename = "ref")]
    pub(crate) reference: String,
}

impl Gate {
    /// Reads the token from this file at every call, so that it can be rotated.
    pub(crate) fn new(token_file: Option<PathBuf>) -> Self {
        Self {
            token_file,
            bucket: Mutex::new(Bucket {
                tokens: BURST,
                filled: Instant::now(),
            }),
        }
    }

    /// Counts a call, before anything of it is read.
    pub(crate) fn admit(&self) -> Result<(), HookError> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let periods = bucket.filled.elapsed().as_millis() / REFILL.as_millis();
        if let Ok(periods @ 1..) = u32::try_from(periods) {
            bucket.tokens = bucket.tokens.saturating_add(periods).min(BURST);
            bucket.filled = Instant::now();
        }
        bucket.tokens = bucket.tokens.checked_sub(1).ok_or(HookError::TooMany)?;
        Ok(())
    }

    /// Checks the signature and reads the push.
    pub(crate) fn open(&self, signature: Option<&str>, body: &[u8]) -> Result<Push, HookError> {
        let token = self.token().ok_or(HookError::Off)?;
        let signature = signature.ok_or(HookError::NotSigned)?;
        verify(&token, signature, body)?;
        serde_json::from_slice(body).map_err(|_| HookError::NotAPush)
    }

    /// The token, without the newline that editors add. `None` if there is none.
    fn token(&self) -> Option<Vec<u8>> {
        let bytes = fs_err::read(self.token_file.as_ref()?).ok()?;
        let token = bytes.trim_ascii().to_vec();
        (!token.is_empty()).then_some(token)
    }
}

fn verify(token: &[u8], signature: &str, body: &[u8]) -> Result<(), HookError> {
    let digits = signature.strip_prefix("sha256=").unwrap_or(signature);
    let tag = unhex(digits).ok_or(HookError::WrongSignature)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, token);
    // Compares in constant time.
    hmac::verify(&key, body, &tag).map_err(|_| HookError::WrongSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"ref":"refs/heads/main","after":"0123"}"#;

    fn with_token(token: &str) -> (Gate, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), token).unwrap();
        (Gate::new(Some(file.path().to_owned())), file)
    }

    fn sign(token: &str, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
        crate::hex::hex(hmac::sign(&key, body).as_ref())
    }

    #[test]
    fn knows_the_published_example() {
        // From GitHub's documentation of webhook signatures.
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(
            verify(b"It's a Secret to Everybody", signature, b"Hello, World!"),
            Ok(())
        );
    }

    #[test]
    fn takes_what_is_signed() {
        let (gate, _file) = with_token("t0ken\n");
        let signature = sign("t0ken", BODY);
        let push = Push {
            reference: "refs/heads/main".to_owned(),
        };
        assert_eq!(gate.open(Some(&signature), BODY), Ok(push));
    }

    #[test]
    fn refuses_everything_else() {
        let (gate, _file) = with_token("t0ken");
        let good = sign("t0ken", BODY);
        let cases: [(Option<&str>, &[u8], HookError); 6] = [
            (None, BODY, HookError::NotSigned),
            (Some(""), BODY, HookError::WrongSignature),
            (Some("sha256=zz"), BODY, HookError::WrongSignature),
            (Some(&good), b"{}", HookError::WrongSignature),
            (Some(&sign("other", BODY)), BODY, HookError::WrongSignature),
            (Some(&sign("t0ken", b"[1]")), b"[1]", HookError::NotAPush),
        ];
        for (signature, body, error) in cases {
            assert_eq!(gate.open(signature, body), Err(error), "{signature:?}");
        }
        assert_eq!(Gate::new(None).open(Some(&good), BODY), Err(HookError::Off));
        let (empty, _file) = with_token("\n");
        assert_eq!(empty.open(Some(&sign("", BODY)), BODY), Err(HookError::Off));
    }

    #[tokio::test(start_paused = true)]
    async fn limits_the_rate() {
        let gate = Gate::new(None);
        let admitted = (0..BURST + 5).filter(|_| gate.admit().is_ok()).count();
        assert_eq!(admitted, 20);
        tokio::time::advance(REFILL * 3).await;
        let admitted = (0..5).filter(|_| gate.admit().is_ok()).count();
        assert_eq!(admitted, 3);
    }
}
