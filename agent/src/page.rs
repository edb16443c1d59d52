//! The page at `/`: what a person needs to know about the cluster, in the order they ask. Rendered
//! here as a whole, without scripts, and read-only: people change the cluster through git.

mod servers;
mod upgrades;

use jiff::{SignedDuration, Timestamp};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::board::{Correction, Entry, Standing, SyncName};
use crate::status::{Overall, Status};

const STYLE: &str = include_str!("page.css");
/// How often browsers load the page again, in seconds.
const REFRESH: u32 = 10;

/// Renders the page.
pub(crate) fn page(status: &Status, now: Timestamp) -> Markup {
    let overall = status.overall();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="refresh" content=(REFRESH);
                meta name="color-scheme" content="light dark";
                title { (word(overall)) " · immuops" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "immuops" }
                    p class={ "overall " (class(overall)) } { (sentence(status)) }
                }
                main {
                    section {
                        h2 { "Syncs" }
                        @for (name, entry) in &status.syncs { (sync(name, entry, now)) }
                        @if status.syncs.is_empty() {
                            p.quiet { "There is no Sync in the cluster yet." }
                        }
                    }
                    (servers::section(&status.seen.servers))
                    (upgrades::section(&status.seen.upgrades, now))
                    @if !status.seen.problems.is_empty() {
                        section {
                            h2 { "Not seen" }
                            ul { @for problem in &status.seen.problems { li { (problem) } } }
                        }
                    }
                    (drift(status, now))
                }
                footer {
                    p {
                        "As of " time datetime=(status.time) { (status.time) }
                        ", loaded again every " (REFRESH) " s. Agent " (status.version) ". "
                        a href="/api/v1/status" { "The same as JSON" } ", "
                        a href="/metrics" { "metrics" } "."
                    }
                }
            }
        }
    }
}

fn sync(name: &SyncName, entry: &Entry, now: Timestamp) -> Markup {
    let (label, class) = standing(entry.standing);
    html! {
        article {
            div.head {
                h3 { (name) }
                span class={ "badge " (class) } { (label) }
            }
            // A ready Sync says only which revision it has, which is below.
            @if entry.standing != Standing::Ready { p.message { (entry.message) } }
            dl {
                @if let Some(attempted) = &entry.attempted_revision {
                    // Three equal revisions are one fact, not three.
                    @if entry.revision.as_ref() == Some(attempted)
                        && entry.healthy_revision.as_ref() == Some(attempted) {
                        dt { "Applied and healthy" } dd { (revision(Some(attempted))) }
                    } @else {
                        dt { "Attempted" } dd { (revision(Some(attempted))) }
                        dt { "Applied" } dd { (revision(entry.revision.as_ref())) }
                        dt { "Healthy" } dd { (revision(entry.healthy_revision.as_ref())) }
                    }
                }
                dt { "Objects" }
                dd {
                    (entry.objects)
                    @if !entry.unhealthy.is_empty() { ", " (entry.unhealthy.len()) " not healthy" }
                }
                @if !entry.depends_on.is_empty() {
                    dt { "After" }
                    dd {
                        @for (i, other) in entry.depends_on.iter().enumerate() {
                            @if i > 0 { ", " } (other)
                        }
                    }
                }
                @if let Some(poll) = &entry.next_poll {
                    dt { "Next look at git" } dd { (relative(poll, now)) }
                }
            }
            @if !entry.unhealthy.is_empty() {
                details open[entry.unhealthy.len() <= 5] {
                    summary { "What is not healthy" }
                    ul {
                        @for (object, reason) in &entry.unhealthy {
                            li { code { (object) } " " (reason) }
                        }
                    }
                }
            }
        }
    }
}

fn drift(status: &Status, now: Timestamp) -> Markup {
    let mut lately: Vec<(&SyncName, &Correction)> = status
        .syncs
        .iter()
        .flat_map(|(name, entry)| entry.drift.iter().map(move |one| (name, one)))
        .collect();
    lately.sort_by(|one, other| other.1.at.cmp(&one.1.at));
    let total: u64 = status.syncs.values().map(|entry| entry.corrections).sum();
    html! {
        section {
            h2 { "Foreign changes undone" }
            @if lately.is_empty() {
                p.quiet { "None since this agent started." }
            } @else {
                p.quiet { (total) " since this agent started; the latest:" }
                ul.drift {
                    @for (name, Correction { object, by, at }) in lately {
                        li {
                            code { (object) } " was changed by " strong { (by) }
                            span.quiet { " · Sync " (name) " · " (relative(at, now)) }
                        }
                    }
                }
            }
        }
    }
}

/// `main@sha1:<40 hex>`, short for the eye and whole for the mouse.
fn revision(revision: Option<&String>) -> Markup {
    let Some(revision) = revision else {
        return html! { "none yet" };
    };
    let short = match revision.split_once("@sha1:") {
        Some((branch, commit)) => format!("{branch} {}", commit.get(..10).unwrap_or(commit)),
        None => revision.clone(),
    };
    html! { code title=(revision) { (short) } }
}

