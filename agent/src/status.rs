//! Everything the agent knows, as one value: what `/api/v1/status` says as JSON and the page shows.

use schemars::JsonSchema;
use serde::Serialize;

use crate::board::{Lines, Standing};
use crate::lookup::Seen;

/// The agent and everything it looks after. Served as JSON at `/api/v1/status`; its JSON Schema is
/// at `/api/v1/status/schema`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    /// Version of the agent.
    pub(crate) version: &'static str,
    /// Whether this agent holds the lease; another one does the work otherwise.
    pub(crate) leader: bool,
    /// When this was said, in RFC 3339.
    pub(crate) time: String,
    /// Every Sync by name.
    pub(crate) syncs: Lines,
    /// Servers, upgrade policies, and what could not be looked up.
    #[serde(flatten)]
    pub(crate) seen: Seen,
}

/// The state of everything in one word, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overall {
    /// This agent does nothing: another holds the lease.
    Standby,
    /// At least one Sync failed.
    Failed,
    /// Something is under way.
    Progressing,
    /// There is nothing to look after.
    Empty,
    /// All that is not suspended is as git wants it.
    Healthy,
}

impl Status {
    /// The state of everything in one word.
    pub(crate) fn overall(&self) -> Overall {
        let any = |wanted: Standing| self.syncs.values().any(|entry| entry.standing == wanted);
        if !self.leader {
            Overall::Standby
        } else if any(Standing::Failed) {
            Overall::Failed
        } else if any(Standing::Progressing) || any(Standing::Pending) {
            Overall::Progressing
        } else if self.syncs.is_empty() {
            Overall::Empty
        } else {
            Overall::Healthy
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{Entry, SyncName};

    fn status(standings: &[Standing]) -> Status {
        let entry = |standing: &Standing| Entry {
            standing: *standing,
            ..Entry::default()
        };
        let names = ["a", "b", "c"].map(|name| SyncName::new(name.to_owned()));
        Status {
            version: "1",
            leader: true,
            time: "2026-01-01T00:00:00Z".to_owned(),
            syncs: names.into_iter().zip(standings.iter().map(entry)).collect(),
            seen: Seen::default(),
        }
    }

    #[test]
    fn the_worst_standing_is_the_word() {
        use Standing::{Failed, Pending, Progressing, Ready, Suspended};
        for (standings, overall) in [
            (&[][..], Overall::Empty),
            (&[Ready, Suspended], Overall::Healthy),
            (&[Ready, Pending], Overall::Progressing),
            (&[Ready, Progressing], Overall::Progressing),
            (&[Ready, Progressing, Failed], Overall::Failed),
        ] {
            assert_eq!(status(standings).overall(), overall, "{standings:?}");
        }
        let mut standby = status(&[Ready]);
        standby.leader = false;
        assert_eq!(standby.overall(), Overall::Standby);
    }
}
