//! The parts of a bundle and how each is made. Values only: [`super::make`] carries them out.
//!
//! Versions of Go programs are in their wrapper module's `go.mod` and nowhere else.

use std::path::PathBuf;

use super::go_module::GoModule;
use super::manifest::Source;
use super::tree::SourceTree;
use crate::digest::ListHasher;
use crate::problem::Problem;

/// Raise it when a change to the code that carries out recipes changes what comes out of them.
const FORMAT: &str = "1";

/// One thing that is built as a whole.
#[derive(Debug)]
pub(super) struct Part {
    /// Unique; also the name of its log.
    pub(super) name: &'static str,
    /// The most memory its build was seen to take, in MiB.
    pub(super) memory: u64,
    pub(super) recipe: Recipe,
}

#[derive(Debug)]
pub(super) enum Recipe {
    Go(Go),
    Rustc(Rustc),
    Cargo(Cargo),
    Debian(Debian),
    Wheel(Wheel),
}

/// Programs of one Go module.
#[derive(Debug)]
pub(super) struct Go {
    /// The wrapper module below `bootstrap/bundle/`.
    pub(super) directory: &'static str,
    /// The module whose version is the part's version.
    pub(super) module: &'static str,
    pub(super) programs: &'static [Program],
    pub(super) linking: Linking,
    pub(super) tags: &'static str,
    /// String variables set by the linker. `{version}`, `{major}`, `{minor}` and `{prometheus}`
    /// (see [`prometheus_release`]) are replaced.
    pub(super) variables: &'static [(&'static str, &'static str)],
    pub(super) share: Option<Share>,
}

#[derive(Debug)]
pub(super) struct Program {
    /// The package to build.
    pub(super) package: &'static str,
    /// Its name in the bundle.
    pub(super) name: &'static str,
    /// Names it also answers to.
    pub(super) aliases: &'static [&'static str],
}

/// All programs are static: they run in images without a C library and on any host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linking {
    /// Without C.
    Pure,
    /// With C code, linked against the static C library of the build host.
    StaticC,
}

/// Folders of the module that its program reads when it runs, packed as an image layer.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) folders: &'static [&'static str],
    /// Where they are in the image.
    pub(super) path: &'static str,
    /// The file they become.
    pub(super) layer: &'static str,
}

/// A program of one Rust file without crates.
#[derive(Debug)]
pub(super) struct Rustc {
    /// Below `bootstrap/bundle/`.
    pub(super) file: &'static str,
    pub(super) name: &'static str,
    pub(super) version: &'static str,
}

/// A program of this workspace.
#[derive(Debug)]
pub(super) struct Cargo {
    /// The package, and the name of its program.
    pub(super) package: &'static str,
    /// What decides its bytes: files and directories below the repository.
    pub(super) sources: &'static [&'static str],
}

/// Files of Debian packages and of what they depend on.
#[derive(Debug)]
pub(super) struct Debian {
    pub(super) packages: &'static [&'static str],
    /// What is left out: paths with everything below, or with a star all that begin like this.
    pub(super) without: &'static [&'static str],
    /// The image layer they become.
    pub(super) layer: &'static str,
    /// All certificate authorities of `ca-certificates` in one file.
    pub(super) authorities: &'static str,
}

/// A program that its makers publish as a Python wheel.
#[derive(Debug)]
pub(super) struct Wheel {
    /// Where its requirements file is, below `bootstrap/bundle/`.
    pub(super) directory: &'static str,
    /// The program among the wheel's scripts, and its name in the bundle.
    pub(super) program: &'static str,
}

const fn program(package: &'static str, name: &'static str) -> Program {
    Program {
        package,
        name,
        aliases: &[],
    }
}

