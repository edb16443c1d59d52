//! The end of a Sync: what becomes of the objects it owns, by its deletion policy.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use kube::ResourceExt;
use plan::live::Live;
use plan::object::{ObjectId, Toggle};
use plan::plan::{Input, Outcome, Policy, PruneLimit, plan};

use crate::api::names::FINALIZER;
use crate::api::sync::{DeletionPolicy, Sync};
use crate::execute::{Halt, Walk};
use crate::inventory_store::{Store, Stored};
use crate::problem::Problem;
use crate::settings::{InvalidSpec, Settings};

/// A deletion that is not complete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FinalizeError {
    /// The API server did not do it.
    #[error("the API server refused a step of the deletion")]
    Server(#[from] Problem),
    /// Some objects could not be deleted.
    #[error("objects could not be deleted: {0}")]
    Objects(String),
    /// Objects are on their way out.
    #[error("waiting until {count} objects are gone")]
    Going { count: usize },
    /// The plan says no.
    #[error("objects cannot be deleted")]
    Plan(#[from] plan::plan::PlanError),
    /// The process ends.
    #[error("the agent is stopping")]
    Stopped,
}

/// Does what the deletion policy says, then lets the Sync go.
pub(crate) async fn finalize(
    walk: &Walk<'_>,
    store: &Store,
    sync: &Sync,
) -> Result<(), FinalizeError> {
    if !sync.finalizers().iter().any(|name| name == FINALIZER) {
        return Ok(());
    }
    if deletes(sync) {
        match Settings::of(sync) {
            Ok(settings) => delete_objects(walk, store, sync, &settings).await?,
            // A Sync with a spec that means nothing never owned anything.
            Err(error) => log_invalid(sync, &error),
        }
    }
    store.delete().await?;
    match walk.cluster.set_finalizers(sync, &[]).await {
        Ok(_) => Ok(()),
        Err(problem) if problem.is_not_found() || problem.is_conflict() => Ok(()),
        Err(problem) => Err(problem.into()),
    }
}

fn log_invalid(sync: &Sync, error: &InvalidSpec) {
    tracing::warn!(sync = %sync.name_any(), %error, "nothing is deleted with this Sync");
}

/// A suspended Sync deletes nothing, as in Flux.
fn deletes(sync: &Sync) -> bool {
    if sync.spec.suspend {
        return false;
    }
    match sync.spec.deletion_policy {
        DeletionPolicy::MirrorPrune => sync.spec.prune,
        DeletionPolicy::Delete | DeletionPolicy::WaitForTermination => true,
        DeletionPolicy::Orphan => false,
    }
}

async fn delete_objects(
    walk: &Walk<'_>,
    store: &Store,
    sync: &Sync,
    settings: &Settings,
) -> Result<(), FinalizeError> {
    let mut stored = store.load().await?;
    let live = observe(walk, &stored).await?;
    // The Sync was deleted on purpose: no limit on how many, but consent for data all the same.
    let policy = Policy {
        prune: Toggle::Enabled,
        limit: PruneLimit::Percent(100),
        consent: settings.policy.consent.clone(),
    };
    let plan = plan(&Input {
        owner: &settings.owner,
        desired: &[],
        inventory: &stored.contents,
        live: &live,
        applied: &BTreeMap::new(),
        policy: &policy,
    })?;
    for kept in &plan.kept {
        tracing::warn!(sync = %sync.name_any(), object = %kept.id, reason = %kept, "kept");
    }
    let walked = walk.prune(&plan.prune).await;
    let contents = plan.finish(&walked.outcomes);
    store.save(sync, &mut stored, contents).await?;
    match walked.halt {
        Some(Halt::Rejected(rejections)) => {
            let lines: Vec<String> = rejections.iter().map(ToString::to_string).collect();
            return Err(FinalizeError::Objects(lines.join("; ")));
        }
        Some(Halt::Stopped | Halt::Superseded | Halt::Unhealthy(_)) => {
            return Err(FinalizeError::Stopped);
        }
        None => {}
    }
    let pruned = |id: &ObjectId| matches!(walked.outcomes.get(id), Some(Outcome::Pruned));
    let going = plan.prune.iter().filter(|prune| !pruned(&prune.id)).count();
    if going > 0 && sync.spec.deletion_policy == DeletionPolicy::WaitForTermination {
        return Err(FinalizeError::Going { count: going });
    }
    Ok(())
}

/// Asks the server about every object: the watches may not run any more.
async fn observe(walk: &Walk<'_>, stored: &Stored) -> Result<BTreeMap<ObjectId, Live>, Problem> {
    let entries = stored.contents.entries.iter();
    let answers: Vec<Result<(ObjectId, Live), Problem>> = stream::iter(entries)
        .map(|(id, entry)| async move {
            let metadata = walk.cluster.metadata(id, &entry.version).await?;
            let live = metadata.map_or(Live::Absent, |metadata| {
                Live::Present(crate::sighting::live_meta(metadata))
            });
            Ok((id.clone(), live))
        })
        .buffer_unordered(walk.cluster.patience().at_once())
        .collect()
        .await;
    answers.into_iter().collect()
}
