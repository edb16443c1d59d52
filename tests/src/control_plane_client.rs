//! A small JSON client for the API server: what a test does by hand, and nothing of the agent's code.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// A client with one token.
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
    address: String,
    authorization: String,
}

/// How a patch is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// JSON merge patch.
    Merge,
    /// Server-side apply.
    Apply,
}

impl Client {
    /// A client that trusts one CA.
    ///
    /// # Errors
    /// If the certificate is no PEM.
    pub fn new(address: &str, token: &str, ca: &[u8]) -> anyhow::Result<Self> {
        drop(rustls::crypto::ring::default_provider().install_default());
        let roots = RootCerts::new_with_certs(&[Certificate::from_pem(ca)?]);
        let agent = ureq::Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .new_agent();
        let authorization = format!("Bearer {token}");
        Ok(Self {
            agent,
            address: address.to_owned(),
            authorization,
        })
    }

    /// The body of a path, as text.
    ///
    /// # Errors
    /// If the answer is no success.
    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        let call = self
            .agent
            .get(format!("{}{path}", self.address))
            .header("Authorization", &self.authorization);
        finish(path, call.call()?)
    }

    /// One object or list.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.text(path)?)?)
    }

    /// One object, or `None`.
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub fn find(&self, path: &str) -> anyhow::Result<Option<Value>> {
        match self.get(path) {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.to_string().contains("404") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Patches an object as the field manager `manager`.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn patch(
        &self,
        kind: PatchKind,
        path: &str,
        manager: &str,
        change: &Value,
    ) -> anyhow::Result<Value> {
        let (content, force) = match kind {
            PatchKind::Merge => ("application/merge-patch+json", ""),
            PatchKind::Apply => ("application/apply-patch+yaml", "&force=true"),
        };
        let call = self
            .agent
            .patch(format!(
                "{}{path}?fieldManager={manager}{force}",
                self.address
            ))
            .header("Authorization", &self.authorization)
            .header("Content-Type", content);
        let text = finish(path, call.send(change.to_string())?)?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Creates an object in a collection.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn create(&self, path: &str, object: &Value) -> anyhow::Result<Value> {
        let call = self
            .agent
            .post(format!("{}{path}", self.address))
            .header("Authorization", &self.authorization)
            .header("Content-Type", "application/json");
        Ok(serde_json::from_str(&finish(
            path,
            call.send(object.to_string())?,
        )?)?)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn delete(&self, path: &str) -> anyhow::Result<()> {
        let call = self
            .agent
            .delete(format!("{}{path}", self.address))
            .header("Authorization", &self.authorization);
        finish(path, call.call()?).map(drop)
    }
}

fn finish(path: &str, response: http::Response<ureq::Body>) -> anyhow::Result<String> {
    let status = response.status();
    let mut body = response.into_body();
    let text = body
        .with_config()
        .limit(64 << 20)
        .read_to_string()
        .context("cannot read the answer")?;
    if !status.is_success() {
        bail!("{path}: {status}: {text}");
    }
    Ok(text)
}
