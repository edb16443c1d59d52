//! What is edited in which file, byte for byte, and what is refused.

use proptest::prelude::*;

use super::*;

fn image() -> FieldRule {
    FieldRule::Image(ImageName::parse("docker.io/codenotary/immudb").unwrap())
}

fn path(text: &str) -> FieldRule {
    FieldRule::Path(FieldPath::parse(text).unwrap())
}

fn edited(text: &str, rule: &FieldRule) -> Result<String, EditError> {
    Located::find("f.yaml", text, rule)?.with_version(&Version::new(1, 20, 0))
}

#[test]
fn one_value_changes_and_no_other_byte() {
    let product = include_str!("../../../../cluster-repo/immudb/version/kustomization.yaml");
    let cases: [(&str, &str, FieldRule, &str, &str); 13] = [
        (
            "kustomize",
            product,
            image(),
            "newTag: 1.11.1",
            "newTag: 1.20.0",
        ),
        (
            "kustomize by path",
            product,
            path("images.[name=docker.io/codenotary/immudb].newTag"),
            "newTag: 1.11.1",
            "newTag: 1.20.0",
        ),
        (
            "a new name decides",
            "images:\n- {name: app, newName: codenotary/immudb, newTag: '1.1.0'}\n- {name: codenotary/immudb, newName: other, newTag: 1.0.0}\n",
            image(),
            "newTag: '1.1.0'",
            "newTag: '1.20.0'",
        ),
        (
            "container",
            "spec:\n  containers:\n    - image: \"codenotary/immudb:v1.1.0-bullseye-slim\"  # pinned\n    - image: other:1.1.0\n",
            image(),
            "immudb:v1.1.0-",
            "immudb:v1.20.0-",
        ),
        (
            "helm",
            "image:\n  repository: codenotary/immudb\n  tag: \"1.1.0\"\nother:\n  repository: x\n  tag: 1.1.0\n",
            image(),
            "tag: \"1.1.0\"",
            "tag: \"1.20.0\"",
        ),
        (
            "a port in the name",
            "image: localhost:5000/a/b:1.1.0",
            path("image"),
            "b:1.1.0",
            "b:1.20.0",
        ),
        (
            "CRLF and a byte order mark",
            "\u{feff}a: ü\r\nb: # 1.1.0\r\n  - 1.1.0\r\n",
            path("b.0"),
            "- 1.1.0",
            "- 1.20.0",
        ),
        (
            "not ASCII before it",
            "näme: 'ünï – 🦀'\ntag: 1.1.0 # ü\n",
            path("tag"),
            "tag: 1.1.0",
            "tag: 1.20.0",
        ),
        (
            "second document",
            "tag: {}\n---\n# old: 1.1.0\nmine: {tag: 1.1.0}\n...\n",
            path("mine.tag"),
            "{tag: 1.1.0}",
            "{tag: 1.20.0}",
        ),
        (
            "an anchor and a tag of YAML stay",
            "a: &v !!str 1.1.0\nb: *v\n",
            path("a"),
            "!!str 1.1.0",
            "!!str 1.20.0",
        ),
        (
            "a plain value in a flow",
            "{a: [x, 1.1.0], b: 1.1.0}",
            path("a.1"),
            "[x, 1.1.0]",
            "[x, 1.20.0]",
        ),
        (
            "a key with a dot",
            "a.b: {c: 1.1.0}\n",
            path(r"a\.b.c"),
            "1.1.0",
            "1.20.0",
        ),
        (
            "a pre-release",
            "tag: 1.11.0-RC2\n",
            path("tag"),
            "1.11.0-RC2",
            "1.20.0",
        ),
    ];
    for (name, text, rule, old, new) in cases {
        assert_eq!(text.matches(old).count(), 1, "{name}");
        let expected = text.replace(old, new);
        assert_eq!(edited(text, &rule).unwrap(), expected, "{name}");
    }
}

