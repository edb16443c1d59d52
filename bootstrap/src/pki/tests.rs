use super::*;

fn topology(nodes: u8) -> Topology {
    Topology::example(nodes)
}

#[test]
fn everything_is_issued_once_and_renewed_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::open(directory.path().to_owned());
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
    let first = pki.ensure(&topology(2), now).unwrap();
    assert_eq!(first.len(), plan::requests(&topology(2)).len());
    assert!(
        first.contains(&"apiserver: missing".to_owned()),
        "{first:?}"
    );

    assert_eq!(pki.ensure(&topology(2), now).unwrap(), Vec::<String>::new());
    let third = pki.ensure(&topology(3), now).unwrap();
    assert_eq!(
        third,
        [
            "nodes/n3/kubelet-client: missing",
            "nodes/n3/kubelet-server: missing"
        ]
    );

    let later = now + time::Duration::days(300);
    let renewed = pki.ensure(&topology(3), later).unwrap();
    assert_eq!(renewed.len(), plan::requests(&topology(3)).len());
}

#[test]
fn a_new_authority_issues_everything_again() {
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::open(directory.path().to_owned());
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
    pki.ensure(&topology(1), now).unwrap();
    fs::remove_file(directory.path().join("front-proxy-ca.crt")).unwrap();
    let issued = pki.ensure(&topology(1), now).unwrap();
    assert_eq!(issued, ["front-proxy-client: signed by another authority"]);
}

#[test]
fn keys_are_for_root_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::open(directory.path().to_owned());
    pki.ensure(
        &topology(1),
        OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap(),
    )
    .unwrap();
    for name in ["ca.key", "sa.key", "etcd/ca.key", "super-admin.key"] {
        let mode = fs::metadata(directory.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn the_edge_renews_when_a_third_of_its_life_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::open(directory.path().to_owned());
    let edge = Edge {
        domain: "immuops.localhost".parse().unwrap(),
        https: 8443,
        http: 8080,
    };
    let start = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
    let cases = [
        (0, vec!["edge: missing"]),
        (59, vec![]),
        (61, vec!["edge: expires soon"]),
        (62, vec![]),
    ];
    let authority = || pki.authority_certificate(Issuer::Edge).unwrap();
    let mut first = None;
    for (days, expected) in cases {
        let issued = pki.ensure_edge(&edge, start + time::Duration::days(days));
        assert_eq!(issued.unwrap(), expected, "day {days}");
        // People trust the authority once: it outlives the certificates.
        assert_eq!(
            *first.get_or_insert_with(authority),
            authority(),
            "day {days}"
        );
    }
}

#[test]
fn the_edge_authority_is_trusted_below_its_domain_only() {
    use x509_parser::extensions::{GeneralName, ParsedExtension};
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::open(directory.path().to_owned());
    let edge = Edge {
        domain: "db.example.org".parse().unwrap(),
        https: 443,
        http: 80,
    };
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
    pki.ensure_edge(&edge, now).unwrap();
    let text = pki.authority_certificate(Issuer::Edge).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let constraints = certificate.extensions().iter().find_map(|extension| {
        if let ParsedExtension::NameConstraints(constraints) = extension.parsed_extension() {
            return Some((extension.critical, constraints));
        }
        None
    });
    let (critical, constraints) = constraints.unwrap();
    assert!(critical);
    let permitted = constraints.permitted_subtrees.as_ref().unwrap();
    assert_eq!(permitted.len(), 1);
    assert_eq!(permitted[0].base, GeneralName::DNSName("db.example.org"));
}
