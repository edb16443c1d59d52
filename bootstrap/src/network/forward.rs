//! Ports of the host's loopback that lead to ports of a machine.
//!
//! Rules of the host's packet filter in a table of the cluster's own: nothing has to run, and the
//! ports work as long as the machine does. Only programs on this host reach it, because the address
//! is a loopback address; packets to loopback addresses that come over the cluster's link are
//! dropped, which the kernel would otherwise deliver once `route_localnet` is on for the link.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use fs_err as fs;

use crate::problem::Problem;
use crate::topology::Topology;

/// A local port answers at once or is closed.
const PROBE_DEADLINE: Duration = Duration::from_millis(500);

/// A forwarded port on paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The port of 127.0.0.1.
    pub port: u16,
    /// Where it leads.
    pub to: SocketAddrV4,
}

/// Prepares the cluster's link for forwarded ports and gives the chains that forward them.
///
/// # Errors
/// When the kernel refuses, naming the file.
pub(super) fn prepare(forwards: &[Forward], topology: &Topology) -> anyhow::Result<String> {
    let lan = topology.lan();
    fs::write(format!("/proc/sys/net/ipv4/conf/{lan}/route_localnet"), "1")?;
    Ok(chains(forwards, &lan))
}

/// The chains of the cluster's table.
fn chains(forwards: &[Forward], lan: &str) -> String {
    let rule = |Forward { port, to }: &Forward| {
        let (address, target) = (to.ip(), to.port());
        format!("\t\tip daddr 127.0.0.1 tcp dport {port} dnat to {address}:{target}\n")
    };
    let rules: String = forwards.iter().map(rule).collect();
    format!(
        "\tchain output {{\n\
         \t\ttype nat hook output priority -100; policy accept;\n\
         {rules}\
         \t}}\n\
         \tchain leaving {{\n\
         \t\ttype nat hook postrouting priority srcnat; policy accept;\n\
         \t\toifname \"{lan}\" ip saddr 127.0.0.0/8 masquerade\n\
         \t}}\n\
         \tchain arriving {{\n\
         \t\ttype filter hook prerouting priority raw; policy accept;\n\
         \t\tiifname \"{lan}\" ip daddr 127.0.0.0/8 drop\n\
         \t}}\n"
    )
}

/// Whether something answers on a loopback port already.
///
/// # Errors
/// Says so, with the flag that chooses another one.
pub fn check_free(port: u16, flag: &str) -> Result<(), Problem> {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    match TcpStream::connect_timeout(&address.into(), PROBE_DEADLINE) {
        Ok(_) => Err(Problem::new(format!("port {port} of 127.0.0.1 is in use"))
            .hint(format!("choose another: {flag}"))),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn rules_lead_to_the_machine_and_guard_the_loopback() {
        let to = |port| SocketAddrV4::new(Ipv4Addr::new(10, 213, 0, 11), port);
        let forwards = [(30301, to(30300)), (8443, to(30443))];
        let rules = chains(&forwards.map(|(port, to)| Forward { port, to }), "demo-lan");
        for rule in [
            "tcp dport 30301 dnat to 10.213.0.11:30300",
            "tcp dport 8443 dnat to 10.213.0.11:30443",
        ] {
            assert!(rules.contains(rule), "{rules}");
        }
        assert!(
            rules.contains("iifname \"demo-lan\" ip daddr 127.0.0.0/8 drop"),
            "{rules}"
        );
    }

    #[test]
    fn a_used_port_is_told_with_the_flag() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let problem = check_free(port, "--git-port").unwrap_err();
        assert_eq!(
            problem.to_string(),
            format!("port {port} of 127.0.0.1 is in use")
        );
        assert_eq!(problem.hint_text(), Some("choose another: --git-port"));
        // Not the port that was just given back: a child another test forks in this moment still
        // holds the listener, until it starts its program.
        assert!((20_000..20_100).any(|port| check_free(port, "--git-port").is_ok()));
    }
}
