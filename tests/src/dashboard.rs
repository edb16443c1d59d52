//! The dashboards as files: panels with the queries that Grafana would send.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use fs_err as fs;
use serde_json::Value;

/// Four scrape intervals, as Grafana computes it for this data source.
const RATE_INTERVAL: &str = "1m";

/// One dashboard.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// Its title.
    pub title: String,
    /// Its panels, in the order of the file.
    pub panels: Vec<Panel>,
    /// Queries of its variables: metric and label of `label_values(metric, label)`.
    pub variables: Vec<(String, String)>,
    /// The whole file.
    pub json: Value,
}

/// One panel.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Its title, unique in the dashboard.
    pub title: String,
    /// How it shows its data.
    pub kind: Kind,
    /// Grafana's name of the unit.
    pub unit: String,
    /// Where it is, in a grid of 24 columns.
    pub place: Place,
    /// Query and legend of each target, with the variables filled in.
    pub targets: Vec<(String, String)>,
}

/// How a panel shows its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The last value, large.
    Stat,
    /// Lines over time.
    TimeSeries,
}

/// A rectangle in the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From the left.
    pub x: u32,
    /// From the top.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// The folder of the dashboards.
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../cluster-repo/monitoring/dashboards"
    ))
}

/// All dashboards, with the name of each file without `.json`.
///
/// # Errors
/// When one cannot be read.
pub fn all() -> Result<Vec<(String, Dashboard)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "json") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let json = serde_json::from_str(&fs::read_to_string(&path)?)?;
            let dashboard = Dashboard::read(json).with_context(|| format!("in {name}.json"))?;
            found.push((name.into_owned(), dashboard));
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

impl Dashboard {
    fn read(json: Value) -> Result<Self> {
        let list = |pointer: &str| json.pointer(pointer).and_then(Value::as_array).cloned();
        let panels = list("/panels").unwrap_or_default();
        let mut variables = Vec::new();
        for variable in list("/templating/list").unwrap_or_default() {
            if variable.get("type") == Some(&Value::from("query")) {
                variables.push(label_values(&text(&variable, "/query/query")?)?);
            }
        }
        Ok(Self {
            title: text(&json, "/title")?,
            panels: panels.iter().map(panel).collect::<Result<_>>()?,
            variables,
            json,
        })
    }
}

fn panel(json: &Value) -> Result<Panel> {
    let title = text(json, "/title")?;
    let number = |name: &str| {
        let number = json.pointer(&format!("/gridPos/{name}"));
        let number = number
            .and_then(Value::as_u64)
            .and_then(|n| n.try_into().ok());
        number.with_context(|| format!("panel `{title}` has no {name}"))
    };
    let kind = match text(json, "/type")?.as_str() {
        "stat" => Kind::Stat,
        "timeseries" => Kind::TimeSeries,
        other => anyhow::bail!("panel `{title}` is a {other}, which the tests cannot draw"),
    };
    let targets = json.get("targets").and_then(Value::as_array);
    let targets = targets.into_iter().flatten().map(|target| {
        let query = text(target, "/expr")?
            .replace("$__rate_interval", RATE_INTERVAL)
            .replace("$db", ".*");
        Ok((query, text(target, "/legendFormat")?))
    });
    Ok(Panel {
        kind,
        unit: text(json, "/fieldConfig/defaults/unit")?,
        place: Place {
            x: number("x")?,
            y: number("y")?,
            width: number("w")?,
            height: number("h")?,
        },
        targets: targets.collect::<Result<_>>()?,
        title,
    })
}

fn text(json: &Value, pointer: &str) -> Result<String> {
    let text = json.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned)
        .with_context(|| format!("there is no text at {pointer} in {json}"))
}

/// Reads `label_values(metric, label)`.
fn label_values(query: &str) -> Result<(String, String)> {
    let inside = query
        .strip_prefix("label_values(")
        .and_then(|rest| rest.strip_suffix(')'));
    let parts = inside.and_then(|inside| inside.rsplit_once(", "));
    let (metric, label) = parts.with_context(|| format!("`{query}` is no label_values(a, b)"))?;
    Ok((metric.to_owned(), label.to_owned()))
}
