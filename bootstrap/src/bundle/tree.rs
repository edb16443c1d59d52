//! The source tree that holds the recipes' inputs: wrapper modules, `pause`, the agent.

use std::env;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::go_module::GoModule;
use super::wheel::Wheel;
use crate::digest::{self, ListHasher};
use crate::problem::{OrProblem, Problem};

/// What pins a wheel, in the part's directory.
pub(super) const REQUIREMENTS: &str = "requirements.txt";

/// A checkout of the repository.
#[derive(Clone, Debug)]
pub(super) struct SourceTree {
    root: PathBuf,
}

impl SourceTree {
    /// The checkout around the current directory, else the one around this program.
    ///
    /// # Errors
    /// When neither lies in a checkout.
    pub(super) fn locate() -> Result<Self, Problem> {
        let starts = [env::current_dir(), env::current_exe()];
        let found = starts
            .into_iter()
            .flatten()
            .find_map(|start| Self::around(&start));
        found.ok_or_else(|| {
            Problem::new("no source tree of immuops here, so nothing can be built")
                .hint("run it inside a checkout of the repository")
        })
    }

    fn around(start: &Path) -> Option<Self> {
        let marker = Path::new("bootstrap/bundle/kubebox/go.mod");
        let root = start
            .ancestors()
            .find(|directory| directory.join(marker).is_file())?;
        Some(Self {
            root: root.to_owned(),
        })
    }

    /// The repository's top directory.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the wrapper modules and lists lie.
    pub(super) fn recipe_input(&self, name: &str) -> PathBuf {
        self.root.join("bootstrap/bundle").join(name)
    }

    /// Reads `go.mod` and `go.sum` of a wrapper module.
    pub(super) fn go_module(&self, directory: &str) -> Result<GoModule, Problem> {
        GoModule::read(&self.recipe_input(directory))
    }

    /// Reads the requirements file of a wheel.
    pub(super) fn wheel(&self, directory: &str) -> Result<Wheel, Problem> {
        Wheel::read(&self.recipe_input(directory).join(REQUIREMENTS))
    }

    /// A hash of files and of everything below directories, by relative path and content. Hidden
    /// files and `target` are no sources.
    pub(super) fn hash(&self, paths: &[PathBuf]) -> Result<String, Problem> {
        let mut files = Vec::new();
        for path in paths {
            collect(&self.root.join(path), &mut files).or_problem(|| {
                Problem::new(format!("cannot read the sources in {}", path.display()))
            })?;
        }
        files.sort();
        files.dedup();
        let mut hasher = ListHasher::default();
        for file in &files {
            let name = file.strip_prefix(&self.root).unwrap_or(file);
            let sum = digest::of_file(file)
                .or_problem(|| Problem::new(format!("cannot read {}", file.display())))?;
            hasher = hasher.with(&name.to_string_lossy(), sum.hex);
        }
        Ok(hasher.finish())
    }
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for child in fs::read_dir(path)? {
        let child = child?;
        let name = child.file_name();
        if name.as_encoded_bytes().starts_with(b".") || name == "target" {
            continue;
        }
        collect(&child.path(), files)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_follows_names_and_content() {
        let directory = tempfile::tempdir().unwrap();
        let tree = SourceTree {
            root: directory.path().to_owned(),
        };
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let hash = || {
            tree.hash(&[PathBuf::from("agent"), PathBuf::from("Cargo.lock")])
                .unwrap()
        };
        write("agent/src/main.rs", "fn main() {}");
        write("Cargo.lock", "1");
        let first = hash();
        write("agent/target/x", "not a source");
        write("agent/.swp", "not a source");
        write("bootstrap/main.rs", "not asked for");
        assert_eq!(hash(), first);
        write("Cargo.lock", "2");
        let second = hash();
        assert_ne!(second, first);
        fs::rename(
            directory.path().join("agent/src"),
            directory.path().join("agent/lib"),
        )
        .unwrap();
        assert_ne!(hash(), second);
    }

    #[test]
    fn a_missing_source_is_named() {
        let tree = SourceTree {
            root: PathBuf::from("/nonexistent"),
        };
        let problem = tree.hash(&[PathBuf::from("Cargo.lock")]).unwrap_err();
        assert_eq!(problem.to_string(), "cannot read /nonexistent/Cargo.lock");
    }
}