/// A time as its distance from now, with the time itself for the mouse.
fn relative(time: &str, now: Timestamp) -> Markup {
    let Ok(at) = time.parse::<Timestamp>() else {
        return html! { (time) };
    };
    let distance = at.duration_since(now);
    let text = match distance.as_secs() {
        0 => "now".to_owned(),
        1.. => format!("in {}", span(distance)),
        ..0 => format!("{} ago", span(-distance)),
    };
    html! { time datetime=(time) title=(time) { (text) } }
}

fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        172_800.. => format!("{} days", seconds / 86_400),
    }
}

fn sentence(status: &Status) -> String {
    let all = status.syncs.len();
    let of = |wanted: Standing| {
        let names: Vec<&str> = status
            .syncs
            .iter()
            .filter(|(_, entry)| entry.standing == wanted)
            .map(|(name, _)| name.as_str())
            .collect();
        names.join(", ")
    };
    match status.overall() {
        Overall::Standby => "Standing by: another agent holds the lease.".to_owned(),
        Overall::Failed => format!("Failed: {}.", of(Standing::Failed)),
        Overall::Progressing => {
            let names = [of(Standing::Progressing), of(Standing::Pending)];
            let names: Vec<_> = names
                .into_iter()
                .filter(|names| !names.is_empty())
                .collect();
            format!("Under way: {}.", names.join(", "))
        }
        Overall::Empty => "Nothing to look after yet.".to_owned(),
        Overall::Healthy => format!("All healthy: the cluster equals git in {all} Syncs."),
    }
}

const fn word(overall: Overall) -> &'static str {
    match overall {
        Overall::Standby => "Standby",
        Overall::Failed => "Failed",
        Overall::Progressing => "Under way",
        Overall::Empty => "Empty",
        Overall::Healthy => "Healthy",
    }
}

const fn class(overall: Overall) -> &'static str {
    match overall {
        Overall::Standby | Overall::Empty => "idle",
        Overall::Failed => "bad",
        Overall::Progressing => "busy",
        Overall::Healthy => "good",
    }
}

const fn standing(standing: Standing) -> (&'static str, &'static str) {
    match standing {
        Standing::Pending => ("Not seen yet", "busy"),
        Standing::Ready => ("Healthy", "good"),
        Standing::Progressing => ("Under way", "busy"),
        Standing::Failed => ("Failed", "bad"),
        Standing::Suspended => ("Suspended", "idle"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::lookup::Seen;

    const COMMIT: &str = "main@sha1:0123456789abcdef0123456789abcdef01234567";

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn status(entry: Entry) -> Status {
        Status {
            version: "0.1.0",
            leader: true,
            time: now().to_string(),
            syncs: BTreeMap::from([(SyncName::new("immudb-primary".to_owned()), entry)]),
            seen: Seen::default(),
        }
    }

    fn text(entry: Entry) -> String {
        page(&status(entry), now()).into_string()
    }

    #[test]
    fn a_healthy_sync_is_one_revision_and_the_next_look() {
        let revision = Some(COMMIT.to_owned());
        let page = text(Entry {
            standing: Standing::Ready,
            attempted_revision: revision.clone(),
            revision: revision.clone(),
            healthy_revision: revision,
            objects: 4,
            next_poll: Some("2026-11-24T12:00:42Z".to_owned()),
            ..Entry::default()
        });
        assert!(
            page.contains("All healthy: the cluster equals git in 1 Syncs."),
            "{page}"
        );
        assert!(page.contains("Applied and healthy"), "{page}");
        assert!(page.contains("main 0123456789<"), "{page}");
        assert!(page.contains("in 42 s"), "{page}");
        assert!(page.contains("None since this agent started"), "{page}");
    }

    #[test]
    fn a_failed_sync_shows_all_three_revisions_and_every_reason() {
        let page = text(Entry {
            standing: Standing::Failed,
            attempted_revision: Some("main@sha1:bbbbbbbbbbbb".to_owned()),
            revision: Some("main@sha1:aaaaaaaaaaaa".to_owned()),
            message: "StatefulSet immudb/immudb-primary: 0 of 1 replicas are ready".to_owned(),
            unhealthy: BTreeMap::from([(
                "StatefulSet immudb/immudb-primary".to_owned(),
                "0 of 1 replicas are ready".to_owned(),
            )]),
            drift: vec![Correction {
                object: "ConfigMap a/b".to_owned(),
                by: "kubectl-edit".to_owned(),
                at: "2026-11-24T11:57:00Z".to_owned(),
            }],
            corrections: 1,
            ..Entry::default()
        });
        for part in [
            "Failed: immudb-primary.",
            "main bbbbbbbbbb<",
            "main aaaaaaaaaa<",
            "none yet",
            "0 of 1 replicas are ready",
            "was changed by <strong>kubectl-edit</strong>",
            "3 min ago",
        ] {
            assert!(page.contains(part), "`{part}` is not in {page}");
        }
    }

    #[test]
    fn what_others_wrote_is_never_markup() {
        let page = text(Entry {
            message: "<script>alert(1)</script>".to_owned(),
            ..Entry::default()
        });
        assert!(!page.contains("<script>"), "{page}");
    }
}
