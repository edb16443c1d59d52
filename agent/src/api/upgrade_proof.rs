//! The proof of an `UpgradePolicy`: which servers must hold after an upgrade what they held before it, and
//! how far that is proved.

use immudb::history::Record;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::period::Period;
use super::sync::LocalName;
use super::upgrade_policy::PullRequestStatus;

/// A primary and its replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Proof {
    /// The server that takes writes.
    pub(crate) primary: ImmudbServer,
    /// The server that follows it.
    pub(crate) replica: ImmudbServer,
    /// How long the Syncs and the proof may take after a merge was seen.
    #[serde(default = "default_timeout")]
    pub(crate) timeout: Period,
    /// Number of the pull request whose failed proof somebody has dealt with: the policy goes on after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acknowledged: Option<u64>,
}

/// An immudb server and who may read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImmudbServer {
    /// Host and port of its gRPC service, as `immudb-primary.immudb.svc:3322`.
    #[schemars(length(min = 3, max = 270))]
    pub(crate) address: String,
    /// Secret of this namespace with `username` and `password`.
    pub(crate) secret_ref: LocalName,
    /// The Sync of this namespace that rolls a new version out to it.
    pub(crate) sync_ref: LocalName,
}

/// What is known of one upgrade's proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProofStatus {
    /// How far it has come.
    pub(crate) phase: ProofPhase,
    /// The same in a sentence.
    pub(crate) message: String,
    /// The pull request that is to be merged, or was. It is absent only until it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pull_request: Option<PullRequestStatus>,
    /// Number of the newest pull request that was merged before the record was made: the merge of a newer
    /// one begins the proof. 0 if there was none.
    pub(crate) merged_before: u64,
    /// Version in the repository before the merge.
    pub(crate) from: String,
    /// Version in the repository after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// When the record was made, in RFC 3339.
    pub(crate) recorded_at: String,
    /// What the servers held then, in the format of `agent verify --since`.
    #[schemars(schema_with = "record_schema")]
    pub(crate) record: Record,
    /// When the merge was seen, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) merge_seen_at: Option<String>,
    /// When the proof is overdue, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<String>,
    /// When it was proved or refuted, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<String>,
    /// What the servers held when they were compared last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_record_schema")]
    pub(crate) found: Option<Record>,
    /// How many of the recorded transactions every server has proved to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) transactions: Option<u64>,
    /// Whether the result, as it is now, is a comment on the pull request.
    #[serde(default)]
    pub(crate) told: bool,
}

/// How far a proof has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum ProofPhase {
    /// What the servers hold is recorded; the pull request is not merged.
    Recorded,
    /// It was merged. The Syncs are under way, or a server has not come far enough.
    Pending,
    /// Every server has proved that it holds what was recorded.
    Proved,
    /// Not proved in time. It is still tried.
    Overdue,
    /// A server holds another history.
    Refuted,
}

/// Long enough for a primary that builds its indexes again, and a replica that waits for it.
const fn default_timeout() -> Period {
    Period::minutes(30)
}

fn record_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["servers"],
        "properties": { "servers": { "type": "object", "additionalProperties": {
            "type": "object",
            "required": ["version", "databases"],
            "properties": {
                "version": { "type": "string" },
                "databases": { "type": "object", "additionalProperties": {
                    "type": "object",
                    "required": ["tx", "hash"],
                    "properties": {
                        "tx": { "type": "integer", "format": "int64", "minimum": 0 },
                        "hash": { "type": "string", "pattern": "^[0-9a-f]{64}$" },
                    },
                }},
            },
        }}},
    })
}

fn optional_record_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = record_schema(generator);
    schema.insert("nullable".to_owned(), true.into());
    schema
}
