//! What the probe says of healthy and of broken servers.

use anyhow::Result;
use immudb::DatabaseName;
use tests::immudb_server::{ImmudbServer, LIMIT, PASSWORD, Role, Version};
use tests::probe_process::Probe;
use tests::wait::{ensure, until};

/// A primary with some transactions and a replica that has them.
fn pair(version: Version) -> Result<(ImmudbServer, ImmudbServer)> {
    let primary = ImmudbServer::start("primary", version, Role::Primary)?;
    let state = primary.client()?.write("a", 10)?;
    let role = Role::Replica {
        primary: primary.port(),
    };
    let replica = ImmudbServer::start("replica", version, role)?;
    replica.reaches(&DatabaseName::default_database(), state)?;
    Ok((primary, replica))
}

#[test]
fn a_consistent_pair_is_ready() -> Result<()> {
    let (primary, replica) = pair(Version::Newest)?;
    let of_primary = Probe::of_primary(&primary)?;
    let of_replica = Probe::of_replica(&replica, &primary, &[])?;
    of_primary.says("Ready")?;
    of_replica.says("Ready")?;
    let lines = [
        "immuops_probe_ready 1",
        "immuops_probe_reason{reason=\"Ready\"} 1",
        "immuops_probe_transaction_id{database=\"defaultdb\",server=\"own\"} 10",
        "immuops_probe_transaction_id{database=\"defaultdb\",server=\"primary\"} 10",
        "immuops_probe_lag_transactions{database=\"systemdb\"} 0",
        "immuops_probe_state_match{database=\"defaultdb\"} 1",
        "immuops_probe_state_match{database=\"systemdb\"} 1",
        "immuops_probe_replicator_running{database=\"defaultdb\"} 1",
    ];
    until("the metrics", LIMIT, || {
        let metrics = of_replica.metrics()?;
        let missing = lines.iter().find(|line| !metrics.contains(**line));
        ensure(missing.is_none(), || format!("{missing:?} in\n{metrics}"))
    })?;
    let memory = of_replica.anonymous_memory()?;
    assert!(memory < 10 << 10, "{memory} KiB");
    // The report has the numbers, and never the password.
    let (_, report) = of_replica.readyz()?;
    assert_eq!(report["databases"][0]["own"]["tx"], 10, "{report}");
    assert!(!of_replica.log().contains(PASSWORD));
    Ok(())
}

#[test]
fn a_replica_of_another_version_leaves_and_comes_back() -> Result<()> {
    let (mut primary, mut replica) = pair(Version::Older)?;
    let probe = Probe::of_replica(&replica, &primary, &[])?;
    probe.says("Ready")?;
    primary.stop()?;
    primary.version = Version::Newest;
    primary.run()?;
    primary.client()?.write("b", 3)?;
    let report = probe.says("ReplicationStopped")?;
    let message = report["message"].as_str().unwrap();
    assert!(
        message.contains("1.10.0") && message.contains("1.11.1"),
        "{message}"
    );
    replica.stop()?;
    probe.says("ServerUnreachable")?;
    replica.version = Version::Newest;
    replica.run()?;
    probe.says("Ready")?;
    Ok(())
}

#[test]
fn a_replica_that_never_synced_is_not_ready() -> Result<()> {
    let primary = ImmudbServer::start("primary", Version::Newest, Role::Primary)?;
    primary.client()?.write("a", 1)?;
    let role = Role::Replica {
        primary: primary.port(),
    };
    let replica = ImmudbServer::start("replica", Version::Older, role)?;
    let probe = Probe::of_replica(&replica, &primary, &[])?;
    let report = probe.says("NeverSynced")?;
    assert!(
        report["message"].as_str().unwrap().contains("hint: "),
        "{report}"
    );
    Ok(())
}

#[test]
fn a_replica_with_another_history_is_not_ready() -> Result<()> {
    let (primary, mut replica) = pair(Version::Newest)?;
    let database = DatabaseName::default_database();
    let following = replica.role;
    // Promoted, written to, and made a replica again.
    replica.stop()?;
    replica.role = Role::Primary;
    replica.run()?;
    replica.client()?.write("own", 2)?;
    replica.stop()?;
    replica.role = following;
    replica.run()?;
    let probe = Probe::of_replica(&replica, &primary, &[])?;
    probe.says("AheadOfPrimary")?;
    let current = primary.client()?.write("b", 3)?;
    let report = probe.says("StateDiffers")?;
    // immudb shows this as a lag of one, if anything.
    assert_eq!(replica.client()?.state(&database)?.tx + 1, current.tx);
    let metrics = probe.metrics()?;
    let line = "immuops_probe_state_match{database=\"defaultdb\"} 0";
    assert!(metrics.contains(line), "{report}\n{metrics}");
    Ok(())
}

#[test]
fn a_wrong_password_is_told_and_a_new_one_is_read() -> Result<()> {
    let mut primary = ImmudbServer::start("primary", Version::Newest, Role::Primary)?;
    let probe = Probe::with_password(&primary, "Wrong-0ne")?;
    probe.says("LoginRefused")?;
    probe.set_password(&format!("{PASSWORD}\n"))?;
    probe.says("Ready")?;
    // A Secret that is ahead of the server does not take a server away that still lets its clients in.
    probe.set_password("Wrong-0ne")?;
    primary.stop()?;
    probe.says("ServerUnreachable")?;
    primary.run()?;
    probe.says("Ready")?;
    let log = probe.log();
    assert!(
        !log.contains("Wrong-0ne") && !log.contains(PASSWORD),
        "{log}"
    );
    Ok(())
}
