//! What every step of a build may look at beside its object.

use std::sync::Arc;

use crate::digest::Key;
use crate::limits::Limits;
use crate::schema::Schema;

/// The schema and the limits in force.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    pub(crate) schema: Arc<Schema>,
    pub(crate) limits: Limits,
    /// What all of it was made of.
    pub(crate) key: Key,
}
