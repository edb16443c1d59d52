//! Where every Sync stands, for those that depend on it and for those who ask over HTTP.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

use crate::git::fetcher::SourceKey;

/// A Sync of the agent's namespace, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct SyncName(String);

impl SyncName {
    /// Takes a name that the API server has accepted.
    pub(crate) const fn new(name: String) -> Self {
        Self(name)
    }

    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SyncName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a Sync stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    /// Nothing is known yet.
    Pending,
    /// It is as it should be.
    Ready,
    /// It is being worked on, or waits for objects or other Syncs.
    Progressing,
    /// It failed.
    Failed,
    /// It was told to do nothing.
    Suspended,
}

/// A foreign change that was undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Correction {
    /// The object that was changed.
    pub(crate) object: String,
    /// Who changed it, as far as the server recorded it.
    pub(crate) by: String,
    /// When it was undone, in RFC 3339.
    pub(crate) at: String,
}

/// One line of the board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// How it stands.
    pub(crate) standing: Standing,
    /// Generation of the spec this is about.
    pub(crate) generation: i64,
    /// What it reads; not shown, it may be private.
    #[serde(skip)]
    pub(crate) source: Option<SourceKey>,
    /// Revision that was tried last, as `main@sha1:<40 hex>`.
    pub(crate) attempted_revision: Option<String>,
    /// Revision that is applied.
    pub(crate) revision: Option<String>,
    /// Revision whose objects were all healthy.
    pub(crate) healthy_revision: Option<String>,
    /// Syncs it waits for.
    pub(crate) depends_on: Vec<SyncName>,
    /// Number of objects it owns.
    pub(crate) objects: usize,
    /// Objects that are not healthy, and why.
    pub(crate) unhealthy: BTreeMap<String, String>,
    /// Reason and message of the Ready condition.
    pub(crate) reason: &'static str,
    /// See `reason`.
    pub(crate) message: String,
    /// Foreign changes that were undone since the agent started.
    pub(crate) corrections: u64,
    /// The latest of them, newest first, five at most.
    pub(crate) drift: Vec<Correction>,
    /// When the repository is looked at again without being asked, in RFC 3339.
    pub(crate) next_poll: Option<String>,
    /// Whether a sync was tried since the agent started.
    #[serde(skip)]
    pub(crate) attempted: bool,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            standing: Standing::Pending,
            generation: 0,
            source: None,
            attempted_revision: None,
            revision: None,
            healthy_revision: None,
            depends_on: Vec::new(),
            objects: 0,
            unhealthy: BTreeMap::new(),
            reason: "Progressing",
            message: String::new(),
            corrections: 0,
            drift: Vec::new(),
            next_poll: None,
            attempted: false,
        }
    }
}

/// All lines.
pub(crate) type Lines = BTreeMap<SyncName, Entry>;

/// The board; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    lines: watch::Sender<Lines>,
}

impl Board {
    /// An empty board.
    pub(crate) fn new() -> Self {
        Self {
            lines: watch::Sender::new(Lines::new()),
        }
    }

    /// Writes the line of a Sync.
    pub(crate) fn post(&self, name: &SyncName, entry: Entry) {
        self.lines.send_if_modified(|lines| {
            if lines.get(name) == Some(&entry) {
                return false;
            }
            lines.insert(name.clone(), entry);
            true
        });
    }

    /// Removes the line of a Sync that is gone.
    pub(crate) fn remove(&self, name: &SyncName) {
        self.lines
            .send_if_modified(|lines| lines.remove(name).is_some());
    }

    /// Hears of every change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Lines> {
        self.lines.subscribe()
    }

    /// The board as it is now.
    pub(crate) fn lines(&self) -> Lines {
        self.lines.borrow().clone()
    }

    /// Whether every Sync that is not suspended was tried at least once.
    pub(crate) fn all_attempted(&self) -> bool {
        self.lines
            .borrow()
            .values()
            .all(|entry| entry.attempted || entry.standing == Standing::Suspended)
    }
}

