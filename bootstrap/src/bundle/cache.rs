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

use std::fs::{File, TryLockError};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use etcetera::BaseStrategy;
use fs_err as fs;

use crate::problem::{OrProblem, Problem};
use crate::reporter::Reporter;

/// The name under which the newest bundle is found.
const CURRENT: &str = "current";

/// How much of a key is in a directory's name.
const KEY_DIGITS: usize = 16;

/// A cold build on a slow machine takes less.
const LOCK_DEADLINE: Duration = Duration::from_hours(3);

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

    /// The given place, else [`Self::locate`].
    ///
    /// # Errors
    /// As [`Self::locate`].
    pub fn choose(given: Option<&Path>) -> Result<Self, Problem> {
        given.map_or_else(Self::locate, |path| Ok(Self::at(path)))
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

    /// Where the part with this key is, or will be.
    pub(super) fn part(&self, name: &str, key: &str) -> PathBuf {
        self.root
            .join("parts")
            .join(format!("{name}-{key:.KEY_DIGITS$}"))
    }

    /// Where the bundle with this key is, or will be.
    pub(super) fn bundle(&self, key: &str) -> PathBuf {
        self.root.join("bundle").join(format!("{key:.KEY_DIGITS$}"))
    }

    /// The log of a part's last build.
    pub(super) fn log(&self, name: &str) -> Result<PathBuf, Problem> {
        Ok(self.directory("log")?.join(format!("{name}.log")))
    }

    /// A directory of the cache, created if need be.
    pub(super) fn directory(&self, name: &str) -> Result<PathBuf, Problem> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).or_problem(|| unwritable(&self.root))?;
        Ok(path)
    }

    /// Moves a finished directory to its place, replacing what is there.
    pub(super) fn publish(&self, from: &Path, to: &Path) -> Result<(), Problem> {
        let problem = || unwritable(&self.root);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).or_problem(problem)?;
        }
        if to.exists() {
            fs::remove_dir_all(to).or_problem(problem)?;
        }
        fs::rename(from, to).or_problem(problem)
    }

    /// Makes a bundle the current one; readers see the old or the new one, never none.
    pub(super) fn set_current(&self, bundle: &Path) -> Result<(), Problem> {
        let problem = || unwritable(&self.root);
        let link = self.root.join("bundle").join(CURRENT);
        let name = bundle.file_name().unwrap_or_default();
        if fs::read_link(&link).is_ok_and(|target| target == name) {
            return Ok(());
        }
        let fresh = self
            .directory("tmp")?
            .join(format!("{CURRENT}-{}", std::process::id()));
        symlink(name, &fresh).or_problem(problem)?;
        fs::rename(&fresh, &link).or_problem(problem)
    }

    /// Waits until no other build uses the cache. The lock ends with the returned file, also when
    /// the process dies.
    pub(super) fn lock(&self, reporter: &dyn Reporter) -> Result<File, Problem> {
        let path = self.directory("")?.join("lock");
        let problem = || Problem::new(format!("cannot lock {}", path.display()));
        let file = fs::File::create(&path)
            .or_problem(|| unwritable(&self.root))?
            .into_file();
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(problem().because(error)),
        }
        reporter.note(&format!(
            "waiting for another build, which holds {}",
            path.display()
        ));
        let (sender, receiver) = mpsc::channel();
        // Nobody is left to receive after the deadline, and then the process ends.
        thread::spawn(move || drop(sender.send(file.lock().map(|()| file))));
        let Ok(locked) = receiver.recv_timeout(LOCK_DEADLINE) else {
            let hours = LOCK_DEADLINE.as_secs() / 3600;
            let text = format!("{} was locked for {hours} hours", path.display());
            let hint = "see what `bootstrap bundle build` hangs on in another terminal";
            return Err(Problem::new(text).hint(hint));
        };
        locked.or_problem(problem)
    }
}

fn unwritable(root: &Path) -> Problem {
    Problem::new(format!("cannot write the cache {}", root.display()))
        .hint("set XDG_CACHE_HOME or --cache-dir to a directory you can write")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reporter::Lines;

    #[test]
    fn the_current_bundle_is_the_last_one_set() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let problem = cache.current_bundle().unwrap_err();
        assert!(problem.to_string().starts_with("no bundle at "));
        for key in ["a".repeat(64), "b".repeat(64)] {
            let bundle = cache.bundle(&key);
            let made = cache.directory("tmp/made").unwrap();
            cache.publish(&made, &bundle).unwrap();
            cache.set_current(&bundle).unwrap();
            cache.set_current(&bundle).unwrap();
            assert_eq!(
                cache.current_bundle().unwrap(),
                bundle.canonicalize().unwrap()
            );
        }
    }

    #[test]
    fn a_second_build_waits_for_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let (reporter, written) = Lines::into_memory();
        let first = cache.lock(&reporter).unwrap();
        thread::scope(|scope| {
            let second = scope.spawn(|| cache.lock(&reporter).unwrap());
            // The note is written just before it begins to wait.
            let begun = std::time::Instant::now();
            while written.lock().unwrap().is_empty() {
                assert!(begun.elapsed() < Duration::from_secs(10), "it did not wait");
                thread::yield_now();
            }
            assert!(!second.is_finished());
            drop(first);
            drop(second.join().unwrap());
        });
    }
}
