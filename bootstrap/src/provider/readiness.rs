//! Whether the nodes of a cluster are Ready, asked of the API server.

use std::time::Duration;

use super::Start;
use crate::cluster::Kubectl;
use crate::poll::{self, Answer};
use crate::topology::Node;

/// Waits until every node is Ready by its own present word: what it said before its machine was
/// started anew does not count.
pub(super) fn wait_for_nodes(
    nodes: &[(&Node, Start)],
    kubectl: &Kubectl,
    limit: Duration,
) -> anyhow::Result<()> {
    let deadline = Duration::from_secs(15);
    let get = |what: &[&str]| kubectl.run(&[&["get"], what].concat(), b"", deadline);
    poll::sparingly("the nodes to be Ready", limit, || {
        let conditions = "--output=jsonpath={range .items[*]}{.metadata.name} \
                          {.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";
        let leases = "--output=jsonpath={range .items[*]}{.metadata.name} \
                      {.spec.renewTime}{\"\\n\"}{end}";
        let asked = get(&["nodes", conditions]).and_then(|conditions| {
            let leases = get(&["leases", "--namespace=kube-node-lease", leases])?;
            Ok((conditions.stdout, leases.stdout))
        });
        let (conditions, leases) = match asked {
            Ok(answers) => answers,
            Err(problem) => return Ok(Answer::NotYet(problem.to_string())),
        };
        let missing: Vec<_> = nodes
            .iter()
            .filter(|(node, start)| !is_ready(node, *start, &conditions, &leases))
            .map(|(node, _)| node.name.as_str())
            .collect();
        Ok(if missing.is_empty() {
            Answer::Done(())
        } else {
            let missing = missing.join(", ");
            Answer::NotYet(format!(
                "{missing} not Ready; see `bootstrap logs NODE kubelet`"
            ))
        })
    })
}

/// Whether a node is Ready, by lines of `<name> <status>` and `<name> <time of last renewal>`.
fn is_ready(node: &Node, start: Start, conditions: &str, leases: &str) -> bool {
    let of = |lines: &str| {
        let own = lines.lines().filter_map(|line| line.split_once(' '));
        own.filter(|(name, _)| *name == node.name.as_str())
            .map(|(_, v)| v.to_owned())
            .next()
    };
    let renewed = of(leases).and_then(|time| time.parse::<jiff::Timestamp>().ok());
    let fresh = match start {
        Start::RanBefore => true,
        Start::At(started) => renewed.is_some_and(|renewed| renewed >= started),
    };
    fresh && of(conditions).as_deref() == Some("True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;

    #[test]
    fn only_the_present_word_of_a_node_counts() {
        let topology = Topology::example(1);
        let at = |text: &str| Start::At(text.parse().unwrap());
        let lease = "n1 2026-11-24T12:00:05.000000Z\n";
        let cases = [
            ("ran before", Start::RanBefore, "n1 True\n", lease, true),
            ("not ready", Start::RanBefore, "n1 False\n", lease, false),
            ("another node", Start::RanBefore, "n11 True\n", lease, false),
            (
                "spoke since",
                at("2026-11-24T12:00:00Z"),
                "n1 True\n",
                lease,
                true,
            ),
            (
                "spoke before",
                at("2026-11-24T12:00:10Z"),
                "n1 True\n",
                lease,
                false,
            ),
            (
                "never spoke",
                at("2026-11-24T12:00:10Z"),
                "n1 True\n",
                "",
                false,
            ),
        ];
        for (case, start, conditions, leases, expected) in cases {
            let ready = is_ready(&topology.nodes[0], start, conditions, leases);
            assert_eq!(ready, expected, "{case}");
        }
    }
}