/// Why a Sync may not start yet. `None` if all it depends on is ready.
pub(crate) fn waits_for(
    lines: &Lines,
    name: &SyncName,
    depends_on: &[SyncName],
    source: &SourceKey,
    revision: &str,
) -> Option<String> {
    if let Some(circle) = circle(lines, name, depends_on) {
        let names: Vec<&str> = circle.iter().map(SyncName::as_str).collect();
        return Some(format!(
            "the Syncs {} wait for each other; hint: remove one of their spec.dependsOn",
            names.join(", ")
        ));
    }
    depends_on.iter().find_map(|dependency| {
        let Some(entry) = lines.get(dependency) else {
            return Some(format!(
                "waiting for Sync {dependency}, which does not exist; hint: check spec.dependsOn"
            ));
        };
        if entry.standing != Standing::Ready {
            return Some(format!("waiting for Sync {dependency} to become ready"));
        }
        let behind =
            entry.source.as_ref() == Some(source) && entry.revision.as_deref() != Some(revision);
        behind.then(|| format!("waiting for Sync {dependency} to apply {revision}"))
    })
}

/// Finds a way back from the dependencies of a Sync to itself.
fn circle(lines: &Lines, name: &SyncName, depends_on: &[SyncName]) -> Option<Vec<SyncName>> {
    let mut ways: Vec<Vec<SyncName>> = depends_on.iter().map(|next| vec![next.clone()]).collect();
    let mut seen = Vec::new();
    while let Some(way) = ways.pop() {
        let Some(last) = way.last() else { continue };
        if last == name {
            return Some(way);
        }
        if seen.contains(last) {
            continue;
        }
        seen.push(last.clone());
        for next in lines
            .get(last)
            .map(|entry| entry.depends_on.as_slice())
            .unwrap_or_default()
        {
            let mut longer = way.clone();
            longer.push(next.clone());
            ways.push(longer);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SyncName {
        SyncName::new(text.to_owned())
    }

    fn source(url: &str) -> SourceKey {
        SourceKey {
            namespace: "ns".to_owned(),
            url: url.to_owned(),
            secret: None,
        }
    }

    fn ready(url: &str, revision: &str, depends_on: &[&str]) -> Entry {
        Entry {
            standing: Standing::Ready,
            source: Some(source(url)),
            revision: Some(revision.to_owned()),
            depends_on: depends_on.iter().map(|text| name(text)).collect(),
            ..Entry::default()
        }
    }

    fn waits(lines: &Lines, depends_on: &[&str]) -> Option<String> {
        let depends_on: Vec<SyncName> = depends_on.iter().map(|text| name(text)).collect();
        waits_for(lines, &name("b"), &depends_on, &source("u"), "r2")
    }

    #[test]
    fn waits_until_ready_at_the_same_revision() {
        let mut lines = Lines::new();
        assert!(waits(&lines, &["a"]).unwrap().contains("does not exist"));
        lines.insert(name("a"), Entry::default());
        assert!(waits(&lines, &["a"]).unwrap().contains("to become ready"));
        lines.insert(name("a"), ready("u", "r1", &[]));
        assert!(waits(&lines, &["a"]).unwrap().contains("to apply r2"));
        lines.insert(name("a"), ready("u", "r2", &[]));
        assert_eq!(waits(&lines, &["a"]), None);
        lines.insert(name("a"), ready("other", "r1", &[]));
        assert_eq!(
            waits(&lines, &["a"]),
            None,
            "another repository has revisions of its own"
        );
    }

    #[test]
    fn circles_are_named() {
        let mut lines = Lines::new();
        lines.insert(name("a"), ready("u", "r2", &["c"]));
        lines.insert(name("c"), ready("u", "r2", &["b"]));
        let text = waits(&lines, &["a"]).unwrap();
        assert!(text.contains("a, c, b wait for each other"), "{text}");
        assert!(
            waits(&lines, &["b"])
                .unwrap()
                .contains("wait for each other")
        );
    }
}
