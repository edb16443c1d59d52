//! What a fuzzer may throw bytes at: one function for each part of the language. A panic is a
//! finding; so is a result that breaks the law that the function states.
//!
//! The test `fuzz` calls these with damaged pieces of the cases, `fuzz/run` with what libFuzzer makes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kustomize::{Limits, MemoryTree, Options, Undefined};

/// An entry point.
pub(crate) type Target = fn(&[u8]);

/// All of them, by name.
pub(crate) const TARGETS: [(&str, Target); 5] = [
    ("kustomization", kustomization),
    ("patch", patch),
    ("replacement", replacement),
    ("substitution", substitution),
    ("yaml", yaml),
];

const OBJECTS: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: nginx, env: [{name: A, value: '1'}], ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {config.yaml: 'a: {b: [1, 2]}', text: a-b-c}
";

/// Small limits: a fuzzer looks for wrong turns, not for large inputs.
fn options() -> Options {
    let limits = Limits {
        file_bytes: 1 << 20,
        objects: 1_000,
        nodes: 20_000,
        output_bytes: 1 << 22,
        ..Limits::default()
    };
    Options {
        limits,
        ..Options::default()
    }
}

fn tree(files: [(&str, &[u8]); 2]) -> MemoryTree {
    let mut tree = MemoryTree::from([("objects.yaml", OBJECTS)]);
    for (path, bytes) in files {
        tree.add_file(path, bytes);
    }
    tree
}

fn build(tree: &MemoryTree) -> Option<kustomize::Rendered> {
    match kustomize::render(tree, "", &options()) {
        Ok(rendered) => Some(rendered),
        Err(error) => {
            assert!(!error.message().is_empty(), "an error that says nothing");
            None
        }
    }
}

/// A kustomization file beside two objects.
pub(crate) fn kustomization(bytes: &[u8]) {
    let base = b"resources: [../objects.yaml]\n";
    build(&tree([
        ("kustomization.yaml", bytes),
        ("base/kustomization.yaml", base),
    ]));
}

/// A patch of either kind for a Deployment, and for whatever it names.
pub(crate) fn patch(bytes: &[u8]) {
    for entry in ["{path: patch, target: {kind: Deployment}}", "{path: patch}"] {
        let text = format!("resources: [objects.yaml]\npatches: [{entry}]\n");
        build(&tree([
            ("kustomization.yaml", text.as_bytes()),
            ("patch", bytes),
        ]));
    }
}

/// The path of a replacement, into an object and into a YAML text, with fields made on the way or
/// not. The first line is the source's path, the second the target's.
pub(crate) fn replacement(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let mut next = || quoted(lines.next().unwrap_or_default());
    let (source, target) = (next(), next());
    for create in [true, false] {
        let text = format!(
            "resources: [objects.yaml]\nreplacements:\n- source: {{kind: Deployment, fieldPath: {source}}}\n  targets:\n  - select: {{kind: ConfigMap}}\n    fieldPaths: [{target}, 'data.config\\.yaml.a.b.0']\n    options: {{create: {create}}}\n"
        );
        build(&tree([
            ("kustomization.yaml", text.as_bytes()),
            ("unused", b""),
        ]));
    }
}

/// A text with `${...}` in it. Without a dollar sign it comes out as it was.
pub(crate) fn substitution(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{text: {}}}\n",
        quoted(&text)
    );
    let files = [
        ("kustomization.yaml", &b"resources: [c.yaml]\n"[..]),
        ("c.yaml", map.as_bytes()),
    ];
    let variables = BTreeMap::from([
        ("x".to_owned(), "value".to_owned()),
        ("empty".to_owned(), String::new()),
        ("number".to_owned(), "1".to_owned()),
    ]);
    for undefined in [Undefined::Refused, Undefined::Empty] {
        let Some(rendered) = build(&tree(files)) else {
            return;
        };
        let before = rendered.to_yaml();
        if let Ok(after) = kustomize::substitute(rendered, &variables, undefined) {
            assert!(text.contains('$') || after.to_yaml() == before);
        }
    }
}

/// A file of objects. What is printed reads back as the same objects.
pub(crate) fn yaml(bytes: &[u8]) {
    let listing = &b"resources: [file.yaml]\nsortOptions: {order: fifo}\n"[..];
    let read = |bytes| {
        build(&tree([
            ("kustomization.yaml", listing),
            ("file.yaml", bytes),
        ]))
    };
    let Some(first) = read(bytes) else { return };
    let printed = first.to_yaml();
    let Some(second) = read(printed.as_bytes()) else {
        panic!("what is printed does not read back:\n{printed}");
    };
    assert!(
        second.to_yaml() == printed,
        "what is printed reads back as something else:\n{printed}\n{}",
        second.to_yaml()
    );
}

/// A text in double quotes, as YAML and JSON have it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
        }
    }
    quoted.push('"');
    quoted
}
