//! The clients of one policy: the release list, the registry and the forge, each with credentials of its
//! own. A credential goes to the server that it is for and to no other.

use std::collections::BTreeMap;

use forge::credentials::{Credentials, InvalidCredentials};
use forge::decide::Decision;
use forge::facts::Repository;
use forge::fault::{Fault, Role};
use forge::gitea::Gitea;
use forge::github::{Api, GitHub};
use forge::http::{Http, InvalidTrust, Trust};
use forge::policy::Policy;
use forge::pull_request::PullRequest;
use forge::registry::Registry;
use forge::round::{self, LookError};
use forge::version::Version;

use immudb::Login;

use super::settings::{Place, Settings};
use crate::api::upgrade_policy::ForgeKind;

/// What is needed to be somebody at a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    credentials: Credentials,
    authorities: Option<Vec<u8>>,
}

/// A Secret that is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidSecret {
    /// It has none of the keys that are known.
    #[error(
        "it has no credentials; hint: it needs the key token, or username and password, or ca.crt"
    )]
    Empty,
    /// It has no user and password.
    #[error("it has no login; hint: it needs the keys username and password")]
    NoLogin,
    /// A key is not text.
    #[error("its key `{key}` is not UTF-8 text")]
    NotText {
        /// Which.
        key: &'static str,
    },
    /// No header can carry the value.
    #[error(transparent)]
    Credentials(#[from] InvalidCredentials),
    /// The certificates are none.
    #[error(transparent)]
    Trust(#[from] InvalidTrust),
}

impl Identity {
    /// Reads the data of a Secret: `token` or `bearerToken`, else `username` and `password`; and `ca.crt`.
    pub(crate) fn of(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, InvalidSecret> {
        let text = |key| text(data, key);
        let token = match text("token")? {
            Some(token) => Some(token),
            None => text("bearerToken")?,
        };
        let credentials = match (token, text("username")?, text("password")?) {
            (Some(token), _, _) => Credentials::token(token)?,
            (None, None, None) => Credentials::None,
            (None, user, password) => {
                Credentials::basic(user.unwrap_or_default(), password.unwrap_or_default())?
            }
        };
        let authorities = data.get("ca.crt").cloned();
        if matches!(credentials, Credentials::None) && authorities.is_none() {
            return Err(InvalidSecret::Empty);
        }
        Ok(Self {
            credentials,
            authorities,
        })
    }

    fn http(&self) -> Result<Http, InvalidTrust> {
        Http::new(match &self.authorities {
            Some(pem) => Trust::Only(pem),
            None => Trust::Web,
        })
    }
}

/// Reads `username` and `password` of a Secret's data: who logs in to immudb.
pub(crate) fn login(data: &BTreeMap<String, Vec<u8>>) -> Result<Login, InvalidSecret> {
    match (text(data, "username")?, text(data, "password")?) {
        (Some(username), Some(password)) => Ok(Login::new(username, password)),
        (Some(_) | None, _) => Err(InvalidSecret::NoLogin),
    }
}

fn text<'a>(
    data: &'a BTreeMap<String, Vec<u8>>,
    key: &'static str,
) -> Result<Option<&'a str>, InvalidSecret> {
    let bytes = data.get(key);
    let text = bytes.map(|bytes| std::str::from_utf8(bytes)).transpose();
    text.map_err(|_| InvalidSecret::NotText { key })
}

/// Where releases and images are.
#[derive(Debug)]
pub(crate) struct Upstream {
    api: Api,
    owner: String,
    name: String,
    /// Where images are.
    pub(crate) registry: Registry,
}

