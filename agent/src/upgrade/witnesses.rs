//! The servers of a proof, as they are asked.

use immudb::history::{self, Record, Server};
use immudb::{Client, ClientError, Login};

use std::time::Duration;

use super::proof::Testimony;
use super::settings::WitnessSettings;

/// Longest wait for one answer.
const CALL: Duration = Duration::from_secs(10);

/// Clients of the servers, for one question.
#[derive(Debug)]
pub(crate) struct Witnesses(Vec<Server>);

impl Witnesses {
    /// Makes the clients; nothing is connected yet.
    ///
    /// # Errors
    /// If an address cannot be used.
    pub(crate) fn new(logins: Vec<(&WitnessSettings, Login)>) -> Result<Self, ClientError> {
        let servers = logins.into_iter().map(|(settings, login)| {
            Ok(Server {
                name: settings.name.to_owned(),
                client: Client::new(&settings.address, login, CALL)?,
            })
        });
        Ok(Self(servers.collect::<Result<_, _>>()?))
    }

    /// Asks what the servers hold, whether that is one history and, if there is a record, whether they
    /// still hold that.
    ///
    /// # Errors
    /// If one of them does not answer or says no.
    pub(crate) async fn ask(mut self, before: Option<&Record>) -> Result<Testimony, ClientError> {
        let answer = testimony(&mut self.0, before).await;
        for Server { client, .. } in self.0 {
            // A server has room for a hundred sessions, and this is asked every few seconds. One that is
            // not closed ends by itself.
            drop(client.close().await);
        }
        answer
    }
}

async fn testimony(
    servers: &mut [Server],
    before: Option<&Record>,
) -> Result<Testimony, ClientError> {
    let found = history::record(servers).await?;
    let agreement = history::compare(&found, servers).await?;
    let outcome = match before {
        Some(before) => Some(history::compare(before, servers).await?),
        None => None,
    };
    Ok(Testimony {
        found,
        agreement,
        outcome,
    })
}