macro_rules! immudb {
    ($directory:literal, $suffix:literal) => {
        Part {
            name: $directory,
            memory: 1200,
            recipe: Recipe::Go(Go {
                directory: $directory,
                module: "github.com/codenotary/immudb",
                programs: &[
                    program(
                        "github.com/codenotary/immudb/cmd/immudb",
                        concat!("immudb", $suffix),
                    ),
                    program(
                        "github.com/codenotary/immudb/cmd/immuadmin",
                        concat!("immuadmin", $suffix),
                    ),
                    program(
                        "github.com/codenotary/immudb/cmd/immuclient",
                        concat!("immuclient", $suffix),
                    ),
                ],
                linking: Linking::Pure,
                tags: "",
                // A replica compares it with its primary's and stops when they differ.
                variables: &[(
                    "github.com/codenotary/immudb/cmd/version.Version",
                    "{version}",
                )],
                share: None,
            }),
        }
    };
}

/// Every part, the longest build first.
pub(super) const PARTS: &[Part] = &[
    Part {
        name: "kubebox",
        memory: 3500,
        recipe: Recipe::Go(Go {
            directory: "kubebox",
            module: "k8s.io/kubernetes",
            programs: &[Program {
                package: "immuops.dev/bundle/kubebox",
                name: "kubebox",
                aliases: KUBERNETES,
            }],
            linking: Linking::Pure,
            tags: "",
            // kubeadm refuses to work without them: it compares its version with the cluster's.
            variables: &[
                ("k8s.io/client-go/pkg/version.gitVersion", "v{version}"),
                ("k8s.io/client-go/pkg/version.gitMajor", "{major}"),
                ("k8s.io/client-go/pkg/version.gitMinor", "{minor}"),
                ("k8s.io/client-go/pkg/version.gitTreeState", "clean"),
                ("k8s.io/component-base/version.gitVersion", "v{version}"),
                ("k8s.io/component-base/version.gitMajor", "{major}"),
                ("k8s.io/component-base/version.gitMinor", "{minor}"),
                ("k8s.io/component-base/version.gitTreeState", "clean"),
            ],
            share: None,
        }),
    },
    Part {
        name: "gitea",
        memory: 2500,
        recipe: Recipe::Go(Go {
            directory: "gitea",
            module: "code.gitea.io/gitea",
            programs: &[program("code.gitea.io/gitea", "gitea")],
            linking: Linking::StaticC,
            // The last three leave nothing in it that would look for shared libraries.
            tags: "sqlite,sqlite_unlock_notify,timetzdata,netgo,osusergo,sqlite_omit_load_extension",
            variables: &[
                ("main.Version", "{version}"),
                (
                    "code.gitea.io/gitea/modules/setting.StaticRootPath",
                    "/usr/share/gitea",
                ),
            ],
            share: Some(Share {
                folders: &["options", "public", "templates"],
                path: "/usr/share/gitea",
                layer: "layer/gitea-share.tar",
            }),
        }),
    },
    Part {
        name: "prometheus",
        memory: 2500,
        recipe: Recipe::Go(Go {
            directory: "prometheus",
            module: "github.com/prometheus/prometheus",
            programs: &[
                program(
                    "github.com/prometheus/prometheus/cmd/prometheus",
                    "prometheus",
                ),
                program("github.com/prometheus/prometheus/cmd/promtool", "promtool"),
            ],
            linking: Linking::Pure,
            // Of some thirty ways to discover targets, the one that clusters need.
            tags: "netgo,osusergo,remove_all_sd,enable_kubernetes_sd",
            variables: &[(
                "github.com/prometheus/common/version.Version",
                "{prometheus}",
            )],
            share: None,
        }),
    },
    Part {
        name: "coredns",
        memory: 1200,
        recipe: Recipe::Go(Go {
            directory: "coredns",
            module: "github.com/coredns/coredns",
            programs: &[program("github.com/coredns/coredns", "coredns")],
            linking: Linking::Pure,
            tags: "",
            variables: &[],
            share: None,
        }),
    },
    Part {
        name: "agent",
        memory: 2000,
        recipe: Recipe::Cargo(Cargo {
            package: "agent",
            sources: &["agent", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"],
        }),
    },
    Part {
        name: "containerd",
        memory: 1200,
        recipe: Recipe::Go(Go {
            directory: "containerd",
            module: "github.com/containerd/containerd/v2",
            programs: &[
                program(
                    "github.com/containerd/containerd/v2/cmd/containerd",
                    "containerd",
                ),
                program(
                    "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                    "containerd-shim-runc-v2",
                ),
                program("github.com/containerd/containerd/v2/cmd/ctr", "ctr"),
            ],
            linking: Linking::Pure,
            tags: "",
            variables: &[(
                "github.com/containerd/containerd/v2/version.Version",
                "v{version}",
            )],
            share: None,
        }),
    },
    immudb!("immudb", ""),
    immudb!("immudb-1.10.0", "-1.10.0"),
    Part {
        name: "cni-plugins",
        memory: 800,
        recipe: Recipe::Go(Go {
            directory: "cni-plugins",
            module: "github.com/containernetworking/plugins",
            programs: &[
                program(
                    "github.com/containernetworking/plugins/plugins/main/ptp",
                    "ptp",
                ),
                program(
                    "github.com/containernetworking/plugins/plugins/ipam/host-local",
                    "host-local",
                ),
                program(
                    "github.com/containernetworking/plugins/plugins/main/loopback",
                    "loopback",
                ),
                program(
                    "github.com/containernetworking/plugins/plugins/meta/portmap",
                    "portmap",
                ),
            ],
            linking: Linking::Pure,
            tags: "",
            variables: &[],
            share: None,
        }),
    },
    Part {
        name: "debian-git",
        memory: 300,
        recipe: Recipe::Debian(Debian {
            // Gitea runs git, and its hooks are bash scripts; the pod that prepares it runs sh and grep.
            packages: &[
                "bash",
                "ca-certificates",
                "coreutils",
                "dash",
                "git",
                "grep",
                "sed",
            ],
            without: &[
                // Nobody reads manuals in a pod.
                "usr/share/bash-completion",
                "usr/share/bug",
                "usr/share/doc",
                "usr/share/info",
                "usr/share/lintian",
                "usr/share/locale",
                "usr/share/man",
                "usr/share/menu",
                "usr/share/pixmaps",
                "usr/share/polkit-1",
                // git needs Perl for mail and Subversion only.
                "usr/bin/perl*",
                "usr/lib/x86_64-linux-gnu/perl",
                "usr/lib/x86_64-linux-gnu/perl-base",
                "usr/lib/aarch64-linux-gnu/perl",
                "usr/lib/aarch64-linux-gnu/perl-base",
                "usr/share/perl*",
                // Nothing is installed or scheduled in a container.
                "etc/apt",
                "etc/cron.daily",
                "etc/dpkg",
                "etc/logrotate.d",
                "lib/systemd",
                "usr/share/dpkg",
                "usr/share/debconf",
                // What apt, dpkg and mmdebstrap leave behind differs from run to run.
                "dev",
                "etc/hostname",
                "etc/resolv.conf",
                "var",
            ],
            layer: "layer/debian-git.tar",
            authorities: "layer/ca-certificates.crt",
        }),
    },
    Part {
        name: "traefik",
        memory: 300,
        recipe: Recipe::Wheel(Wheel {
            directory: "traefik",
            program: "traefik",
        }),
    },
    Part {
        name: "pause",
        memory: 300,
        recipe: Recipe::Rustc(Rustc {
            file: "pause/pause.rs",
            name: "pause",
            version: PAUSE_VERSION,
        }),
    },
];

/// The version of upstream's `pause` that ours stands in for: kubeadm and containerd ask for it.
pub(super) const PAUSE_VERSION: &str = "3.10.2";

/// The programs in kubebox.
pub(super) const KUBERNETES: &[&str] = &[
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubeadm",
    "kubectl",
    "kubelet",
];

/// A part together with what the source tree says about it.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) part: &'static Part,
    /// Equal keys, equal recipe and sources.
    pub(super) key: String,
    /// Without a leading `v`.
    pub(super) version: String,
    pub(super) source: Source,
}

