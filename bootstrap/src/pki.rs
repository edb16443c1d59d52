//! The cluster's certificates, issued on the host.
//!
//! Three authorities, as kubeadm has them, and one for the edge. Their keys stay in the state directory and never enter a
//! machine: kubeadm calls this "external CA mode", in which its controller manager signs nothing.
//! So every kubelet gets its certificates from here as well, and there are no bootstrap tokens.
//! What must exist is a pure function of the topology ([`plan`]); what must be issued again is a
//! pure function of the time and what is there ([`renewal`]).

mod authority;
pub mod plan;
pub mod renewal;

use std::path::{Path, PathBuf};

use fs_err as fs;
use time::OffsetDateTime;

use authority::Authority;
use plan::{Issuer, Request};
use renewal::{Decision, Held, Policy};

use crate::edge::{Domain, Edge};
use crate::problem::{OrProblem, Problem};
use crate::topology::Topology;

/// The certificates of one cluster on disk.
#[derive(Debug)]
pub struct Pki {
    directory: PathBuf,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key (PKCS #8).
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

impl Pki {
    /// The certificates in `directory`, as they are.
    pub fn open(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Issues what is missing, about to expire, or does not fit the topology any more; returns the
    /// names of what was issued, each with the reason.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn ensure(&self, topology: &Topology, now: OffsetDateTime) -> anyhow::Result<Vec<String>> {
        self.ensure_service_account_key()?;
        self.issue(&plan::requests(topology), None, now, Policy::default())
    }

    /// The same for the certificate of the edge.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn ensure_edge(&self, edge: &Edge, now: OffsetDateTime) -> anyhow::Result<Vec<String>> {
        self.issue(&[plan::edge(edge)], Some(&edge.domain), now, Policy::EDGE)
    }

    /// Issues what must be of `requests`; an authority that is made on the way is limited to
    /// `domain`.
    fn issue(
        &self,
        requests: &[Request],
        domain: Option<&Domain>,
        now: OffsetDateTime,
        policy: Policy,
    ) -> anyhow::Result<Vec<String>> {
        let mut issued = Vec::new();
        for issuer in Issuer::ALL {
            let mut requests = requests
                .iter()
                .filter(|one| one.issuer == issuer)
                .peekable();
            if requests.peek().is_none() {
                continue;
            }
            let authority = self.authority(issuer, domain, now, policy)?;
            for request in requests {
                let held = self.held(request, &authority)?;
                let Decision::Issue(reason) = renewal::decide(now, held.as_ref(), request, policy)
                else {
                    continue;
                };
                self.write(&request.name, &authority.issue(request, now, policy)?)?;
                issued.push(format!("{}: {reason}", request.name));
            }
        }
        Ok(issued)
    }

    /// A certificate with its key by the name it has in the plan.
    ///
    /// # Errors
    /// When it is not there.
    pub fn pair(&self, name: &str) -> anyhow::Result<Pair> {
        let certificate = fs::read_to_string(self.path(name, "crt"))?;
        Ok(Pair {
            certificate,
            key: fs::read_to_string(self.path(name, "key"))?,
        })
    }

    /// The certificate of an authority, in PEM.
    ///
    /// # Errors
    /// When it is not there.
    pub fn authority_certificate(&self, issuer: Issuer) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.path(issuer.name(), "crt"))?)
    }

    /// The key that signs service account tokens: private and public half, in PEM.
    ///
    /// # Errors
    /// When it is not there.
    pub fn service_account_key(&self) -> anyhow::Result<(String, String)> {
        let private = fs::read_to_string(self.path("sa", "key"))?;
        Ok((private, fs::read_to_string(self.path("sa", "pub"))?))
    }

    fn ensure_service_account_key(&self) -> anyhow::Result<()> {
        if self.path("sa", "pub").exists() {
            return Ok(());
        }
        let key = rcgen::KeyPair::generate()?;
        fs::create_dir_all(&self.directory)?;
        self.put("sa", "key", &key.serialize_pem())?;
        self.put("sa", "pub", &key.public_key_pem())
    }

    fn authority(
        &self,
        issuer: Issuer,
        domain: Option<&Domain>,
        now: OffsetDateTime,
        policy: Policy,
    ) -> anyhow::Result<Authority> {
        let name = issuer.name();
        if !self.path(name, "crt").exists() {
            self.write(name, &Authority::create(issuer, domain, now, policy)?)?;
        }
        let authority = Authority::read(&self.pair(name)?)
            .or_problem(|| Problem::new(format!("failed to read the authority {name}")))?;
        Ok(authority)
    }

    fn held(&self, request: &Request, authority: &Authority) -> anyhow::Result<Option<Held>> {
        if !self.path(&request.name, "crt").exists() || !self.path(&request.name, "key").exists() {
            return Ok(None);
        }
        let pair = self.pair(&request.name)?;
        // What cannot be read is as good as missing.
        Ok(authority.examine(&pair.certificate).ok())
    }

    fn write(&self, name: &str, pair: &Pair) -> anyhow::Result<()> {
        // The certificate last: with it the pair counts as there.
        self.put(name, "key", &pair.key)?;
        self.put(name, "crt", &pair.certificate)
    }

    fn put(&self, name: &str, extension: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path(name, extension);
        fs::create_dir_all(path.parent().unwrap_or_else(|| Path::new(".")))?;
        crate::state::write_atomically(&path, text.as_bytes(), 0o600)
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.directory.join(format!("{name}.{extension}"))
    }
}

#[cfg(test)]
mod tests;