impl Upstream {
    /// Makes the clients.
    pub(crate) fn new(
        settings: &Settings,
        releases: &Identity,
        registry: &Identity,
    ) -> Result<Self, InvalidTrust> {
        let Place {
            address,
            owner,
            name,
            secret: _,
        } = settings.releases.clone();
        let credentials = releases.credentials.clone();
        Ok(Self {
            api: Api::new(releases.http()?, address, credentials, Role::Releases),
            owner,
            name,
            registry: Registry::new(
                registry.http()?,
                settings.policy.image.clone(),
                settings.registry,
                registry.credentials.clone(),
            ),
        })
    }

    /// Reads the releases.
    pub(crate) async fn releases(&self) -> Result<forge::release::Releases, Fault> {
        self.api.releases(&self.owner, &self.name).await
    }
}

/// The forge of a policy.
#[derive(Debug)]
pub(crate) enum AnyForge {
    GitHub(GitHub),
    Gitea(Gitea),
}

impl AnyForge {
    /// Makes the client.
    pub(crate) fn new(settings: &Settings, identity: &Identity) -> Result<Self, InvalidTrust> {
        let Place {
            address,
            owner,
            name,
            secret: _,
        } = settings.repository.clone();
        let (http, base) = (identity.http()?, &settings.branch);
        let credentials = identity.credentials.clone();
        Ok(match settings.kind {
            ForgeKind::GitHub => {
                let api = Api::new(http, address, credentials, Role::Forge);
                Self::GitHub(GitHub::new(api, &owner, &name, base))
            }
            ForgeKind::Gitea => Self::Gitea(Gitea::new(
                http,
                address,
                &credentials,
                (&owner, &name),
                base,
            )),
        })
    }

    /// Looks at the repository.
    pub(crate) async fn look(&self, policy: &Policy) -> Result<Repository, Fault> {
        match self {
            Self::GitHub(forge) => round::repository(forge, policy).await,
            Self::Gitea(forge) => round::repository(forge, policy).await,
        }
    }

    /// The version that the repository has at a commit.
    pub(crate) async fn version_at(
        &self,
        policy: &Policy,
        commit: &str,
    ) -> Result<Version, LookError> {
        match self {
            Self::GitHub(forge) => round::version_at(forge, policy, commit).await,
            Self::Gitea(forge) => round::version_at(forge, policy, commit).await,
        }
    }

    /// Says on a pull request what came of its merge, in one comment.
    pub(crate) async fn tell_proof(&self, number: u64, text: &str) -> Result<(), Fault> {
        match self {
            Self::GitHub(forge) => round::tell_proof(forge, number, text).await,
            Self::Gitea(forge) => round::tell_proof(forge, number, text).await,
        }
    }

    /// Carries a decision out; returns the pull request that then is open.
    pub(crate) async fn act(
        &self,
        policy: &Policy,
        decision: &Decision,
    ) -> Result<Option<PullRequest>, Fault> {
        match self {
            Self::GitHub(forge) => round::carry_out(forge, policy, decision).await,
            Self::Gitea(forge) => round::carry_out(forge, policy, decision).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(pairs: &[(&str, &str)]) -> Result<Identity, InvalidSecret> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
        Identity::of(&pairs.collect())
    }

    #[test]
    fn secrets() {
        assert!(matches!(
            identity(&[("token", "t")]).unwrap().credentials,
            Credentials::Token(_)
        ));
        assert!(matches!(
            identity(&[("username", "u"), ("password", "p")])
                .unwrap()
                .credentials,
            Credentials::Basic { .. }
        ));
        for pairs in [
            &[][..],
            &[("key", "canary")][..],
            &[("token", "canary\n")][..],
        ] {
            let error = identity(pairs).unwrap_err().to_string();
            assert!(
                error.contains("hint:") && !error.contains("canary"),
                "{error}"
            );
        }
        let half = login(&[("username".to_owned(), b"canary".to_vec())].into());
        assert!(matches!(half, Err(InvalidSecret::NoLogin)));
        let pem = identity(&[("ca.crt", "canary")]).unwrap();
        assert_eq!(pem.http().unwrap_err(), InvalidTrust);
    }
}
