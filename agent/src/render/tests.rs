use super::*;

impl Folders for kustomize::MemoryTree {
    fn list(&self, folder: &str) -> Result<Vec<(String, Node)>, TreeError> {
        // Only the names that the tests below use.
        let names = [
            "a.yml",
            "b.yaml",
            "README.md",
            "deep",
            "er",
            "app",
            "d.yaml",
        ];
        let mut nodes = Vec::new();
        for name in names {
            match self.entry(&join(folder, name))? {
                Some(Entry::Folder) => nodes.push((name.to_owned(), Node::Folder)),
                Some(Entry::File { .. }) => nodes.push((name.to_owned(), Node::File)),
                Some(Entry::Link { .. }) | None => {}
            }
        }
        Ok(nodes)
    }
}

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\n";

fn map(name: &str) -> String {
    MAP.replace("NAME", name)
}

fn plainly(files: &dyn Tree, folder: &str) -> Result<kustomize::Rendered, kustomize::Error> {
    kustomize::render(files, folder, &kustomize::Options::default())
}

fn names(tree: &kustomize::MemoryTree, path: &str, namespace: Option<&str>) -> Vec<String> {
    let rendered = build(tree, path, namespace, plainly).unwrap();
    let name = |object: &kustomize::Object| {
        let text = |path: &str| {
            object
                .value()
                .pointer(path)
                .and_then(|value| value.as_str())
        };
        let namespace = text("/metadata/namespace").unwrap_or("-");
        format!("{namespace}/{}", text("/metadata/name").unwrap_or("-"))
    };
    rendered.objects().iter().map(name).collect()
}

#[test]
fn a_folder_without_a_kustomization_is_taken_whole() {
    let mut tree = kustomize::MemoryTree::new();
    for (path, name) in [
        ("x/b.yaml", "b"),
        ("x/a.yml", "a"),
        ("x/deep/er/d.yaml", "d"),
    ] {
        tree.add_file(path, map(name));
    }
    tree.add_file("x/README.md", "no YAML: [");
    tree.add_file(
        "x/app/kustomization.yaml",
        "namePrefix: app-\nresources: [d.yaml]\n",
    );
    tree.add_file("x/app/d.yaml", map("one"));
    assert_eq!(names(&tree, "x", None), ["-/a", "-/app-one", "-/b", "-/d"]);
    assert_eq!(
        names(&tree, "x", Some("shop")),
        ["shop/a", "shop/app-one", "shop/b", "shop/d"]
    );
    assert_eq!(names(&tree, "x/app", Some("shop")), ["shop/app-one"]);
}

#[test]
fn says_what_is_missing() {
    let mut tree = kustomize::MemoryTree::new();
    tree.add_file("x/README.md", "");
    for path in ["nowhere", "x/README.md", "x"] {
        let result = build(&tree, path, None, plainly);
        assert!(
            result.unwrap_err().to_string().contains("spec.path"),
            "{path}"
        );
    }
}
