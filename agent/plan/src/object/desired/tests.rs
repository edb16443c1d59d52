use super::*;
use proptest::prelude::*;
use serde_json::json;

fn owner() -> Owner {
    Owner::new("immuops-system", "shop").unwrap()
}

#[test]
fn carries_its_owner_and_nothing_of_the_server() {
    let value = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "uid": "1", "labels": {"app": "web"}},
        "status": {"replicas": 1},
    });
    let desired = Desired::new(value, &owner()).unwrap();
    assert_eq!(desired.id().long(), "Deployment.apps shop/web");
    assert_eq!(
        (desired.version(), desired.api_version().as_str()),
        ("v1", "apps/v1")
    );
    assert_eq!(
        desired.json().get(),
        concat!(
            r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"labels":{"app":"web","#,
            r#""immuops.dev/sync-name":"shop","immuops.dev/sync-namespace":"immuops-system"},"#,
            r#""name":"web","namespace":"shop"}}"#
        )
    );
}

#[test]
fn the_hash_is_of_the_content_alone() {
    let hash = |value| Desired::new(value, &owner()).unwrap().hash();
    let plain = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    let mut noisy = plain.clone();
    noisy["metadata"]["resourceVersion"] = json!("7");
    noisy["metadata"]["labels"] = json!({"immuops.dev/sync-name": "copied from another"});
    noisy["status"] = json!({});
    assert_eq!(hash(noisy), hash(plain.clone()));
    let mut other = plain.clone();
    other["data"]["k"] = json!("w");
    assert_ne!(hash(other), hash(plain));
}

#[test]
fn debug_shows_no_content() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"},
        "stringData": {"password": "canary"},
    });
    let desired = Desired::new(secret, &owner()).unwrap();
    assert!(!format!("{desired:?}").contains("canary"));
}

#[test]
fn every_problem_of_an_object_is_reported() {
    let cases = [
        (
            "text",
            json!("x"),
            "a document is not valid: the document is not an object",
        ),
        (
            "empty",
            json!({}),
            "object without name is not valid: apiVersion must be a version such as `apps/v1`; kind must be the name of a \
             kind; metadata.name must be a name (generateName cannot be reconciled)",
        ),
        (
            "types",
            json!({
                "apiVersion": "a/b/c", "kind": "ConfigMap",
                "metadata": {"name": "a", "namespace": 7, "labels": {"on": true}, "annotations": []},
            }),
            "ConfigMap a is not valid: metadata.namespace must be a text; apiVersion must be a version such as `apps/v1`; \
             metadata.annotations must be a map of texts; metadata.labels[on] must be a text, in quotes",
        ),
        (
            "annotations",
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "a", "annotations": {
                    "immuops.dev/prune": "no", "immuops.dev/wave": "1.5", "immuops.dev/depends-on": "Deployment",
                }},
            }),
            "ConfigMap a is not valid: immuops.dev/prune is `no`, allowed are: enabled, disabled; immuops.dev/wave is `1.5`, \
             it must be a whole number from -32768 to 32767; immuops.dev/depends-on has `Deployment`, each item must be like \
             `Deployment shop/web`",
        ),
        (
            "list",
            json!({"apiVersion": "v1", "kind": "List", "metadata": {"name": "a"}, "items": []}),
            "List a is not valid: it is a list of objects, and the objects have to be listed one by one\n\
             hint: write its items as documents of their own, separated by `---`",
        ),
        (
            "name",
            json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "a__b"}}),
            "X a__b is not valid: the name cannot be told from another in an inventory: it has `__`, or `_` before `:`\n\
             hint: rename the object",
        ),
    ];
    for (case, value, expected) in cases {
        assert_eq!(
            Desired::new(value, &owner()).unwrap_err().to_string(),
            expected,
            "{case}"
        );
    }
}

#[test]
fn an_object_is_declared_once() {
    let object = |name: &str| {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        Desired::new(value, &owner()).unwrap()
    };
    assert_eq!(validate(&[object("a"), object("b")]), Ok(()));
    let invalid = validate(&[
        object("b"),
        object("a"),
        object("b"),
        object("a"),
        object("b"),
    ]);
    let texts: Vec<_> = invalid
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    let hint = "\nhint: keep one of the declarations, or patch it";
    assert_eq!(
        texts,
        [
            format!("ConfigMap a is not valid: it is declared 2 times{hint}"),
            format!("ConfigMap b is not valid: it is declared 3 times{hint}"),
        ]
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i16>().prop_map(|number| Value::from(f64::from(number) / 4.0)),
        ".{0,6}".prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "apiVersion",
        "kind",
        "metadata",
        "name",
        "namespace",
        "labels",
        "annotations",
        "spec",
        "template",
        "volumes",
        "immuops.dev/wave",
        "immuops.dev/depends-on",
        "immuops.dev/ssa",
        "status",
        "items",
    ]);
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys.clone(), inner, 0..6).prop_map(|map| {
                Value::Object(
                    map.into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    /// Whatever git holds is an object or is refused with a reason; what is accepted is accepted again as it is sent.
    #[test]
    fn any_document_is_judged(mut value in any_json(), name in "[a-z]{1,3}", repair in any::<bool>()) {
        if repair && value.is_object() {
            value["apiVersion"] = json!("v1");
            value["kind"] = json!("Pod");
            value["metadata"] = json!({"name": name, "annotations": {}});
        }
        match Desired::new(value, &owner()) {
            Err(invalid) => prop_assert!(!invalid.problems.is_empty()),
            Ok(desired) => {
                let sent = serde_json::from_str(desired.json().get()).unwrap();
                let again = Desired::new(sent, &owner()).unwrap();
                prop_assert_eq!(again.json().get(), desired.json().get());
                prop_assert_eq!(again.hash(), desired.hash());
            }
        }
    }
}
