//! Which machines a cluster has and which addresses they use, as one value.
//!
//! Pure: the same name, count and ranges give the same topology on every run, so it is written to
//! the state directory once and everything else (links, certificates, kubeadm files, routes) is
//! derived from it.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// The most nodes a cluster can have: each gets one /24 of the pods' range and one name `nN`.
pub const MAX_NODES: u8 = 32;

/// A cluster's name: it prefixes the link, cgroups and units that the cluster has on the host.
///
/// At most 10 characters, because `<name>-lan` must fit into the 15 bytes that the kernel gives a
/// link's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(String);

/// A node's name: `n1` is the control plane, `n2` and so on are workers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

/// Why a name or a set of ranges is not usable.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TopologyError {
    /// A cluster name that cannot prefix a link.
    #[error(
        "cluster name {0:?} is not usable: 1 to 10 characters of a-z, 0-9 and -, starting with a \
         letter and not ending with -"
    )]
    ClusterName(String),
    /// A node name of another form.
    #[error("node name {0:?} is not usable: nodes are called n1, n2 and so on")]
    NodeName(String),
    /// Too few or too many nodes.
    #[error("{0} nodes are not possible: 1 to {MAX_NODES} are")]
    NodeCount(u8),
    /// A range that is too small for what it must hold.
    #[error("range {range} of the {what} is too small: /{largest} or larger is needed")]
    TooSmall {
        /// Which range.
        what: &'static str,
        /// The range as given.
        range: Ipv4Net,
        /// The longest prefix that would do.
        largest: u8,
    },
    /// Two of the ranges share addresses.
    #[error("the range {first_range} of the {first} and {second_range} of the {second} overlap")]
    Overlap {
        /// Which range.
        first: &'static str,
        /// Its addresses.
        first_range: Ipv4Net,
        /// The other range.
        second: &'static str,
        /// Its addresses.
        second_range: Ipv4Net,
    },
}

impl ClusterName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterName {
    type Err = TopologyError;

    fn from_str(text: &str) -> Result<Self, TopologyError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let usable = (1..=10).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.chars().all(allowed);
        if usable {
            Ok(Self(text.into()))
        } else {
            Err(TopologyError::ClusterName(text.into()))
        }
    }
}