impl Part {
    /// Reads versions and hashes sources; `debian` says which release packages come from.
    pub(super) fn plan(
        &'static self,
        tree: &SourceTree,
        debian: &super::debian::Sources,
    ) -> Result<Planned, Problem> {
        let mut inputs: Vec<PathBuf> = Vec::new();
        let (version, source) = match &self.recipe {
            Recipe::Go(go) => {
                inputs.push(PathBuf::from("bootstrap/bundle").join(go.directory));
                let module = tree.go_module(go.directory)?;
                (plain(&module, go.module)?, module.source(go.module)?)
            }
            Recipe::Rustc(rustc) => {
                inputs.push(PathBuf::from("bootstrap/bundle").join(rustc.file));
                (
                    rustc.version.to_owned(),
                    Source::Tree {
                        sha256: tree.hash(&inputs)?,
                    },
                )
            }
            Recipe::Cargo(cargo) => {
                inputs.extend(cargo.sources.iter().map(PathBuf::from));
                // One version for the whole workspace: this program's is the agent's.
                (
                    env!("CARGO_PKG_VERSION").to_owned(),
                    Source::Tree {
                        sha256: tree.hash(&inputs)?,
                    },
                )
            }
            Recipe::Wheel(wheel) => {
                inputs.push(PathBuf::from("bootstrap/bundle").join(wheel.directory));
                let wheel = tree.wheel(wheel.directory)?;
                (wheel.version().to_owned(), wheel.source())
            }
            Recipe::Debian(_) => {
                let release = debian.release.clone();
                (
                    release.clone(),
                    Source::Debian {
                        release,
                        packages: Vec::new(),
                    },
                )
            }
        };
        let key = ListHasher::default()
            .with("format", FORMAT)
            .with("architecture", std::env::consts::ARCH)
            .with("recipe", format!("{self:?}"))
            .with("version", &version)
            .with("sources", tree.hash(&inputs)?)
            .finish();
        Ok(Planned {
            part: self,
            key,
            version,
            source,
        })
    }
}

