//! Carries out one recipe: runs its compiler and collects what came out.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::command::{command, run};
use super::debian::{self, Sources};
use super::images::{ImageSet, LayerSpec};
use super::manifest::{FileEntry, ImageEntry, Manifest, PartEntry, Source};
use super::recipe::{
    Cargo, Debian, Go, Linking, Planned, Program, Recipe, Rustc, Share, Wheel, prometheus_release,
};
use super::tree::{REQUIREMENTS, SourceTree};
use crate::digest;
use crate::image::{ArchiveWriter, Blob, Layer};
use crate::problem::Problem;

/// What every recipe needs.
#[derive(Debug)]
pub(super) struct Site<'a> {
    pub(super) tree: &'a SourceTree,
    pub(super) debian: &'a Sources,
    /// What compilers keep between builds.
    pub(super) kept: &'a Path,
}

/// Where one part is made.
struct Bench<'a> {
    site: &'a Site<'a>,
    /// Becomes the part.
    into: &'a Path,
    /// Gone afterwards.
    scratch: &'a Path,
    log: &'a Path,
}

/// A file that was made, and its other names.
type Made = (PathBuf, Vec<String>);

/// Makes `planned` in the empty directory `into`, manifest included.
///
/// # Errors
/// When its compiler fails or a file cannot be written.
pub(super) fn part(
    planned: &Planned,
    site: &Site<'_>,
    into: &Path,
    log: &Path,
) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir_in(into)?;
    let bench = Bench {
        site,
        into,
        scratch: scratch.path(),
        log,
    };
    let mut source = planned.source.clone();
    let made = match &planned.part.recipe {
        Recipe::Go(go) => bench.go(go, &planned.version)?,
        Recipe::Rustc(rustc) => bench.rustc(rustc)?,
        Recipe::Cargo(cargo) => bench.cargo(cargo)?,
        Recipe::Wheel(wheel) => bench.wheel(wheel)?,
        Recipe::Debian(recipe) => {
            let (made, packages) = bench.debian(recipe)?;
            source = Source::Debian {
                release: site.debian.release.clone(),
                packages,
            };
            made
        }
    };
    scratch.close()?;
    let mut files = Vec::new();
    for (path, aliases) in made {
        let sum = digest::of_file(&into.join(&path))?;
        for alias in &aliases {
            std::os::unix::fs::symlink(
                path.file_name().unwrap_or_default(),
                into.join(&path).with_file_name(alias),
            )?;
        }
        files.push(FileEntry {
            part: planned.part.name.to_owned(),
            path,
            size: sum.size,
            sha256: sum.hex,
            aliases,
        });
    }
    let entry = PartEntry {
        name: planned.part.name.to_owned(),
        version: planned.version.clone(),
        key: planned.key.clone(),
        source,
    };
    let key = planned.key.clone();
    Manifest {
        key,
        parts: vec![entry],
        files,
        images: Vec::new(),
    }
    .write(into)
}

