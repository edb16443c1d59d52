//! What can be said of dashboards and rules without a cluster: Grafana takes the files, and every
//! alert fires when it should and only then.
#![expect(
    clippy::tests_outside_test_module,
    reason = "this file is the test program"
)]

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use serde_json::{Value, json};
use tests::dashboard::{self, Dashboard, Panel, Place};
use tests::{bundle, process};

/// The schema that file provisioning of Grafana 13 loads as it is: newer exports are another format.
const CLASSIC: u64 = 42;
/// What Grafana's units list has of what we use.
const UNITS: [&str; 6] = ["short", "s", "ops", "reqps", "bytes", "percentunit"];

#[test]
fn dashboards_are_what_grafana_provisions() -> Result<()> {
    let dashboards = dashboard::all()?;
    let names: Vec<_> = dashboards.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["overview", "replication"]);
    let list = fs::read_to_string(dashboard::folder().join("kustomization.yaml"))?;
    for (name, dashboard) in &dashboards {
        assert!(
            list.contains(&format!("- {name}.json\n")),
            "{name} is not shipped"
        );
        check(dashboard).with_context(|| format!("in {name}.json"))?;
    }
    Ok(())
}

fn check(dashboard: &Dashboard) -> Result<()> {
    let json = &dashboard.json;
    for (field, expected) in [
        ("schemaVersion", json!(CLASSIC)),
        ("editable", json!(false)),
        ("timezone", json!("browser")),
    ] {
        let found = json.get(field);
        ensure!(
            found == Some(&expected),
            "{field} is {found:?}, not {expected}"
        );
    }
    ensure!(
        json.get("uid").is_some_and(Value::is_string),
        "it has no uid"
    );
    let mut ids = BTreeSet::new();
    let panels = json.get("panels").and_then(Value::as_array);
    let panels = panels.context("it has no panels")?;
    for (panel, raw) in dashboard.panels.iter().zip(panels) {
        ensure!(
            ids.insert(raw.get("id").map(Value::to_string)),
            "an id twice"
        );
        check_panel(panel, raw).with_context(|| format!("panel `{}`", panel.title))?;
    }
    for (index, one) in dashboard.panels.iter().enumerate() {
        for other in dashboard.panels.iter().skip(index + 1) {
            ensure!(
                !overlap(one.place, other.place),
                "`{}` and `{}` overlap",
                one.title,
                other.title
            );
            ensure!(one.title != other.title, "`{}` twice", one.title);
        }
    }
    Ok(())
}

fn check_panel(panel: &Panel, raw: &Value) -> Result<()> {
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let described = raw.get("description").and_then(Value::as_str);
    ensure!(
        described.is_some_and(|text| text.len() > 10),
        "it is not described"
    );
    ensure!(UNITS.contains(&panel.unit.as_str()), "unit {}", panel.unit);
    ensure!(panel.place.x + panel.place.width <= 24, "it is too wide");
    ensure!(
        raw.get("datasource") == Some(&source),
        "another data source"
    );
    let targets = raw.get("targets").and_then(Value::as_array);
    let targets = targets.context("it has no targets")?;
    ensure!(!targets.is_empty(), "it has no targets");
    for target in targets {
        ensure!(
            target.get("datasource") == Some(&source),
            "another data source"
        );
        let query = target.get("expr").and_then(Value::as_str);
        let query = query.context("a target has no query")?;
        // Any other range is empty at some zoom or scrape interval.
        ensure!(
            !query.contains("rate(") || query.contains("[$__rate_interval]"),
            "`{query}` has a rate over a fixed range"
        );
    }
    Ok(())
}

fn overlap(one: Place, other: Place) -> bool {
    let apart = |a: u32, length: u32, b: u32| a + length <= b;
    !(apart(one.x, one.width, other.x)
        || apart(other.x, other.width, one.x)
        || apart(one.y, one.height, other.y)
        || apart(other.y, other.height, one.y))
}

#[test]
fn alerts_fire_when_they_should_and_only_then() -> Result<()> {
    let folder = dashboard::folder().join("../rules");
    let mut promtool = Command::new(bundle::program("promtool")?);
    promtool
        .args(["test", "rules", "tests.yaml"])
        .current_dir(&folder);
    process::text(&mut promtool, None)?;
    // Every alert has a test in which it fires.
    let tests = fs::read_to_string(folder.join("tests.yaml"))?;
    for file in ["immudb.yaml", "platform.yaml"] {
        for line in fs::read_to_string(folder.join(file))?.lines() {
            let Some(alert) = line.trim().strip_prefix("- alert: ") else {
                continue;
            };
            assert!(
                tests.contains(&format!("- alertname: {alert}\n")),
                "no test in which {alert} fires"
            );
        }
    }
    Ok(())
}

#[test]
fn an_alert_that_is_broken_fails_its_test() -> Result<()> {
    let rules = dashboard::folder().join("../rules");
    let folder = tempfile::tempdir()?;
    for file in ["immudb.yaml", "platform.yaml", "tests.yaml"] {
        fs::copy(rules.join(file), folder.path().join(file))?;
    }
    // One small mistake per alert; promtool has to see each of them.
    let mistakes = [
        (
            "immudb.yaml",
            r#"absent(up{job="immudb", role="replica"})"#,
            "absent(up)",
        ),
        (
            "immudb.yaml",
            "transactions > 100\n",
            "transactions > 100000\n",
        ),
        ("immudb.yaml", ">= 0\n", ">= -100000\n"),
        ("immudb.yaml", "offset 3m", "offset 0s"),
        (
            "immudb.yaml",
            r#"index="index_00"}[1h]"#,
            r#"index="index_00"}[1m]"#,
        ),
        (
            "immudb.yaml",
            r#"replicators{role="replica"} == 0"#,
            "replicators == 1",
        ),
        (
            "immudb.yaml",
            "            and on (db)\n",
            "            or on (db)\n",
        ),
        ("immudb.yaml", "state_match == 0", "state_match == 1"),
        ("platform.yaml", "up == 0", "up == 1"),
        ("platform.yaml", "bytes < 0.15", "bytes < 0.05"),
        ("platform.yaml", "< 10 * 1024", "< 1000 * 1024"),
        ("platform.yaml", "24 * 3600", "24"),
        ("platform.yaml", "< 14", "< 44"),
        (
            "platform.yaml",
            "        for: 10m\n        labels: { severity: warning }\n        annotations:\n          summary: Sync",
            "        for: 0m\n        labels: { severity: warning }\n        annotations:\n          summary: Sync",
        ),
        ("platform.yaml", "ArtifactFailed", "BuildFailed"),
        ("platform.yaml", "> 1800", "> 180000"),
    ];
    for (file, from, to) in mistakes {
        let good = fs::read_to_string(rules.join(file))?;
        ensure!(good.contains(from), "{file} has no `{from}`");
        fs::write(folder.path().join(file), good.replacen(from, to, 1))?;
        let mut promtool = Command::new(bundle::program("promtool")?);
        promtool
            .args(["test", "rules", "tests.yaml"])
            .current_dir(folder.path());
        let seen = process::output(&mut promtool, None)?;
        ensure!(
            !seen.status.success(),
            "`{to}` for `{from}` in {file} goes unseen"
        );
        fs::write(folder.path().join(file), good)?;
    }
    Ok(())
}
