//! The trees of the benchmark: Deployments with two containers that refer to generated
//! `ConfigMaps`, and an overlay with every common field or with none.

use std::fmt::Write as _;

/// Paths and contents.
pub(crate) type Files = Vec<(String, String)>;

/// What the overlay does.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Overlay {
    /// Nothing.
    Plain,
    /// Namespace, prefix, labels, annotations, images, replicas, patches of both kinds and a
    /// replacement into every object.
    Full,
}

/// How large a tree is.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) objects: usize,
    pub(crate) per_file: usize,
    pub(crate) overlay: Overlay,
}

/// Generated maps that the objects refer to in turn.
const MAPS: usize = 20;
const TIERS: [&str; 4] = ["web", "api", "worker", "batch"];

/// The tree; the folder to build is `overlay`.
pub(crate) fn files(shape: Shape) -> Result<Files, std::fmt::Error> {
    let Shape {
        objects,
        per_file,
        overlay,
    } = shape;
    let mut files = Files::new();
    let mut base = String::from("resources:\n");
    for first in (0..objects).step_by(per_file) {
        let documents: Vec<String> = (first..objects.min(first + per_file))
            .map(deployment)
            .collect();
        let name = format!("deployments-{first:05}.yaml");
        writeln!(base, "- {name}")?;
        files.push((format!("base/{name}"), documents.join("---\n")));
    }
    base.push_str("configMapGenerator:\n");
    for map in 0..MAPS {
        writeln!(
            base,
            "- name: settings-{map:02}\n  literals: [level={map}, region=eu-{}]\n  files: [common.properties]",
            map % 3
        )?;
    }
    base.push_str("secretGenerator:\n- name: shared-secret\n  literals: [user=admin]\n");
    let properties: Vec<String> = (0..50)
        .map(|key| format!("key{key}=value {key}\n"))
        .collect();
    files.push(("base/common.properties".to_owned(), properties.concat()));
    files.push(("base/kustomization.yaml".to_owned(), base));
    let mut top = String::from("resources: [../base]\n");
    if overlay == Overlay::Full {
        top.push_str(FULL);
        for tier in TIERS {
            writeln!(
                top,
                "- {{name: registry.example.com/team/{tier}, newName: mirror.example.com/{tier}, newTag: v2.0.0}}"
            )?;
        }
        top.push_str("replicas:\n");
        for number in 0..objects.min(10) {
            writeln!(top, "- {{name: app-{number:05}, count: 5}}")?;
        }
        for (name, text) in PATCHES {
            files.push((format!("overlay/{name}"), text.to_owned()));
        }
    }
    files.push(("overlay/kustomization.yaml".to_owned(), top));
    Ok(files)
}

const FULL: &str = "namespace: production
namePrefix: prod-
labels:
- includeSelectors: true
  pairs: {env: production}
- pairs: {owner: platform}
commonAnnotations: {contact: platform@example.com}
patches:
- path: all.yaml
  target: {kind: Deployment, labelSelector: 'tier in (web, api)'}
- path: tenth.yaml
  target: {kind: Deployment, name: app-.*0}
- path: one.yaml
replacements:
- source: {kind: Deployment, name: app-00000, fieldPath: metadata.labels.tier}
  targets:
  - select: {kind: Deployment}
    fieldPaths: ['spec.template.spec.containers.[name=main].env.[name=MODE].value']
images:
- {name: envoyproxy/envoy, digest: 'sha256:abababababababababababababababababababababababababababababababab'}
";

const PATCHES: [(&str, &str); 3] = [
    (
        "all.yaml",
        "apiVersion: apps/v1
kind: Deployment
metadata: {name: any}
spec:
  template:
    spec:
      securityContext: {runAsNonRoot: true}
      containers:
      - name: main
        env: [{name: EXTRA, value: '1'}]
",
    ),
    (
        "tenth.yaml",
        "- {op: replace, path: /spec/template/spec/containers/0/resources/limits/memory, value: 1Gi}
- {op: add, path: /spec/template/spec/containers/0/args/-, value: --big}
",
    ),
    (
        "one.yaml",
        "apiVersion: apps/v1
kind: Deployment
metadata: {name: app-00001}
spec: {template: {spec: {containers: [{name: sidecar, $patch: delete}]}}}
",
    ),
];

fn deployment(number: usize) -> String {
    let tier = TIERS.get(number % TIERS.len()).copied().unwrap_or_default();
    let (shard, replicas, minor) = (number % 10, 1 + number % 3, number % 7);
    let map = format!("settings-{:02}", number % MAPS);
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-{number:05}
  labels:
    app: app-{number:05}
    tier: {tier}
    shard: \"{shard}\"
spec:
  replicas: {replicas}
  selector:
    matchLabels:
      app: app-{number:05}
  template:
    metadata:
      labels:
        app: app-{number:05}
        tier: {tier}
    spec:
      containers:
      - name: main
        image: registry.example.com/team/{tier}:v1.{minor}.0
        args:
        - --listen=:8080
        - --shard={shard}
        env:
        - name: MODE
          value: production
        - name: LEVEL
          valueFrom:
            configMapKeyRef:
              name: {map}
              key: level
        envFrom:
        - configMapRef:
            name: {map}
        - secretRef:
            name: shared-secret
        ports:
        - containerPort: 8080
          name: http
        resources:
          limits:
            cpu: 500m
            memory: 256Mi
          requests:
            cpu: 100m
            memory: 128Mi
      - name: sidecar
        image: envoyproxy/envoy:v1.2{shard}.0
        ports:
        - containerPort: 9901
          name: admin
      volumes:
      - name: config
        configMap:
          name: {map}
"
    )
}
