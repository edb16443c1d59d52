//! Every upgrade policy with its open pull request and the proof of the last upgrade.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{Markup, html};

use super::relative;
use crate::api::upgrade_proof::ProofPhase;
use crate::lookup::{Proof, PullRequest, Upgrade};

/// Shows every policy, if there is one.
pub(super) fn section(upgrades: &BTreeMap<String, Upgrade>, now: Timestamp) -> Markup {
    html! {
        @if !upgrades.is_empty() {
            section {
                h2 { "Upgrades" }
                @for (name, upgrade) in upgrades { (self::upgrade(name, upgrade, now)) }
            }
        }
    }
}

fn upgrade(name: &str, upgrade: &Upgrade, now: Timestamp) -> Markup {
    let (label, class) = standing(upgrade);
    html! {
        article {
            div.head {
                h3 { (name) }
                span class={ "badge " (class) } { (label) }
            }
            p.message { (upgrade.message) }
            dl {
                @if let Some(current) = &upgrade.current { dt { "In git" } dd { (current) } }
                @if let Some(candidate) = &upgrade.candidate { dt { "Next" } dd { (candidate) } }
                @if let Some(PullRequest { title, url }) = &upgrade.pull_request {
                    dt { "Pull request" }
                    dd { (link(url, title)) }
                }
                @if let Some(Proof { phase, message }) = &upgrade.proof {
                    dt { "Proof" }
                    dd { (word(*phase)) ": " (message) }
                }
                @if let Some(poll) = &upgrade.next_poll {
                    dt { "Next look at releases" } dd { (relative(poll, now)) }
                }
            }
        }
    }
}

fn standing(upgrade: &Upgrade) -> (&'static str, &'static str) {
    let phase = upgrade.proof.as_ref().map(|proof| proof.phase);
    match (phase, upgrade.ready) {
        (Some(ProofPhase::Refuted), _) => ("History differs", "bad"),
        (Some(ProofPhase::Overdue), _) => ("Not proved in time", "bad"),
        _ if upgrade.suspended => ("Suspended", "idle"),
        (_, Some(false)) => ("Failed", "bad"),
        (_, None) => ("Not looked yet", "busy"),
        (Some(ProofPhase::Pending), Some(true)) => ("Under way", "busy"),
        (Some(ProofPhase::Recorded | ProofPhase::Proved) | None, Some(true)) => {
            if upgrade.pull_request.is_some() {
                ("Waits for you", "busy")
            } else {
                ("Up to date", "good")
            }
        }
    }
}

const fn word(phase: ProofPhase) -> &'static str {
    match phase {
        ProofPhase::Recorded => "prepared",
        ProofPhase::Pending => "under way",
        ProofPhase::Proved => "nothing is lost",
        ProofPhase::Overdue => "not proved in time",
        ProofPhase::Refuted => "another history",
    }
}

/// A link to a page of a forge. The forge wrote the address: what is no web address is only text.
fn link(url: &str, text: &str) -> Markup {
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    html! {
        @if is_web { a href=(url) rel="noreferrer" { (text) } } @else { (text) " (" (url) ")" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str, proof: Option<ProofPhase>) -> String {
        let upgrade = Upgrade {
            suspended: false,
            ready: Some(true),
            message: "proposed".to_owned(),
            current: Some("1.10.0".to_owned()),
            candidate: Some("1.11.1".to_owned()),
            pull_request: Some(PullRequest {
                title: "immudb 1.11.1".to_owned(),
                url: url.to_owned(),
            }),
            proof: proof.map(|phase| Proof {
                phase,
                message: "7 transactions".to_owned(),
            }),
            next_poll: Some("2026-11-24T12:30:00Z".to_owned()),
        };
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        super::upgrade("immudb", &upgrade, now).into_string()
    }

    #[test]
    fn an_open_pull_request_is_linked_if_it_is_on_the_web() {
        let good = shown("https://forge.example/pulls/1", None);
        let link = "<a href=\"https://forge.example/pulls/1\" rel=\"noreferrer\">immudb 1.11.1</a>";
        assert!(good.contains(link), "{good}");
        assert!(good.contains("Waits for you"), "{good}");
        assert!(good.contains("in 30 min"), "{good}");
        let bad = shown("javascript:alert(1)", None);
        assert!(!bad.contains("<a "), "{bad}");
    }

    #[test]
    fn a_failed_proof_is_what_one_sees_first() {
        for (phase, badge, text) in [
            (ProofPhase::Recorded, "Waits for you", "prepared: 7"),
            (ProofPhase::Pending, "Under way", "under way: 7"),
            (ProofPhase::Proved, "Waits for you", "nothing is lost: 7"),
            (
                ProofPhase::Overdue,
                "Not proved in time",
                "not proved in time: 7",
            ),
            (ProofPhase::Refuted, "History differs", "another history: 7"),
        ] {
            let page = shown("https://forge.example/pulls/1", Some(phase));
            let badge = format!("{badge}</span>");
            assert!(page.contains(&badge), "`{badge}` is not in {page}");
            assert!(page.contains(text), "`{text}` is not in {page}");
        }
    }
}
