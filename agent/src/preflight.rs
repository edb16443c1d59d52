//! The server's opinion about all objects of a revision, before the first one is written: every
//! rejection is found at once, and a revision with a rejected object changes nothing.

use std::collections::BTreeSet;
use std::fmt;

use futures::{StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use plan::object::{Desired, ObjectId, Ssa};
use plan::plan::{Action, Plan, StageKind};

use crate::cluster::{Cluster, Mode};
use crate::metrics::{Metrics, Outcome, Verb};
use crate::problem::Problem;
use crate::takeover;

/// One object that the server did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// The object.
    pub(crate) id: ObjectId,
    /// File and line it comes from, once that was looked up.
    pub(crate) place: Option<String>,
    /// Why.
    pub(crate) problem: Problem,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}: {}", self.id, self.problem)
    }
}

/// The group of roles and their bindings.
const RBAC: &str = "rbac.authorization.k8s.io";

/// What of a plan is tried before anything is written, and what has to wait until the namespaces and
/// CRDs of the same plan exist.
///
/// A binding of a role that the same plan creates is in neither: to judge whether we may bind it, the
/// server reads the role, which no dry run leaves behind. The role itself is tried, and the server
/// refuses it if it holds a right that we lack.
pub(crate) fn split<'a>(
    plan: &Plan,
    desired: &'a [Desired],
) -> (Vec<&'a Desired>, Vec<&'a Desired>) {
    let writes: BTreeSet<&ObjectId> = plan
        .actions()
        .filter(|action| action.writes())
        .map(Action::id)
        .collect();
    let roles: BTreeSet<&ObjectId> = plan
        .actions()
        .filter_map(|action| match action {
            Action::Create(id) => Some(id),
            Action::Change(_) | Action::Unchanged(_) | Action::Skip { .. } => None,
        })
        .filter(|id| id.is(RBAC, "Role") || id.is(RBAC, "ClusterRole"))
        .collect();
    let binds_new_role = |object: &Desired| {
        let id = object.id();
        (id.is(RBAC, "RoleBinding") || id.is(RBAC, "ClusterRoleBinding"))
            && object.needs().iter().any(|needed| roles.contains(needed))
    };
    let coming: BTreeSet<&ObjectId> = plan
        .stages
        .iter()
        .filter(|stage| stage.kind == StageKind::Definitions)
        .flat_map(|stage| &stage.actions)
        .filter_map(|action| match action {
            Action::Create(id) => Some(id),
            Action::Change(_) | Action::Unchanged(_) | Action::Skip { .. } => None,
        })
        .collect();
    let needs_one = |object: &&Desired| {
        let id = object.id();
        coming.iter().any(|one| {
            (one.is("", "Namespace") && id.namespace.as_deref() == Some(&one.name))
                || (one.kind == "CustomResourceDefinition"
                    && one
                        .name
                        .split_once('.')
                        .is_some_and(|(_, group)| group == id.group))
        })
    };
    desired
        .iter()
        .filter(|object| writes.contains(object.id()) && !binds_new_role(object))
        .partition(|object| !needs_one(object))
}

/// Tries all objects and returns every rejection, ordered by object.
pub(crate) async fn check(
    cluster: &Cluster,
    metrics: &Metrics,
    objects: &[&Desired],
) -> Vec<Rejection> {
    let tries = stream::iter(objects.iter().copied()).map(|object| async move {
        let result = match cluster.apply(object, Mode::DryRun).await {
            Err(problem) if problem.is_invalid() => again(cluster, object, problem).await,
            other => other,
        };
        let outcome = if result.is_ok() {
            Outcome::Done
        } else {
            Outcome::Failed
        };
        metrics.wrote(Verb::DryRun, outcome);
        result.err().map(|problem| Rejection {
            id: object.id().clone(),
            place: None,
            problem,
        })
    });
    let mut rejections: Vec<Rejection> = tries
        .buffer_unordered(cluster.patience().at_once())
        .filter_map(|rejection| async { rejection })
        .collect()
        .await;
    rejections.sort_by(|one, other| one.id.cmp(&other.id));
    rejections
}

/// Tries once more without what people added by hand: ours may be invalid only beside it, and the
/// real apply drops it. Who owns which field is all that this changes in the cluster.
async fn again(
    cluster: &Cluster,
    object: &Desired,
    problem: Problem,
) -> Result<ObjectMeta, Problem> {
    if object.policy().ssa == Ssa::Override
        && takeover::take_over(cluster, object, takeover::is_people).await?
    {
        return cluster.apply(object, Mode::DryRun).await;
    }
    Err(problem)
}
