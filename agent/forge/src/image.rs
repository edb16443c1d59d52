//! Names of images, as far as they say where an image is.

use std::fmt;

/// The registry of names that name none.
const DEFAULT_REGISTRY: &str = "docker.io";

/// A repository of images: a registry and a path in it, without tag and digest.
///
/// Two ways to write the same repository are equal: `codenotary/immudb` is
/// `docker.io/codenotary/immudb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName {
    registry: String,
    path: String,
}

/// A text that names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no image name; hint: write it like docker.io/codenotary/immudb, without tag or digest"
)]
pub struct InvalidImageName {
    text: String,
}

impl ImageName {
    /// Reads a name without tag and digest.
    ///
    /// # Errors
    /// If it has one of those, or characters that no name has.
    pub fn parse(text: &str) -> Result<Self, InvalidImageName> {
        let invalid = || InvalidImageName {
            text: text.to_owned(),
        };
        // As in the distribution project's reference grammar: the first part is a registry if it looks
        // like a host.
        let (registry, path) = match text.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, rest.to_owned())
            }
            Some(_) => (DEFAULT_REGISTRY, text.to_owned()),
            None => (DEFAULT_REGISTRY, format!("library/{text}")),
        };
        let registry = match registry {
            "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
            other => other,
        };
        let host_is_valid = registry
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c));
        let path_is_valid = path.split('/').all(|part| {
            let inside =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
            part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part.chars().all(inside)
        });
        if !host_is_valid || !path_is_valid || text.len() > 255 {
            return Err(invalid());
        }
        Ok(Self {
            registry: registry.to_owned(),
            path,
        })
    }

    /// Host and port of the registry, as written; `docker.io` for Docker Hub.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path in the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last part of the path, which usually is the name of the product.
    pub fn last(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// An image as a manifest names it, split where the parts meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageReference<'a> {
    /// Everything before tag and digest.
    pub(crate) name: &'a str,
    /// What follows the colon.
    pub(crate) tag: Option<&'a str>,
    /// What follows the at sign.
    pub(crate) digest: Option<&'a str>,
}

impl<'a> ImageReference<'a> {
    /// Splits `name:tag@digest`. A colon before the last slash belongs to a port.
    pub(crate) fn split(text: &'a str) -> Self {
        let (text, digest) = match text.split_once('@') {
            Some((text, digest)) => (text, Some(digest)),
            None => (text, None),
        };
        match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => Self {
                name,
                tag: Some(tag),
                digest,
            },
            Some(_) | None => Self {
                name: text,
                tag: None,
                digest,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let cases = [
            ("docker.io/codenotary/immudb", "docker.io/codenotary/immudb"),
            ("codenotary/immudb", "docker.io/codenotary/immudb"),
            (
                "index.docker.io/codenotary/immudb",
                "docker.io/codenotary/immudb",
            ),
            ("nginx", "docker.io/library/nginx"),
            ("localhost/a", "localhost/a"),
            (
                "127.0.0.1:5000/codenotary/immudb",
                "127.0.0.1:5000/codenotary/immudb",
            ),
        ];
        for (text, expected) in cases {
            let name = ImageName::parse(text).unwrap();
            assert_eq!(name.to_string(), expected, "{text}");
        }
        assert_eq!(ImageName::parse("a/b/immudb").unwrap().last(), "immudb");
        for text in [
            "",
            "a:1",
            "a@sha256:0",
            "A/b",
            "a//b",
            "-a",
            "https://a/b",
            "a/b?c",
        ] {
            let error = ImageName::parse(text).unwrap_err().to_string();
            assert!(error.contains("hint:"), "{text}");
        }
    }

    #[test]
    fn references() {
        let split = |text: &'static str| {
            let ImageReference { name, tag, digest } = ImageReference::split(text);
            (name, tag, digest)
        };
        assert_eq!(split("a/b:1"), ("a/b", Some("1"), None));
        assert_eq!(split("h:5000/b"), ("h:5000/b", None, None));
        assert_eq!(
            split("h:5000/b:1@sha256:0"),
            ("h:5000/b", Some("1"), Some("sha256:0"))
        );
    }
}
