//! Times builds of large trees and prints Markdown tables.
//!
//! `bench [REFERENCE]`: with the path of a kubectl (or of the bundle's kubebox) the smaller trees
//! are built by it too, in the same run, so that the ratio means something on a busy machine.
//! `KUSTOMIZE_BENCH_REFERENCE` sets the number of objects up to which the reference is asked
//! (1,000). Each row is measured in a process of its own, so that its memory is its own.

mod again;
mod process;
mod tree;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::process::Measured;
use crate::tree::{Overlay, Shape};

pub(crate) type Failure = Box<dyn std::error::Error>;

const ROWS: [Shape; 7] = [
    row(100, Overlay::Full),
    row(1_000, Overlay::Full),
    row(5_000, Overlay::Full),
    row(10_000, Overlay::Full),
    row(20_000, Overlay::Full),
    row(1_000, Overlay::Plain),
    row(10_000, Overlay::Plain),
];

const fn row(objects: usize, overlay: Overlay) -> Shape {
    Shape {
        objects,
        per_file: 100,
        overlay,
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => report(None),
        [reference] => report(Some(Path::new(reference))),
        [flag, folder] if flag == "--build" => process::build(Path::new(folder)),
        _ => Err("usage: bench [REFERENCE]".into()),
    }
}

fn report(reference: Option<&Path>) -> Result<(), Failure> {
    let up_to = match std::env::var("KUSTOMIZE_BENCH_REFERENCE") {
        Ok(number) => number.parse()?,
        Err(_) => 1_000,
    };
    let mut out = std::io::stdout();
    writeln!(
        out,
        "| tree | wall | processor | per object | peak | as a command | reference | ratio |\n\
         |---|---|---|---|---|---|---|---|"
    )?;
    for shape in ROWS {
        let reference = reference.filter(|_| shape.objects <= up_to);
        writeln!(out, "{}", measure(shape, reference)?)?;
        out.flush()?;
    }
    writeln!(
        out,
        "\n| one file changed, built again with a memo | wall | processor | memo | without |\n\
         |---|---|---|---|---|"
    )?;
    for per_file in [1, 100] {
        let shape = Shape {
            objects: 1_000,
            per_file,
            overlay: Overlay::Full,
        };
        writeln!(out, "{}", again::measure(shape)?)?;
    }
    Ok(())
}

/// One row of the first table.
fn measure(shape: Shape, reference: Option<&Path>) -> Result<String, Failure> {
    let folder = tempfile::tempdir()?;
    for (path, text) in tree::files(shape)? {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap_or_else(|| folder.path()))?;
        fs_err::write(path, text)?;
    }
    let overlay = folder.path().join("overlay");
    let Measured {
        wall,
        processor,
        peak_kib,
    } = process::measured(folder.path())?;
    let command = process::wall(&[&sibling("render")?, &overlay])?;
    let objects = f64::from(u32::try_from(shape.objects)?);
    let name = match shape.overlay {
        Overlay::Full => "full overlay",
        Overlay::Plain => "plain",
    };
    let theirs = match reference {
        None => "- | -".to_owned(),
        Some(reference) => {
            let mut words = vec![reference];
            if reference.ends_with("kubebox") {
                words.push(Path::new("kubectl"));
            }
            words.extend([Path::new("kustomize"), &overlay]);
            let theirs = process::wall(&words)?;
            format!("{theirs:.2} s | {:.0} x", theirs / command)
        }
    };
    Ok(format!(
        "| {}, {name} | {:.1} ms | {:.1} ms | {:.0} us | {} MiB | {:.1} ms | {theirs} |",
        shape.objects,
        wall * 1e3,
        processor * 1e3,
        processor * 1e6 / objects,
        peak_kib / 1024,
        command * 1e3,
    ))
}

/// Another example, built beside this one.
fn sibling(name: &str) -> Result<PathBuf, Failure> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!(
        "{} is missing: cargo build --release --examples",
        path.display()
    )
    .into())
}
