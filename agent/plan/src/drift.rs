//! Whether a live object still is what we applied, judged from its metadata alone.
//!
//! A suspicion costs one apply, which the server answers without a write when nothing of ours was changed; a missed
//! change would stay until the slow re-check. Status is never ours: a write to it must never raise a suspicion.

use serde::{Deserialize, Serialize};

use crate::live::{Applied, Live, LiveMeta, ManagerStamp};

/// How a live object differs from what we applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Drift {
    /// It does not, or only in what is not ours.
    None,
    /// It is gone.
    Deleted,
    /// It was deleted and created by another hand.
    Recreated,
    /// Something that may be ours was written.
    Edited {
        /// Who wrote since our apply, the last first. Empty when the writer left no stamp of its own.
        by: Vec<ManagerStamp>,
    },
}

/// Compares `live` with what our last apply returned.
///
/// `our_manager` is the field manager of our own writes ([`crate::object::FIELD_MANAGER`]); a change that only it stamped is
/// our own, seen before the answer to it was recorded.
pub fn assess(applied: &Applied, live: &Live, our_manager: &str) -> Drift {
    let meta = match live {
        Live::Absent => return Drift::Deleted,
        Live::Present(meta) if meta.uid != applied.uid => return Drift::Recreated,
        Live::Present(meta) if meta.resource_version == applied.resource_version => {
            return Drift::None;
        }
        Live::Present(meta) => meta,
    };
    let new: Vec<_> = meta
        .managers
        .iter()
        .filter(|stamp| !applied.managers.contains(stamp))
        .collect();
    let ours = new.iter().any(|stamp| stamp.manager == our_manager);
    let mut by: Vec<ManagerStamp> = new
        .into_iter()
        .filter(|stamp| stamp.manager != our_manager && !is_status(stamp))
        .cloned()
        .collect();
    by.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.cmp(b)));
    let own_write = ours && by.is_empty();
    if !own_write && (declared_differs(applied, meta) || spec_may_differ(applied, meta, &by)) {
        Drift::Edited { by }
    } else {
        Drift::None
    }
}

fn is_status(stamp: &ManagerStamp) -> bool {
    stamp.subresource.as_deref() == Some("status")
}

/// Whether a label or annotation that we set has another value or is gone.
fn declared_differs(applied: &Applied, meta: &LiveMeta) -> bool {
    let labels = applied
        .declared
        .labels
        .iter()
        .any(|(key, value)| meta.labels.get(key) != Some(value));
    let annotations = applied.declared.annotations.iter();
    labels
        || annotations
            .into_iter()
            .any(|(key, value)| meta.annotations.get(key) != Some(value))
}

/// Kinds that count generations say so. In the others every write counts, unless it was one to a status: either a foreign
/// stamp is new, or nothing but an equal stamp within the same second explains the new version, and a kind whose status
/// is written at all gives that writer the benefit of the doubt.
fn spec_may_differ(applied: &Applied, meta: &LiveMeta, by: &[ManagerStamp]) -> bool {
    match (applied.generation, meta.generation) {
        (Some(before), Some(now)) => before != now,
        (None, None) => !by.is_empty() || !meta.managers.iter().any(is_status),
        (Some(_), None) | (None, Some(_)) => true,
    }
}

#[cfg(test)]
mod tests;
