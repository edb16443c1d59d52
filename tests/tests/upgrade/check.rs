//! `agent upgrade check`: the decision without a cluster.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::agent_process::binary;
use tests::control_plane::scratch;
use tests::github_emulator::{CLUSTER, GitHubEmulator, TOKEN};
use tests::image_registry::{ImageRegistry, Readers};
use tests::process;

use super::fixtures::{FILE, Person, file, spec};

#[test]
fn says_what_would_be_proposed_and_changes_nothing() -> Result<()> {
    let directory = scratch("upgrade-check")?;
    let github = GitHubEmulator::start(&directory)?;
    let person = Person::on_github(&github);
    let registry = ImageRegistry::start(&directory, Readers::All)?;
    let digest = registry.push("codenotary/immudb", "1.11.1")?;
    github.announce(&json!({ "tag_name": "v1.11.1" }))?;
    github.announce(&json!({ "tag_name": "v2.0.0-RC1" }))?;
    let path = directory.join("repository").join(FILE);
    fs_err::create_dir_all(path.parent().unwrap_or(&directory))?;
    fs_err::write(&path, file("1.10.0"))?;
    person.write("main", &file("1.10.0"))?;
    fs_err::write(directory.join("token"), TOKEN)?;
    let repository = json!({
        "type": "GitHub", "url": github.api.address, "name": CLUSTER, "secretRef": { "name": "forge" },
    });
    let policy = json!({
        "apiVersion": "immuops.dev/v1alpha1", "kind": "UpgradePolicy", "metadata": { "name": "immudb" },
        "spec": spec(&github.api.address, &registry, &repository),
    });
    fs_err::write(directory.join("policy.yaml"), policy.to_string())?;
    let check = |arguments: &[&str]| -> Result<String> {
        let mut command = Command::new(binary()?);
        command
            .env_clear()
            .current_dir(&directory)
            .args(["upgrade", "check", "policy.yaml", "--releases-token=token"])
            .args(arguments);
        process::text(&mut command, None)
    };

    let text = check(&["--repository=repository"])?;
    println!("{text}");
    let image = format!("{}/codenotary/immudb:1.11.1", registry.host);
    for line in [
        "immudb 1.10.0 is in the repository",
        "decision: open a pull request: Update immudb to 1.11.1",
        &format!("  image      {image}"),
        &format!("  digest     {digest}"),
        "  v2.0.0-RC1: it is a pre-release",
    ] {
        ensure!(
            text.lines().any(|found| found == line),
            "{line} is missing in\n{text}"
        );
    }

    let text = check(&["--repository-token=token", "--output=json"])?;
    let found: Value = serde_json::from_str(&text)?;
    ensure!(found.get("decision") == Some(&json!("open")), "{found:#}");
    ensure!(found.pointer("/candidate/image") == Some(&json!(image)));
    ensure!(found.pointer("/ignored/0/tag") == Some(&json!("v2.0.0-RC1")));
    ensure!(person.pull_requests()?.is_empty());

    fs_err::write(&path, "images: [\n")?;
    let Err(error) = check(&["--repository=repository"]) else {
        anyhow::bail!("a file that is no YAML was taken");
    };
    let error = format!("{error:#}");
    ensure!(
        error.contains("immudb/version/kustomization.yaml:1:9: unclosed bracket"),
        "{error}"
    );
    ensure!(error.contains("ended with exit status: 1"), "{error}");
    Ok(())
}
