//! Whether this host's ports and the edge's names can be what `up` was asked for: told before
//! anything is made.

use crate::network::forward;
use crate::problem::{Problem, Problems};
use crate::state::Published;

/// Compares what is wanted with what the cluster has (`before`) and with what answers on this host.
///
/// # Errors
/// Everything that is wrong, each with the flag to change.
pub(super) fn check(before: Option<&Published>, wanted: &Published) -> Result<(), Problems> {
    let mut problems = conflicts(before, wanted);
    let has = before.map(by_flag).unwrap_or_default();
    for (port, flag) in by_flag(wanted) {
        if !has.iter().any(|(ours, _)| *ours == port) {
            problems.extend(forward::check_free(port, flag).err());
        }
    }
    Problems::check(problems, |count| match count {
        1 => "a port or name cannot be used".to_owned(),
        _ => format!("{count} of the ports and names cannot be used"),
    })
}

/// What is wrong whatever runs on this host.
fn conflicts(before: Option<&Published>, wanted: &Published) -> Vec<Problem> {
    let mut problems = Vec::new();
    let ports = by_flag(wanted);
    for (index, (port, flag)) in ports.iter().enumerate() {
        let mut others = ports.iter().skip(index + 1);
        if let Some((_, other)) = others.find(|(other, _)| other == port) {
            let text = format!("port {port} is asked for twice: {flag} and {other}");
            problems.push(Problem::new(text).hint("choose another for one of them"));
        }
    }
    if let Some(before) = before {
        let (has, wants) = (&before.edge, &wanted.edge);
        // The repository and the certificate have them by now.
        if has.domain != wants.domain || has.https != wants.https {
            let text = format!(
                "the edge of this cluster is https://*.{}:{}",
                has.domain, has.https
            );
            problems.push(Problem::refused(text).hint(
                "leave --domain and --https-port as they were, or run `bootstrap down` first",
            ));
        }
    }
    problems
}

/// Each port with the flag that chooses it.
fn by_flag(published: &Published) -> Vec<(u16, &'static str)> {
    let Published { git, edge } = published;
    let git = git.map(|port| (port, "--git-port"));
    let edge = [(edge.https, "--https-port"), (edge.http, "--http-port")];
    git.into_iter().chain(edge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Edge;

    fn published(domain: &str, git: Option<u16>, https: u16, http: u16) -> Published {
        Published {
            git,
            edge: Edge {
                domain: domain.parse().unwrap(),
                https,
                http,
            },
        }
    }

    #[test]
    fn what_cannot_be() {
        let usual = || published("immuops.localhost", Some(30300), 8443, 8080);
        let other = |domain, https| published(domain, Some(30300), https, 8080);
        let edge = "the edge of this cluster is https://*.immuops.localhost:8443";
        let cases = [
            ("new", None, usual(), vec![]),
            ("again", Some(usual()), usual(), vec![]),
            (
                "other ports that nothing names",
                Some(usual()),
                published("immuops.localhost", None, 8443, 8081),
                vec![],
            ),
            (
                "another domain",
                Some(usual()),
                other("db.example.org", 8443),
                vec![edge],
            ),
            (
                "another port",
                Some(usual()),
                other("immuops.localhost", 9443),
                vec![edge],
            ),
            (
                "twice",
                None,
                published("immuops.localhost", Some(8443), 8443, 8080),
                vec!["port 8443 is asked for twice: --git-port and --https-port"],
            ),
        ];
        for (name, before, wanted, expected) in cases {
            let found: Vec<_> = conflicts(before.as_ref(), &wanted)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_port_of_this_cluster_is_not_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let free = |unused: u16| published("immuops.localhost", None, unused, port);
        // Nothing listens on port 1.
        assert!(check(None, &free(1)).is_err());
        check(Some(&free(1)), &free(1)).unwrap();
    }
}
