//! The trees of `tests/cases`, and ways to damage them.

use kustomize::MemoryTree;

use super::random::Random;

/// Pieces of the language, put where they do not belong.
const PIECES: &[&str] = &[
    "\n---\n",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "#",
    "\t",
    "\r",
    "null",
    "~",
    "$patch: delete",
    "$patch: replace",
    "*",
    "..",
    "../",
    ".",
    "${x}",
    "$(X)",
    "\u{feff}",
    "é",
    "\u{0}",
    "1e999",
    "-1",
    "[name=x]",
    "\\",
    "/",
    "metadata",
    "name",
    "kind: List\nitems:\n",
    "99999999999999999999",
];

/// Paths and contents.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// Each tree with the folder that is built.
pub(crate) fn corpus() -> Vec<(String, Files)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let mut paths: Vec<_> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut corpus = Vec::new();
    for path in paths {
        let text = fs_err::read_to_string(path).unwrap();
        let mut dir = String::new();
        let mut files: Files = Vec::new();
        for line in text.split_inclusive('\n') {
            let title = line
                .trim_end()
                .strip_prefix("-- ")
                .and_then(|rest| rest.strip_suffix(" --"));
            match (title, files.last_mut()) {
                (Some(title), _) => {
                    let path = title.split(" (").next().unwrap();
                    files.push((path.to_owned(), Vec::new()));
                }
                (None, Some((_, bytes))) => bytes.extend_from_slice(line.as_bytes()),
                (None, None) => {
                    if let Some(value) = line.trim_end().strip_prefix("dir: ") {
                        value.trim_start_matches('.').clone_into(&mut dir);
                    }
                }
            }
        }
        files.retain(|(path, _)| path != "expected" && path != "error");
        corpus.push((dir, files));
    }
    corpus
}

/// Damages up to five places.
pub(crate) fn damage(random: &mut Random, files: &mut Files) {
    for _ in 0..=random.below(4) {
        let donor = files[random.below(files.len())].1.clone();
        let target = random.below(files.len());
        let bytes = &mut files[target].1;
        let at = if bytes.is_empty() {
            0
        } else {
            random.below(bytes.len())
        };
        match random.below(6) {
            0 => {
                let piece = PIECES[random.below(PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
            1 => bytes.truncate(at),
            2 => {
                let end = bytes.len().min(at + 1 + random.below(20));
                bytes.drain(at..end);
            }
            3 => {
                let end = bytes.len().min(at + 1 + random.below(60));
                let copied = bytes[at..end].to_vec();
                bytes.splice(at..at, copied);
            }
            4 => {
                let line = random.below(donor.len().max(1));
                let part: Vec<u8> = donor.into_iter().skip(line).take(80).collect();
                bytes.splice(at..at, part);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = b" \n:-[]{}'\"a0#&*!|>%@"[random.below(20)];
                }
            }
        }
    }
}

/// The tree of some files.
pub(crate) fn tree(files: &Files) -> MemoryTree {
    let mut tree = MemoryTree::new();
    for (path, bytes) in files {
        tree.add_file(path, bytes.clone());
    }
    tree
}

/// Files as text, for a failure.
pub(crate) fn shown(files: &Files) -> String {
    let each = files.iter();
    each.map(|(path, bytes)| format!("-- {path} --\n{}", String::from_utf8_lossy(bytes)))
        .collect::<Vec<_>>()
        .concat()
}
