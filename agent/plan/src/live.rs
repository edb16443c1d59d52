//! What a metadata watch or a GET told about one object, and what our last apply returned.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::object::{ContentHash, Declared, Desired};

/// The identity of one life of an object: deleted and created again, it has another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(String);

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Uid {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Uid {
    /// As the server wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One object of the cluster, as it was seen. An object that was not looked at has no `Live`: absence must be observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    /// The server does not have it, or does not know its kind yet.
    Absent,
    /// The server has it.
    Present(LiveMeta),
}

/// Metadata of a live object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveMeta {
    /// Which life.
    pub uid: Uid,
    /// Opaque; compared for equality alone.
    pub resource_version: String,
    /// Counts changes of the spec; absent in kinds that do not count them.
    pub generation: Option<i64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// When its deletion was asked for; it then waits for its finalizers.
    pub deletion_timestamp: Option<Timestamp>,
    /// Who wrote it, one stamp for each entry of `managedFields`.
    pub managers: Vec<ManagerStamp>,
}

/// One writer of an object, from `managedFields`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ManagerStamp {
    /// Field manager.
    pub manager: String,
    /// How it wrote.
    pub operation: Operation,
    /// `status`, `scale` or the like; none for the object itself.
    pub subresource: Option<String>,
    /// Its last write, in whole seconds as the server keeps it.
    pub time: Option<Timestamp>,
}

/// Kind of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Everything else.
    Update,
}

/// What our last apply of an object returned; the agent keeps it in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Which life was applied to.
    pub uid: Uid,
    /// Version after the apply.
    pub resource_version: String,
    /// Generation after the apply, in kinds that count.
    pub generation: Option<i64>,
    /// What was applied.
    pub hash: ContentHash,
    /// Labels and annotations that were applied.
    pub declared: Arc<Declared>,
    /// The writers the response listed, ours among them.
    pub managers: Vec<ManagerStamp>,
}

impl Applied {
    /// Remembers that `desired` was applied and the server answered with `response`.
    pub fn new(desired: &Desired, response: &LiveMeta) -> Self {
        Self {
            uid: response.uid.clone(),
            resource_version: response.resource_version.clone(),
            generation: response.generation,
            hash: desired.hash(),
            declared: Arc::clone(desired.declared()),
            managers: response.managers.clone(),
        }
    }
}
