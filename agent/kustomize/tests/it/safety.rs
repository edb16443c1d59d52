//! Trees that mean harm: each ends in an error of the right kind, quickly.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use kustomize::{ErrorKind, Limits, MemoryTree, Options};

/// What a debug build on a busy machine may take; without the limits none of these would end.
const PATIENCE: Duration = Duration::from_mins(1);

#[track_caller]
fn refused(tree: &MemoryTree, kind: ErrorKind, words: &str) {
    let started = Instant::now();
    let error = kustomize::render(tree, "", &Options::default()).unwrap_err();
    assert!(started.elapsed() < PATIENCE, "took {:?}", started.elapsed());
    let shown = error.to_string();
    assert!(shown.contains(words), "expected {words:?} in {shown}");
    assert_eq!(error.kind(), kind, "{shown}");
}

fn listing(path: &str) -> MemoryTree {
    let mut tree = MemoryTree::new();
    tree.add_file("kustomization.yaml", format!("resources: [\"{path}\"]\n"));
    tree
}

fn resource(text: impl Into<Vec<u8>>) -> MemoryTree {
    let mut tree = listing("r.yaml");
    tree.add_file("r.yaml", text);
    tree
}

#[test]
fn paths_stay_in_the_tree() {
    const CASES: &[(&str, &str)] = &[
        ("../secret.yaml", "leads out of the tree"),
        ("a/../../secret.yaml", "leads out of the tree"),
        ("/etc/passwd", "is an absolute path"),
        (".git/config", "leads into .git"),
        (".GIT/config", "leads into .GIT"),
        ("a/.git/config", "leads into .git"),
        ("git~1/config", "leads into git~1"),
        (".git./config", "leads into .git."),
        (
            "https://example.com/a.yaml",
            "would be fetched from the network",
        ),
        ("github.com/org/repo", "would be fetched from the network"),
        (
            "git@example.com:org/repo",
            "would be fetched from the network",
        ),
        (
            "ssh://git@example.com/repo.git//path?ref=v1",
            "would be fetched from the network",
        ),
    ];
    for (path, words) in CASES {
        refused(&listing(path), ErrorKind::Refused, words);
    }
}

#[test]
fn links_stay_in_the_tree() {
    for target in ["../outside", "/etc/passwd", "a/../../outside"] {
        let mut tree = listing("link.yaml");
        tree.add_link("link.yaml", target);
        refused(&tree, ErrorKind::Refused, "outside the tree");
        let mut tree = listing("dir/x.yaml");
        tree.add_link("dir", target);
        refused(&tree, ErrorKind::Refused, "outside the tree");
    }
    let mut tree = listing("a");
    tree.add_link("a", "b");
    tree.add_link("b", "a");
    refused(&tree, ErrorKind::Refused, "more than 40 symbolic links");
}

#[test]
fn a_link_inside_the_tree_is_followed() {
    let mut tree = listing("dir/x.yaml");
    tree.add_link("dir", "real/deep");
    tree.add_file(
        "real/deep/x.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n",
    );
    let rendered = kustomize::render(&tree, "", &Options::default()).unwrap();
    assert_eq!(rendered.objects().len(), 1);
}

#[test]
fn a_file_outside_its_kustomization_is_refused() {
    let mut tree = MemoryTree::new();
    tree.add_file("kustomization.yaml", "resources: [sub]\n");
    tree.add_file("sub/kustomization.yaml", "resources: [../r.yaml]\n");
    tree.add_file(
        "r.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n",
    );
    refused(&tree, ErrorKind::Refused, "is not in or below sub");
}

#[test]
fn cycles_end() {
    let mut tree = listing("a");
    tree.add_file("a/kustomization.yaml", "resources: [../b]\n");
    tree.add_file("b/kustomization.yaml", "resources: [../a]\n");
    refused(&tree, ErrorKind::Invalid, "cycle detected");
    refused(&listing("."), ErrorKind::Invalid, "cycle detected");
}

#[test]
fn doubling_trees_end() {
    let mut tree = MemoryTree::new();
    for level in 0..40 {
        let next = level + 1;
        let text = format!("namePrefix: a\nresources: [../l{next}x, ../l{next}y]\n");
        tree.add_file(&format!("l{level}x/kustomization.yaml"), text.clone());
        tree.add_file(&format!("l{level}y/kustomization.yaml"), text);
    }
    tree.add_file("kustomization.yaml", "resources: [l0x]\n");
    for leaf in ["l40x", "l40y"] {
        tree.add_file(&format!("{leaf}/kustomization.yaml"), "resources: []\n");
    }
    refused(&tree, ErrorKind::Limit, "kustomizations");
}

#[test]
fn alias_bombs_end() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        let list = [below.as_str(); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{list}]").unwrap();
    }
    refused(
        &resource(bomb.clone()),
        ErrorKind::Limit,
        "values in one document",
    );
    let mut tree = MemoryTree::new();
    tree.add_file("kustomization.yaml", bomb);
    refused(&tree, ErrorKind::Limit, "values in one document");
}

