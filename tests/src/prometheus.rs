//! Prometheus' HTTP API, asked through the edge as a person would.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::edge::Edge;

/// One instant's values of a query, by labels.
pub type Values = BTreeMap<Labels, f64>;
/// The labels of a series.
pub type Labels = BTreeMap<String, String>;

/// A series over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Unix seconds and values.
    pub points: Vec<(f64, f64)>,
}

/// A stretch of time to ask about, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// The first moment.
    pub start: f64,
    /// The last moment.
    pub end: f64,
    /// Seconds between two values.
    pub step: f64,
}

/// The Prometheus of one cluster.
#[derive(Clone, Copy, Debug)]
pub struct Prometheus<'a>(pub &'a Edge);

impl Prometheus<'_> {
    /// What `/api/v1/<path>` answers.
    ///
    /// # Errors
    /// What Prometheus said when it refused.
    pub fn api(self, path: &str, arguments: &[(&str, &str)]) -> Result<Value> {
        let query: Vec<String> = arguments
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        let answer = self
            .0
            .get("prometheus", &format!("/api/v1/{path}?{}", query.join("&")))?;
        let body: Value = serde_json::from_str(&answer.body)
            .with_context(|| format!("{path} answered {}: {}", answer.status, answer.body))?;
        if body.get("status") != Some(&Value::from("success")) {
            bail!("{path} with {arguments:?} answered {body}");
        }
        Ok(body.get("data").cloned().unwrap_or_default())
    }

    /// Evaluates a query now.
    ///
    /// # Errors
    /// When it is wrong, or its answer is no vector.
    pub fn query(self, query: &str) -> Result<Values> {
        let data = self.api("query", &[("query", query)])?;
        let kind = data.get("resultType").and_then(Value::as_str);
        ensure!(kind == Some("vector"), "`{query}` gives {kind:?}");
        results(&data)
            .map(|one| {
                let (_, value) = point(one.get("value").context("a sample has no value")?)?;
                Ok((labels(one), value))
            })
            .collect()
    }

    /// Evaluates a query over time.
    ///
    /// # Errors
    /// As [`Prometheus::query`].
    pub fn query_range(self, query: &str, window: Window) -> Result<Vec<Series>> {
        let Window { start, end, step } = window;
        let data = self.api(
            "query_range",
            &[
                ("query", query),
                ("start", &start.to_string()),
                ("end", &end.to_string()),
                ("step", &step.to_string()),
            ],
        )?;
        results(&data)
            .map(|one| {
                let values = one.get("values").and_then(Value::as_array);
                let points = values.into_iter().flatten().map(point);
                Ok(Series {
                    labels: labels(one),
                    points: points.collect::<Result<_>>()?,
                })
            })
            .collect()
    }

    /// The values of a label among the series of a metric.
    ///
    /// # Errors
    /// When Prometheus does not answer.
    pub fn label_values(self, metric: &str, label: &str) -> Result<BTreeSet<String>> {
        texts(&self.api(&format!("label/{label}/values"), &[("match[]", metric)])?)
    }

    /// Every metric that there is.
    ///
    /// # Errors
    /// When Prometheus does not answer.
    pub fn metrics(self) -> Result<BTreeSet<String>> {
        texts(&self.api("label/__name__/values", &[])?)
    }

    /// The metrics that a query names, by Prometheus' own parser.
    ///
    /// # Errors
    /// When it is no query.
    pub fn metrics_of(self, query: &str) -> Result<BTreeSet<String>> {
        let tree = self.api("parse_query", &[("query", query)])?;
        let mut found = BTreeSet::new();
        collect_selectors(&tree, &mut found);
        Ok(found)
    }
}

fn collect_selectors(node: &Value, found: &mut BTreeSet<String>) {
    match node {
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str);
            if matches!(kind, Some("vectorSelector" | "matrixSelector")) {
                let name = fields.get("name").and_then(Value::as_str);
                found.extend(name.map(str::to_owned));
            }
            for child in fields.values() {
                collect_selectors(child, found);
            }
        }
        Value::Array(items) => {
            for child in items {
                collect_selectors(child, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn results(data: &Value) -> impl Iterator<Item = &Value> {
    let results = data.get("result").and_then(Value::as_array);
    results.into_iter().flatten()
}

fn labels(series: &Value) -> Labels {
    let labels = series.get("metric").and_then(Value::as_object);
    labels
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

/// `[seconds, "value"]`.
fn point(pair: &Value) -> Result<(f64, f64)> {
    let time = pair.get(0).and_then(Value::as_f64);
    let value = pair.get(1).and_then(Value::as_str);
    let pair = time
        .zip(value)
        .with_context(|| format!("{pair} is no sample"))?;
    Ok((pair.0, pair.1.parse()?))
}

fn texts(list: &Value) -> Result<BTreeSet<String>> {
    let list = list.as_array().context("Prometheus gave no list")?;
    let texts = list.iter().filter_map(Value::as_str).map(str::to_owned);
    Ok(texts.collect())
}

/// Percent-encoding of everything that is not a letter or digit.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
