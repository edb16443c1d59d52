//! Prints what `kustomize build DIR` prints.
//!
//! `render [--reorder none|legacy] [--load-restrictor LoadRestrictionsNone]
//! [--enable-managedby-label] DIR`. The tree is the whole file system, as for kustomize.

use std::borrow::Cow;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kustomize::{Entry, LoadRestriction, ManagedBy, Options, Reorder, Tree, TreeError};

/// A folder of the file system.
struct Folder(PathBuf);

impl Tree for Folder {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        let path = self.0.join(path);
        let metadata = match fs_err::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TreeError::new(error.to_string())),
        };
        Ok(Some(if metadata.is_symlink() {
            let target = fs_err::read_link(&path).map_err(|e| TreeError::new(e.to_string()))?;
            Entry::Link {
                target: target.to_string_lossy().into_owned(),
            }
        } else if metadata.is_dir() {
            Entry::Folder
        } else {
            Entry::File {
                size: metadata.len(),
            }
        }))
    }

    fn read(&self, path: &str) -> Result<Cow<'_, [u8]>, TreeError> {
        fs_err::read(self.0.join(path))
            .map(Cow::Owned)
            .map_err(|error| TreeError::new(error.to_string()))
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(yaml) => {
            // A closed pipe is the reader's decision.
            let written = std::io::stdout().write_all(yaml.as_bytes());
            ExitCode::from(u8::from(written.is_err()))
        }
        Err(message) => {
            // Nothing to do if standard error is gone too.
            let _unheard = writeln!(std::io::stderr(), "error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let mut options = Options::default();
    let mut dir = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--reorder" => match arguments.next().as_deref() {
                Some("none") => options.reorder = Reorder::None,
                Some("legacy") => options.reorder = Reorder::Legacy,
                _ => return Err("--reorder takes none or legacy".to_owned()),
            },
            "--load-restrictor" => match arguments.next().as_deref() {
                Some("LoadRestrictionsNone") => options.load_restriction = LoadRestriction::None,
                Some("LoadRestrictionsRootOnly") => {}
                _ => {
                    return Err(
                        "--load-restrictor takes LoadRestrictionsRootOnly or LoadRestrictionsNone"
                            .to_owned(),
                    );
                }
            },
            "--enable-managedby-label" => options.managed_by = ManagedBy::Labelled,
            other if other.starts_with("--") => return Err(format!("unknown flag {other}")),
            other => dir = Some(other.to_owned()),
        }
    }
    let dir = fs_err::canonicalize(dir.unwrap_or_else(|| ".".to_owned()))
        .map_err(|error| error.to_string())?;
    let root = Folder(Path::new("/").to_owned());
    let dir = dir.to_string_lossy().trim_start_matches('/').to_owned();
    kustomize::render(&root, &dir, &options)
        .map(|rendered| rendered.to_yaml())
        .map_err(|error| error.to_string())
}
