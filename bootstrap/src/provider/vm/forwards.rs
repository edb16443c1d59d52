//! Ports of the host's loopback that lead into a machine: QEMU listens on them itself.

use super::files::HOST_LINK_ADDRESS;
use super::qmp;
use super::spec::VmSpec;
use crate::problem::Problem;

/// Makes a port of 127.0.0.1 lead to a port of the machine, unless it does.
///
/// # Errors
/// When something else listens there.
pub(super) fn add(spec: &VmSpec, port: u16, to: u16) -> anyhow::Result<()> {
    if listed(&qmp::monitor(spec, "info usernet")?).contains(&(port, to)) {
        return Ok(());
    }
    let line = format!("hostfwd_add host tcp:127.0.0.1:{port}-{HOST_LINK_ADDRESS}:{to}");
    let said = qmp::monitor(spec, &line)?;
    if said.trim().is_empty() {
        return Ok(());
    }
    let message = format!("port {port} of 127.0.0.1 cannot lead into {}", spec.name);
    Err(Problem::new(message)
        .because(anyhow::anyhow!(said.trim().to_owned()))
        .hint("something else listens there: end it, or choose another port")
        .into())
}

/// Makes the forwarded ports of a machine exactly these.
///
/// # Errors
/// As [`add`].
pub(super) fn make(spec: &VmSpec, wanted: &[(u16, u16)]) -> anyhow::Result<()> {
    for (port, to) in listed(&qmp::monitor(spec, "info usernet")?) {
        if !wanted.contains(&(port, to)) {
            qmp::monitor(spec, &format!("hostfwd_remove host tcp:127.0.0.1:{port}"))?;
        }
    }
    wanted
        .iter()
        .try_for_each(|&(port, to)| add(spec, port, to))
}

/// Host port and guest port of each line of `info usernet` that is a forwarding, as in
/// `  TCP[HOST_FORWARD]  12       127.0.0.1 16444       10.0.2.15  6443     0     0`.
fn listed(text: &str) -> Vec<(u16, u16)> {
    let forward = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "TCP[HOST_FORWARD]").then_some(())?;
        let port = words.nth(2)?.parse().ok()?;
        Some((port, words.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(forward).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_qemu_lists() {
        let text = "Hub -1 (host):\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n  \
                    TCP[HOST_FORWARD]  24       127.0.0.1 45123       10.0.2.15  6443     0     0\n  \
                    TCP[ESTABLISHED]   31       127.0.0.1 45123       10.0.2.15  6443     0     0\n";
        assert_eq!(listed(text), [(45123, 6443)]);
    }
}
