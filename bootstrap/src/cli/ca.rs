//! `bootstrap ca`: the authority that clients of the edge have to trust.

use super::output;
use super::target::Target;
use crate::pki::Pki;
use crate::pki::plan::Issuer;
use crate::problem::{OrProblem as _, Problem};

/// Prints the certificate of the edge's authority in PEM
///
/// It is limited to names below the cluster's domain, so that trusting it opens nothing else. Its
/// key never leaves the state directory of this host.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
}

/// Runs `bootstrap ca`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let state = args.target.state()?;
    let file = state.require()?;
    let certificate = Pki::open(state.pki()).authority_certificate(Issuer::Edge);
    let certificate = certificate.or_problem(|| {
        let cluster = &file.topology.cluster;
        Problem::new(format!("cluster {cluster} has no edge yet"))
            .hint("run `bootstrap up`, which makes it")
    })?;
    output::text(&certificate)
}
