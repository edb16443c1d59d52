//! Trees with the output that kustomize 5.8.1 gives for them, one file each in `tests/cases`.
//!
//! A file starts with `dir:` and perhaps `flags:`; then come the files of the tree, each after a
//! line `-- PATH --`, and at the end the output after `-- expected --`, or `-- error --` alone if
//! the build must fail. `(no newline)` behind a path says that the last line feed is not part of
//! the file, `(base64)` that its bytes are encoded, `(folder)` that it is an empty folder.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kustomize::{LoadRestriction, MemoryTree, Options, Reorder};

/// One case.
struct Case {
    tree: MemoryTree,
    dir: String,
    options: Options,
    /// `None` if the build must fail.
    expected: Option<String>,
}

fn parse(text: &str) -> Case {
    let mut case = Case {
        tree: MemoryTree::new(),
        dir: String::new(),
        options: Options::default(),
        expected: None,
    };
    let mut sections: Vec<(&str, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        let title = line
            .trim_end()
            .strip_prefix("-- ")
            .and_then(|rest| rest.strip_suffix(" --"));
        match (title, sections.last_mut()) {
            (Some(title), _) => sections.push((title, String::new())),
            (None, Some((_, content))) => content.push_str(line),
            (None, None) => header(line, &mut case),
        }
    }
    for (title, content) in sections {
        let (path, bytes) = match title.rsplit_once(" (") {
            Some((path, "folder)")) => {
                case.tree.add_folder(path);
                continue;
            }
            Some((path, "base64)")) => (path, STANDARD.decode(content.trim()).unwrap()),
            Some((path, "no newline)")) => (
                path,
                content.strip_suffix('\n').unwrap().as_bytes().to_vec(),
            ),
            _ => (title, content.into_bytes()),
        };
        match path {
            "expected" => case.expected = Some(String::from_utf8(bytes).unwrap()),
            "error" => {}
            path => case.tree.add_file(path, bytes),
        }
    }
    case
}

fn header(line: &str, case: &mut Case) {
    match line.trim_end().split_once(": ") {
        Some(("dir", dir)) => dir.trim_start_matches('.').clone_into(&mut case.dir),
        Some(("flags", flags)) => {
            let mut flags = flags.split(' ');
            while let (Some(flag), Some(value)) = (flags.next(), flags.next()) {
                match (flag, value) {
                    ("--reorder", "none") => case.options.reorder = Reorder::None,
                    ("--reorder", "legacy") => case.options.reorder = Reorder::Legacy,
                    ("--load-restrictor", "LoadRestrictionsNone") => {
                        case.options.load_restriction = LoadRestriction::None;
                    }
                    other => panic!("unknown flag {other:?}"),
                }
            }
        }
        _ => assert!(line.starts_with('#'), "unknown header {line:?}"),
    }
}

#[test]
fn every_case_is_exact() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let mut files: Vec<_> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(
        files.len() >= 432,
        "cases are missing: only {} found",
        files.len()
    );
    let mut failed = Vec::new();
    for file in files {
        let case = parse(&fs_err::read_to_string(&file).unwrap());
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let rendered = kustomize::render(&case.tree, &case.dir, &case.options);
        match (case.expected, rendered) {
            (Some(expected), Ok(rendered)) if rendered.to_yaml() == expected => {}
            (Some(expected), Ok(rendered)) => {
                failed.push(format!(
                    "{name}: expected\n{expected}\nfound\n{}",
                    rendered.to_yaml()
                ));
            }
            (Some(_), Err(error)) => failed.push(format!("{name}: {error}")),
            (None, Ok(_)) => failed.push(format!("{name}: built, but should fail")),
            (None, Err(error)) => {
                if error.message().is_empty() {
                    failed.push(format!("{name}: the error says nothing"));
                }
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} cases fail:\n{}",
        failed.len(),
        failed.join("\n\n")
    );
}