#[test]
fn what_is_not_clear_is_refused() {
    let cases: [(&str, FieldRule, &str); 17] = [
        (
            "images: []\n",
            image(),
            "f.yaml has no tag of the image docker.io/codenotary/immudb; hint:",
        ),
        (
            "images:\n- name: codenotary/immudb\n",
            image(),
            "has no tag of the image",
        ),
        ("a: 1\n", path("b.c"), "f.yaml has no value at b.c; hint:"),
        (
            "- image: codenotary/immudb:1.1.0\n- image: codenotary/immudb:1.1.0\n",
            image(),
            "more than once, in the lines 1, 2; hint:",
        ),
        ("tag: 1.1.0\ntag: 1.2.0\n", path("tag"), "in the lines 1, 2"),
        (
            "tag: 1.1.0\n---\ntag: 1.1.0\n",
            path("tag"),
            "in the lines 1, 3",
        ),
        (
            "a: &x 1.1.0\ntag: *x\n",
            path("tag"),
            "f.yaml:2: the value is an alias",
        ),
        (
            "tag: |\n  1.1.0\n",
            path("tag"),
            "f.yaml:2: the value is a block scalar",
        ),
        (
            "tag: {a: 1.1.0}\n",
            path("tag"),
            "f.yaml:1: the value is no scalar",
        ),
        (
            "image: codenotary/immudb:1.1.0@sha256:aa\n",
            image(),
            "f.yaml:1: the image is pinned by its digest",
        ),
        (
            "images:\n- {name: codenotary/immudb, newTag: 1.1.0, digest: 'sha256:aa'}\n",
            image(),
            "f.yaml:2: the image is pinned by its digest",
        ),
        (
            "image: a/b\n",
            path("image"),
            "f.yaml:1: the image has no tag",
        ),
        (
            "tag: 1.11\n",
            path("tag"),
            "f.yaml:1: the value is no version",
        ),
        (
            "tag: latest\n",
            path("tag"),
            "f.yaml:1: the value is no version",
        ),
        (
            "tag: \"\"\n",
            path("tag"),
            "f.yaml:1: the value is no version",
        ),
        ("tag: {{ .Values.tag }}\nx: [\n", path("tag"), "f.yaml:"),
        ("a:\n\t- b: 1.1.0\n", path("a.0.b"), "f.yaml:2:"),
    ];
    for (text, rule, expected) in cases {
        let error = edited(text, &rule).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    edited(&deep, &path("a")).unwrap_err();
    let large = format!("# {}\ntag: 1.1.0\n", "x".repeat(FILE_LIMIT));
    assert!(matches!(
        edited(&large, &path("tag")),
        Err(EditError::TooLarge { .. })
    ));
}

proptest! {
    /// Whatever the file is: either it is refused, or exactly the value is replaced.
    #[test]
    fn an_edit_is_a_replacement(
        head in "(# [ -~ü🦀]{0,12}\r?\n|k[0-9]: ['\"]?[a-z ]{0,5}['\"]?\n|\n){0,4}",
        quote in "['\"]?",
        tail in "( *# [ -~]{0,12})?\n(z: [ -~]{0,20}\n)?",
    ) {
        let text = format!("{head}tag: {quote}1.1.0{quote}{tail}");
        if let Ok(found) = Located::find("f.yaml", &text, &path("tag")) {
            let next = found.with_version(&Version::new(1, 20, 0)).unwrap();
            let expected = format!("{head}tag: {quote}1.20.0{quote}{tail}");
            prop_assert_eq!(next, expected);
        }
    }

    /// No text makes the search panic.
    #[test]
    fn no_text_is_too_strange(text in "[a-z0-9:.\\-\\[\\]{}&*!|>'\"#%@` \n\t\r\u{feff}ü]{0,80}") {
        drop(edited(&text, &path("a")));
        drop(edited(&text, &image()));
    }
}
