//! Random Kubernetes objects.

use std::fmt::Write as _;

use super::random_tree::{Maker, indented};

/// Kinds with pods in them: api version, kind, and the path to the pod's spec.
pub(crate) const WORKLOADS: &[(&str, &str, &str)] = &[
    ("apps/v1", "Deployment", "template"),
    ("apps/v1", "StatefulSet", "template"),
    ("apps/v1", "DaemonSet", "template"),
    ("batch/v1", "Job", "template"),
    ("batch/v1", "CronJob", "jobTemplate"),
    ("v1", "Pod", ""),
];

impl Maker {
    pub(crate) fn object(&mut self, name: &str) -> String {
        let choice = self.random.below(14);
        if choice < 6 {
            return self.workload(name);
        }
        let value = self.scalar();
        let (version, kind, body): (&str, &str, String) = match choice {
            6 => ("v1", "Service", self.service()),
            7 => ("v1", "ConfigMap", {
                let other = self.scalar();
                format!(
                    "data:\n  a: {}\n  \"b\": {}\n  multi: |\n    line one\n      line two\n\n    end\n  {}: x\nodd: {value}\nlist: [{other}, {{k: {value}}}]\n",
                    self.text(),
                    self.text(),
                    self.random
                        .pick(&["c", "\"1\"", "\"yes\"", "a10", "a9", "A", "_"])
                )
            }),
            8 => (
                "v1",
                "ServiceAccount",
                "imagePullSecrets:\n- name: conf0\n".to_owned(),
            ),
            9 => (
                "rbac.authorization.k8s.io/v1",
                "RoleBinding",
                format!(
                    "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: Role\n  name: {name}\nsubjects:\n- kind: ServiceAccount\n  name: {}\n- kind: ServiceAccount\n  name: default\n  namespace: other\n",
                    self.known("ServiceAccount")
                ),
            ),
            10 => (
                "networking.k8s.io/v1",
                "Ingress",
                format!(
                    "spec:\n  tls:\n  - secretName: conf0\n  rules:\n  - host: h\n    http:\n      paths:\n      - path: /\n        pathType: Prefix\n        backend:\n          service:\n            name: {}\n            port: {{number: 80}}\n",
                    self.known("Service")
                ),
            ),
            11 => (
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                format!(
                    "spec:\n  scaleTargetRef:\n    apiVersion: apps/v1\n    kind: Deployment\n    name: {}\n  maxReplicas: 3\n",
                    self.known("Deployment")
                ),
            ),
            12 => ("v1", "Namespace", "spec: {}\n".to_owned()),
            _ => (
                "example.com/v1",
                "Thing",
                format!(
                    "spec:\n  value: {value}\n  list:\n  - {value}\n  - x: {value}\n    y: []\n  - [a, {value}]\n  map:\n    deep: {{}}\n    other: &anchor {{p: {value}}}\n    again: *anchor\n    merged:\n      <<: *anchor\n      q: 1\n"
                ),
            ),
        };
        self.with_metadata(version, kind, name, &body)
    }

    /// A name that some object of the kind has, if there is one.
    fn known(&mut self, kind: &str) -> String {
        let known: Vec<String> = self
            .objects
            .iter()
            .filter(|(_, k, _)| *k == kind)
            .map(|(_, _, name)| name.clone())
            .collect();
        if known.is_empty() {
            "web00".to_owned()
        } else {
            known[self.random.below(known.len())].clone()
        }
    }

