//! What a pip requirements file pins: the only place where the version of a wheel is written down.

use std::path::Path;

use fs_err as fs;

use super::manifest::Source;
use crate::problem::{OrProblem, Problem};

/// One package at one version, with the hashes that pip accepts for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wheel {
    package: String,
    version: String,
    sha256: Vec<String>,
}

impl Wheel {
    /// Reads the requirements file at `path`, which must name exactly one package.
    pub(super) fn read(path: &Path) -> Result<Self, Problem> {
        let problem = || {
            Problem::new(format!("cannot use the requirements in {}", path.display()))
                .hint("write one package as `name==version --hash=sha256:...`")
        };
        let text = fs::read_to_string(path).or_problem(problem)?;
        Self::parse(&text).ok_or_else(problem)
    }

    /// The text as pip reads it: `#` starts a comment, a backslash joins lines.
    fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut words = lines.flat_map(|line| line.trim_end_matches('\\').split_whitespace());
        let (package, version) = words.next()?.split_once("==")?;
        let sha256: Vec<_> = words
            .map(|word| word.strip_prefix("--hash=sha256:").map(str::to_owned))
            .collect::<Option<_>>()?;
        (!sha256.is_empty()).then(|| Self {
            package: package.to_owned(),
            version: version.to_owned(),
            sha256,
        })
    }

    /// As in `3.7.15`.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Package, version and hashes, for the manifest.
    pub(super) fn source(&self) -> Source {
        let Self {
            package,
            version,
            sha256,
        } = self.clone();
        Source::Wheel {
            package,
            version,
            sha256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pinned_package_or_nothing() {
        let wheel = Wheel {
            package: "tool-bin".to_owned(),
            version: "1.2.3".to_owned(),
            sha256: vec!["aa".to_owned(), "bb".to_owned()],
        };
        let cases = [
            (
                "# why\ntool-bin==1.2.3 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n",
                Some(wheel),
            ),
            ("tool-bin==1.2.3\n", None),
            ("tool-bin>=1.2.3 --hash=sha256:aa\n", None),
            (
                "tool-bin==1.2.3 --hash=sha256:aa\nother==1 --hash=sha256:bb\n",
                None,
            ),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Wheel::parse(text), expected, "{text:?}");
        }
    }
}
