//! `agent verify` as an operator runs it.

use std::process::Command;

use anyhow::Result;
use immudb::DatabaseName;
use serde_json::Value;
use tempfile::TempDir;
use tests::immudb_server::{ImmudbServer, PASSWORD, Role, Version};
use tests::{agent_process, process};

fn verify(
    primary: &ImmudbServer,
    replica: &ImmudbServer,
    flags: &[&str],
) -> Result<(bool, String, String)> {
    let mut command = Command::new(agent_process::binary()?);
    command
        .env_clear()
        .env("IMMUOPS_IMMUDB_PASSWORD", PASSWORD)
        .args(["verify", "--primary", &primary.address()])
        .args(["--replica", &replica.address()])
        .args(flags);
    let output = process::output(&mut command, None)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    ))
}

#[test]
fn a_replica_is_proved_and_a_fork_is_refuted() -> Result<()> {
    let primary = ImmudbServer::start("primary", Version::Newest, Role::Primary)?;
    let state = primary.client()?.write("a", 10)?;
    let role = Role::Replica {
        primary: primary.port(),
    };
    let mut replica = ImmudbServer::start("replica", Version::Newest, role)?;
    replica.reaches(&DatabaseName::default_database(), state)?;
    let directory = TempDir::new()?;
    let record = directory.path().join("record.json");
    let record = record.to_str().unwrap();

    let (proved, stdout, stderr) = verify(&primary, &replica, &["--record", record])?;
    assert!(proved, "{stdout}{stderr}");
    assert!(stdout.contains("proved: 1"), "{stdout}");
    primary.client()?.write("b", 5)?;
    let flags = ["--since", record, "--output", "json"];
    let (proved, stdout, stderr) = verify(&primary, &replica, &flags)?;
    assert!(proved, "{stdout}{stderr}");
    let report: Value = serde_json::from_str(&stdout)?;
    assert_eq!(report["verdict"], "proved", "{report}");

    replica.stop()?;
    replica.role = Role::Primary;
    replica.run()?;
    replica.client()?.write("own", 2)?;
    let (proved, stdout, stderr) = verify(&primary, &replica, &[])?;
    assert!(!proved, "{stdout}{stderr}");
    assert!(stdout.contains("refuted"), "{stdout}");
    assert!(stderr.contains("hint: keep its data"), "{stderr}");
    Ok(())
}
