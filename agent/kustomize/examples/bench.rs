//! Times builds of large trees and prints a Markdown table.
//!
//! `bench [REFERENCE]`: with the path of a kubectl (or of the bundle's kubebox) the smaller trees
//! are built by it too, in the same run, so that the ratio means something on a busy machine. The
//! trees are those of the benchmark in the project's issue: Deployments with two containers that
//! refer to generated `ConfigMaps`, under an overlay with every common field.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kustomize::{MemoryTree, Options};

/// Builds per tree; the fastest counts.
const ROUNDS: usize = 3;

/// Trees above this take the reference minutes.
const REFERENCE_UP_TO: usize = 1_000;

#[derive(Clone, Copy, PartialEq)]
enum Overlay {
    Plain,
    Full,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reference = std::env::args().nth(1);
    let mut table = String::from(
        "| tree | ours | per object | output | reference | ratio |\n|---|---|---|---|---|---|\n",
    );
    for (objects, overlay) in [
        (100, Overlay::Full),
        (1_000, Overlay::Full),
        (5_000, Overlay::Full),
        (10_000, Overlay::Full),
        (20_000, Overlay::Full),
        (1_000, Overlay::Plain),
        (10_000, Overlay::Plain),
    ] {
        let files = files(objects, overlay)?;
        let (ours, bytes) = ours(&files)?;
        let theirs = match &reference {
            Some(reference) if objects <= REFERENCE_UP_TO => Some(theirs(reference, &files)?),
            _ => None,
        };
        let name = if overlay == Overlay::Full {
            "full overlay"
        } else {
            "plain"
        };
        write!(
            table,
            "| {objects}, {name} | {:.1} ms | {:.1} us | {:.1} MB |",
            ours.as_secs_f64() * 1e3,
            ours.as_secs_f64() * 1e6 / f64::from(u32::try_from(objects)?),
            f64::from(u32::try_from(bytes)?) / 1e6,
        )?;
        match theirs {
            Some(theirs) => writeln!(
                table,
                " {:.2} s | {:.0} x |",
                theirs.as_secs_f64(),
                theirs.as_secs_f64() / ours.as_secs_f64()
            )?,
            None => writeln!(table, " - | - |")?,
        }
    }
    std::io::stdout().write_all(table.as_bytes())?;
    Ok(())
}

type Files = Vec<(String, String)>;

fn ours(files: &Files) -> Result<(Duration, usize), kustomize::Error> {
    let mut tree = MemoryTree::new();
    for (path, text) in files {
        tree.add_file(path, text.as_str());
    }
    let mut best = Duration::MAX;
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        bytes = kustomize::render(&tree, "overlay", &Options::default())?
            .to_yaml()
            .len();
        best = best.min(started.elapsed());
    }
    Ok((best, bytes))
}

fn theirs(reference: &str, files: &Files) -> Result<Duration, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    for (path, text) in files {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap_or_else(|| folder.path()))?;
        fs_err::write(path, text)?;
    }
    let mut command = Command::new(reference);
    if Path::new(reference).ends_with("kubebox") {
        command.arg("kubectl");
    }
    command
        .arg("kustomize")
        .arg(folder.path().join("overlay"))
        .stdout(Stdio::null());
    let started = Instant::now();
    let status = command.status()?;
    let elapsed = started.elapsed();
    if status.success() {
        Ok(elapsed)
    } else {
        Err(format!("{reference} ends with {status}").into())
    }
}

/// Objects per file.
const PER_FILE: usize = 100;
/// Generated maps that the objects refer to in turn.
const MAPS: usize = 20;
const TIERS: [&str; 4] = ["web", "api", "worker", "batch"];

fn files(objects: usize, overlay: Overlay) -> Result<Files, std::fmt::Error> {
    let mut files = Files::new();
    let mut base = String::from("resources:\n");
    for first in (0..objects).step_by(PER_FILE) {
        let documents: Vec<String> = (first..objects.min(first + PER_FILE))
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
