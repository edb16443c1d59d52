//! `--output`: one file for each object.

use std::path::Path;

use anyhow::Context as _;
use kustomize::Rendered;

/// Writes the objects into a directory, which is made if it is missing. Files that are there
/// already and have other names stay.
pub(super) fn write(rendered: &Rendered, directory: &Path) -> anyhow::Result<()> {
    // All names are known to be good before the first file is written.
    let files = rendered.files()?;
    fs_err::create_dir_all(directory)?;
    for (name, object) in files {
        let path = directory.join(&name);
        write_whole(&path, &object.to_yaml())
            .with_context(|| format!("failed to write {} {}", object.kind(), object.name()))?;
    }
    Ok(())
}

/// Writes a file that is complete whenever it can be seen, and never follows a link in its place.
fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    fs_err::write(&part, text)?;
    fs_err::rename(&part, path)?;
    Ok(())
}
