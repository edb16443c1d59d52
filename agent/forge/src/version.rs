//! Versions as release tags and image tags write them, read strictly.
//!
//! immudb's history has tags that only look like versions (`v1.9DOM.2`, `cnlc-2.2`). A tag is a version
//! only if it is [Semantic Versioning](https://semver.org) after one optional `v`; anything else is never
//! compared with one.

use std::fmt;

pub use semver::Version;

/// Words that begin a pre-release in an image tag; any other suffix is a flavour of the image.
const PRE_RELEASES: [&str; 7] = ["alpha", "beta", "rc", "pre", "preview", "dev", "snapshot"];

/// A release tag that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{tag}` is no semantic version")]
pub struct NotAVersion {
    tag: String,
}

/// Reads a release tag: one optional `v`, then a semantic version without build metadata.
///
/// # Errors
/// If the tag is anything else.
///
/// ```
/// use forge::version::parse_release;
/// assert_eq!(parse_release("v1.11.1").unwrap().to_string(), "1.11.1");
/// assert!(parse_release("v1.9DOM.2").is_err());
/// ```
pub fn parse_release(tag: &str) -> Result<Version, NotAVersion> {
    let invalid = || NotAVersion {
        tag: tag.to_owned(),
    };
    let version = Version::parse(tag.strip_prefix('v').unwrap_or(tag)).map_err(|_| invalid())?;
    // `Version` orders by build metadata, the standard forbids it, and image tags cannot write it.
    if !version.build.is_empty() {
        return Err(invalid());
    }
    Ok(version)
}

/// An image tag that pins one version, in the style of whoever wrote it: `1.11.1`, `v1.11.1`,
/// `1.11.1-bullseye-slim`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageTag {
    prefix: &'static str,
    version: Version,
    /// With its hyphen; empty if there is none.
    flavour: String,
}

/// An image tag that pins no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the image tag `{tag}` does not pin a version; hint: write all three numbers, as in 1.11.1"
)]
pub struct UnpinnedTag {
    tag: String,
}

impl ImageTag {
    /// Reads a tag that has all three numbers of a version.
    ///
    /// # Errors
    /// If it has fewer (`1.11`, `latest`) or something in between.
    pub fn parse(tag: &str) -> Result<Self, UnpinnedTag> {
        let unpinned = || UnpinnedTag {
            tag: tag.to_owned(),
        };
        let (prefix, rest) = match tag.strip_prefix('v') {
            Some(rest) => ("v", rest),
            None => ("", tag),
        };
        let (numbers, suffix) = match rest.split_once('-') {
            Some((numbers, suffix)) if !suffix.is_empty() => (numbers, Some(suffix)),
            Some(_) => return Err(unpinned()),
            None => (rest, None),
        };
        let (version, flavour) = match suffix {
            Some(suffix) if is_pre_release(suffix) => (rest, String::new()),
            Some(suffix) => (numbers, format!("-{suffix}")),
            None => (rest, String::new()),
        };
        let version = Version::parse(version).map_err(|_| unpinned())?;
        if !version.build.is_empty() {
            return Err(unpinned());
        }
        Ok(Self {
            prefix,
            version,
            flavour,
        })
    }

    /// The version it pins.
    pub const fn version(&self) -> &Version {
        &self.version
    }

    /// The tag of another version in the same style.
    #[must_use]
    pub fn with_version(&self, version: &Version) -> Self {
        Self {
            version: version.clone(),
            ..self.clone()
        }
    }
}

impl fmt::Display for ImageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.prefix, self.version, self.flavour)
    }
}

fn is_pre_release(suffix: &str) -> bool {
    let letters = suffix
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(suffix.len());
    let (word, rest) = suffix.split_at(letters);
    let word = word.to_ascii_lowercase();
    // A number alone is one as well: 1.2.3-4.
    (word.is_empty() || PRE_RELEASES.contains(&word.as_str()))
        && rest.chars().all(|c| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_tags() {
        let cases = [
            ("v1.11.1", Some("1.11.1")),
            ("1.11.1", Some("1.11.1")),
            ("v2.0.0-RC1", Some("2.0.0-RC1")),
            ("v0.0.0-20200206", Some("0.0.0-20200206")),
            ("v1.9DOM", None),
            ("v1.9DOM.2", None),
            ("v1.9DOM.1-RC1", None),
            ("cnlc-2.2", None),
            ("vv1.0.0", None),
            ("v1.11", None),
            ("v01.1.0", None),
            ("1.0.0+build", None),
            (" 1.0.0", None),
            ("v1.0.0\n", None),
            ("", None),
            ("v99999999999999999999.0.0", None),
        ];
        for (tag, expected) in cases {
            let found = parse_release(tag).ok().map(|version| version.to_string());
            assert_eq!(found.as_deref(), expected, "{tag}");
        }
    }

    #[test]
    fn image_tags_keep_their_style() {
        let next = Version::new(1, 12, 0);
        let cases = [
            ("1.11.1", "1.11.1", "1.12.0"),
            ("v1.11.1", "1.11.1", "v1.12.0"),
            ("1.11.1-bullseye-slim", "1.11.1", "1.12.0-bullseye-slim"),
            (
                "1.11.1-almalinux-8-minimal",
                "1.11.1",
                "1.12.0-almalinux-8-minimal",
            ),
            ("1.11.0-RC2", "1.11.0-RC2", "1.12.0"),
            ("1.11.0-beta.3", "1.11.0-beta.3", "1.12.0"),
        ];
        for (tag, version, moved) in cases {
            let parsed = ImageTag::parse(tag).unwrap();
            assert_eq!(parsed.version().to_string(), version, "{tag}");
            assert_eq!(parsed.to_string(), tag);
            assert_eq!(parsed.with_version(&next).to_string(), moved, "{tag}");
        }
        for tag in [
            "1.11", "latest", "dev", "", "1.11.1-", "1.9DOM.2", "1.2.3+b",
        ] {
            let error = ImageTag::parse(tag).unwrap_err().to_string();
            assert!(error.contains("hint:"), "{tag}: {error}");
        }
    }
}
