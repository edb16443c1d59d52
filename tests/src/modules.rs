//! What every test program of several files checks about itself.

use std::path::Path;

use anyhow::{Result, ensure};

/// Fails if a file below `tests/<name>/` of this package has no `mod` line in `program`, the text of
/// `tests/<name>.rs`: it would neither run nor compile.
///
/// # Errors
/// Which file is not declared, or that the folder cannot be read.
pub fn all_declared(name: &str, program: &str) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name);
    for file in fs_err::read_dir(folder)? {
        let path = file?.path();
        let module = path.file_stem().unwrap_or_default().to_string_lossy();
        ensure!(
            program.contains(&format!("mod {module};")),
            "{module} is not declared"
        );
    }
    Ok(())
}
