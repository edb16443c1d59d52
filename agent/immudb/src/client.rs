//! A logged-in connection to one server.
//!
//! Sessions live in the memory of one server process and a server has room for 100, so a client keeps one
//! session and moves it between databases. A session that is lost, because the server restarted or because
//! it was idle for minutes, is opened again once per call. Every call has a deadline.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::address::Address;
use crate::database::DatabaseName;
use crate::error::{ClientError, Meaning, meaning, text};
use crate::hash::Hash;
use crate::login::Login;
use crate::schema::immu_service_client::ImmuServiceClient;
use crate::schema::{self, EntriesSpec, EntryTypeAction, EntryTypeSpec};
use crate::state::State;
use crate::verification::{DualProof, TxHeader};

/// Largest answer that is read, in bytes: a proof over a thousand transactions of an old database is a
/// tenth of it.
const LARGEST_ANSWER: usize = 16 << 20;

type Grpc = ImmuServiceClient<Channel>;

/// A connection to one immudb server.
///
/// Nothing is connected before the first call. A call that finds the connection broken fails, since it may
/// have been carried out; the next one connects again.
pub struct Client {
    server: Address,
    endpoint: Endpoint,
    login: Login,
    deadline: Duration,
    grpc: Grpc,
    session: Option<Session>,
}

/// A session on the server and the database it is in.
struct Session {
    id: AsciiMetadataValue,
    database: DatabaseName,
}

