//! A real Gitea from the bundle, as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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
const USER: &str = "bot";
const PASSWORD: &str = "bot-passw0rd";

/// A running Gitea with one repository, `bot/cluster`. It ends with the test program.
#[derive(Debug)]
pub struct Gitea {
    /// Its address, without the path of the API.
    pub address: String,
    /// Its API as the user `bot`.
    pub api: JsonApi,
    program: PathBuf,
    config: PathBuf,
    home: PathBuf,
}

impl Gitea {
    /// Starts one with its files in `directory`.
    ///
    /// # Errors
    /// If the bundle lacks it, or it does not answer.
    pub fn start(directory: &Path) -> Result<Self> {
        let home = directory.join("gitea");
        fs_err::create_dir_all(&home)?;
        share(&home)?;
        let port = free_port()?;
        let address = format!("http://127.0.0.1:{port}");
        let config = home.join("app.ini");
        fs_err::write(&config, ini(&home, port))?;
        let basic = {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"))
        };
        let api = JsonApi::new(&format!("{address}/api/v1"), &format!("Basic {basic}"));
        let gitea = Self {
            address,
            api,
            program: bundle::program("gitea")?,
            config,
            home,
        };
        gitea.run(&["migrate"])?;
        gitea.run(&[
            "admin",
            "user",
            "create",
            "--admin",
            "--must-change-password=false",
            &format!("--username={USER}"),
            &format!("--password={PASSWORD}"),
            "--email=bot@example.com",
        ])?;
        let args = vec![
            "--config".to_owned(),
            gitea.config.display().to_string(),
            "web".to_owned(),
        ];
        keep(&gitea.program, args, gitea.home.join("web.log"))?;
        until("Gitea to answer", READY, || {
            gitea.api.get("/user").map(drop)
        })?;
        let repository = json!({ "name": "cluster", "auto_init": true, "default_branch": "main" });
        gitea.api.post("/user/repos", &repository)?;
        Ok(gitea)
    }

    /// A token of the user `bot` with these scopes, as `write:repository`.
    ///
    /// # Errors
    /// If Gitea refuses.
    pub fn token(&self, name: &str, scopes: &[&str]) -> Result<String> {
        let request = json!({ "name": name, "scopes": scopes });
        let token = self.api.post(&format!("/users/{USER}/tokens"), &request)?;
        let text = token.get("sha1").and_then(Value::as_str);
        Ok(text.context("no token")?.to_owned())
    }

    fn run(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.program);
        command
            .arg("--config")
            .arg(&self.config)
            .args(words)
            .env("HOME", &self.home);
        process::text(&mut command, None).map(drop)
    }
}

/// Gitea does not start without its texts; they are in a layer of its image.
fn share(home: &Path) -> Result<()> {
    let image = bundle::root()?.join("images/gitea.tar");
    let read = |name: &str| -> Result<Value> {
        let mut tar = Command::new("tar");
        tar.arg("-xOf").arg(&image).arg(name);
        Ok(serde_json::from_str(&process::text(&mut tar, None)?)?)
    };
    let blob = |value: &Value| -> Result<String> {
        let digest = value.get("digest").and_then(Value::as_str);
        Ok(format!(
            "blobs/{}",
            digest.context("no digest")?.replace(':', "/")
        ))
    };
    let index = read("index.json")?;
    let manifest = read(&blob(
        index.pointer("/manifests/0").context("no manifest")?,
    )?)?;
    let layers = manifest.get("layers").and_then(Value::as_array);
    for layer in layers.context("no layers")? {
        let mut from = Command::new("tar")
            .arg("-xOf")
            .arg(&image)
            .arg(blob(layer)?)
            .stdout(Stdio::piped())
            .spawn()?;
        let to = Command::new("tar")
            .args(["-x", "--wildcards", "-C"])
            .arg(home)
            .arg("*usr/share/gitea/*")
            .stdin(from.stdout.take().context("no output")?)
            .stderr(Stdio::null())
            .status()?;
        from.wait()?;
        if to.success() {
            return Ok(());
        }
    }
    anyhow::bail!("{} has no usr/share/gitea", image.display())
}

fn ini(home: &Path, port: u16) -> String {
    let home = home.display();
    format!(
        "I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
RUN_MODE = prod
RUN_USER = root
WORK_PATH = {home}
[server]
STATIC_ROOT_PATH = {home}/usr/share/gitea
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = http://127.0.0.1:{port}/
DISABLE_SSH = true
LFS_START_SERVER = false
OFFLINE_MODE = true
[database]
DB_TYPE = sqlite3
SQLITE_JOURNAL_MODE = WAL
[security]
INSTALL_LOCK = true
SECRET_KEY = only-for-this-test
[oauth2]
ENABLED = false
[service]
DISABLE_REGISTRATION = true
REQUIRE_SIGNIN_VIEW = true
[actions]
ENABLED = false
[packages]
ENABLED = false
[mailer]
ENABLED = false
[session]
PROVIDER = memory
[cron.update_checker]
ENABLED = false
[log]
MODE = console
LEVEL = Warn
"
    )
}
