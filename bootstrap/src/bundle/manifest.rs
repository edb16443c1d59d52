//! What a bundle holds, and the check that it really holds it.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::digest;
use crate::problem::{OrProblem, Problem, Problems};

/// The manifest's name in a bundle.
const FILE_NAME: &str = "manifest.json";

/// The content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The key of the bundle: a hash of all recipes and sources.
    pub key: String,
    /// What the files were made from, in the order of the recipes.
    pub parts: Vec<PartEntry>,
    /// Every file, ordered by path.
    pub files: Vec<FileEntry>,
    /// Every image, ordered by archive and name.
    pub images: Vec<ImageEntry>,
}

/// One thing that was built as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartEntry {
    /// As in `kubebox`.
    pub name: String,
    /// The version of what it was built from, without a leading `v`.
    pub version: String,
    /// A hash of its recipe and sources.
    pub key: String,
    /// What it was built from.
    pub source: Source,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// The part it came from.
    pub part: String,
    /// Relative to the bundle, as in `bin/kubebox`.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// Other names in the same directory: links to this file.
    pub aliases: Vec<String>,
}

/// Where the bytes of a part come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A Go module, checked against `go.sum`.
    GoModule {
        /// The module's path.
        module: String,
        /// Its version, as Go writes it.
        version: String,
        /// Its hash in `go.sum`.
        sum: String,
    },
    /// A Python wheel, checked by pip against the hashes of its requirements file.
    Wheel {
        /// The package's name.
        package: String,
        /// Its version.
        version: String,
        /// The wheels that are accepted, one per architecture. Lower-case hexadecimal.
        sha256: Vec<String>,
    },
    /// Files of this repository.
    Tree {
        /// A hash of all of them.
        sha256: String,
    },
    /// Debian packages, checked by apt against the archive's signature.
    Debian {
        /// The release's code name.
        release: String,
        /// `name=version` of each package, ordered.
        packages: Vec<String>,
    },
    /// Made of other files of this bundle.
    Bundle {
        /// Names of the parts.
        parts: Vec<String>,
    },
}

/// One container image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEntry {
    /// The short name, as in `kube-apiserver`.
    pub name: String,
    /// The full reference it is imported under.
    pub reference: String,
    /// Digest of its manifest: `sha256:<hex>`.
    pub digest: String,
    /// The archive that holds it, relative to the bundle.
    pub archive: PathBuf,
}

impl Manifest {
    /// Reads the manifest of the bundle in `directory`.
    ///
    /// # Errors
    /// When it is missing, does not parse, or names a path outside the bundle.
    pub(super) fn read(directory: &Path) -> Result<Self, Problem> {
        let path = directory.join(FILE_NAME);
        let problem = || {
            Problem::new(format!(
                "bundle {} has no usable manifest",
                directory.display()
            ))
            .hint("run `bootstrap bundle build`")
        };
        let bytes = fs::read(&path).or_problem(problem)?;
        let manifest: Self = serde_json::from_slice(&bytes).or_problem(problem)?;
        let inside = |path: &Path| {
            path.components()
                .all(|part| matches!(part, Component::Normal(_)))
        };
        match manifest.files.iter().find(|file| !inside(&file.path)) {
            None => Ok(manifest),
            Some(file) => Err(problem().because(anyhow::anyhow!(
                "{} leads out of the bundle",
                file.path.display()
            ))),
        }
    }

    /// Writes it into `directory`.
    pub(super) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        fs::write(directory.join(FILE_NAME), text)?;
        Ok(())
    }

    /// Compares every file with its entry.
    ///
    /// # Errors
    /// All files that are missing, damaged or replaced, each by name.
    pub(super) fn verify(&self, directory: &Path) -> Result<(), Problems> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let queue = Mutex::new(self.files.iter());
        let mut found: Vec<(usize, Problem)> = Vec::new();
        thread::scope(|scope| {
            let check = || {
                let mut found = Vec::new();
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(file) = next else { return found };
                    if let Err(problem) = file.verify(directory) {
                        let place = self.files.iter().position(|other| other == file);
                        found.push((place.unwrap_or_default(), problem));
                    }
                }
            };
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(check)).collect();
            for worker in workers {
                // A panic in a worker is a bug and must not look like a verified bundle.
                found.extend(
                    worker
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                );
            }
        });
        found.sort_by_key(|(place, _)| *place);
        let problems = found.into_iter().map(|(_, problem)| problem).collect();
        Problems::check(problems, |n| {
            let all = self.files.len();
            format!(
                "{n} of {all} files in {} are not what was built",
                directory.display()
            )
        })
    }

    /// Whether `path` is a file of the bundle or an alias of one.
    pub(super) fn provides(&self, path: &Path) -> bool {
        self.files
            .iter()
            .any(|file| file.path == path || file.alias_paths().any(|alias| alias == path))
    }

    /// The version of the part a file came from.
    pub fn version_of(&self, file: &FileEntry) -> Option<&str> {
        let part = self.parts.iter().find(|part| part.name == file.part);
        part.map(|part| part.version.as_str())
    }

    /// Archives and the references of the images in each, both ordered.
    pub(super) fn archives(&self) -> BTreeMap<PathBuf, Vec<String>> {
        let mut archives: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
        for image in &self.images {
            archives
                .entry(image.archive.clone())
                .or_default()
                .push(image.reference.clone());
        }
        archives
    }
}

impl FileEntry {
    /// The links beside the file.
    pub(super) fn alias_paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.aliases
            .iter()
            .map(|alias| self.path.with_file_name(alias))
    }

    fn verify(&self, directory: &Path) -> Result<(), Problem> {
        let path = directory.join(&self.path);
        let hint = "run `bootstrap bundle build`, which builds again what is damaged";
        let actual = digest::of_file(&path)
            .or_problem(|| Problem::new(format!("cannot check {}", path.display())).hint(hint))?;
        if actual.hex != self.sha256 {
            return Err(Problem::new(format!(
                "{} has sha256 {} ({} bytes), not {} ({} bytes)",
                path.display(),
                actual.hex,
                actual.size,
                self.sha256,
                self.size
            ))
            .hint(hint));
        }
        for alias in self.alias_paths() {
            let link = directory.join(alias);
            let target = fs::read_link(&link).or_problem(|| {
                Problem::new(format!("cannot check {}", link.display())).hint(hint)
            })?;
            if Some(target.as_os_str()) != self.path.file_name() {
                let text = format!("{} leads to {}", link.display(), target.display());
                return Err(Problem::new(text).hint(hint));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
