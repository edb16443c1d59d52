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
