//! Decides whether a certificate must be issued again: a pure function of the time, what is there
//! and what is wanted.

use std::collections::BTreeSet;
use std::net::IpAddr;

use time::{Duration, OffsetDateTime};

use super::plan::Request;

/// How long certificates are valid and when they are renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Validity of an authority.
    pub authority: Duration,
    /// Validity of everything it signs.
    pub leaf: Duration,
    /// A certificate with less than this left is issued again.
    pub renew_before: Duration,
    /// How far a certificate's start lies in the past, for clocks that are behind.
    pub backdate: Duration,
}

impl Policy {
    /// For the edge: short, because nothing has to restart for a new one. Renewed when a third of
    /// its life is left.
    pub const EDGE: Self = Self {
        authority: Duration::days(3650),
        leaf: Duration::days(90),
        renew_before: Duration::days(30),
        backdate: Duration::minutes(5),
    };
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            authority: Duration::days(3650),
            leaf: Duration::days(365),
            renew_before: Duration::days(120),
            backdate: Duration::minutes(5),
        }
    }
}

/// What a certificate on disk says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// When it expires.
    pub not_after: OffsetDateTime,
    /// Whether the present authority signed it.
    pub by_this_authority: bool,
    /// The DNS names in it.
    pub names: BTreeSet<String>,
    /// The addresses in it.
    pub addresses: BTreeSet<IpAddr>,
}

/// What to do about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is good.
    Keep,
    /// It must be issued, for this reason.
    Issue(&'static str),
}

/// Decides about one certificate; `held` is `None` when there is none.
pub fn decide(
    now: OffsetDateTime,
    held: Option<&Held>,
    wanted: &Request,
    policy: Policy,
) -> Decision {
    let Some(held) = held else {
        return Decision::Issue("missing");
    };
    let Held {
        not_after,
        by_this_authority,
        names,
        addresses,
    } = held;
    if !by_this_authority {
        Decision::Issue("signed by another authority")
    } else if *names != wanted.names || *addresses != wanted.addresses {
        Decision::Issue("valid for other names")
    } else if *not_after <= now {
        Decision::Issue("expired")
    } else if *not_after - now < policy.renew_before {
        Decision::Issue("expires soon")
    } else {
        Decision::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::plan::{Issuer, Usage};

    #[test]
    fn decisions() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let wanted = Request {
            name: "apiserver".into(),
            issuer: Issuer::Cluster,
            common_name: "kube-apiserver".into(),
            organization: None,
            usage: Usage::Server,
            names: ["n1".to_owned()].into(),
            addresses: ["10.213.0.11".parse().unwrap()].into(),
        };
        let good = Held {
            not_after: now + Duration::days(200),
            by_this_authority: true,
            names: wanted.names.clone(),
            addresses: wanted.addresses.clone(),
        };
        let ends = |days| {
            Some(Held {
                not_after: now + Duration::days(days),
                ..good.clone()
            })
        };
        let cases = [
            (None, Decision::Issue("missing")),
            (ends(200), Decision::Keep),
            (ends(120), Decision::Keep),
            (ends(119), Decision::Issue("expires soon")),
            (ends(0), Decision::Issue("expired")),
            (
                Some(Held {
                    by_this_authority: false,
                    ..good.clone()
                }),
                Decision::Issue("signed by another authority"),
            ),
            (
                Some(Held {
                    addresses: BTreeSet::new(),
                    ..good.clone()
                }),
                Decision::Issue("valid for other names"),
            ),
        ];
        for (held, expected) in cases {
            let decision = decide(now, held.as_ref(), &wanted, Policy::default());
            assert_eq!(decision, expected, "{held:?}");
        }
    }
}
