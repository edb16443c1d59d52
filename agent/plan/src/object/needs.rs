//! What an object names and cannot work without, read off the fields where Kubernetes writes such names.

use std::collections::BTreeSet;

use serde_json::Value;

use super::ObjectId;

/// The objects that `object` refers to, itself excluded. References never form a circle: they lead from bindings,
/// workloads and autoscalers down to service accounts, claims, configuration and secrets.
pub(super) fn of(id: &ObjectId, object: &Value) -> BTreeSet<ObjectId> {
    let mut found = Found {
        namespace: id.namespace.as_deref(),
        ids: BTreeSet::new(),
    };
    if let Some(path) = pod_spec_path(id)
        && let Some(spec) = object.pointer(path)
    {
        found.pod(spec);
    }
    match (id.group.as_str(), id.kind.as_str()) {
        ("apps", "StatefulSet") => found.core("Service", object.pointer("/spec/serviceName")),
        ("", "ServiceAccount") => {
            found.secrets(object.get("secrets"));
            found.secrets(object.get("imagePullSecrets"));
        }
        ("", "PersistentVolumeClaim") => {
            found.add(
                "",
                "PersistentVolume",
                None,
                object.pointer("/spec/volumeName"),
            );
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            found.binding(object);
        }
        ("autoscaling", "HorizontalPodAutoscaler") => found.scaled(object),
        ("networking.k8s.io", "Ingress") => {
            for tls in items(object.pointer("/spec/tls")) {
                found.core("Secret", tls.get("secretName"));
            }
        }
        _ => {}
    }
    found.ids.remove(id);
    found.ids
}

/// Where a kind keeps its pod spec.
fn pod_spec_path(id: &ObjectId) -> Option<&'static str> {
    match (id.group.as_str(), id.kind.as_str()) {
        ("", "Pod") => Some("/spec"),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => {
            Some("/spec/template/spec")
        }
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template/spec"),
        _ => None,
    }
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

struct Found<'a> {
    namespace: Option<&'a str>,
    ids: BTreeSet<ObjectId>,
}

