//! Undoes foreign changes: judges from metadata whether an object still is what was applied, and
//! applies it again if not.

use futures::{StreamExt, stream};
use plan::drift::{Drift, assess};
use plan::live::{Applied, Live, ManagerStamp};
use plan::object::{Desired, FIELD_MANAGER, ObjectId, ObjectPolicy, Ssa, Toggle};

use crate::execute::Walk;
use crate::problem::Problem;
use crate::takeover;

/// What came of one object.
pub(crate) struct Corrected {
    /// The object.
    pub(crate) id: ObjectId,
    /// Who changed it, as far as the server recorded it.
    pub(crate) by: String,
    /// The new state, and whether the apply changed anything; a suspicion may prove wrong.
    pub(crate) result: Result<(Applied, bool), Problem>,
}

/// Whether an object has to be applied again.
pub(crate) fn judge(desired: &Desired, applied: &Applied, live: &Live) -> Drift {
    let declared = desired.policy();
    let hands_off =
        |policy: &ObjectPolicy| policy.reconcile == Toggle::Disabled || policy.ssa == Ssa::Ignore;
    if hands_off(&declared) {
        return Drift::None;
    }
    if let Live::Present(meta) = live {
        let policy = ObjectPolicy::live(&meta.annotations, &meta.labels);
        let created_once = |policy: &ObjectPolicy| policy.ssa == Ssa::IfNotPresent;
        let older = older(&meta.resource_version, &applied.resource_version);
        if hands_off(&policy)
            || created_once(&policy)
            || created_once(&declared)
            || meta.deletion_timestamp.is_some()
            || (meta.uid == applied.uid && older)
        {
            return Drift::None;
        }
    }
    assess(applied, live, FIELD_MANAGER)
}

/// Whether a resource version is from before another one of the same object.
fn older(one: &str, other: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    number(one)
        .zip(number(other))
        .is_some_and(|(one, other)| one < other)
}

/// Applies all of them again, several at a time.
pub(crate) async fn correct(
    walk: &Walk<'_>,
    wrong: Vec<(&Desired, Applied, Live, Drift)>,
) -> Vec<Corrected> {
    stream::iter(wrong)
        .map(|(object, _, live, drift)| async move {
            let by = author(&drift, &live);
            let result = one(walk, object, &live, &drift).await;
            Corrected {
                id: object.id().clone(),
                by,
                result,
            }
        })
        .buffer_unordered(walk.cluster.patience().at_once())
        .collect()
        .await
}

async fn one(
    walk: &Walk<'_>,
    object: &Desired,
    live: &Live,
    drift: &Drift,
) -> Result<(Applied, bool), Problem> {
    let edited = matches!(drift, Drift::Edited { .. }) && object.policy().ssa == Ssa::Override;
    let mut applied = match apply(walk, object).await {
        // Beside what somebody put there ours can be invalid, as a second port of one name. Then
        // theirs has to go with the same write that brings ours back.
        Err(problem) if edited && problem.is_invalid() => {
            let theirs = |stamp: &ManagerStamp| is_author(drift, stamp);
            if !takeover::take_over(walk.cluster, object, theirs).await? {
                return Err(problem);
            }
            apply(walk, object).await?
        }
        other => other?,
    };
    let changed = match live {
        Live::Absent => true,
        Live::Present(meta) => meta.resource_version != applied.resource_version,
    };
    // That put back what git declares. What people added beside it is theirs still.
    if edited
        && applied.managers.iter().any(takeover::is_people)
        && takeover::take_over(walk.cluster, object, takeover::is_people).await?
    {
        applied = apply(walk, object).await?;
        return Ok((applied, true));
    }
    Ok((applied, changed))
}

async fn apply(walk: &Walk<'_>, object: &Desired) -> Result<Applied, Problem> {
    match walk.apply(object).await {
        Some(Ok(applied)) => Ok(applied),
        Some(Err(rejection)) => Err(rejection.problem),
        None => Err(Problem::Fenced),
    }
}

/// Whether somebody has written fields of git since the last apply, and not just a status.
fn is_author(drift: &Drift, stamp: &ManagerStamp) -> bool {
    let wrote = match drift {
        Drift::Edited { by } => by.iter().any(|one| one.manager == stamp.manager),
        Drift::None | Drift::Deleted | Drift::Recreated => false,
    };
    wrote && stamp.subresource.is_none()
}

/// Names the last foreign writer.
fn author(drift: &Drift, live: &Live) -> String {
    let stamps: &[ManagerStamp] = match (drift, live) {
        (Drift::Edited { by }, _) => by,
        (Drift::Recreated, Live::Present(meta)) => &meta.managers,
        (Drift::None | Drift::Deleted | Drift::Recreated, _) => &[],
    };
    let newest = stamps
        .iter()
        .filter(|stamp| stamp.manager != FIELD_MANAGER)
        .max_by_key(|s| s.time);
    match (newest, drift) {
        (
            Some(ManagerStamp {
                manager,
                time: Some(time),
                ..
            }),
            _,
        ) => format!("{manager} at {time}"),
        (
            Some(ManagerStamp {
                manager,
                time: None,
                ..
            }),
            _,
        ) => manager.clone(),
        (None, Drift::Deleted) => "somebody who deleted it".to_owned(),
        (None, Drift::None | Drift::Recreated | Drift::Edited { .. }) => "somebody".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use plan::live::LiveMeta;
    use plan::object::Owner;
    use serde_json::json;

    use super::*;

    fn desired(annotations: &serde_json::Value) -> Desired {
        let owner = Owner::new("ns", "app").unwrap();
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "a", "namespace": "b", "annotations": annotations },
        });
        Desired::new(object, &owner).unwrap()
    }

    fn live(object: &Desired, uid: &str, version: &str) -> LiveMeta {
        LiveMeta {
            uid: uid.into(),
            resource_version: version.to_owned(),
            generation: None,
            labels: object.declared().labels.clone(),
            annotations: object.declared().annotations.clone(),
            deletion_timestamp: None,
            managers: Vec::new(),
        }
    }

    #[test]
    fn acts_on_what_is_newer_and_ours_to_change() {
        let object = desired(&json!({}));
        let applied = Applied::new(&object, &live(&object, "u", "10"));
        let judge = |meta: LiveMeta| judge(&object, &applied, &Live::Present(meta));
        assert_eq!(judge(live(&object, "u", "10")), Drift::None);
        assert_eq!(
            judge(live(&object, "u", "9")),
            Drift::None,
            "seen before our apply"
        );
        assert_ne!(judge(live(&object, "u", "11")), Drift::None);
        assert_eq!(judge(live(&object, "v", "9")), Drift::Recreated);
        let mut paused = live(&object, "u", "11");
        paused.annotations =
            BTreeMap::from([("immuops.dev/reconcile".to_owned(), "disabled".to_owned())]);
        assert_eq!(judge(paused), Drift::None);
        let mut going = live(&object, "u", "11");
        going.deletion_timestamp = Some(jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(judge(going), Drift::None);
        assert_eq!(
            super::judge(&object, &applied, &Live::Absent),
            Drift::Deleted
        );
    }

    #[test]
    fn what_is_created_once_comes_back_but_is_not_corrected() {
        let object = desired(&json!({ "immuops.dev/ssa": "IfNotPresent" }));
        let applied = Applied::new(&object, &live(&object, "u", "10"));
        let changed = Live::Present(live(&object, "u", "11"));
        assert_eq!(judge(&object, &applied, &changed), Drift::None);
        assert_eq!(judge(&object, &applied, &Live::Absent), Drift::Deleted);
    }
}
