//! What `bootstrap up` prints at the end: where everything is, and a first command to try for each.

use crate::cluster::Cluster;
use crate::edge::{Edge, Host};
use crate::install::{ForgeWay, Repository};

/// The file that the commands below read the edge's authority from.
const AUTHORITY: &str = "immuops-ca.crt";

/// Everything a person needs next.
pub(super) fn text(cluster: &Cluster, repository: &Repository, edge: &Edge) -> String {
    let access = format!(
        "export KUBECONFIG={} PATH=$PATH:{}",
        cluster.kubeconfig.display(),
        cluster.bundle.join("bin").display()
    );
    let mut rows = vec![("cluster", access)];
    rows.extend(repository_rows(repository));
    rows.push(("health", "kubectl -n immuops-system get syncs".to_owned()));
    let mut text = String::from("Everything is healthy.\n\n");
    text.push_str(&table(&rows));
    text.push_str(&edge_text(cluster, repository, edge));
    text
}

fn repository_rows(repository: &Repository) -> Vec<(&'static str, String)> {
    match repository {
        Repository::BuiltIn { port, way, .. } => {
            let clone = format!("git clone http://127.0.0.1:{port}/immuops/cluster.git");
            let password = secret("git-system", "gitea", "admin-password");
            let mut rows = vec![
                ("repository", clone),
                ("  user", "immuops".to_owned()),
                ("  password", password),
            ];
            if *way == ForgeWay::Tunnel {
                let tunnel = format!("kubectl -n git-system port-forward service/gitea {port}:80");
                rows.insert(0, ("git server", tunnel));
            }
            rows
        }
        Repository::External { url, branch, .. } => {
            vec![("repository", format!("{url}, branch {branch}"))]
        }
    }
}

/// The edge: how to trust it, and for each name what it is and a command that shows that it works.
fn edge_text(cluster: &Cluster, repository: &Repository, edge: &Edge) -> String {
    let Edge { domain, https, .. } = edge;
    let name = cluster.name.as_str();
    // Quoted: `?` means something to a shell.
    let curl = |host, path: &str| format!("curl --cacert {AUTHORITY} '{}{path}'", edge.url(host));
    let sql = |host| {
        format!(
            "psql \"host={} port={https} user=immudb dbname=defaultdb sslmode=verify-full sslrootcert={AUTHORITY}\"",
            edge.name(host)
        )
    };
    let mut rows = vec![
        ("trust", format!("bootstrap ca --name {name} > {AUTHORITY}")),
        ("status", curl(Host::Status, "/api/v1/status")),
        ("metrics", curl(Host::Prometheus, "/api/v1/query?query=up")),
        ("REST", curl(Host::Console, "/api/v2/health")),
        ("SQL", sql(Host::Sql)),
        ("  read", sql(Host::SqlRead)),
        ("  password", secret("immudb", "immudb-admin", "password")),
    ];
    if matches!(repository, Repository::BuiltIn { .. }) {
        let clone = format!(
            "GIT_SSL_CAINFO={AUTHORITY} git clone {}/immuops/cluster.git",
            edge.url(Host::Git)
        );
        rows.insert(1, ("git", clone));
    }
    format!(
        "\nOver TLS, from this host. Clients need the authority of the edge; it is good for {domain} only:\n\n\
         {}\n\
         gRPC with TLS: {}:{https} writes, {}:{https} reads (docs/edge.md has a client).\n\
         Grafana is left out: no bundle can have its image (monitoring/grafana/README.md in the repository).\n",
        table(&rows),
        edge.name(Host::Write),
        edge.name(Host::Read),
    )
}

fn secret(namespace: &str, name: &str, key: &str) -> String {
    format!(
        "kubectl -n {namespace} get secret {name} -o go-template='{{{{index .data \"{key}\" | base64decode}}}}'"
    )
}

fn table(rows: &[(&str, String)]) -> String {
    let row = |(name, value): &(&str, String)| format!("  {name:<12} {value}\n");
    rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_see() {
        let edge = Edge {
            domain: "immuops.localhost".parse().unwrap(),
            https: 8443,
            http: 8080,
        };
        let repository = Repository::BuiltIn {
            templates: "cluster-repo".into(),
            port: 30300,
            way: ForgeWay::Provider,
        };
        insta::assert_snapshot!(text(&Cluster::example(), &repository, &edge));
    }
}