/// Why an attempt failed.
enum Failure {
    /// Worth another attempt with a new session.
    SessionLost(ClientError),
    Final(ClientError),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.server)
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client for `server`; `deadline` is the longest wait for one call. Must be called inside a Tokio
    /// runtime.
    ///
    /// # Errors
    /// If the address cannot be used.
    pub fn new(server: &Address, login: Login, deadline: Duration) -> Result<Self, ClientError> {
        let endpoint = Endpoint::from_shared(server.url())
            .map_err(|error| ClientError::Unreachable {
                server: server.clone(),
                reason: error.to_string(),
            })?
            .connect_timeout(deadline);
        Ok(Self {
            grpc: grpc(&endpoint),
            server: server.clone(),
            endpoint,
            login,
            deadline,
            session: None,
        })
    }

    /// The version that the server reports, which replication compares. Needs no login.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn version(&mut self) -> Result<String, ClientError> {
        let mut grpc = self.grpc.clone();
        let answer = self.within("Health", grpc.health(())).await?;
        let health = answer.map_err(|status| self.error("Health", &status, None))?;
        Ok(without_commit(&health.version).to_owned())
    }

    /// The databases that the user may see, with `systemdb`, which no listing has.
    ///
    /// # Errors
    /// If the server does not answer or says no.
    pub async fn databases(&mut self) -> Result<Vec<DatabaseName>, ClientError> {
        let call = "DatabaseListV2";
        let send = |mut grpc: Grpc, request| async move { grpc.database_list_v2(request).await };
        let list = self
            .call(
                &DatabaseName::default_database(),
                call,
                schema::DatabaseListRequestV2 {},
                send,
            )
            .await?;
        let mut names = vec![DatabaseName::system()];
        for schema::DatabaseInfo { name } in list.databases {
            let name = DatabaseName::try_from(name)
                .map_err(|error| self.nonsense(call, error.to_string()))?;
            names.push(name);
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The present state of a database.
    ///
    /// # Errors
    /// If the server does not answer or says no.
    pub async fn state(&mut self, database: &DatabaseName) -> Result<State, ClientError> {
        let call = "CurrentState";
        let send = |mut grpc: Grpc, request| async move { grpc.current_state(request).await };
        let schema::ImmutableState { db, tx_id, tx_hash } =
            self.call(database, call, (), send).await?;
        if db != database.as_str() {
            return Err(self.nonsense(call, format!("it is about the database {db}")));
        }
        let hash = Hash::try_from(tx_hash.as_slice())
            .map_err(|error| self.nonsense(call, error.to_string()))?;
        Ok(State { tx: tx_id, hash })
    }

    /// The header of a transaction. `None` if the database has not come that far.
    ///
    /// # Errors
    /// If the server does not answer or says no.
    pub async fn header(
        &mut self,
        database: &DatabaseName,
        tx: u64,
    ) -> Result<Option<TxHeader>, ClientError> {
        let call = "TxById";
        let send = |mut grpc: Grpc, request| async move {
            match grpc.tx_by_id(request).await {
                Ok(answer) => Ok(Response::new(answer.into_inner().header)),
                Err(status) if meaning(&status) == Meaning::NoSuchTransaction => {
                    Ok(Response::new(None))
                }
                Err(status) => Err(status),
            }
        };
        let message = schema::TxRequest {
            tx,
            entries_spec: Some(no_entries()),
            keep_references_unresolved: true,
        };
        let Some(header) = self.call(database, call, message, send).await? else {
            return Ok(None);
        };
        let header =
            TxHeader::try_from(header).map_err(|error| self.nonsense(call, error.to_string()))?;
        if header.id() != tx {
            return Err(self.nonsense(call, format!("it is about transaction {}", header.id())));
        }
        Ok(Some(header))
    }

    /// The proof that transaction `source` is in the history of transaction `target`, to be verified by
    /// [`DualProof::verify`]. `source` must not be newer than `target`.
    ///
    /// # Errors
    /// If the server does not answer, has no such transactions, or sends no proof.
    pub async fn proof(
        &mut self,
        database: &DatabaseName,
        source: u64,
        target: u64,
    ) -> Result<DualProof, ClientError> {
        let message = self.dual_proof(database, source, target).await?;
        DualProof::try_from(message)
            .map_err(|error| self.nonsense("VerifiableTxById", error.to_string()))
    }

    /// The same as the server sent it.
    pub(crate) async fn dual_proof(
        &mut self,
        database: &DatabaseName,
        source: u64,
        target: u64,
    ) -> Result<schema::DualProof, ClientError> {
        let call = "VerifiableTxById";
        let send = |mut grpc: Grpc, request| async move { grpc.verifiable_tx_by_id(request).await };
        let message = schema::VerifiableTxRequest {
            tx: target,
            prove_since_tx: source,
            entries_spec: Some(no_entries()),
            keep_references_unresolved: true,
        };
        self.call(database, call, message, send)
            .await?
            .dual_proof
            .ok_or_else(|| self.nonsense(call, "it has no proof".to_owned()))
    }

    /// Sets a key and returns the number of the transaction.
    ///
    /// # Errors
    /// If the server does not answer or says no. A write that timed out may still have been made.
    pub async fn set(
        &mut self,
        database: &DatabaseName,
        key: &[u8],
        value: &[u8],
    ) -> Result<u64, ClientError> {
        let send = |mut grpc: Grpc, request| async move { grpc.set(request).await };
        let message = schema::SetRequest {
            k_vs: vec![schema::KeyValue {
                key: key.to_vec(),
                value: value.to_vec(),
            }],
        };
        let header = self.call(database, "Set", message, send).await?;
        Ok(header.id)
    }

    /// The value of a key, `None` if it is not set.
    ///
    /// # Errors
    /// If the server does not answer or says no.
    pub async fn get(
        &mut self,
        database: &DatabaseName,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, ClientError> {
        let send = |mut grpc: Grpc, request| async move {
            match grpc.get(request).await {
                Ok(answer) => Ok(Response::new(Some(answer.into_inner().value))),
                Err(status) if meaning(&status) == Meaning::NoSuchKey => Ok(Response::new(None)),
                Err(status) => Err(status),
            }
        };
        let message = schema::KeyRequest { key: key.to_vec() };
        self.call(database, "Get", message, send).await
    }

    /// Ends the session on the server. Without it the server keeps it for some minutes.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn close(mut self) -> Result<(), ClientError> {
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        let mut grpc = self.grpc.clone();
        let request = self.request((), &session.id);
        let answer = self
            .within("CloseSession", grpc.close_session(request))
            .await?;
        answer.map_err(|status| self.error("CloseSession", &status, None))
    }

    /// Sends `message` in a session that is in `database`.
    async fn call<M, T, F>(
        &mut self,
        database: &DatabaseName,
        call: &'static str,
        message: M,
        send: impl Fn(Grpc, Request<M>) -> F,
    ) -> Result<T, ClientError>
    where
        M: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let reopened = self.session.is_none();
        match self.attempt(database, call, message.clone(), &send).await {
            Err(Failure::SessionLost(_)) if !reopened => {
                self.session = None;
                let second = self.attempt(database, call, message, &send).await;
                second.map_err(Failure::into_error)
            }
            other => other.map_err(Failure::into_error),
        }
    }

    async fn attempt<M, T, F>(
        &mut self,
        database: &DatabaseName,
        call: &'static str,
        message: M,
        send: impl Fn(Grpc, Request<M>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let session = self.enter(database).await?;
        let answer = send(self.grpc.clone(), self.request(message, &session));
        let answer = self.within(call, answer).await.map_err(Failure::Final)?;
        answer.map_err(|status| self.failure(call, &status, Some(database)))
    }

    /// Opens a session, or moves the one there is, and gives its id.
    async fn enter(&mut self, database: &DatabaseName) -> Result<AsciiMetadataValue, Failure> {
        let id = match &self.session {
            Some(session) if session.database == *database => return Ok(session.id.clone()),
            Some(session) => {
                let id = session.id.clone();
                self.use_database(&id, database).await?;
                id
            }
            None => self.open(database).await?,
        };
        self.session = Some(Session {
            id: id.clone(),
            database: database.clone(),
        });
        Ok(id)
    }

    async fn open(&mut self, database: &DatabaseName) -> Result<AsciiMetadataValue, Failure> {
        let call = "OpenSession";
        let message = schema::OpenSessionRequest {
            username: self.login.username().as_bytes().to_vec(),
            password: self.login.password().as_bytes().to_vec(),
            database_name: database.as_str().to_owned(),
        };
        let mut grpc = self.grpc.clone();
        let answer = self
            .within(call, grpc.open_session(message))
            .await
            .map_err(Failure::Final)?;
        let session = answer.map_err(|status| self.failure(call, &status, Some(database)))?;
        AsciiMetadataValue::try_from(session.session_id)
            .map_err(|error| Failure::Final(self.nonsense(call, error.to_string())))
    }

    async fn use_database(
        &mut self,
        session: &AsciiMetadataValue,
        database: &DatabaseName,
    ) -> Result<(), Failure> {
        let call = "UseDatabase";
        let message = schema::Database {
            database_name: database.as_str().to_owned(),
        };
        let mut grpc = self.grpc.clone();
        let request = self.request(message, session);
        let answer = self
            .within(call, grpc.use_database(request))
            .await
            .map_err(Failure::Final)?;
        match answer {
            Ok(schema::UseDatabaseReply {}) => Ok(()),
            Err(status) => Err(self.failure(call, &status, Some(database))),
        }
    }

    fn request<M>(&self, message: M, session: &AsciiMetadataValue) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        request.metadata_mut().insert("sessionid", session.clone());
        request
    }

    /// Waits for an answer until the deadline. A connection over which one did not come is given up: the
    /// peer may be gone without a word, and the system would notice after a quarter of an hour.
    async fn within<T>(
        &mut self,
        call: &'static str,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<Result<T, Status>, ClientError> {
        if let Ok(answer) = timeout(self.deadline, answer).await {
            return Ok(answer.map(Response::into_inner));
        }
        self.grpc = grpc(&self.endpoint);
        self.session = None;
        Err(self.timed_out(call))
    }

    fn failure(
        &self,
        call: &'static str,
        status: &Status,
        database: Option<&DatabaseName>,
    ) -> Failure {
        let error = self.error(call, status, database);
        match meaning(status) {
            Meaning::SessionLost => Failure::SessionLost(error),
            Meaning::LoginRefused
            | Meaning::NoSuchDatabase
            | Meaning::NoSuchKey
            | Meaning::NoSuchTransaction
            | Meaning::Unreachable
            | Meaning::TimedOut
            | Meaning::Refused => Failure::Final(error),
        }
    }

    fn error(
        &self,
        call: &'static str,
        status: &Status,
        database: Option<&DatabaseName>,
    ) -> ClientError {
        let server = self.server.clone();
        match (meaning(status), database) {
            (Meaning::Unreachable, _) => ClientError::Unreachable {
                server,
                reason: text(status),
            },
            (Meaning::TimedOut, _) => self.timed_out(call),
            (Meaning::LoginRefused, _) => ClientError::LoginRefused {
                server,
                username: self.login.username().to_owned(),
            },
            (Meaning::NoSuchDatabase, Some(database)) => ClientError::NoSuchDatabase {
                server,
                database: database.clone(),
            },
            (
                Meaning::NoSuchDatabase
                | Meaning::SessionLost
                | Meaning::NoSuchKey
                | Meaning::NoSuchTransaction
                | Meaning::Refused,
                _,
            ) => ClientError::Refused {
                server,
                call,
                message: text(status),
            },
        }
    }

    fn timed_out(&self, call: &'static str) -> ClientError {
        ClientError::TimedOut {
            server: self.server.clone(),
            call,
            millis: self.deadline.as_millis(),
        }
    }

    fn nonsense(&self, call: &'static str, what: String) -> ClientError {
        ClientError::Answer {
            server: self.server.clone(),
            call,
            what,
        }
    }
}

impl Failure {
    fn into_error(self) -> ClientError {
        match self {
            Self::SessionLost(error) | Self::Final(error) => error,
        }
    }
}

fn grpc(endpoint: &Endpoint) -> Grpc {
    ImmuServiceClient::new(endpoint.connect_lazy()).max_decoding_message_size(LARGEST_ANSWER)
}

/// The server reports `<version>-<commit>`; replication compares the version alone.
fn without_commit(version: &str) -> &str {
    version
        .rsplit_once('-')
        .map_or(version, |(version, _)| version)
}

/// Asks for a transaction without its entries.
fn no_entries() -> EntriesSpec {
    let exclude = Some(EntryTypeSpec {
        action: EntryTypeAction::Exclude.into(),
    });
    EntriesSpec {
        kv_entries_spec: exclude,
        z_entries_spec: exclude,
        sql_entries_spec: exclude,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_told_without_its_commit() {
        for (reported, expected) in [
            ("1.11.1-37ebcefe4", "1.11.1"),
            ("1.10.0-", "1.10.0"),
            ("1.12.0-RC1-37ebcefe4", "1.12.0-RC1"),
            ("1.11.1", "1.11.1"),
        ] {
            assert_eq!(without_commit(reported), expected);
        }
    }
}
