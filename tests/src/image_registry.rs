//! A real OCI registry (Debian's `docker-registry`), as a process of its own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ring::digest::{SHA256, digest};
use serde_json::json;

use crate::control_plane::{free_port, keep};
use crate::wait::until;

/// Longest wait until it answers.
const READY: Duration = Duration::from_mins(1);
/// `user` with the password `right`, as htpasswd writes it.
const USERS: &str = "user:$2b$04$GYqax8JDqBHqj5NQmICZBu0nWa9rsmEKB95w4bgeB3QsLKsZRE5uK\n";
/// What `user` sends.
const AUTHORIZATION: &str = "Basic dXNlcjpyaWdodA==";

/// A running registry. It ends with the test program.
#[derive(Debug)]
pub struct ImageRegistry {
    /// Host and port.
    pub host: String,
    agent: ureq::Agent,
}

/// Who may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Everybody.
    All,
    /// `user` with the password `right`.
    User,
}

impl ImageRegistry {
    /// Starts one with its files in `directory`.
    ///
    /// # Errors
    /// If it is not installed, or does not answer.
    pub fn start(directory: &Path, readers: Readers) -> Result<Self> {
        let port = free_port()?;
        let home = directory.join(format!("registry-{port}"));
        fs_err::create_dir_all(&home)?;
        fs_err::write(home.join("users"), USERS)?;
        let mut config = json!({
            "version": 0.1,
            "log": { "level": "warn" },
            "storage": { "filesystem": { "rootdirectory": home } },
            "http": { "addr": format!("127.0.0.1:{port}") },
        });
        if readers == Readers::User
            && let Some(config) = config.as_object_mut()
        {
            let auth = json!({ "htpasswd": { "realm": "test", "path": home.join("users") } });
            config.insert("auth".to_owned(), auth);
        }
        let path = home.join("config.yml");
        // JSON is YAML.
        fs_err::write(&path, config.to_string())?;
        let args = vec!["serve".to_owned(), path.display().to_string()];
        keep(
            Path::new("/usr/bin/docker-registry"),
            args,
            home.join("log"),
        )
        .context("hint: `make prerequisites` installs docker-registry")?;
        let registry = Self {
            host: format!("127.0.0.1:{port}"),
            agent: ureq::Agent::config_builder()
                .http_status_as_error(false)
                .build()
                .new_agent(),
        };
        until("the registry to answer", READY, || {
            registry.send("GET", "/v2/", "", &[]).map(drop)
        })?;
        Ok(registry)
    }

    /// Puts an image there that is empty but complete. Returns its digest.
    ///
    /// # Errors
    /// If the registry refuses a part of it.
    pub fn push(&self, repository: &str, tag: &str) -> Result<String> {
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": [] },
        });
        let config = config.to_string();
        let config_digest = sha256(config.as_bytes());
        let upload = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), "", &[])?;
        let location = upload.headers().get("location").context("no location")?;
        let location: http::Uri = location.to_str()?.parse()?;
        let place = location.path_and_query().context("no path")?;
        self.send(
            "PUT",
            &format!("{place}&digest={config_digest}"),
            "application/octet-stream",
            config.as_bytes(),
        )?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": kind, "layers": [],
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config_digest, "size": config.len(),
            },
        });
        let manifest = manifest.to_string();
        let path = format!("/v2/{repository}/manifests/{tag}");
        self.send("PUT", &path, kind, manifest.as_bytes())?;
        Ok(sha256(manifest.as_bytes()))
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<http::Response<ureq::Body>> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.host))
            .header("Authorization", AUTHORIZATION)
            .header("Content-Type", kind)
            .body(body)?;
        let answer = self.agent.run(request)?;
        let status = answer.status();
        ensure!(status.is_success(), "{method} {path}: {status}");
        Ok(answer)
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .fold("sha256:".to_owned(), |text, byte| {
            format!("{text}{byte:02x}")
        })
}
