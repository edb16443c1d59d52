//! What there is of the edge without a cluster.

use crate::program::bootstrap;

#[test]
fn without_a_cluster_there_is_no_authority() {
    let home = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(bootstrap(home.path(), &["ca"]));
}

#[test]
fn a_domain_that_no_certificate_can_have_is_wrong_usage() {
    let home = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(bootstrap(home.path(), &["up", "--domain", "localhost"]));
}