impl NodeName {
    /// The name of the node with this number, counted from 1.
    fn numbered(number: u8) -> Self {
        Self(format!("n{number}"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = TopologyError;

    fn from_str(text: &str) -> Result<Self, TopologyError> {
        let number = text
            .strip_prefix('n')
            .and_then(|digits| digits.parse::<u8>().ok());
        match number {
            Some(1..=MAX_NODES) => Ok(Self(text.into())),
            _ => Err(TopologyError::NodeName(text.into())),
        }
    }
}

macro_rules! string_conversions {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = TopologyError;

            fn try_from(text: String) -> Result<Self, TopologyError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
string_conversions!(ClusterName);
string_conversions!(NodeName);

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs etcd and the control plane, and pods as well.
    ControlPlane,
    /// Runs pods.
    Worker,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name in Kubernetes.
    pub name: NodeName,
    /// What it is for.
    pub role: Role,
    /// Its address in the nodes' range.
    pub address: Ipv4Addr,
    /// The addresses of its pods.
    pub pods: Ipv4Net,
}

/// The address ranges of a cluster. None may be in use on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranges {
    /// Addresses of the host and the nodes; /26 or larger.
    pub nodes: Ipv4Net,
    /// Addresses of pods; /18 or larger, each node uses one /24 of it.
    pub pods: Ipv4Net,
    /// Addresses of Services; /24 or larger.
    pub services: Ipv4Net,
}

impl Ranges {
    /// The ranges with their names.
    pub fn named(&self) -> [(&'static str, Ipv4Net); 3] {
        let Self {
            nodes,
            pods,
            services,
        } = *self;
        [("nodes", nodes), ("pods", pods), ("Services", services)]
    }
}

/// A whole cluster on paper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Its name.
    pub cluster: ClusterName,
    /// Its address ranges.
    pub ranges: Ranges,
    /// Its nodes, the control plane first.
    pub nodes: Vec<Node>,
}

impl Topology {
    /// Lays out `count` nodes.
    ///
    /// ```
    /// use bootstrap::topology::{Ranges, Topology};
    ///
    /// let ranges = Ranges {
    ///     nodes: "10.213.0.0/24".parse()?,
    ///     pods: "10.214.0.0/16".parse()?,
    ///     services: "10.215.0.0/16".parse()?,
    /// };
    /// let topology = Topology::plan("immuops".parse()?, 2, ranges)?;
    /// assert_eq!(topology.nodes[1].address.to_string(), "10.213.0.12");
    /// assert_eq!(topology.nodes[1].pods.to_string(), "10.214.2.0/24");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the count is out of bounds, a range is too small, or two ranges overlap.
    pub fn plan(cluster: ClusterName, count: u8, ranges: Ranges) -> Result<Self, TopologyError> {
        if !(1..=MAX_NODES).contains(&count) {
            return Err(TopologyError::NodeCount(count));
        }
        let Ranges {
            nodes,
            pods,
            services,
        } = ranges;
        for (what, range, largest) in [
            ("nodes", nodes, 26),
            ("pods", pods, 18),
            ("Services", services, 24),
        ] {
            if range.prefix_len() > largest {
                return Err(TopologyError::TooSmall {
                    what,
                    range,
                    largest,
                });
            }
        }
        let named = ranges.named();
        for (index, (first, first_range)) in named.iter().enumerate() {
            for (second, second_range) in named.iter().skip(index + 1) {
                if overlap(*first_range, *second_range) {
                    return Err(TopologyError::Overlap {
                        first,
                        first_range: *first_range,
                        second,
                        second_range: *second_range,
                    });
                }
            }
        }
        let nodes = (1..=count)
            .map(|number| Self::node(number, ranges))
            .collect();
        Ok(Self {
            cluster,
            ranges,
            nodes,
        })
    }

    fn node(number: u8, ranges: Ranges) -> Node {
        // The host is .1; nodes start at .11, which leaves room for what else the network needs.
        let address = offset(ranges.nodes.network(), 10 + u32::from(number));
        let pods = offset(ranges.pods.network(), u32::from(number) << 8);
        Node {
            name: NodeName::numbered(number),
            role: if number == 1 {
                Role::ControlPlane
            } else {
                Role::Worker
            },
            address,
            pods: Ipv4Net::new_assert(pods, 24),
        }
    }

    /// The host's own address in the nodes' network.
    pub fn host_address(&self) -> Ipv4Addr {
        offset(self.ranges.nodes.network(), 1)
    }

    /// The address of the cluster's DNS Service (kubeadm's convention: the tenth).
    pub fn dns_address(&self) -> Ipv4Addr {
        offset(self.ranges.services.network(), 10)
    }

    /// The address of the Service `kubernetes` (the API server's convention: the first).
    pub fn kubernetes_service_address(&self) -> Ipv4Addr {
        offset(self.ranges.services.network(), 1)
    }

    /// The node that runs the control plane. `plan` puts it first; a state file without any node
    /// has none.
    pub fn control_plane(&self) -> Option<&Node> {
        self.nodes
            .iter()
            .find(|node| node.role == Role::ControlPlane)
    }

    /// The name of the host's link into the nodes' network.
    pub fn lan(&self) -> String {
        format!("{}-lan", self.cluster)
    }
}

/// Whether two ranges share an address.
pub fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

fn offset(base: Ipv4Addr, by: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(base).wrapping_add(by))
}

#[cfg(test)]
impl Topology {
    /// A cluster called immuops with the default ranges, for tests that need any cluster.
    pub(crate) fn example(nodes: u8) -> Self {
        let ranges = Ranges {
            nodes: "10.213.0.0/24".parse().unwrap(),
            pods: "10.214.0.0/16".parse().unwrap(),
            services: "10.215.0.0/16".parse().unwrap(),
        };
        Self::plan("immuops".parse().unwrap(), nodes, ranges).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(nodes: &str, pods: &str, services: &str) -> Ranges {
        Ranges {
            nodes: nodes.parse().unwrap(),
            pods: pods.parse().unwrap(),
            services: services.parse().unwrap(),
        }
    }

    const USUAL: (&str, &str, &str) = ("10.213.0.0/24", "10.214.0.0/16", "10.215.0.0/16");

    #[test]
    fn cluster_names() {
        let cases = [
            ("immuops", true),
            ("a", true),
            ("a-1", true),
            ("abcdefghij", true),
            ("abcdefghijk", false),
            ("", false),
            ("1a", false),
            ("a-", false),
            ("A", false),
            ("a/b", false),
        ];
        for (name, usable) in cases {
            assert_eq!(name.parse::<ClusterName>().is_ok(), usable, "{name:?}");
        }
    }

    #[test]
    fn the_link_fits_into_the_kernels_15_bytes() {
        let (nodes, pods, services) = USUAL;
        let name = "abcdefghij".parse().unwrap();
        let topology = Topology::plan(name, 1, ranges(nodes, pods, services)).unwrap();
        assert!(topology.lan().len() <= 15);
    }

    #[test]
    fn nodes_have_their_own_addresses_inside_the_ranges() {
        let name: ClusterName = "immuops".parse().unwrap();
        let ranges = ranges("10.1.0.64/26", "10.2.192.0/18", "10.3.0.0/24");
        let topology = Topology::plan(name, MAX_NODES, ranges).unwrap();
        for (index, node) in topology.nodes.iter().enumerate() {
            assert!(ranges.nodes.contains(&node.address), "{}", node.address);
            assert!(ranges.pods.contains(&node.pods), "{}", node.pods);
            for other in &topology.nodes[..index] {
                assert_ne!(node.address, other.address);
                assert!(!overlap(node.pods, other.pods));
            }
        }
        assert_eq!(topology.control_plane().unwrap().name.as_str(), "n1");
    }

    #[test]
    fn unusable_plans() {
        let (n, p, s) = USUAL;
        let cases = [
            (
                "no nodes",
                0,
                (n, p, s),
                "0 nodes are not possible: 1 to 32 are",
            ),
            (
                "too many",
                33,
                (n, p, s),
                "33 nodes are not possible: 1 to 32 are",
            ),
            (
                "small pods",
                2,
                (n, "10.214.0.0/24", s),
                "range 10.214.0.0/24 of the pods is too small: /18 or larger is needed",
            ),
            (
                "overlap",
                2,
                (n, "10.213.0.0/16", s),
                "the range 10.213.0.0/24 of the nodes and 10.213.0.0/16 of the pods overlap",
            ),
        ];
        for (case, count, (nodes, pods, services), message) in cases {
            let name = "immuops".parse().unwrap();
            let error = Topology::plan(name, count, ranges(nodes, pods, services)).unwrap_err();
            assert_eq!(error.to_string(), message, "{case}");
        }
    }
}
