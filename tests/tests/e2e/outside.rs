//! A cluster that follows a repository of somebody else, beyond this host.

use anyhow::{Result, bail, ensure};
use fs_err as fs;
use tests::cluster::{Cluster, defaults};
use tests::git_server::{Access, GitServer};
use tests::host_state::HostState;
use tests::outside::Outside;
use tests::{process, wait};

use crate::world::{SOON, World, condition, text};

/// `reader:let-me-in`, as HTTP basic authentication sends it.
const LOGIN: &str = "cmVhZGVyOmxldC1tZS1pbg==";
const TEMPLATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../cluster-repo");

pub(crate) fn unusable_repositories_are_refused_at_once(_: &World) -> Result<()> {
    let (outside, folder) = (Outside::new()?, tempfile::tempdir()?);
    let access = Access::Basic(LOGIN.to_owned());
    let server = GitServer::serve(folder.path(), access, outside.listen()?)?;
    server.push(&[("README", "empty")])?;
    let (good, bad) = (folder.path().join("good"), folder.path().join("bad"));
    fs::write(&good, "username=reader\npassword=let-me-in\n")?;
    fs::write(&bad, "username=reader\npassword=wrong\n")?;
    let url = server.url();
    let (good, bad) = (good.display().to_string(), bad.display().to_string());
    let cluster = Cluster::new("outside")?;
    for (arguments, words, hint) in [
        (
            &["--repo", "http://127.0.0.1:1/a.git"][..],
            "loopback",
            "another address",
        ),
        (&["--repo", &url], "it wants a login", "--git-credentials"),
        (
            &["--repo", &url, "--git-credentials", &bad],
            "the login was refused",
            "--git-credentials",
        ),
        (
            &[
                "--repo",
                &url,
                "--git-credentials",
                &good,
                "--branch",
                "trunk",
            ],
            "no branch `trunk`; it has: main",
            "--branch",
        ),
    ] {
        let Err(error) = cluster.up(arguments) else {
            bail!("`up` accepted {arguments:?}");
        };
        let message = format!("{error:#}");
        ensure!(message.contains(words), "{arguments:?}: {message}");
        let told = message.split_once("hint: ").map(|(_, told)| told);
        ensure!(
            told.is_some_and(|told| told.contains(hint)),
            "{arguments:?}: {message}"
        );
        ensure!(
            !cluster.state_dir().join("kubeconfig").exists(),
            "{arguments:?}: a cluster was made all the same"
        );
    }
    Ok(())
}

pub(crate) fn cluster_follows_an_outside_repository(_: &World) -> Result<()> {
    let (outside, folder) = (Outside::new()?, tempfile::tempdir()?);
    let access = Access::Basic(LOGIN.to_owned());
    let server = GitServer::serve(folder.path(), access, outside.listen()?)?;
    process::text(
        std::process::Command::new("cp")
            .args(["-R", &format!("{TEMPLATES}/.")])
            .arg(server.work_tree()),
        None,
    )?;
    let first = server.push(&[])?;
    let login = folder.path().join("login");
    fs::write(&login, "username=reader\npassword=let-me-in\n")?;

    let cluster = Cluster::new("outside")?;
    let before = HostState::read()?;
    let login = login.display().to_string();
    let arguments = ["--repo", &server.url(), "--git-credentials", &login];
    // The first `up` dies in the middle; the second one finds what it left and finishes it.
    let outcome = cluster
        .up_killed_at(&defaults(&arguments), "control plane: done")
        .and_then(|()| cluster.up(&arguments))
        .and_then(|_| follows(&cluster, &server, &first));
    if let Err(error) = outcome {
        let trace = cluster.diagnosis();
        cluster.down()?;
        return Err(error.context(trace));
    }
    cluster.down()?;
    HostState::ensure_unchanged_since(&before)
}

/// `up` has ended well: the repository's first commit is applied, no forge is there, and the next
/// commit arrives.
fn follows(cluster: &Cluster, server: &GitServer, first: &str) -> Result<()> {
    let forge = cluster.run(&["get", "namespace", "git-system", "--ignore-not-found"])?;
    ensure!(forge.is_empty(), "a forge was installed: {forge}");
    applied(cluster, first)?;
    let second = server.push(&[(
        "immudb/primary/settings.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  from: outside\n",
    ), (
        "immudb/primary/kustomization.yaml",
        &fs::read_to_string(format!("{TEMPLATES}/immudb/primary/kustomization.yaml"))?
            .replace("  - namespace.yaml\n", "  - namespace.yaml\n  - settings.yaml\n"),
    )])?;
    cluster.run(&[
        "-n",
        "immuops-system",
        "annotate",
        "--overwrite",
        "syncs.immuops.dev/cluster",
        &format!("reconcile.immuops.dev/requestedAt={second}"),
    ])?;
    wait::until("the pushed ConfigMap", SOON, || {
        cluster.run(&["-n", "immudb", "get", "configmap", "settings-primary"])
    })?;
    applied(cluster, &second)
}

fn applied(cluster: &Cluster, commit: &str) -> Result<()> {
    wait::until(&format!("immudb-primary to apply {commit}"), SOON, || {
        let sync = cluster.json(&["-n", "immuops-system", "get", "sync", "immudb-primary"])?;
        let (ready, reason, message) = condition(&sync, "Ready")?;
        let revision = text(&sync, "/status/lastAppliedRevision");
        wait::ensure(revision.ends_with(commit) && ready == "True", || {
            format!("it is at {revision}, Ready is {ready} ({reason}: {message})")
        })
    })
}
