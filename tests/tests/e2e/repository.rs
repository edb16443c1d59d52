//! Commits that add, change, remove and break objects.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use fs_err as fs;
use tests::wait;

use crate::world::{Made, SOON, World, condition, text};

const SYNC: &str = "apiVersion: immuops.dev/v1alpha1
kind: Sync
metadata:
  name: demo
spec:
  sourceRef:
    name: cluster
  path: ./demo
  interval: 1m
  timeout: 1m
  prune: true
  wait: true
";
const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: demo\n";
const CLUSTER: &str = "clusters/built-in-git/kustomization.yaml";

/// A `ConfigMap` with one value.
pub(crate) fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  value: {value}\n")
}

/// Writes the folder `demo` so that it holds exactly the namespace and `files`.
pub(crate) fn write_demo(made: &Made, files: &BTreeMap<&str, String>) -> Result<()> {
    let folder = made.copy.path().join("demo");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let mut list = "namespace: demo\nresources:\n  - namespace.yaml\n".to_owned();
    made.copy.write("demo/namespace.yaml", NAMESPACE)?;
    for (name, content) in files {
        made.copy.write(&format!("demo/{name}"), content)?;
        list.extend(["  - ", *name, "\n"]);
    }
    made.copy.write("demo/kustomization.yaml", &list)
}

/// The folder that the trials of this file start from and return to.
fn good() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("keep.yaml", config_map("keep", "one")),
        ("settings.yaml", config_map("settings", "first")),
    ])
}

pub(crate) fn push_adds_objects(world: &World) -> Result<()> {
    let made = world.made()?;
    made.copy.write("clusters/built-in-git/demo.yaml", SYNC)?;
    made.copy
        .replace(CLUSTER, "  - git.yaml\n", "  - git.yaml\n  - demo.yaml\n")?;
    write_demo(made, &good())?;
    let commit = made.copy.push("demo: a namespace and two ConfigMaps")?;
    made.applied("cluster", &commit)?;
    wait::until("the Sync demo to exist", SOON, || made.sync("demo"))?;
    made.applied("demo", &commit)?;
    made.config_becomes("demo", "settings", "value", "first")
}

pub(crate) fn push_changes_objects(world: &World) -> Result<()> {
    let made = world.made()?;
    let before = made
        .cluster
        .json(&["-n", "demo", "get", "configmap", "keep"])?;
    made.copy
        .replace("demo/settings.yaml", "value: first", "value: second")?;
    let commit = made.copy.push("demo: another value")?;
    made.config_becomes("demo", "settings", "value", "second")?;
    made.applied("demo", &commit)?;
    let after = made
        .cluster
        .json(&["-n", "demo", "get", "configmap", "keep"])?;
    let version = "/metadata/resourceVersion";
    ensure!(
        text(&before, version) == text(&after, version),
        "an unchanged object was written"
    );
    Ok(())
}

pub(crate) fn push_removes_objects(world: &World) -> Result<()> {
    let made = world.made()?;
    let mut files = good();
    files.remove("settings.yaml");
    write_demo(made, &files)?;
    let commit = made.copy.push("demo: without settings")?;
    made.applied("demo", &commit)?;
    wait::until("the ConfigMap to be pruned", SOON, || {
        wait::ensure(!made.exists("demo", "configmap/settings")?, || {
            "it exists".to_owned()
        })
    })?;
    ensure!(
        made.exists("demo", "configmap/keep")?,
        "an object that git still has was pruned"
    );
    Ok(())
}

pub(crate) fn broken_yaml_changes_nothing(world: &World) -> Result<()> {
    let mut files = good();
    files.insert("keep.yaml", config_map("keep", "must-not-arrive"));
    files.insert(
        "settings.yaml",
        "apiVersion: v1\nkind: ConfigMap\ndata: [unfinished\n".to_owned(),
    );
    let message = refuse(world, &files, "demo: broken YAML")?;
    ensure!(
        message.contains("demo/settings.yaml"),
        "the file is not named: {message}"
    );
    ensure!(
        message.contains(":3") || message.contains("line 3"),
        "no line: {message}"
    );
    Ok(())
}

pub(crate) fn unknown_field_changes_nothing(world: &World) -> Result<()> {
    let made = world.made()?;
    let mut files = good();
    files.insert("keep.yaml", config_map("keep", "must-not-arrive"));
    write_demo(made, &files)?;
    made.copy.replace(
        "demo/kustomization.yaml",
        "namespace: demo\n",
        "namespaces: demo\n",
    )?;
    let commit = made.copy.push("demo: unknown field")?;
    let message = made.refused("demo", &commit)?;
    ensure!(
        message.contains("namespaces"),
        "the field is not named: {message}"
    );
    ensure!(
        message.contains("demo/kustomization.yaml"),
        "the file is not named: {message}"
    );
    unchanged(made)
}

pub(crate) fn rejected_objects_change_nothing(world: &World) -> Result<()> {
    let mut files = good();
    files.insert("keep.yaml", config_map("keep", "must-not-arrive"));
    let service = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n    - port: 99999\n"
        )
    };
    files.insert("one.yaml", service("too-high"));
    files.insert("two.yaml", service("also-too-high"));
    let message = refuse(world, &files, "demo: two Services the server rejects")?;
    for name in [
        "Service demo/too-high",
        "Service demo/also-too-high",
        "99999",
    ] {
        ensure!(message.contains(name), "`{name}` is not named: {message}");
    }
    Ok(())
}

pub(crate) fn next_good_commit_recovers(world: &World) -> Result<()> {
    let made = world.made()?;
    write_demo(made, &good())?;
    let commit = made.copy.push("demo: good again")?;
    made.applied("demo", &commit)?;
    made.config_becomes("demo", "settings", "value", "first")
}

/// Pushes a bad folder, waits for the refusal and checks that the last good state stands.
fn refuse(world: &World, files: &BTreeMap<&str, String>, subject: &str) -> Result<String> {
    let made = world.made()?;
    write_demo(made, files)?;
    let commit = made.copy.push(subject)?;
    let message = made.refused("demo", &commit)?;
    unchanged(made)?;
    Ok(message)
}

fn unchanged(made: &Made) -> Result<()> {
    let value = made.config_value("demo", "keep", "value")?;
    ensure!(
        value == "one",
        "a bad commit changed a ConfigMap to `{value}`"
    );
    for other in [
        "edge",
        "git",
        "immudb-primary",
        "immudb-replica",
        "monitoring",
    ] {
        let (ready, reason, message) = condition(&made.sync(other)?, "Ready")?;
        ensure!(
            ready == "True",
            "the bad commit made {other} {ready} ({reason}: {message})"
        );
    }
    Ok(())
}
