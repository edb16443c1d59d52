//! A primary that is gone, a link that is cut, a replica that is late.

use anyhow::Result;
use immudb::DatabaseName;
use tests::immudb_server::{ImmudbServer, Role, Version};
use tests::link::Link;
use tests::probe_process::Probe;
use tests::wait::{ensure, holds};

/// A primary, a replica behind a link, and the link.
fn linked_pair() -> Result<(ImmudbServer, ImmudbServer, Link)> {
    let primary = ImmudbServer::start("primary", Version::Newest, Role::Primary)?;
    let state = primary.client()?.write("a", 10)?;
    let link = Link::to(primary.port())?;
    let role = Role::Replica {
        primary: link.port(),
    };
    let replica = ImmudbServer::start("replica", Version::Newest, role)?;
    replica.reaches(&DatabaseName::default_database(), state)?;
    Ok((primary, replica, link))
}

#[test]
fn a_good_replica_serves_on_without_its_primary() -> Result<()> {
    let (mut primary, replica, _link) = linked_pair()?;
    let probe = Probe::of_replica(&replica, &primary, &[])?;
    probe.says("Ready")?;
    primary.kill()?;
    let report = probe.says("NotCompared")?;
    assert_eq!(report["ready"], true, "{report}");
    let serving = std::time::Duration::from_secs(3);
    holds("readiness", serving, || {
        let (code, report) = probe.readyz()?;
        ensure(code == 200, || report.to_string())
    })?;
    // One that has never seen the primary knows nothing about it.
    let newcomer = Probe::of_replica(&replica, &primary, &[])?;
    newcomer.says("NeverCompared")?;
    primary.run()?;
    probe.says("Ready")?;
    newcomer.says("Ready")?;
    Ok(())
}

#[test]
fn a_late_replica_leaves_until_it_has_caught_up() -> Result<()> {
    let (primary, replica, link) = linked_pair()?;
    let flags = ["--max-lag=5", "--patience=2s"];
    let probe = Probe::of_replica(&replica, &primary, &flags)?;
    probe.says("Ready")?;
    link.cut();
    let mut client = primary.client()?;
    client.write("b", 3)?;
    // Three are allowed, but not for long while the replica does not move.
    let report = probe.says("StandsStill")?;
    assert_eq!(report["databases"][0]["lag"], 3, "{report}");
    client.write("c", 3)?;
    let report = probe.says("TooFarBehind")?;
    assert_eq!(report["databases"][0]["lag"], 6, "{report}");
    // Its history is still the beginning of the primary's.
    assert_eq!(report["databases"][0]["stateMatch"], true, "{report}");
    link.mend();
    probe.says("Ready")?;
    Ok(())
}