#[test]
fn an_alias_in_its_own_value_is_malformed() {
    refused(&resource("a: &a [*a]\n"), ErrorKind::Malformed, "r.yaml:1:");
}

#[test]
fn deep_nesting_ends() {
    refused(
        &resource("[".repeat(100_000)),
        ErrorKind::Malformed,
        "r.yaml:1:",
    );
    let nested = format!("a: {}{}", "[".repeat(220), "]".repeat(220));
    refused(&resource(nested), ErrorKind::Limit, "levels of nesting");
    let stairs: Vec<String> = (0..2_000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    let stairs = stairs.concat();
    let error = kustomize::render(&resource(stairs), "", &Options::default()).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Limit | ErrorKind::Malformed),
        "{error}"
    );
}

#[test]
fn a_million_documents_end() {
    refused(
        &resource("---\na: 1\n".repeat(300_000)),
        ErrorKind::Limit,
        "documents in one file",
    );
}

#[test]
fn large_files_are_not_read() {
    let mut tree = listing("r.yaml");
    tree.add_file("r.yaml", vec![b'x'; 17 << 20]);
    refused(&tree, ErrorKind::Limit, "bytes in one file");
}

#[test]
fn large_builds_end() {
    let limits = Limits {
        total_bytes: 1_000,
        ..Limits::default()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let tree = resource(format!("# {}\n", "x".repeat(2_000)));
    let error = kustomize::render(&tree, "", &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
}

#[test]
fn large_maps_and_lists_stay_linear() {
    const ENTRIES: usize = 40_000;
    let data: Vec<String> = (0..ENTRIES)
        .map(|number| format!("  k{number}: v\n"))
        .collect();
    let data = data.concat();
    let mut tree = resource(format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n{data}"
    ));
    tree.add_file(
        "kustomization.yaml",
        "resources: [r.yaml]\nnamePrefix: a-\ncommonLabels: {a: b}\npatches: [{path: p.yaml}]\n",
    );
    tree.add_file(
        "p.yaml",
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n{data}"),
    );
    let started = Instant::now();
    let rendered = kustomize::render(&tree, "", &Options::default()).unwrap();
    assert!(started.elapsed() < PATIENCE, "took {:?}", started.elapsed());
    assert!(rendered.to_yaml().len() > ENTRIES * 5);
}

#[test]
fn programs_are_refused() {
    const CASES: &[(&str, &str)] = &[
        ("helmCharts: [{name: x}]\n", "would run helm"),
        (
            "helmChartInflationGenerator: [{chartName: x}]\n",
            "would run helm",
        ),
        (
            "generators: [g.yaml]\n",
            "would run a plug-in or a function",
        ),
        (
            "transformers: [g.yaml]\n",
            "would run a plug-in or a function",
        ),
        (
            "configMapGenerator: [{name: x, files: [\"https://example.com/x\"]}]\n",
            "from the network",
        ),
    ];
    for (text, words) in CASES {
        let mut tree = MemoryTree::new();
        tree.add_file("kustomization.yaml", *text);
        tree.add_file(
            "g.yaml",
            "apiVersion: example.com/v1\nkind: Tool\nmetadata:\n  name: t\n  annotations:\n    config.kubernetes.io/function: |\n      exec: {path: ./tool}\n",
        );
        refused(&tree, ErrorKind::Refused, words);
    }
}

#[test]
fn independent_errors_come_together() {
    let mut tree = MemoryTree::new();
    tree.add_file(
        "kustomization.yaml",
        "resources:\n- missing.yaml\n- bad.yaml\n- https://x/y\n",
    );
    tree.add_file("bad.yaml", "a: [\n");
    let error = kustomize::render(&tree, "", &Options::default()).unwrap_err();
    assert_eq!(error.all().count(), 3, "{error}");
    let shown = error.to_string();
    for words in [
        "kustomization.yaml:2:3",
        "bad.yaml:1:4",
        "kustomization.yaml:4:3",
        "hint: ",
    ] {
        assert!(shown.contains(words), "expected {words:?} in {shown}");
    }
}

#[test]
fn unknown_fields_are_all_named() {
    let mut tree = MemoryTree::new();
    tree.add_file(
        "kustomization.yaml",
        "resource: [a]\nnamespace: n\npatches:\n- {pth: x}\n",
    );
    let error = kustomize::render(&tree, "", &Options::default()).unwrap_err();
    let shown = error.to_string();
    for words in [
        "unknown field `resource`",
        "kustomization.yaml:1:1",
        "unknown field `pth`",
        "expected a string, found the boolean n",
    ] {
        assert!(shown.contains(words), "expected {words:?} in {shown}");
    }
}
