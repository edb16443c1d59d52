//! The images of a bundle: which files, how they run, what they are called. Values only.
//!
//! Names and tags are those of upstream, so that manifests written for upstream's images work.

use std::path::Path;

use super::recipe::{self, KUBERNETES, PAUSE_VERSION};
use super::tree::SourceTree;
use crate::image::{Config, Layer, Owner};
use crate::problem::Problem;

/// The user that distroless images call `nonroot`.
const NONROOT: &str = "65532:65532";
/// `git` in Gitea's rootless image.
const GITEA: Owner = Owner::same(1000);
/// `nobody` in Prometheus' image.
const NOBODY: Owner = Owner::same(65534);
/// `immu` in immudb's image.
const IMMUDB: Owner = Owner::same(3322);

/// Images that go into one archive because they share layers or change together.
#[derive(Debug)]
pub(super) struct ImageSet {
    /// The archive is `images/<name>.tar`.
    pub(super) name: &'static str,
    /// The parts whose files are in it.
    pub(super) inputs: &'static [&'static str],
    pub(super) images: Vec<ImageSpec>,
}

#[derive(Debug)]
pub(super) struct ImageSpec {
    /// The short name, as in [`crate::bundle::Bundle::image_reference`].
    pub(super) name: String,
    pub(super) repository: String,
    pub(super) tag: Tag,
    pub(super) layers: Vec<LayerSpec>,
    pub(super) config: Config,
}

#[derive(Debug)]
pub(super) enum Tag {
    Version(String),
    /// `<version>-<first 12 digits of the file's sha256>`: every build has a tag of its own.
    Content {
        version: String,
        file: &'static str,
    },
}

