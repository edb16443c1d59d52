//! `agent render` as a user runs it: what it prints, where, and with which exit code.

#[cfg(test)]
mod cli {
    use std::fmt::Write as _;
    use std::path::Path;
    use std::process::Command;

    const BASE: &str = "resources: [objects.yaml]\n";
    const OBJECTS: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
";
    const TOP: &str = "resources: [../base]\nnamePrefix: p-\n";

    /// A folder with a base and an overlay on it.
    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("base/kustomization.yaml", BASE),
            ("base/objects.yaml", OBJECTS),
            ("top/kustomization.yaml", TOP),
        ];
        for (path, text) in files {
            write(folder.path(), path, text);
        }
        folder
    }

    fn write(folder: &Path, path: &str, text: &str) {
        let path = folder.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    /// Exit code, output and complaints of `agent render` in a folder, without what differs from
    /// run to run.
    fn render(folder: &Path, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_agent"))
            .arg("render")
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("HOME", folder)
            .output()
            .unwrap();
        let mut seen = format!("code {}\n", output.status.code().unwrap());
        for (name, bytes) in [("out", output.stdout), ("err", output.stderr)] {
            if !bytes.is_empty() {
                write!(seen, "-- {name}\n{}", String::from_utf8(bytes).unwrap()).unwrap();
            }
        }
        // The renderer's paths start at the root of the disk, without a slash.
        let path = fs_err::canonicalize(folder).unwrap();
        seen.replace(path.to_str().unwrap().trim_start_matches('/'), "TREE")
    }

    #[track_caller]
    fn check(folder: &Path, arguments: &[&str], expected: &str) {
        let found = render(folder, arguments);
        assert!(found == expected, "expected:\n{expected}\nfound:\n{found}");
    }

    #[test]
    fn prints_objects_with_what_others_need_first() {
        check(
            tree().path(),
            &["top"],
            "code 0
-- out
apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
apiVersion: v1
kind: Service
metadata:
  name: p-web
  namespace: shop
",
        );
    }

    #[test]
    fn reorder_none_keeps_the_order_of_the_files() {
        let tree = tree();
        let legacy = render(tree.path(), &["top", "--reorder", "legacy"]);
        assert_eq!(legacy, render(tree.path(), &["top"]));
        check(
            tree.path(),
            &["top", "--reorder", "none"],
            "code 0
-- out
apiVersion: v1
kind: Service
metadata:
  name: p-web
  namespace: shop
---
apiVersion: v1
kind: Namespace
metadata:
  name: shop
",
        );
    }

    #[test]
    fn files_elsewhere_need_the_load_restrictor() {
        let tree = tree();
        write(
            tree.path(),
            "top/kustomization.yaml",
            "resources: [../base/objects.yaml]\n",
        );
        check(
            tree.path(),
            &["top"],
            "code 1
-- err
error: TREE/top/kustomization.yaml:1:13: file `../base/objects.yaml` is not in or below TREE/top
hint: move the file, or allow it with --load-restrictor LoadRestrictionsNone
",
        );
        let strict = ["top", "--load-restrictor", "LoadRestrictionsRootOnly"];
        assert_eq!(render(tree.path(), &strict), render(tree.path(), &["top"]));
        let free = ["top", "--load-restrictor", "LoadRestrictionsNone"];
        assert!(render(tree.path(), &free).starts_with("code 0\n"));
    }

    #[test]
    fn objects_are_labelled_as_managed() {
        let tree = tree();
        write(
            tree.path(),
            "base/objects.yaml",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
        );
        check(
            tree.path(),
            &["base", "--enable-managedby-label"],
            "code 0
-- out
apiVersion: v1
kind: Namespace
metadata:
  labels:
    app.kubernetes.io/managed-by: kustomize-v5.8.1
  name: shop
",
        );
    }

    #[test]
    fn output_is_one_file_for_each_object() {
        let tree = tree();
        check(tree.path(), &["top", "--output", "out/deep"], "code 0\n");
        let mut names: Vec<_> = fs_err::read_dir(tree.path().join("out/deep"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["v1_namespace_shop.yaml", "v1_service_p-web.yaml"]);
        let service = tree.path().join("out/deep/v1_service_p-web.yaml");
        assert_eq!(
            fs_err::read_to_string(service).unwrap(),
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: p-web\n  namespace: shop\n"
        );
    }

    #[test]
    fn a_name_with_a_slash_is_no_file() {
        let tree = tree();
        write(
            tree.path(),
            "base/objects.yaml",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: ../../evil}\n",
        );
        check(
            tree.path(),
            &["base", "--output", "out"],
            "code 1
-- err
error: Namespace /../../evil (TREE/base/objects.yaml:1) has a name that is no file name
hint: print all objects to one file instead
",
        );
        assert!(!tree.path().join("out").exists(), "something was written");
    }

    #[test]
    fn explain_says_what_changed_what() {
        check(
            tree().path(),
            &["top", "--explain"],
            "code 0
-- out
Namespace shop
  from TREE/base/objects.yaml:5
Service shop/p-web
  from TREE/base/objects.yaml:1
  PrefixTransformer of TREE/top/kustomization.yaml: metadata.name
",
        );
    }

    #[test]
    fn all_errors_come_at_once() {
        let tree = tree();
        write(
            tree.path(),
            "top/kustomization.yaml",
            "resources:\n- missing.yaml\n- https://example.com/x.yaml\n",
        );
        check(
            tree.path(),
            &["top"],
            "code 1
-- err
error: TREE/top/kustomization.yaml:2:3: `missing.yaml` does not exist in TREE/top
hint: resources are files or folders, relative to the kustomization that lists them
TREE/top/kustomization.yaml:3:3: `https://example.com/x.yaml` would be fetched from the network
hint: a build reads its own tree only: commit a copy, or add it as a git subtree, and name its path
",
        );
    }

    #[test]
    fn flags_that_exclude_each_other_are_wrong_usage() {
        let seen = render(tree().path(), &["top", "--explain", "--output", "out"]);
        assert!(seen.starts_with("code 2\n-- err\n"), "{seen}");
    }
}
