//! What becomes of objects that left git.

use std::collections::BTreeSet;

use super::{ById, Fate, Input, Kept, KeptReason, Prune, holds_data, is_protected, removal_order};
use crate::inventory::Entry;
use crate::live::Live;
use crate::object::{ObjectId, ObjectPolicy, Ownership, Toggle};

pub(super) struct Removal {
    pub(super) prune: Vec<Prune>,
    pub(super) kept: Vec<Kept>,
    pub(super) gone: BTreeSet<ObjectId>,
}

enum Verdict {
    Prune(Prune),
    Keep(KeptReason),
    Gone,
}

/// Judges every object of the inventory that git does not want, each alone and then all together.
pub(super) fn removal(input: &Input<'_>, desired: &ById<'_>) -> Removal {
    let mut removal = Removal {
        prune: Vec::new(),
        kept: Vec::new(),
        gone: BTreeSet::new(),
    };
    for (id, entry) in &input.inventory.entries {
        if desired.contains_key(id) {
            continue;
        }
        match verdict(input, id, entry) {
            Verdict::Prune(prune) => removal.prune.push(prune),
            Verdict::Keep(reason) => removal.kept.push(Kept {
                id: id.clone(),
                reason,
            }),
            Verdict::Gone => drop(removal.gone.insert(id.clone())),
        }
    }
    let count = removal.prune.len();
    let remembered = removal
        .kept
        .iter()
        .filter(|kept| kept.reason.fate() == Fate::Remembered);
    let allowed = input
        .policy
        .limit
        .allowed(desired.len(), count + remembered.count());
    if count > allowed {
        let reason = KeptReason::OverLimit { count, allowed };
        let over = removal.prune.drain(..).map(|prune| Kept {
            id: prune.id,
            reason: reason.clone(),
        });
        removal.kept.extend(over);
        removal.kept.sort_by(|a, b| a.id.cmp(&b.id));
    }
    removal.prune.sort_by(|a, b| removal_order(&a.id, &b.id));
    removal
}

fn verdict(input: &Input<'_>, id: &ObjectId, entry: &Entry) -> Verdict {
    let meta = match input.live.get(id) {
        None => return Verdict::Keep(KeptReason::Unobserved),
        Some(Live::Absent) => return Verdict::Gone,
        Some(Live::Present(meta)) => meta,
    };
    let keep = match input.owner.of(&meta.labels) {
        other @ (Ownership::Nobody | Ownership::Foreign { .. }) => Some(KeptReason::NotOurs(other)),
        Ownership::Ours if entry.uid.as_ref().is_some_and(|uid| *uid != meta.uid) => {
            Some(KeptReason::Recreated)
        }
        Ownership::Ours => None,
    };
    let policy = ObjectPolicy::live(&meta.annotations, &meta.labels);
    let keep = keep.or_else(|| {
        if policy.prune == Toggle::Disabled || policy.reconcile == Toggle::Disabled {
            Some(KeptReason::Annotated)
        } else if meta.deletion_timestamp.is_some() {
            Some(KeptReason::Terminating)
        } else if is_protected(id) {
            Some(KeptReason::Protected)
        } else if input.policy.prune == Toggle::Disabled {
            Some(KeptReason::PruneOff)
        } else if holds_data(id) && !input.policy.consent.iter().any(|consent| consent.names(id)) {
            Some(KeptReason::NeedsConsent)
        } else {
            None
        }
    });
    match keep {
        Some(reason) => Verdict::Keep(reason),
        None => Verdict::Prune(Prune {
            id: id.clone(),
            version: entry.version.clone(),
            uid: meta.uid.clone(),
        }),
    }
}
