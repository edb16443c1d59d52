//! Python packages for clients that are not ours, installed once per host and list.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use fs_err as fs;

use crate::bundle;
use crate::process;

/// What is installed, by exact version.
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/requirements.txt");

/// The folder that `PYTHONPATH` has to name; installed with pip if this is the first time.
///
/// # Errors
/// What pip said.
pub fn packages() -> Result<PathBuf> {
    let list = fs::read_to_string(REQUIREMENTS)?;
    let mut hasher = DefaultHasher::new();
    list.hash(&mut hasher);
    let cache = bundle::cache()?.join("python");
    let folder = cache.join(format!("{:016x}", hasher.finish()));
    if folder.is_dir() {
        return Ok(folder);
    }
    // Whole or not at all, also when two tests install at once or one is killed.
    fs::create_dir_all(&cache)?;
    let scratch = tempfile::tempdir_in(&cache)?;
    let mut pip = Command::new("pip3");
    pip.args(["install", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--only-binary=:all:", "--requirement"])
        .arg(REQUIREMENTS)
        .arg("--target")
        .arg(scratch.path().join("packages"));
    process::text(&mut pip, None)?;
    match fs::rename(scratch.path().join("packages"), &folder) {
        Err(error) if !folder.is_dir() => Err(error.into()),
        Ok(()) | Err(_) => Ok(folder),
    }
}
