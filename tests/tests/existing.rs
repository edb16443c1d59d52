//! The stack on a cluster that `bootstrap` does not keep: one made under another name, of which it
//! knows nothing but a kubeconfig.

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use anyhow::{Context as _, Result, ensure};
    use serde_json::Value;
    use tests::cluster::{Cluster, bootstrap_program};
    use tests::process;

    const APART: [&str; 6] = [
        "--provider=native",
        "--nodes=2",
        "--cluster-only",
        "--node-cidr=10.223.0.0/24",
        "--pod-cidr=10.224.0.0/16",
        "--service-cidr=10.225.0.0/16",
    ];

    /// A `bootstrap` that keeps its state under another home.
    fn elsewhere(home: &Path, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(bootstrap_program()?);
        command
            .args(arguments)
            .args(["--name", "foreign", "--state-dir"])
            .arg(home.join("foreign"));
        Ok(command)
    }

    #[test]
    fn the_same_stack_on_a_cluster_that_others_made() -> Result<()> {
        let cluster = Cluster::new("others")?;
        cluster.up_as(&APART)?;
        let checked = on(&cluster).map_err(|error| error.context(cluster.diagnosis()));
        let down = cluster.down();
        checked?;
        down.map(drop)
    }

    fn on(cluster: &Cluster) -> Result<()> {
        let home = tempfile::tempdir()?;
        let kubeconfig = cluster.kubeconfig()?;
        let kubeconfig = kubeconfig.to_str().context("the path is not UTF-8")?;
        let up = [
            "up",
            "--provider=existing",
            "--kubeconfig",
            kubeconfig,
            "--git-port=30313",
        ];

        // What the cluster lacks is said before anything is installed.
        let mut wrong = elsewhere(home.path(), &[&up[..], &["--storage-class=fast"]].concat())?;
        let output = process::output(&mut wrong, None)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{said}");
        ensure!(
            said.contains("there is no storage class fast; there is immuops-local"),
            "{said}"
        );
        let namespaces = cluster.run(&["get", "namespaces"])?;
        ensure!(!namespaces.contains("immuops-system"), "{namespaces}");

        let class = ["--storage-class=immuops-local"];
        let mut right = elsewhere(home.path(), &[&up[..], &class].concat())?;
        let printed = process::text(&mut right, None)?;
        ensure!(
            printed.contains("port-forward service/gitea 30313:80"),
            "{printed}"
        );
        let syncs = cluster.json(&["get", "syncs.immuops.dev", "-n", "immuops-system"])?;
        let syncs = syncs.pointer("/items").and_then(Value::as_array);
        ensure!(syncs.is_some_and(|all| all.len() >= 4), "{syncs:?}");
        let claims = cluster.json(&["get", "pvc", "--all-namespaces"])?;
        let claims = claims.pointer("/items").and_then(Value::as_array);
        for claim in claims.context("there are no claims")? {
            let class = claim
                .pointer("/spec/storageClassName")
                .and_then(Value::as_str);
            ensure!(class == Some("immuops-local"), "{claim}");
        }

        // Its machines are nobody's business here.
        let mut exec = elsewhere(home.path(), &["exec", "n1"])?;
        let refused = process::output(exec.args(["--", "true"]), None)?;
        ensure!(refused.status.code() == Some(3), "{refused:?}");
        let mut stop = elsewhere(home.path(), &["stop"])?;
        ensure!(process::output(&mut stop, None)?.status.code() == Some(3));
        // Forgotten, not removed.
        process::text(&mut elsewhere(home.path(), &["down"])?, None)?;
        ensure!(!home.path().join("foreign").exists());
        cluster.run(&["-n", "immudb", "get", "pod", "immudb-primary-0"])?;
        Ok(())
    }
}