impl Bench<'_> {
    fn go(&self, go: &Go, version: &str) -> anyhow::Result<Vec<Made>> {
        let directory = self.site.tree.recipe_input(go.directory);
        let mut build = go_command(&directory, go.linking);
        build.args(["build", "-trimpath", "-tags", go.tags, "-ldflags"]);
        build.arg(linker_flags(go, version));
        // With a directory, Go names each program after the last part of its package.
        build.arg("-o").arg(self.scratch.join(""));
        build.args(go.programs.iter().map(|program| program.package));
        run(&mut build, self.log)?;

        let mut made = Vec::new();
        for Program {
            package,
            name,
            aliases,
        } in go.programs
        {
            let made_as = package.rsplit_once('/').map_or(*package, |(_, last)| last);
            let aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
            made.push(self.keep_program(&self.scratch.join(made_as), name, aliases)?);
        }
        if let Some(share) = &go.share {
            made.push(self.share(share, go, &directory)?);
        }
        Ok(made)
    }

    /// Packs folders of the module as they are in Go's cache, which has checked them.
    fn share(&self, share: &Share, go: &Go, directory: &Path) -> anyhow::Result<Made> {
        let answer = self.scratch.join("module-directory");
        let mut list = go_command(directory, go.linking);
        list.args(["list", "-m", "-f", "{{.Dir}}", go.module]);
        run(&mut list, &answer)?;
        let module = PathBuf::from(fs::read_to_string(&answer)?.trim_end());
        let mut layer = Layer::new();
        for folder in share.folders {
            layer = layer.tree(&format!("{}/{folder}", share.path), &module.join(folder))?;
        }
        let path = self.output(share.layer)?;
        layer.write(std::io::BufWriter::new(fs::File::create(&path)?))?;
        Ok((PathBuf::from(share.layer), Vec::new()))
    }

    fn rustc(&self, rustc: &Rustc) -> anyhow::Result<Vec<Made>> {
        let program = self.scratch.join(rustc.name);
        let source = self.site.tree.recipe_input("").join(rustc.file);
        static_rust(&source, &program, self.log)?;
        Ok(vec![self.keep_program(&program, rustc.name, Vec::new())?])
    }

    fn cargo(&self, cargo: &Cargo) -> anyhow::Result<Vec<Made>> {
        let target = rust_target();
        let kept = self.site.kept.join(cargo.package);
        let mut build = command("cargo");
        build.current_dir(self.site.tree.root());
        build.args(["build", "--locked", "--release", "--package", cargo.package]);
        build.args(["--target", &target, "--target-dir"]).arg(&kept);
        build.env("CARGO_ENCODED_RUSTFLAGS", self.rust_flags());
        // Else git2 wants the host's shared zlib.
        build.env("LIBZ_SYS_STATIC", "1");
        run(&mut build, self.log)?;
        let program = kept.join(target).join("release").join(cargo.package);
        let copy = self.scratch.join(cargo.package);
        fs::copy(program, &copy)?;
        Ok(vec![self.keep_program(&copy, cargo.package, Vec::new())?])
    }

    /// A static program in which no path of this machine is left. Cargo separates these by 0x1f.
    fn rust_flags(&self) -> OsString {
        let mut flags = OsString::from("-Ctarget-feature=+crt-static");
        let home = std::env::var_os("HOME")
            .map(PathBuf::from)
            .unwrap_or_default();
        let cargo =
            std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
        for (path, name) in [
            (cargo.as_path(), "/cargo"),
            (self.site.tree.root(), "/immuops"),
        ] {
            flags.push("\u{1f}--remap-path-prefix=");
            flags.push(path);
            flags.push("=");
            flags.push(name);
        }
        flags
    }

    /// pip checks the wheel against the hashes in the requirements file, whatever index it is from.
    fn wheel(&self, wheel: &Wheel) -> anyhow::Result<Vec<Made>> {
        let mut download = command("pip3");
        download.args(["download", "--disable-pip-version-check", "--no-input"]);
        download.args(["--require-hashes", "--no-deps", "--only-binary=:all:"]);
        download.arg("--dest").arg(self.scratch);
        let requirements = self.site.tree.recipe_input(wheel.directory);
        download.arg("--requirement");
        download.arg(requirements.join(REQUIREMENTS));
        run(&mut download, self.log)?;
        let archive = only(self.scratch, "whl")?;

        // The same Python that pip runs on; a wheel is a ZIP file.
        let mut unpack = command("python3");
        unpack.args(["-m", "zipfile", "-e"]);
        unpack.arg(&archive).arg(self.scratch);
        run(&mut unpack, self.log)?;
        let program = only(self.scratch, "data")?
            .join("scripts")
            .join(wheel.program);
        Ok(vec![self.keep_program(
            &program,
            wheel.program,
            Vec::new(),
        )?])
    }

    fn debian(&self, recipe: &Debian) -> anyhow::Result<(Vec<Made>, Vec<String>)> {
        let tree = self.scratch.join("tree.tar");
        let (sources, scratch) = (self.site.debian, self.scratch);
        debian::extract(recipe.packages, sources, &tree, scratch, self.log)?;

        let layer = std::io::BufWriter::new(fs::File::create(self.output(recipe.layer)?)?);
        let from = std::io::BufReader::new(fs::File::open(&tree)?);
        let filtered = debian::filter(recipe, from, layer)?;
        fs::write(self.output(recipe.authorities)?, &filtered.authorities)?;
        let made = [recipe.layer, recipe.authorities];
        Ok((
            made.map(|path| (PathBuf::from(path), Vec::new())).into(),
            filtered.packages,
        ))
    }

    fn keep_program(&self, built: &Path, name: &str, aliases: Vec<String>) -> anyhow::Result<Made> {
        let path = Path::new("bin").join(name);
        let kept = self.output(&path)?;
        fs::rename(built, &kept)?;
        fs::set_permissions(&kept, PermissionsExt::from_mode(0o755))?;
        Ok((path, aliases))
    }

    /// The place of a file of the part, its directory made.
    fn output(&self, path: impl AsRef<Path>) -> anyhow::Result<PathBuf> {
        let path = self.into.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(path)
    }
}

/// The one entry of `directory` whose name ends with `extension`.
fn only(directory: &Path, extension: &str) -> anyhow::Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
    match found.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(Problem::new(format!(
            "{} entries called *.{extension} were unpacked, not one",
            found.len()
        ))
        .into()),
    }
}

