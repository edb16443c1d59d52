//! Where the tests find the bundle's programs. `make test` builds the bundle first; a program that
//! is missing is a failure, never a skip.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// The assembled bundle: `$IMMUOPS_BUNDLE`, else the current one of the user's cache.
///
/// # Errors
/// When neither place is known.
pub fn root() -> Result<PathBuf> {
    if let Some(root) = std::env::var_os("IMMUOPS_BUNDLE") {
        return Ok(root.into());
    }
    Ok(cache()?.join("bundle/current"))
}

/// Where `bootstrap` keeps built parts, and the tests what they install.
///
/// # Errors
/// When no variable says where it is.
pub fn cache() -> Result<PathBuf> {
    let cache = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) => PathBuf::from(home).join(".cache"),
        (_, None) => bail!("neither XDG_CACHE_HOME nor HOME is set"),
    };
    Ok(cache.join("immuops"))
}

/// The path of one program of the bundle.
///
/// # Errors
/// When it is not there.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = root()?.join("bin").join(name);
    if !path.is_file() {
        bail!(
            "{} is missing\nhint: `make bundle` builds it",
            path.display()
        );
    }
    Ok(path)
}
