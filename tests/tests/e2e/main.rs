//! The whole product on one real cluster, through its public surface only: the `bootstrap` command,
//! git pushes, `kubectl` as a bystander, the TLS edge, and clients of immudb that are not ours.
//!
//! The trials share one cluster and run in the order below: `up` is the first, then `down` ends it;
//! what needs a cluster of its own comes after that.

mod drift;
mod edge;
mod faults;
mod install;
mod machines;
mod monitoring;
mod outside;
mod removal;
mod repository;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use world::World;

type Check = fn(&World) -> anyhow::Result<()>;

const TRIALS: &[(&str, Check)] = &[
    (
        "install::up_makes_every_sync_healthy",
        install::up_makes_every_sync_healthy,
    ),
    (
        "install::servers_run_on_different_nodes",
        install::servers_run_on_different_nodes,
    ),
    (
        "install::replica_has_what_primary_wrote",
        install::replica_has_what_primary_wrote,
    ),
    ("install::pods_are_restricted", install::pods_are_restricted),
    (
        "install::agent_is_not_cluster_admin",
        install::agent_is_not_cluster_admin,
    ),
    (
        "edge::every_name_answers_over_tls",
        edge::every_name_answers_over_tls,
    ),
    (
        "edge::writes_and_reads_over_grpc",
        edge::writes_and_reads_over_grpc,
    ),
    (
        "edge::wrong_names_and_plaintext_are_refused",
        edge::wrong_names_and_plaintext_are_refused,
    ),
    (
        "edge::reads_go_on_without_the_replica",
        edge::reads_go_on_without_the_replica,
    ),
    (
        "monitoring::every_target_answers",
        monitoring::every_target_answers,
    ),
    (
        "repository::push_adds_objects",
        repository::push_adds_objects,
    ),
    (
        "repository::push_changes_objects",
        repository::push_changes_objects,
    ),
    (
        "repository::push_removes_objects",
        repository::push_removes_objects,
    ),
    (
        "repository::broken_yaml_changes_nothing",
        repository::broken_yaml_changes_nothing,
    ),
    (
        "repository::unknown_field_changes_nothing",
        repository::unknown_field_changes_nothing,
    ),
    (
        "repository::rejected_objects_change_nothing",
        repository::rejected_objects_change_nothing,
    ),
    (
        "repository::next_good_commit_recovers",
        repository::next_good_commit_recovers,
    ),
    ("drift::edit_is_undone", drift::edit_is_undone),
    ("drift::deletion_is_undone", drift::deletion_is_undone),
    (
        "drift::scaled_down_replica_comes_back",
        drift::scaled_down_replica_comes_back,
    ),
    (
        "monitoring::dashboards_and_alerts_show_a_stopped_replica",
        monitoring::dashboards_and_alerts_show_a_stopped_replica,
    ),
    (
        "faults::agent_killed_while_applying",
        faults::agent_killed_while_applying,
    ),
    (
        "faults::agent_killed_while_pruning",
        faults::agent_killed_while_pruning,
    ),
    (
        "faults::primary_killed_loses_nothing",
        faults::primary_killed_loses_nothing,
    ),
    (
        "faults::data_is_kept_without_consent",
        faults::data_is_kept_without_consent,
    ),
    (
        "faults::no_secret_in_logs_or_status",
        faults::no_secret_in_logs_or_status,
    ),
    (
        "machines::killed_processes_come_back",
        machines::killed_processes_come_back,
    ),
    (
        "machines::killed_machines_are_repaired_by_up",
        machines::killed_machines_are_repaired_by_up,
    ),
    (
        "edge::certificate_is_renewed_in_place",
        edge::certificate_is_renewed_in_place,
    ),
    (
        "removal::second_up_changes_nothing",
        removal::second_up_changes_nothing,
    ),
    (
        "removal::stopped_cluster_comes_back",
        removal::stopped_cluster_comes_back,
    ),
    (
        "removal::down_leaves_the_host_as_it_was",
        removal::down_leaves_the_host_as_it_was,
    ),
    (
        "outside::unusable_repositories_are_refused_at_once",
        outside::unusable_repositories_are_refused_at_once,
    ),
    (
        "outside::cluster_follows_an_outside_repository",
        outside::cluster_follows_an_outside_repository,
    ),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let world = Arc::new(World::new());
    let trials = TRIALS
        .iter()
        .map(|(name, check)| {
            let world = Arc::clone(&world);
            Trial::test(*name, move || {
                check(&world).map_err(|error| format!("{error:?}").into())
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    world.end();
    conclusion.exit_code()
}
