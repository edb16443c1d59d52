//! Running `up` again, stopping and starting, and taking everything down.

use anyhow::{Result, ensure};
use tests::host_state::HostState;
use tests::process;

use crate::world::World;

pub(crate) fn second_up_changes_nothing(world: &World) -> Result<()> {
    let made = world.made()?;
    let pods = || -> Result<String> {
        made.cluster.run(&[
            "get",
            "pods",
            "-A",
            "--sort-by=.metadata.uid",
            "-o",
            "custom-columns=UID:.metadata.uid,RESTARTS:.status.containerStatuses[*].restartCount",
        ])
    };
    let before = pods()?;
    made.cluster.up(&["--nodes", "2"])?;
    let after = pods()?;
    ensure!(
        before == after,
        "a second `up` touched pods:\n{before}\nthen\n{after}"
    );
    Ok(())
}

pub(crate) fn stopped_cluster_comes_back(world: &World) -> Result<()> {
    let made = world.made()?;
    process::text(&mut made.cluster.bootstrap(&["stop"])?, None)?;
    made.cluster.up(&["--nodes", "2"])?;
    let primary = tests::immuclient::Immuclient::connect(&made.cluster, "pod/immudb-primary-0")?;
    let value = primary.get("durable-7")?;
    ensure!(
        value == "value-7",
        "after stop and up the primary answers `{value}`"
    );
    Ok(())
}

pub(crate) fn down_leaves_the_host_as_it_was(world: &World) -> Result<()> {
    let made = world.made()?;
    made.cluster.down()?;
    let after = HostState::read()?;
    let left = after.added_since(&made.before);
    ensure!(left.is_empty(), "`down` left behind:\n{}", left.join("\n"));
    let gone = after.removed_since(&made.before);
    ensure!(gone.is_empty(), "`down` took away:\n{}", gone.join("\n"));
    // Twice in a row is no error.
    made.cluster.down()?;
    Ok(())
}
