//! What git declares: an object's identity, content, policy and owner.

mod content;
mod desired;
mod id;
mod invalid;
mod needs;
mod owner;
mod policy;
mod reference;

pub use content::{ContentHash, ParseHashError};
pub use desired::{Declared, Desired, Wave, validate};
pub use id::{ObjectId, ParseIdError};
pub use invalid::{InvalidObject, Problem};
pub use owner::{InvalidOwner, Owner, Ownership};
pub use policy::{ObjectPolicy, Ssa, Toggle};
pub use reference::{ObjectRef, ParseRefError};

/// Prefix of every label and annotation that immuops reads or writes.
pub const PREFIX: &str = "immuops.dev/";
/// Field manager of the agent's server-side apply.
pub const FIELD_MANAGER: &str = "immuops-agent";
/// Namespace the agent lives in.
pub const SYSTEM_NAMESPACE: &str = "immuops-system";
