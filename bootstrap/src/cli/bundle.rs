//! `bootstrap bundle`: build, check and list what clusters are made of.

use std::path::PathBuf;

use clap::Subcommand;

use super::output::{self, Format};
use crate::bundle::{Bundle, Cache, Manifest};
use crate::reporter;

/// Builds, verifies and lists the binaries and images clusters are made of
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
    /// Where built parts are kept [default: `$XDG_CACHE_HOME/immuops`, else `~/.cache/immuops`]
    #[arg(long, global = true, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Builds what is missing or damaged, and verifies all of it; prints where it is
    Build {
        /// Also what virtual machines need: QEMU, and the disk that nodes start from
        #[arg(long)]
        vm: bool,
    },
    /// Hashes every file of the current bundle and compares it with the manifest
    Verify,
    /// Shows the files and images of the current bundle
    List {
        /// How to show them
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        output: Format,
    },
}

/// Runs `bootstrap bundle ...`.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let cache = Cache::choose(args.cache_dir.as_deref())?;
    let reporter = reporter::for_stderr();
    match args.action {
        Action::Build { vm } => {
            let bundle = Bundle::ensure(&cache, &*reporter)?;
            if vm {
                bundle.node_disk(&cache, &*reporter)?;
            }
            output::text(&format!("{}\n", bundle.directory().display()))
        }
        Action::Verify => {
            let bundle = Bundle::open(&cache, &*reporter)?;
            output::text(&format!("{}\n", bundle.directory().display()))
        }
        Action::List { output } => {
            let bundle = Bundle::open(&cache, &*reporter)?;
            match output {
                Format::Text => output::text(&table(bundle.manifest())),
                Format::Json => output::json(bundle.manifest()),
            }
        }
    }
}

/// One line per file, then one per image.
fn table(manifest: &Manifest) -> String {
    let files = manifest.files.iter().map(|file| {
        let size = format!("{} MiB", file.size.div_ceil(1 << 20));
        let path = file.path.display().to_string();
        let version = manifest.version_of(file).unwrap_or_default();
        format!("{path:<34} {version:<12} {size:>8}  {:.12}\n", file.sha256)
    });
    let images = manifest
        .images
        .iter()
        .map(|image| format!("{:<64} {:.19}\n", image.reference, image.digest));
    files.chain(["\n".to_owned()]).chain(images).collect()
}