#[derive(Debug, PartialEq)]
pub(super) enum LayerSpec {
    /// Files named as in the bundle: `bin/coredns`.
    Files(Layer),
    /// A file of a part that is a layer already.
    Tar(&'static str),
}

/// Every image, with the versions of the source tree.
pub(super) fn image_sets(tree: &SourceTree) -> Result<Vec<ImageSet>, Problem> {
    let version =
        |directory: &str, module: &str| recipe::plain(&tree.go_module(directory)?, module);
    let kubernetes = version("kubebox", "k8s.io/kubernetes")?;
    let etcd = version("kubebox", "go.etcd.io/etcd/server/v3")?;
    let coredns = version("coredns", "github.com/coredns/coredns")?;
    let immudb = |part: &str| version(part, "github.com/codenotary/immudb");
    let gitea = version("gitea", "code.gitea.io/gitea")?;
    let prometheus = version("prometheus", "github.com/prometheus/prometheus")?;
    let traefik = tree.wheel("traefik")?;

    let mut node = Vec::new();
    for program in [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
    ] {
        node.push(kubebox(
            program,
            format!("registry.k8s.io/{program}"),
            format!("v{kubernetes}"),
        ));
    }
    // kubeadm's default tag of an etcd version is that version's first image.
    node.push(kubebox(
        "etcd",
        "registry.k8s.io/etcd".to_owned(),
        format!("{etcd}-0"),
    ));
    node.push(ImageSpec {
        name: "coredns".to_owned(),
        repository: "registry.k8s.io/coredns/coredns".to_owned(),
        tag: Tag::Version(format!("v{coredns}")),
        layers: vec![files(Layer::new().file("/coredns", "bin/coredns", 0o755))],
        // Root without capabilities but the one to bind port 53: a file capability, which upstream
        // uses, does not survive every importer.
        config: Config {
            entrypoint: words(&["/coredns"]),
            ..Config::default()
        },
    });
    node.push(ImageSpec {
        name: "pause".to_owned(),
        repository: "registry.k8s.io/pause".to_owned(),
        tag: Tag::Version(PAUSE_VERSION.to_owned()),
        layers: vec![files(Layer::new().file("/pause", "bin/pause", 0o755))],
        config: Config {
            user: "65535:65535".to_owned(),
            entrypoint: words(&["/pause"]),
            ..Config::default()
        },
    });
    Ok(vec![
        ImageSet {
            name: "node",
            inputs: &["kubebox", "coredns", "pause"],
            images: node,
        },
        ImageSet {
            name: "immudb",
            inputs: &["immudb", "immudb-1.10.0"],
            images: vec![
                immudb_image("immudb", "", immudb("immudb")?),
                immudb_image("immudb-1.10.0", "-1.10.0", immudb("immudb-1.10.0")?),
            ],
        },
        ImageSet {
            name: "gitea",
            inputs: &["gitea", "debian-git"],
            images: vec![gitea_image(&gitea)],
        },
        ImageSet {
            name: "traefik",
            inputs: &["traefik"],
            images: vec![traefik_image(traefik.version())],
        },
        ImageSet {
            name: "prometheus",
            inputs: &["prometheus"],
            images: vec![prometheus_image(&prometheus)?],
        },
        ImageSet {
            name: "agent",
            inputs: &["agent", "debian-git"],
            images: vec![
                agent_image(
                    "agent",
                    Tag::Content {
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        file: "bin/agent",
                    },
                ),
                // For manifests in git, which cannot know the bytes: the probe beside every immudb.
                agent_image("agent-of-bundle", Tag::Version("bundle".to_owned())),
            ],
        },
    ])
}

/// One of the programs in kubebox; all share one layer.
fn kubebox(program: &str, repository: String, tag: String) -> ImageSpec {
    let layer = Layer::new().file("/usr/local/bin/kubebox", "bin/kubebox", 0o755);
    let layer = KUBERNETES.iter().fold(layer, |layer, name| {
        layer.link(&format!("/usr/local/bin/{name}"), "kubebox")
    });
    ImageSpec {
        name: program.to_owned(),
        repository,
        tag: Tag::Version(tag),
        layers: vec![files(layer)],
        config: Config {
            env: words(&["PATH=/usr/local/bin"]),
            entrypoint: vec![program.to_owned()],
            ..Config::default()
        },
    }
}

/// As the Dockerfile of immudb has it.
fn immudb_image(name: &str, suffix: &str, version: String) -> ImageSpec {
    let layer = Layer::new()
        .file("/usr/sbin/immudb", format!("bin/immudb{suffix}"), 0o755)
        .file(
            "/usr/local/bin/immuadmin",
            format!("bin/immuadmin{suffix}"),
            0o755,
        )
        .directory("/tmp", 0o755, IMMUDB)
        .directory("/usr/share/immudb", 0o755, IMMUDB)
        .directory("/var/lib/immudb", 0o755, IMMUDB);
    ImageSpec {
        name: name.to_owned(),
        repository: "docker.io/codenotary/immudb".to_owned(),
        tag: Tag::Version(version),
        layers: vec![files(layer)],
        config: Config {
            user: "3322:3322".to_owned(),
            env: words(&[
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "IMMUDB_HOME=/usr/share/immudb",
                "IMMUDB_DIR=/var/lib/immudb",
                "IMMUDB_ADDRESS=0.0.0.0",
                "IMMUDB_PORT=3322",
                "IMMUDB_PIDFILE=",
                "IMMUDB_LOGFILE=",
                "IMMUDB_MTLS=false",
                "IMMUDB_AUTH=true",
                "IMMUDB_DETACHED=false",
                "IMMUDB_DEVMODE=true",
                "IMMUDB_MAINTENANCE=false",
                "IMMUDB_ADMIN_PASSWORD=immudb",
                "IMMUDB_PGSQL_SERVER=true",
                "IMMUADMIN_TOKENFILE=/var/lib/immudb/admin_token",
                "USER=immu",
                "HOME=/usr/share/immudb",
            ]),
            entrypoint: words(&["/usr/sbin/immudb"]),
            ..Config::default()
        },
    }
}

/// Users, paths and variables as in Gitea's rootless image; git comes from Debian.
fn gitea_image(version: &str) -> ImageSpec {
    let layer = Layer::new()
        .file("/usr/local/bin/gitea", "bin/gitea", 0o755)
        .bytes(
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\ngit:x:1000:1000:git:/var/lib/gitea/git:/bin/bash\n",
            0o644,
        )
        .bytes("/etc/group", "root:x:0:\ngit:x:1000:\n", 0o644)
        .directory("/etc/gitea", 0o755, GITEA)
        .directory("/tmp", 0o1777, Owner::default())
        .directory("/var/lib/gitea", 0o755, GITEA);
    ImageSpec {
        name: "gitea".to_owned(),
        repository: "docker.io/gitea/gitea".to_owned(),
        tag: Tag::Version(format!("{version}-rootless")),
        layers: vec![
            LayerSpec::Tar("layer/debian-git.tar"),
            LayerSpec::Tar("layer/gitea-share.tar"),
            files(layer),
        ],
        config: Config {
            user: "1000:1000".to_owned(),
            env: words(&[
                "PATH=/usr/local/bin:/usr/bin:/bin",
                "GITEA_WORK_DIR=/var/lib/gitea",
                "GITEA_CUSTOM=/var/lib/gitea/custom",
                "GITEA_TEMP=/tmp/gitea",
                "TMPDIR=/tmp",
                "GITEA_APP_INI=/etc/gitea/app.ini",
                "HOME=/var/lib/gitea/git",
            ]),
            entrypoint: words(&["/usr/local/bin/gitea"]),
            cmd: words(&["web"]),
            working_dir: "/var/lib/gitea".to_owned(),
        },
    }
}

/// The program alone. Upstream's image starts as root; the ports of ours are above 1024.
fn traefik_image(version: &str) -> ImageSpec {
    let layer = Layer::new()
        .file("/usr/local/bin/traefik", "bin/traefik", 0o755)
        .directory("/tmp", 0o1777, Owner::default());
    ImageSpec {
        name: "traefik".to_owned(),
        repository: "docker.io/library/traefik".to_owned(),
        tag: Tag::Version(format!("v{version}")),
        layers: vec![files(layer)],
        config: Config {
            user: NONROOT.to_owned(),
            entrypoint: words(&["/usr/local/bin/traefik"]),
            ..Config::default()
        },
    }
}

/// User, paths and start as in Prometheus' image.
fn prometheus_image(module_version: &str) -> Result<ImageSpec, Problem> {
    let release = recipe::prometheus_release(module_version).ok_or_else(|| {
        Problem::new(format!(
            "no release of Prometheus has the module version {module_version}"
        ))
    })?;
    let layer = Layer::new()
        .file("/bin/prometheus", "bin/prometheus", 0o755)
        .directory("/etc/prometheus", 0o755, Owner::default())
        .directory("/prometheus", 0o755, NOBODY);
    Ok(ImageSpec {
        name: "prometheus".to_owned(),
        repository: "quay.io/prometheus/prometheus".to_owned(),
        tag: Tag::Version(format!("v{release}")),
        layers: vec![files(layer)],
        config: Config {
            user: "65534:65534".to_owned(),
            entrypoint: words(&["/bin/prometheus"]),
            cmd: words(&[
                "--config.file=/etc/prometheus/prometheus.yml",
                "--storage.tsdb.path=/prometheus",
            ]),
            working_dir: "/prometheus".to_owned(),
            ..Config::default()
        },
    })
}

/// The agent and the authorities it checks forges with, nothing else.
fn agent_image(name: &str, tag: Tag) -> ImageSpec {
    let layer = Layer::new()
        .file("/agent", "bin/agent", 0o755)
        .file(
            "/etc/ssl/certs/ca-certificates.crt",
            "layer/ca-certificates.crt",
            0o644,
        )
        .directory("/tmp", 0o1777, Owner::default());
    ImageSpec {
        name: name.to_owned(),
        repository: "immuops.dev/agent".to_owned(),
        tag,
        layers: vec![files(layer)],
        config: Config {
            user: NONROOT.to_owned(),
            env: words(&["SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"]),
            entrypoint: words(&["/agent"]),
            cmd: words(&["run"]),
            ..Config::default()
        },
    }
}

fn files(layer: Layer) -> LayerSpec {
    LayerSpec::Files(layer)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

impl ImageSpec {
    /// The full reference, with `sha256` telling the hash of a file of the bundle.
    pub(super) fn reference(
        &self,
        sha256: impl Fn(&Path) -> Result<String, Problem>,
    ) -> Result<String, Problem> {
        let tag = match &self.tag {
            Tag::Version(version) => version.clone(),
            Tag::Content { version, file } => {
                format!("{version}-{:.12}", sha256(Path::new(file))?)
            }
        };
        Ok(format!("{}:{tag}", self.repository))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_those_of_upstream() {
        let tree = SourceTree::locate().unwrap();
        let sum = |_: &Path| Ok("0123456789abcdef".to_owned());
        let references: Vec<String> = image_sets(&tree)
            .unwrap()
            .iter()
            .flat_map(|set| &set.images)
            .map(|image| image.reference(sum).unwrap())
            .collect();
        insta::assert_snapshot!(references.join("\n"));
    }
}
