//! Prometheus, its rules and the dashboards, on what the real cluster does.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::chart;
use tests::dashboard::{self, Dashboard, Panel};
use tests::edge::Transport;
use tests::prometheus::{Labels, Prometheus, Series, Values, Window};
use tests::wait;

use crate::world::{SETTLE, World, text};

/// What a picture shows, in seconds: the healthy time and the stop.
const PICTURE: f64 = 600.0;

pub(crate) fn every_target_answers(world: &World) -> Result<()> {
    let made = world.made()?;
    let edge = made.edge()?;
    let expected = [
        ("agent", 1),
        ("edge", 1),
        ("immudb", 2),
        ("kubelet", 2),
        ("probe", 2),
        ("prometheus", 1),
    ];
    wait::until("every target to answer", SETTLE, || {
        let up = Prometheus(&edge).query("count by (job) (up == 1)")?;
        for (job, count) in expected {
            let found = up.get(&labels(&[("job", job)])).copied();
            wait::ensure(found == Some(f64::from(count)), || {
                format!("{job}: {found:?} of {count} answer")
            })?;
        }
        Ok(())
    })?;
    let servers = Prometheus(&edge).query(r#"count by (role, instance) (up{job="immudb"})"#)?;
    for role in ["primary", "replica"] {
        let server = labels(&[("role", role), ("instance", &format!("immudb-{role}-0"))]);
        ensure!(servers.contains_key(&server), "no {role} in {servers:?}");
    }
    // Thousands of series that are always zero stay out.
    let series =
        Prometheus(&edge).query(r#"max(scrape_samples_post_metric_relabeling{job="immudb"})"#)?;
    let most = series.values().copied().fold(0.0, f64::max);
    ensure!(most < 1000.0, "{most} series per server are kept");
    Ok(())
}

pub(crate) fn dashboards_and_alerts_show_a_stopped_replica(world: &World) -> Result<()> {
    let made = world.made()?;
    let edge = made.edge()?;
    let prometheus = Prometheus(&edge);
    let dashboards = dashboard::all()?;
    let write = || edge.immudb("round_trip", &edge.name("rw"), 1, Transport::Tls);
    write()?;

    // What the trials before this one did must have left the last scrape.
    wait::until("the last scrape to see every Sync healthy", SETTLE, || {
        let unhealthy = prometheus.query("immuops_agent_ready == 0")?;
        wait::ensure(unhealthy.is_empty(), || format!("{unhealthy:?}"))
    })?;
    // Kubelet looks at volumes once a minute: that of a replica just back is not there yet.
    wait::until("the replica's volume to be measured", SETTLE, || {
        let volume = r#"kubelet_volume_stats_used_bytes{persistentvolumeclaim=~".*replica.*"}"#;
        let measured = prometheus.query(volume)?;
        wait::ensure(!measured.is_empty(), || {
            "kubelet has not seen it".to_owned()
        })
    })?;
    let mut healthy = Vec::new();
    for (_, dashboard) in &dashboards {
        for panel in &dashboard.panels {
            let what = format!("data in `{}` of {}", panel.title, dashboard.title);
            let values = wait::until(&what, SETTLE, || evaluate(prometheus, panel))?;
            healthy.push((dashboard, panel, values));
        }
        for (metric, label) in &dashboard.variables {
            let values = prometheus.label_values(metric, label)?;
            ensure!(!values.is_empty(), "the variable over {metric} is empty");
        }
    }

    let away = made.replica_away()?;
    write()?;
    for (dashboard, panel, before) in &healthy {
        if !shows_the_replica(dashboard, panel) {
            continue;
        }
        let what = format!("`{}` of {} to show it", panel.title, dashboard.title);
        wait::until(&what, SETTLE, || {
            write()?;
            let now = values(prometheus, panel)?;
            wait::ensure(differ(panel, before, &now), || format!("it shows {now:?}"))
        })?;
    }
    wait::until("the alert that nothing arrives any more", SETTLE, || {
        let stuck = r#"ALERTS{alertname="ReplicaStuck", db="defaultdb"}"#;
        let alerts = prometheus.query(stuck)?;
        wait::ensure(!alerts.is_empty(), || "it is not even pending".to_owned())
    })?;
    for (name, dashboard) in &dashboards {
        draw(prometheus, name, dashboard)?;
    }
    names_exist(prometheus, &dashboards)?;
    away.back()?;
    wait::until("the replica to have caught up", SETTLE, || {
        let behind = prometheus.query("max(immudb:replica_lag:transactions)")?;
        wait::ensure(behind.values().all(|lag| *lag == 0.0), || {
            format!("it is behind by {behind:?}")
        })
    })
}

/// A rule or panel about a metric that nobody has would stay silent for ever.
fn names_exist(prometheus: Prometheus<'_>, dashboards: &[(String, Dashboard)]) -> Result<()> {
    let mut queries: Vec<String> = dashboards
        .iter()
        .flat_map(|(_, dashboard)| &dashboard.panels)
        .flat_map(|panel| panel.targets.iter().map(|(query, _)| query.clone()))
        .collect();
    let rules = prometheus.api("rules", &[])?;
    let groups = rules.get("groups").and_then(Value::as_array);
    for group in groups.into_iter().flatten() {
        let rules = group.get("rules").and_then(Value::as_array);
        for rule in rules.into_iter().flatten() {
            ensure!(
                text(rule, "/health") == "ok",
                "the rule {} fails: {}",
                text(rule, "/name"),
                text(rule, "/lastError")
            );
            queries.push(text(rule, "/query"));
        }
    }
    ensure!(queries.len() > 20, "only {} queries", queries.len());
    let exist = prometheus.metrics()?;
    for query in queries {
        let names = prometheus.metrics_of(&query)?;
        ensure!(!names.is_empty(), "`{query}` names no metric");
        for name in names {
            ensure!(
                exist.contains(&name),
                "`{query}` names {name}, which nobody has"
            );
        }
    }
    Ok(())
}

/// Whether a panel has to look different while the replica is gone. On the replication dashboard
/// every panel has to.
fn shows_the_replica(dashboard: &Dashboard, panel: &Panel) -> bool {
    const OVERVIEW: [&str; 9] = [
        "Syncs not healthy",
        "Alerts",
        "Servers of immudb",
        "Transactions that the replica lacks",
        "Transactions per second",
        "gRPC calls per second",
        "Size of the databases",
        "Volumes in use",
        "Memory",
    ];
    dashboard.title == "Replication" || OVERVIEW.contains(&panel.title.as_str())
}

/// The values of all targets of a panel, none of them missing or infinite.
fn evaluate(prometheus: Prometheus<'_>, panel: &Panel) -> Result<Values> {
    let values = values(prometheus, panel)?;
    ensure!(!values.is_empty(), "it has no data");
    for (labels, value) in &values {
        ensure!(value.is_finite(), "{labels:?} is {value}");
    }
    Ok(values)
}

fn values(prometheus: Prometheus<'_>, panel: &Panel) -> Result<Values> {
    let mut all = Values::new();
    for (query, _) in &panel.targets {
        all.extend(prometheus.query(query)?);
    }
    Ok(all)
}

/// Whether a series came or went. Where none can, as in panels with a single number and in those of
/// the lag, whether a value is another.
fn differ(panel: &Panel, before: &Values, after: &Values) -> bool {
    let series = |values: &Values| -> BTreeSet<Labels> { values.keys().cloned().collect() };
    let stay = before.keys().all(Labels::is_empty)
        || panel
            .targets
            .iter()
            .any(|(query, _)| query.contains("replica_lag"));
    series(before) != series(after) || (stay && before != after)
}

/// Writes `target/pictures/<name>.svg`, or into `$IMMUOPS_PICTURES`.
fn draw(prometheus: Prometheus<'_>, name: &str, dashboard: &Dashboard) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let window = Window {
        start: now - PICTURE,
        end: now,
        step: 5.0,
    };
    let mut data = Vec::new();
    for panel in &dashboard.panels {
        let mut lines = Vec::new();
        for (query, legend) in &panel.targets {
            for series in prometheus.query_range(query, window)? {
                lines.push((filled(legend, &series), series));
            }
        }
        lines.sort_by(|one, other| one.0.cmp(&other.0));
        data.push(lines);
    }
    let folder = std::env::var_os("IMMUOPS_PICTURES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/pictures")),
        PathBuf::from,
    );
    fs_err::create_dir_all(&folder)?;
    fs_err::write(
        folder.join(format!("{name}.svg")),
        chart::draw(dashboard, &data, window),
    )
    .context("failed to write the picture of a dashboard")
}

/// The legend with a series' labels in it.
fn filled(legend: &str, series: &Series) -> String {
    let labels = series.labels.iter();
    labels.fold(legend.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{{name}}}}}"), value)
    })
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
