//! A kubeconfig with one cluster, one user and everything inside it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::pki::Pair;

/// Access to an API server.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    /// What the cluster is called in it.
    pub cluster: String,
    /// The URL of the API server.
    pub server: String,
    /// The authority that signed the server, in PEM.
    pub authority: String,
    /// What the user is called in it.
    pub user: String,
    /// The user's certificate and key.
    pub pair: Pair,
}

impl fmt::Display for Kubeconfig {
    /// Writes the YAML that kubectl reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cluster,
            server,
            authority,
            user,
            pair,
        } = self;
        let authority = STANDARD.encode(authority);
        let certificate = STANDARD.encode(&pair.certificate);
        let key = STANDARD.encode(&pair.key);
        write!(
            f,
            "apiVersion: v1
kind: Config
current-context: {cluster}
clusters:
- name: {cluster}
  cluster:
    server: {server}
    certificate-authority-data: {authority}
contexts:
- name: {cluster}
  context:
    cluster: {cluster}
    user: {user}
users:
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
"
        )
    }
}