impl Found<'_> {
    fn add(&mut self, group: &str, kind: &str, namespace: Option<&str>, name: Option<&Value>) {
        if let Some(name) = name.and_then(Value::as_str).filter(|name| !name.is_empty()) {
            self.ids.insert(ObjectId::new(group, kind, namespace, name));
        }
    }

    fn core(&mut self, kind: &str, name: Option<&Value>) {
        self.add("", kind, self.namespace, name);
    }

    fn secrets(&mut self, list: Option<&Value>) {
        for item in items(list) {
            self.core("Secret", item.get("name"));
        }
    }

    fn pod(&mut self, spec: &Value) {
        self.core("ServiceAccount", spec.get("serviceAccountName"));
        self.secrets(spec.get("imagePullSecrets"));
        for volume in items(spec.get("volumes")) {
            self.core("ConfigMap", volume.pointer("/configMap/name"));
            self.core("Secret", volume.pointer("/secret/secretName"));
            self.core(
                "PersistentVolumeClaim",
                volume.pointer("/persistentVolumeClaim/claimName"),
            );
            for source in items(volume.pointer("/projected/sources")) {
                self.core("ConfigMap", source.pointer("/configMap/name"));
                self.core("Secret", source.pointer("/secret/name"));
            }
        }
        for containers in ["initContainers", "containers"] {
            for container in items(spec.get(containers)) {
                for variable in items(container.get("env")) {
                    self.core(
                        "ConfigMap",
                        variable.pointer("/valueFrom/configMapKeyRef/name"),
                    );
                    self.core("Secret", variable.pointer("/valueFrom/secretKeyRef/name"));
                }
                for source in items(container.get("envFrom")) {
                    self.core("ConfigMap", source.pointer("/configMapRef/name"));
                    self.core("Secret", source.pointer("/secretRef/name"));
                }
            }
        }
    }

    fn binding(&mut self, binding: &Value) {
        const GROUP: &str = "rbac.authorization.k8s.io";
        let name = binding.pointer("/roleRef/name");
        match binding.pointer("/roleRef/kind").and_then(Value::as_str) {
            Some("Role") => self.add(GROUP, "Role", self.namespace, name),
            Some("ClusterRole") => self.add(GROUP, "ClusterRole", None, name),
            _ => {}
        }
        for subject in items(binding.get("subjects")) {
            if subject.get("kind").and_then(Value::as_str) == Some("ServiceAccount") {
                let namespace = subject.get("namespace").and_then(Value::as_str);
                self.add("", "ServiceAccount", namespace, subject.get("name"));
            }
        }
    }

    fn scaled(&mut self, autoscaler: &Value) {
        let kind = autoscaler
            .pointer("/spec/scaleTargetRef/kind")
            .and_then(Value::as_str);
        if let Some(kind @ ("Deployment" | "StatefulSet" | "ReplicaSet")) = kind {
            let name = autoscaler.pointer("/spec/scaleTargetRef/name");
            self.add("apps", kind, self.namespace, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(id: &ObjectId, object: &Value) -> Vec<String> {
        of(id, object).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pod_names_its_account_configuration_secrets_and_claims() {
        let pod = json!({"spec": {
            "serviceAccountName": "sa",
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"configMap": {"name": "c1"}},
                {"secret": {"secretName": "s1"}},
                {"persistentVolumeClaim": {"claimName": "data"}},
                {"projected": {"sources": [{"configMap": {"name": "c2"}}, {"secret": {"name": "s2"}}]}},
                {"emptyDir": {}},
            ],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "c3"}}]}],
            "containers": [{
                "env": [
                    {"valueFrom": {"secretKeyRef": {"name": "s3", "key": "k"}}},
                    {"valueFrom": {"configMapKeyRef": {"name": "c4", "key": "k"}}},
                    {"value": "x"},
                ],
                "envFrom": [{"secretRef": {"name": "s4"}}],
            }],
        }});
        let expected = [
            "ConfigMap a/c1",
            "ConfigMap a/c2",
            "ConfigMap a/c3",
            "ConfigMap a/c4",
            "PersistentVolumeClaim a/data",
            "Secret a/pull",
            "Secret a/s1",
            "Secret a/s2",
            "Secret a/s3",
            "Secret a/s4",
            "ServiceAccount a/sa",
        ];
        assert_eq!(
            names(&ObjectId::new("", "Pod", Some("a"), "p"), &pod),
            expected
        );
        let template = json!({"spec": {"template": pod}});
        assert_eq!(
            names(&ObjectId::new("batch", "Job", Some("a"), "j"), &template),
            expected
        );
        let cron = json!({"spec": {"jobTemplate": template}});
        assert_eq!(
            names(&ObjectId::new("batch", "CronJob", Some("a"), "j"), &cron),
            expected
        );
    }

    #[test]
    fn other_kinds() {
        let rbac = "rbac.authorization.k8s.io";
        let cases = [
            (
                ObjectId::new("apps", "StatefulSet", Some("a"), "b"),
                json!({"spec": {"serviceName": "b"}}),
                vec!["Service a/b"],
            ),
            (
                ObjectId::new(rbac, "RoleBinding", Some("a"), "b"),
                json!({
                    "roleRef": {"kind": "Role", "name": "r"},
                    "subjects": [
                        {"kind": "ServiceAccount", "name": "sa", "namespace": "other"},
                        {"kind": "User", "name": "u"},
                    ],
                }),
                vec!["ServiceAccount other/sa", "Role a/r"],
            ),
            (
                ObjectId::new(rbac, "ClusterRoleBinding", None, "b"),
                json!({"roleRef": {"kind": "ClusterRole", "name": "r"}}),
                vec!["ClusterRole r"],
            ),
            (
                ObjectId::new("autoscaling", "HorizontalPodAutoscaler", Some("a"), "b"),
                json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}}),
                vec!["Deployment a/web"],
            ),
            (
                ObjectId::new("", "PersistentVolumeClaim", Some("a"), "b"),
                json!({"spec": {"volumeName": "pv"}}),
                vec!["PersistentVolume pv"],
            ),
            (
                ObjectId::new("", "ConfigMap", Some("a"), "b"),
                json!({"spec": {"serviceName": "b"}}),
                vec![],
            ),
        ];
        for (id, object, expected) in cases {
            assert_eq!(names(&id, &object), expected, "{id}");
        }
    }
}
