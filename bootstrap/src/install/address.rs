//! Whether the address of an outside repository can mean the same to the pods of the cluster as it
//! does to this host.

use std::net::{IpAddr, ToSocketAddrs as _};

use ureq::http::Uri;

use crate::problem::{OrProblem as _, Problem};

/// Refuses what the agent could never fetch: another protocol than http and https, and this host's
/// loopback, which in a pod is the pod itself. A name that does not resolve passes: git tells more
/// about it.
///
/// # Errors
/// What is wrong with `url`, and what to give instead.
pub(super) fn check(url: &str) -> Result<(), Problem> {
    let hint = "give --repo an address such as https://git.example.com/team/cluster.git";
    let other = || Problem::new(format!("--repo {url} is no http or https URL")).hint(hint);
    let uri: Uri = url.parse().or_problem(other)?;
    let (Some("http" | "https"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(other());
    };
    if is_loopback(host) {
        return Err(Problem::new(format!(
            "--repo {url} is an address of this host's loopback, which the cluster cannot reach"
        ))
        .hint("let the server listen on another address of this host and name that one"));
    }
    Ok(())
}

/// By its addresses, whatever the name: `localhost` has company in many `/etc/hosts`.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.is_loopback() || address.is_unspecified();
    }
    match (bare, 0).to_socket_addrs() {
        Ok(mut addresses) => addresses.all(|address| address.ip().is_loopback()),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_mean_something_else_in_a_pod_are_refused() {
        for (url, words) in [
            ("http://127.0.0.1:3000/a/b.git", "loopback"),
            ("https://[::1]/a/b.git", "loopback"),
            ("http://localhost/a/b.git", "loopback"),
            ("http://0.0.0.0/a/b.git", "loopback"),
            ("ssh://git@example.com/a/b.git", "no http or https URL"),
            ("file:///srv/a.git", "no http or https URL"),
            ("/srv/a.git", "no http or https URL"),
            ("http://", "no http or https URL"),
        ] {
            let message = check(url).expect_err(url).to_string();
            assert!(message.contains(words), "{url}: {message}");
            assert!(message.contains(url), "{message}");
        }
    }

    #[test]
    fn other_addresses_pass() {
        for url in [
            "http://192.0.2.1:3000/a/b.git",
            "https://git.invalid/a/b.git",
            "https://[2001:db8::1]/a/b.git",
        ] {
            assert!(check(url).is_ok(), "{url}");
        }
    }
}
