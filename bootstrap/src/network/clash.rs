//! Finds addresses of the host that a cluster would take away from it.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::Deserialize;

use crate::command::run;
use crate::problem::{OrProblem, Problem};
use crate::topology::{Ranges, overlap};

/// One range of the cluster that the host uses already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// Which range of the cluster.
    pub what: &'static str,
    /// That range.
    pub range: Ipv4Net,
    /// What the host has.
    pub host: Ipv4Net,
    /// Through which link.
    pub link: String,
}

#[derive(Debug, Deserialize)]
struct Route {
    dst: String,
    #[serde(default)]
    dev: String,
}

/// Compares the ranges with every route of the host, which includes its own addresses.
///
/// # Errors
/// When the routes cannot be read.
pub fn with_this_host(ranges: &Ranges, own_link: &str) -> anyhow::Result<Vec<Clash>> {
    let mut command = Command::new("ip");
    command.args(["-4", "-json", "route", "show", "table", "all"]);
    let routes = run(&mut command, b"", Duration::from_secs(10))?;
    Ok(with_routes(ranges, own_link, &routes.stdout)?)
}

/// Compares the ranges with `routes`, the output of `ip -4 -json route show table all`. Routes
/// through `own_link` are the cluster's own.
fn with_routes(ranges: &Ranges, own_link: &str, routes: &str) -> Result<Vec<Clash>, Problem> {
    let routes: Vec<Route> = serde_json::from_str(routes)
        .or_problem(|| Problem::new("failed to read the host's routes"))?;
    let mut clashes: Vec<Clash> = Vec::new();
    for route in routes.iter().filter(|route| route.dev != own_link) {
        // A default route leads everywhere and clashes with nothing.
        let Some(host) = destination(&route.dst).filter(|net| net.prefix_len() > 0) else {
            continue;
        };
        for (what, range) in ranges.named() {
            if overlap(range, host) {
                let clash = Clash {
                    what,
                    range,
                    host,
                    link: route.dev.clone(),
                };
                // One line per range and link is enough for a person.
                if !clashes
                    .iter()
                    .any(|one| one.what == what && one.link == clash.link)
                {
                    clashes.push(clash);
                }
            }
        }
    }
    Ok(clashes)
}

fn destination(text: &str) -> Option<Ipv4Net> {
    text.parse()
        .ok()
        .or_else(|| Some(Ipv4Net::from(text.parse::<Ipv4Addr>().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = r#"[
        {"dst":"default","gateway":"192.0.2.1","dev":"eth0"},
        {"dst":"10.213.0.0/24","dev":"immuops-lan"},
        {"dst":"172.17.0.0/16","dev":"docker0"},
        {"type":"local","dst":"192.0.2.2","dev":"eth0","table":"local"},
        {"type":"blackhole","dst":"10.9.0.0/16"}
    ]"#;

    #[test]
    fn only_foreign_routes_clash() {
        let cases = [
            ("free", "10.213.0.0/24", "10.214.0.0/16", vec![]),
            (
                "docker",
                "172.17.3.0/24",
                "10.214.0.0/16",
                vec![("nodes", "docker0")],
            ),
            (
                "larger",
                "10.213.0.0/24",
                "172.0.0.0/8",
                vec![("pods", "docker0")],
            ),
            (
                "an address",
                "192.0.2.0/24",
                "10.214.0.0/16",
                vec![("nodes", "eth0")],
            ),
            (
                "a route without link",
                "10.213.0.0/24",
                "10.9.0.0/16",
                vec![("pods", "")],
            ),
        ];
        for (case, nodes, pods, expected) in cases {
            let ranges = Ranges {
                nodes: nodes.parse().unwrap(),
                pods: pods.parse().unwrap(),
                services: "10.215.0.0/16".parse().unwrap(),
            };
            let clashes = with_routes(&ranges, "immuops-lan", ROUTES).unwrap();
            let found: Vec<_> = clashes
                .iter()
                .map(|clash| (clash.what, clash.link.as_str()))
                .collect();
            assert_eq!(found, expected, "{case}");
        }
    }
}
