//! Virtual machines: really booted, with KVM where it works, else emulated.
//!
//! Two machines take many minutes of both processors where there is no KVM: `make test-vm`.

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use anyhow::{Context as _, Result, ensure};
    use fs_err as fs;
    use serde_json::Value;
    use tests::cluster::Cluster;
    use tests::immuclient::Immuclient;
    use tests::{process, wait};

    /// An emulated, idle replica polls with immudb's own back-off of up to two minutes.
    const REPLICATED: Duration = Duration::from_mins(10);

    /// What a process takes to be there.
    const STARTED: Duration = Duration::from_secs(30);

    const APART: [&str; 6] = [
        "--provider=vm",
        "--node-cidr=10.220.0.0/24",
        "--pod-cidr=10.221.0.0/16",
        "--service-cidr=10.222.0.0/16",
        "--https-port=30314",
        "--http-port=30315",
    ];

    /// Removes the cluster at the end, and tells what a person would look at when it failed.
    fn with(name: &str, check: impl FnOnce(&Cluster) -> Result<()>) -> Result<()> {
        let cluster = Cluster::new(name)?;
        let checked = check(&cluster).map_err(|error| {
            let serial = cluster.bootstrap(&["logs", "n1", "serial"]);
            let serial = serial.and_then(|mut command| process::text(&mut command, None));
            let serial = serial.unwrap_or_else(|error| format!("{error:#}"));
            error.context(format!("{}\n{serial}", cluster.diagnosis()))
        });
        let down = cluster.down();
        checked?;
        down?;
        nothing_is_left(&cluster)
    }

    /// `down` ends every process of the cluster and removes every file.
    fn nothing_is_left(cluster: &Cluster) -> Result<()> {
        let state = cluster.state_dir();
        ensure!(!state.exists(), "{} is still there", state.display());
        let state = state.display().to_string();
        for process in fs::read_dir("/proc")? {
            // Processes end while they are listed, and not every entry is one.
            let words = fs::read(process?.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            ensure!(!words.contains(&state), "still runs: {words}");
        }
        Ok(())
    }

    fn status(cluster: &Cluster) -> Result<Value> {
        let mut command = cluster.bootstrap(&["status", "--output", "json"])?;
        let text = process::text(&mut command, None)?;
        serde_json::from_str(&text).context("bootstrap status did not print JSON")
    }

    fn pid(cluster: &Cluster) -> Result<Option<u64>> {
        Ok(status(cluster)?
            .pointer("/nodes/0/pid")
            .and_then(Value::as_u64))
    }

    /// Whatever ends on the way there.
    #[test]
    fn a_machine_boots_to_a_ready_node() -> Result<()> {
        with("vm-one", |cluster| {
            let up = [&APART[..], &["--nodes=1", "--cluster-only"]].concat();
            let died = cluster.up_while(&up, "machine n1: booting", || {
                let pid = wait::until("a process of the machine", STARTED, || {
                    pid(cluster)?.context("it has none")
                })?;
                process::text(Command::new("kill").args(["-9", &pid.to_string()]), None).map(drop)
            });
            let died = format!("{:#}", died.unwrap_err());
            ensure!(
                died.contains("QEMU of machine n1 ended with signal: 9"),
                "{died}"
            );
            ensure!(pid(cluster)?.is_none(), "it still runs");

            // Then `up` itself, while the machine makes its control plane: the next one goes on with it.
            cluster.up_killed_at(&up, "control plane: waiting for the API server")?;
            let machine = pid(cluster)?;
            ensure!(machine.is_some(), "the machine ended with `up`");
            let log = cluster.up_as(&up)?;
            ensure!(pid(cluster)? == machine, "the machine was started anew");
            ensure!(
                log.contains("provider vm: "),
                "it does not say what runs it:\n{log}"
            );
            // Its own words: who it is, and what it runs.
            ensure!(cluster.exec("n1", &["uname", "-n"])?.trim() == "n1");
            let list = cluster.exec("n1", &["ctr", "-n", "k8s.io", "images", "list", "-q"])?;
            ensure!(list.contains("/immudb:"), "its disk has no images:\n{list}");
            let failing = cluster.exec("n1", &["sh", "-c", "echo why >&2; exit 3"]);
            ensure!(format!("{:#}", failing.unwrap_err()).contains("why"));
            let node = status(cluster)?;
            let running = |name: &str| {
                let processes = node.pointer("/nodes/0/processes").and_then(Value::as_array);
                processes.into_iter().flatten().any(|one| {
                    one.get("name").and_then(Value::as_str) == Some(name)
                        && one.get("state").and_then(Value::as_str) == Some("running")
                })
            };
            for name in ["containerd", "kubelet", "kube-proxy"] {
                ensure!(running(name), "{name} does not run: {node}");
            }
            let mut logs = cluster.bootstrap(&["logs", "n1", "kubelet"])?;
            ensure!(process::text(&mut logs, None)?.contains("kubelet"));
            Ok(())
        })
    }

    #[test]
    #[ignore = "many minutes of both processors without KVM: make test-vm"]
    fn two_machines_carry_the_pair_and_keep_its_data() -> Result<()> {
        with("vm-two", |cluster| {
            let up = [&APART[..], &["--nodes=2", "--git-port=30316"]].concat();
            cluster.up_as(&up)?;
            wait::until("the primary to take a record", REPLICATED, || {
                let primary = Immuclient::connect(cluster, "pod/immudb-primary-0")?;
                primary.safe_set("vm-greeting", "through-two-machines")
            })?;
            has_the_record(cluster, "pod/immudb-replica-0")?;

            process::text(&mut cluster.bootstrap(&["stop"])?, None)?;
            ensure!(status(cluster)?.pointer("/nodes/0/pid") == Some(&Value::Null));
            process::text(&mut cluster.bootstrap(&["start"])?, None)?;
            has_the_record(cluster, "pod/immudb-primary-0")?;
            has_the_record(cluster, "pod/immudb-replica-0")
        })
    }

    fn has_the_record(cluster: &Cluster, pod: &str) -> Result<()> {
        wait::until(&format!("{pod} to have the record"), REPLICATED, || {
            let value = Immuclient::connect(cluster, pod)?.get("vm-greeting")?;
            wait::ensure(value == "through-two-machines", || {
                format!("it answers `{value}`")
            })
        })
    }
}
