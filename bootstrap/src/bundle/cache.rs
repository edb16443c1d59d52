//! Where bundles and their parts live, outside the repository.
//!
//! ```text
//! parts/<name>-<key>/      one finished part; appears by a rename, so it is whole or absent
//! bundle/<key>/            a bundle: manifest.json, bin/, images/ (hard links into parts/)
//! bundle/current           link to the bundle that was built last
//! build/                   what compilers keep between builds
//! log/<name>.log           output of the last build of a part
//! tmp/                     work in progress; emptied by the next build
//! lock                     held while a build runs
//! ```

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use crate::problem::{OrProblem, Problem};

/// The name under which the newest bundle is found.
const CURRENT: &str = "current";

/// A cache directory.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$XDG_CACHE_HOME/immuops`, else `~/.cache/immuops`.
    ///
    /// # Errors
    /// When there is no home directory.
    pub fn locate() -> Result<Self, Problem> {
        let base = etcetera::base_strategy::Xdg::new().or_problem(|| {
            Problem::new("cannot find a cache directory")
                .hint("set HOME or XDG_CACHE_HOME, or give --cache-dir")
        })?;
        Ok(Self::at(base.cache_dir().join("immuops")))
    }

    /// A cache at a given place; nothing is created yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The bundle that was built last.
    ///
    /// # Errors
    /// When none was built here yet.
    pub(super) fn current_bundle(&self) -> Result<PathBuf, Problem> {
        let link = self.root.join("bundle").join(CURRENT);
        link.canonicalize().or_problem(|| {
            Problem::new(format!("no bundle at {}", link.display()))
                .hint("run `bootstrap bundle build`, or give --cache-dir")
        })
    }
}
