//! What a slow cluster makes of the probes of its pods.
//!
//! The manifests are written for machines that run at the speed of their host: readiness every two seconds, so
//! that a stale replica leaves quickly. On emulated machines answers to such probes alone took more time than
//! there was, so none came within its timeout, and pods that only were late left their Services and were
//! restarted. The manifests are git's; so the cluster changes what its pods are told, as it is the cluster
//! that is slow.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::pace::Pace;

const NAME: &str = "immuops-patience";
const API: &str = "admissionregistration.k8s.io/v1";

/// The policy that multiplies the period and the timeout of every probe by the pace, and its binding. None at
/// the usual pace.
pub(super) fn objects(pace: Pace) -> Vec<Value> {
    if !pace.is_slow() {
        return Vec::new();
    }
    vec![policy(pace.factor()), binding()]
}

fn policy(factor: u32) -> Value {
    json!({
        "apiVersion": API,
        "kind": "MutatingAdmissionPolicy",
        "metadata": { "name": NAME },
        "spec": {
            // A pod whose probes cannot be changed is still a pod.
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "Never",
            "matchConstraints": { "resourceRules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
            }] },
            // The API server has only a picture of a static pod: its kubelet probes as the file says.
            "matchConditions": [{
                "name": "not-static",
                "expression": "!has(object.metadata.annotations) \
                    || !('kubernetes.io/config.mirror' in object.metadata.annotations)",
            }],
            "mutations": [{
                "patchType": "ApplyConfiguration",
                "applyConfiguration": { "expression": expression(factor) },
            }],
        },
    })
}

fn binding() -> Value {
    json!({
        "apiVersion": API,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": { "name": NAME },
        "spec": { "policyName": NAME },
    })
}

/// In the Common Expression Language, as
/// <https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/> has it. Periods and
/// timeouts that a manifest leaves out are there: defaults come before admission.
fn expression(factor: u32) -> String {
    let mut probes = String::new();
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        // Writing to a String cannot fail.
        let _ = write!(
            probes,
            "  ?{probe}: has(c.{probe}) ? optional.of(Object.spec.containers.{probe}{{
    periodSeconds: c.{probe}.periodSeconds * {factor},
    timeoutSeconds: c.{probe}.timeoutSeconds * {factor},
  }}) : optional.none(),
"
        );
    }
    format!(
        "Object{{spec: Object.spec{{containers: object.spec.containers.map(c, Object.spec.containers{{
  name: c.name,
{probes}}})}}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_pace_leaves_probes_alone() {
        assert!(objects(Pace::USUAL).is_empty());
    }

    #[test]
    fn each_probe_of_each_container_is_slowed_down() {
        insta::assert_snapshot!(expression(8));
    }
}