    fn with_metadata(&mut self, version: &str, kind: &str, name: &str, body: &str) -> String {
        let fixed: (&'static str, &'static str) = [
            ("v1", "Service"),
            ("v1", "ConfigMap"),
            ("v1", "ServiceAccount"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            ("networking.k8s.io/v1", "Ingress"),
            ("autoscaling/v2", "HorizontalPodAutoscaler"),
            ("v1", "Namespace"),
            ("example.com/v1", "Thing"),
            ("apps/v1", "Deployment"),
            ("apps/v1", "StatefulSet"),
            ("apps/v1", "DaemonSet"),
            ("batch/v1", "Job"),
            ("batch/v1", "CronJob"),
            ("v1", "Pod"),
        ]
        .into_iter()
        .find(|(v, k)| *v == version && *k == kind)
        .unwrap();
        self.objects.push((fixed.0, fixed.1, name.to_owned()));
        let mut text = format!("apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n");
        if self.random.chance(40) {
            let _ = writeln!(
                text,
                "  labels:\n    app: {}\n    tier: {}",
                self.random.pick(&["web", "x", "\"1\""]),
                self.text()
            );
        }
        if self.random.chance(25) {
            let _ = writeln!(
                text,
                "  annotations:\n    note: {}\n    zero: {}",
                self.text(),
                self.scalar()
            );
        }
        if self.random.chance(15) {
            let _ = writeln!(
                text,
                "  namespace: {}",
                self.random.pick(&["prod", "default", "elsewhere"])
            );
        }
        text.push_str(body);
        text
    }

    fn service(&mut self) -> String {
        self.random.pick(&[
            "spec:\n  selector: {app: web}\n  ports:\n  - port: 80\n    targetPort: http\n",
            "spec:\n  ports:\n  - {port: 80, protocol: TCP}\n  - {port: 443, protocol: TCP, name: tls}\n",
            "spec:\n  ports:\n  - {port: 80}\n  - {port: 53, protocol: UDP}\n",
            "spec:\n  clusterIP: None\n  ports: []\n",
        ]).to_owned()
    }

    fn workload(&mut self, name: &str) -> String {
        let (version, kind, template) = WORKLOADS[self.random.below(WORKLOADS.len())];
        let image = self.random.pick(&[
            "nginx",
            "nginx:1.25",
            "reg.io/app@sha256:00",
            "reg.io:5000/app:v1",
            "\"nginx:1\"",
        ]);
        let (a, b) = (self.text(), self.scalar());
        let mut pod = format!(
            "containers:\n- name: main\n  image: {image}\n  env:\n  - name: A\n    value: {a}\n  - name: B\n    value: {b}\n"
        );
        if self.random.chance(50) {
            pod.push_str(
                "  - name: C\n    valueFrom:\n      configMapKeyRef: {name: conf0, key: a}\n",
            );
        }
        if self.random.chance(40) {
            pod.push_str(
                "  ports:\n  - containerPort: 80\n  - containerPort: 53\n    protocol: UDP\n",
            );
        }
        if self.random.chance(30) {
            pod.push_str(
                "  envFrom:\n  - configMapRef: {name: conf1}\n  - secretRef: {name: conf0}\n",
            );
        }
        if self.random.chance(30) {
            pod.push_str("- name: helper\n  image: helper:2\n");
        }
        if self.random.chance(25) {
            pod.push_str("initContainers:\n- name: init\n  image: nginx:init\n");
        }
        if self.random.chance(40) {
            pod.push_str("volumes:\n- name: data\n  emptyDir: {}\n- name: conf\n  configMap: {name: conf0}\n");
        }
        if self.random.chance(20) {
            let account = self.known("ServiceAccount");
            let _ = writeln!(pod, "serviceAccountName: {account}");
        }
        if self.random.chance(20) {
            pod.push_str(
                "tolerations:\n- key: k\n  operator: Exists\nnodeSelector: {disk: ssd, gone: x}\n",
            );
        }
        if self.random.chance(15) {
            pod.push_str("hostAliases:\n- ip: 1.2.3.4\n  hostnames: [a]\n- ip: 5.6.7.8\n");
        }
        let labels = "metadata:\n  labels:\n    app: web\n";
        let body = match template {
            "" => format!("spec:\n{}\n", indented(&pod, 2)),
            "template" => {
                let mut body = "spec:\n".to_owned();
                if kind == "Deployment" || kind == "StatefulSet" {
                    let _ = writeln!(
                        body,
                        "  replicas: {}",
                        self.random.pick(&["1", "\"2\"", "3"])
                    );
                }
                if self.random.chance(60) {
                    body.push_str("  selector:\n    matchLabels: {app: web}\n");
                }
                if kind == "StatefulSet" && self.random.chance(50) {
                    body.push_str("  serviceName: web00\n  volumeClaimTemplates:\n  - metadata: {name: data}\n    spec: {storageClassName: fast}\n");
                }
                let _ = write!(
                    body,
                    "  template:\n{}\n    spec:\n{}\n",
                    indented(labels, 4),
                    indented(&pod, 6)
                );
                body
            }
            _ => format!(
                "spec:\n  schedule: \"* * * * *\"\n  jobTemplate:\n    spec:\n      template:\n        spec:\n{}\n",
                indented(&pod, 10)
            ),
        };
        self.with_metadata(version, kind, name, &body)
    }
}
