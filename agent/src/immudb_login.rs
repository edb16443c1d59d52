//! Who logs in to immudb, and where the password comes from.

use std::path::PathBuf;

use immudb::Login;

use crate::env_vars;

/// The flags of every command that logs in.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Credentials {
    /// User on every server.
    #[arg(long, env = env_vars::IMMUDB_USERNAME, default_value = "immudb")]
    username: String,
    /// File with the password; without it, the environment variable `IMMUOPS_IMMUDB_PASSWORD` has it.
    #[arg(long, env = env_vars::IMMUDB_PASSWORD_FILE)]
    password_file: Option<PathBuf>,
}

/// There is no password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoPassword {
    /// The file cannot be read.
    #[error("cannot read the password of immudb")]
    File(#[from] std::io::Error),
    /// There is neither a file nor a variable.
    #[error(
        "there is no password for immudb; hint: --password-file, or the variable IMMUOPS_IMMUDB_PASSWORD"
    )]
    Nowhere,
}

impl Credentials {
    /// Reads the password, anew each time: a mounted Secret changes while we run. A line break at its end is
    /// not part of it.
    pub(crate) fn login(&self) -> Result<Login, NoPassword> {
        let password = match &self.password_file {
            Some(path) => fs_err::read_to_string(path)?,
            None => std::env::var(env_vars::IMMUDB_PASSWORD).map_err(|_| NoPassword::Nowhere)?,
        };
        Ok(Login::new(
            &self.username,
            password.trim_end_matches(['\r', '\n']),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_file_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let credentials = Credentials {
            username: "immudb".to_owned(),
            password_file: Some(path.clone()),
        };
        let missing = credentials.login().unwrap_err();
        assert!(matches!(missing, NoPassword::File(_)), "{missing}");
        for password in ["one", "two"] {
            fs_err::write(&path, format!("{password}\n")).unwrap();
            assert_eq!(credentials.login().unwrap(), Login::new("immudb", password));
        }
    }
}