/// The version of `module` without the `v`.
pub(super) fn plain(module: &GoModule, name: &str) -> Result<String, Problem> {
    let version = module.version(name)?;
    Ok(version.strip_prefix('v').unwrap_or(version).to_owned())
}

/// The release that a version of Prometheus' module stands for. A module called `.../prometheus`
/// cannot have a version 3, so release 3.16.0 is published as `v0.316.0`.
pub(super) fn prometheus_release(version: &str) -> Option<String> {
    let mut numbers = version.strip_prefix("0.")?.splitn(2, '.');
    let both: u32 = numbers.next()?.parse().ok()?;
    Some(format!("{}.{}.{}", both / 100, both % 100, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_parts_make_the_same_file() {
        let mut seen = BTreeSet::new();
        for part in PARTS {
            let names: Vec<&str> = match &part.recipe {
                Recipe::Go(go) => go
                    .programs
                    .iter()
                    .flat_map(|p| p.aliases.iter().copied().chain([p.name]))
                    .collect(),
                Recipe::Rustc(rustc) => vec![rustc.name],
                Recipe::Cargo(cargo) => vec![cargo.package],
                Recipe::Debian(debian) => vec![debian.layer, debian.authorities],
                Recipe::Wheel(wheel) => vec![wheel.program],
            };
            for name in names {
                assert!(seen.insert(name), "{name} is made twice");
            }
        }
    }

    #[test]
    fn releases_of_prometheus() {
        let cases = [
            ("0.316.0", Some("3.16.0")),
            ("0.305.2-rc.0", Some("3.5.2-rc.0")),
            ("1.8.2", None),
            ("0.x.0", None),
        ];
        for (version, release) in cases {
            assert_eq!(prometheus_release(version).as_deref(), release, "{version}");
        }
    }
}
