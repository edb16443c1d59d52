//! Trees with several faults: each is shown with its place and line, all of them at once.

use kustomize::{MemoryTree, Options};

const OBJECT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ";

fn shown(files: &[(&str, &str)]) -> String {
    let mut tree = MemoryTree::new();
    for (path, text) in files {
        tree.add_file(path, *text);
    }
    let error = kustomize::render(&tree, "", &Options::default()).unwrap_err();
    error.to_string()
}

#[test]
fn files_that_are_no_yaml() {
    let twice = format!("{OBJECT}a\ndata:\n  x: 1\n  x: 2\n");
    let deep = format!("{OBJECT}c\n---\nkind: Foo\n  bad: 1\n");
    assert_eq!(
        shown(&[
            (
                "kustomization.yaml",
                "resources: [twice.yaml, deep.yaml, gone.yaml]\n"
            ),
            ("twice.yaml", &twice),
            ("deep.yaml", &deep),
        ]),
        "key \"x\" is already in this map
  --> twice.yaml:7:3
   |   x: 2

mapping values are not allowed in this context
  --> deep.yaml:7:6
   |   bad: 1

`gone.yaml` does not exist in the root of the tree
  --> kustomization.yaml:1:36
   | resources: [twice.yaml, deep.yaml, gone.yaml]
hint: resources are files or folders, relative to the kustomization that lists them"
    );
}

#[test]
fn fields_that_do_not_exist() {
    assert_eq!(
        shown(&[(
            "kustomization.yaml",
            "resource: []\nnamesuffixx: 1\nlabels:\n- pairs: 5\n"
        )]),
        "invalid kustomization: unknown field `resource`
  --> kustomization.yaml:1:1
   | resource: []
hint: did you mean `resources`?

invalid kustomization: unknown field `namesuffixx`
  --> kustomization.yaml:2:1
   | namesuffixx: 1
hint: did you mean `nameSuffix`?

invalid kustomization: expected a map, found the number 5 in labels.0.pairs
  --> kustomization.yaml:4:3
   | - pairs: 5"
    );
}

#[test]
fn patches_that_cannot_be_read() {
    let object = format!("{OBJECT}a\n");
    let listing = "resources: [a.yaml]
patches:
- path: open.yaml
  target: {kind: ConfigMap}
- path: gone.yaml
- patch: '[{\"op\": \"remove\", \"path\": \"/a\"}]'
";
    assert_eq!(
        shown(&[
            ("kustomization.yaml", listing),
            ("a.yaml", &object),
            ("open.yaml", "data:\n- \"a\n"),
        ]),
        "unclosed quote
  --> open.yaml:2:3
   | - \"a
  in a text that parses neither as a strategic merge nor as a JSON patch
  in the patch open.yaml

`gone.yaml` does not exist in the root of the tree
  --> kustomization.yaml:5:3
   | - path: gone.yaml

must specify a target for a JSON patch
  --> kustomization.yaml:6:3
   | - patch: '[{\"op\": \"remove\", \"path\": \"/a\"}]'
  in the patch kustomization.yaml (inline)
hint: add `target: {kind: ..., name: ...}` beside the patch"
    );
}