/// Makes the archive of `set` in the empty directory `into`, manifest included; `find` knows the
/// files of the parts it is made of.
///
/// # Errors
/// When a file is missing or the archive cannot be written.
pub(super) fn images(
    set: &ImageSet,
    key: &str,
    into: &Path,
    find: impl Fn(&Path) -> Result<(PathBuf, FileEntry), Problem>,
) -> anyhow::Result<()> {
    let archive = Path::new("images").join(format!("{}.tar", set.name));
    let path = into.join(&archive);
    fs::create_dir_all(into.join("images"))?;
    let mut writer = ArchiveWriter::new(std::io::BufWriter::new(fs::File::create(&path)?));
    let mut written: Vec<(&LayerSpec, Blob)> = Vec::new();
    let mut images = Vec::new();
    for spec in &set.images {
        let mut layers = Vec::new();
        for layer in &spec.layers {
            let known = written.iter().find(|(other, _)| *other == layer);
            let blob = match (known, layer) {
                (Some((_, blob)), _) => blob.clone(),
                (None, LayerSpec::Tar(file)) => writer.layer_file(&find(Path::new(file))?.0)?,
                (None, LayerSpec::Files(files)) => {
                    let files = files
                        .clone()
                        .with_sources(|file| find(file).map(|found| found.0))?;
                    writer.layer(&files, into)?
                }
            };
            written.push((layer, blob.clone()));
            layers.push(blob);
        }
        let reference = spec.reference(|file| Ok(find(file)?.1.sha256))?;
        let digest = writer.image(&reference, &spec.config, &layers)?;
        images.push(ImageEntry {
            name: spec.name.clone(),
            reference,
            digest,
            archive: archive.clone(),
        });
    }
    writer
        .finish()?
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error)?;
    images.sort_by(|a, b| a.name.cmp(&b.name));
    let sum = digest::of_file(&path)?;
    let part = PartEntry {
        name: format!("images-{}", set.name),
        // An archive has no version of its own.
        version: format!("{key:.12}"),
        key: key.to_owned(),
        source: Source::Bundle {
            parts: set.inputs.iter().map(|&part| part.to_owned()).collect(),
        },
    };
    let file = FileEntry {
        part: part.name.clone(),
        path: archive,
        size: sum.size,
        sha256: sum.hex,
        aliases: Vec::new(),
    };
    Manifest {
        key: key.to_owned(),
        parts: vec![part],
        files: vec![file],
        images,
    }
    .write(into)
}

fn go_command(directory: &Path, linking: Linking) -> std::process::Command {
    let mut go = command("go");
    go.current_dir(directory);
    // The host's Go or nothing, no workspace around the module, and no flags of the host: an empty
    // GOFLAGS would be looked up in its configuration file.
    go.envs([
        ("GOTOOLCHAIN", "local"),
        ("GOWORK", "off"),
        ("GOFLAGS", "-buildvcs=false"),
    ]);
    go.env(
        "CGO_ENABLED",
        match linking {
            Linking::Pure => "0",
            Linking::StaticC => "1",
        },
    );
    go
}

fn linker_flags(go: &Go, version: &str) -> String {
    let mut numbers = version.split('.');
    let (major, minor) = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    let mut flags = String::from("-s -w");
    if go.linking == Linking::StaticC {
        flags.push_str(" -linkmode external -extldflags -static");
    }
    for (variable, value) in go.variables {
        let value = value
            .replace("{version}", version)
            .replace(
                "{prometheus}",
                &prometheus_release(version).unwrap_or_default(),
            )
            .replace("{major}", major)
            .replace("{minor}", minor);
        flags.push_str(&[" -X ", variable, "=", &value].concat());
    }
    flags
}

/// Compiles one file without crates into a static program.
pub(super) fn static_rust(source: &Path, program: &Path, log: &Path) -> anyhow::Result<()> {
    let mut build = command("rustc");
    // A relative name, so that no path of this machine is left in the program.
    if let (Some(directory), Some(file)) = (source.parent(), source.file_name()) {
        build.current_dir(directory).arg(file);
    }
    build.args([
        "--edition",
        "2024",
        "--target",
        &rust_target(),
        "-D",
        "warnings",
    ]);
    for option in [
        "opt-level=s",
        "panic=abort",
        "lto",
        "codegen-units=1",
        "strip=symbols",
    ] {
        build.args(["-C", option]);
    }
    build
        .args(["-C", "target-feature=+crt-static", "-o"])
        .arg(program);
    Ok(run(&mut build, log)?)
}

/// This machine, with glibc: linked statically it needs nothing of the host it runs on.
fn rust_target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::recipe::PARTS;

    #[test]
    fn versions_reach_the_linker() {
        let flags = |name: &str, version: &str| {
            let part = PARTS.iter().find(|part| part.name == name).unwrap();
            let Recipe::Go(go) = &part.recipe else {
                panic!("{name} is not Go")
            };
            linker_flags(go, version)
        };
        assert_eq!(
            flags("immudb", "1.11.1"),
            "-s -w -X github.com/codenotary/immudb/cmd/version.Version=1.11.1"
        );
        let kubebox = flags("kubebox", "1.37.2");
        assert!(
            kubebox.contains(" -X k8s.io/client-go/pkg/version.gitMinor=37 "),
            "{kubebox}"
        );
        assert!(flags("gitea", "1.26.2").contains(" -extldflags -static "));
    }
}
