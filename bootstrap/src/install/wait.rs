//! The last step of `up`: every Sync healthy, with the reason shown while one is not.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use super::api::Api;
use super::{SyncState, SyncStatus, read};
use crate::poll::{self, Answer};
use crate::reporter::Step;

/// Waits until there is a root Sync and it and all others are ready.
pub(super) fn until_healthy(
    api: &Api<'_>,
    limit: Duration,
    step: &Step<'_>,
) -> Result<Vec<SyncStatus>> {
    let mut told = BTreeSet::new();
    poll::sparingly("every Sync to be healthy", limit, || {
        let states = read(api)?;
        let open: Vec<String> = states.iter().filter_map(open_reason).collect();
        // The root Sync is not ready before the Syncs it brings are, so an empty `open` is the end.
        if open.is_empty() && !states.is_empty() {
            return Ok(Answer::Done(states));
        }
        for reason in &open {
            if told.insert(reason.clone()) {
                step.progress(reason);
            }
        }
        Ok(Answer::NotYet(open.join("; ")))
    })
}

fn open_reason(sync: &SyncStatus) -> Option<String> {
    match &sync.state {
        SyncState::Ready | SyncState::Suspended => None,
        SyncState::Waiting { message } | SyncState::Failed { message } => {
            Some(format!("{}: {message}", sync.name))
        }
    }
}
