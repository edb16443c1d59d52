//! With a memo a build gives what it gives without: for trees that change bit by bit, for broken
//! ones, and for a memo of any size.

use std::borrow::Cow;
use std::fmt::Write as _;

use kustomize::{ContentId, Entry, Memo, MemoryTree, Options, Tree, TreeError};
use sha2::{Digest as _, Sha256};

use super::corpus::{self, Files, corpus, damage, shown};
use super::number;
use super::random::Random;
use super::random_tree;

/// Rounds run when nothing else is asked for.
const ROUNDS: u64 = 400;
/// Room for everything, for some of it, and for nothing.
const SIZES: [usize; 3] = [64 << 20, 200_000, 0];

/// A tree that knows the hashes of its files, as git does.
struct Hashed(MemoryTree);

impl Tree for Hashed {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        self.0.entry(path)
    }

    fn content(&self, path: &str) -> Result<Option<ContentId>, TreeError> {
        let bytes = self.0.read(path)?;
        Ok(Some(ContentId::new(&Sha256::digest(bytes))))
    }

    fn read(&self, path: &str) -> Result<Cow<'_, [u8]>, TreeError> {
        self.0.read(path)
    }
}

/// Everything that a caller can see of a build.
fn seen(outcome: Result<kustomize::Rendered, kustomize::Error>) -> String {
    match outcome {
        Err(error) => format!("{:?}: {error}", error.kind()),
        Ok(rendered) => {
            let mut text = rendered.to_yaml();
            for object in rendered.into_objects() {
                let (file, line) = object.source();
                write!(text, "\n{file}:{line} {object:?} ").unwrap();
                text.push_str(&object.into_value().to_string());
            }
            text
        }
    }
}

fn check(memos: &[Memo], files: &Files, dir: &str, what: &str) {
    let tree = corpus::tree(files);
    let options = Options::default();
    let expected = seen(kustomize::render(&tree, dir, &options));
    let hashed = Hashed(tree.clone());
    for memo in memos {
        for tree in [&tree as &dyn Tree, &hashed] {
            let found = seen(kustomize::render_with_memo(tree, dir, &options, memo));
            assert!(
                found == expected,
                "{what} with {memo:?}:\nexpected\n{expected}\nfound\n{found}\n{}",
                shown(files)
            );
        }
    }
}

/// Changes one file: for one of another tree, or as a whole or in a part.
fn change(random: &mut Random, files: &mut Files, others: &Files) {
    let at = random.below(files.len());
    match random.below(4) {
        0 => files[at].1 = others[random.below(others.len())].1.clone(),
        1 => {
            let text = String::from_utf8_lossy(&files[at].1).into_owned();
            let names = ["web", "api", "db", "conf0", "conf1", "nginx", "prod"];
            let (old, new) = (random.pick(&names), random.pick(&names));
            files[at].1 = text.replace(old, new).into_bytes();
        }
        2 => {
            let other = random.below(files.len());
            let contents = files[at].1.clone();
            files[at].1 = std::mem::replace(&mut files[other].1, contents);
        }
        _ => damage(random, files),
    }
}

fn random_files(seed: u64) -> Files {
    let files = random_tree::tree(seed).into_iter();
    files
        .map(|(path, text)| (path, text.into_bytes()))
        .collect()
}

#[test]
fn a_memo_changes_no_outcome() {
    const CHANGES: usize = 4;
    let memos = SIZES.map(Memo::new);
    let corpus = corpus();
    let first = number("KUSTOMIZE_FIRST_SEED", 0);
    for seed in first..first + number("KUSTOMIZE_MUTATIONS", ROUNDS) {
        let mut random = Random::new(seed);
        let (dir, original) = if random.chance(50) {
            ("top".to_owned(), random_files(seed))
        } else {
            corpus[random.below(corpus.len())].clone()
        };
        if original.is_empty() {
            continue;
        }
        let others = random_files(seed + 1);
        check(&memos, &original, &dir, &format!("seed {seed}"));
        let mut files = original.clone();
        for number in 0..CHANGES {
            change(&mut random, &mut files, &others);
            check(
                &memos,
                &files,
                &dir,
                &format!("seed {seed}, change {number}"),
            );
        }
        check(&memos, &original, &dir, &format!("seed {seed}, again"));
    }
    for (memo, size) in memos.iter().zip(SIZES) {
        assert!(memo.bytes() <= size, "{memo:?} holds more than {size}");
    }
}

/// Counts what is read of a tree.
struct Counting {
    tree: Hashed,
    read: std::cell::RefCell<Vec<String>>,
}

impl Tree for Counting {
    fn entry(&self, path: &str) -> Result<Option<Entry>, TreeError> {
        self.tree.entry(path)
    }

    fn content(&self, path: &str) -> Result<Option<ContentId>, TreeError> {
        self.tree.content(path)
    }

    fn read(&self, path: &str) -> Result<Cow<'_, [u8]>, TreeError> {
        self.read.borrow_mut().push(path.to_owned());
        self.tree.read(path)
    }
}

#[test]
fn a_file_is_read_once() {
    let service =
        |name: &str| format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n");
    let mut tree = MemoryTree::from([("kustomization.yaml", "resources: [a.yaml, b.yaml]\n")]);
    tree.add_file("a.yaml", service("a"));
    tree.add_file("b.yaml", service("b"));
    let memo = Memo::new(1 << 20);
    let read = |tree: &MemoryTree| {
        let tree = Counting {
            tree: Hashed(tree.clone()),
            read: std::cell::RefCell::default(),
        };
        kustomize::render_with_memo(&tree, "", &Options::default(), &memo).unwrap();
        tree.read.into_inner()
    };
    assert_eq!(read(&tree), ["kustomization.yaml", "a.yaml", "b.yaml"]);
    assert_eq!(read(&tree), ["kustomization.yaml"]);
    tree.add_file("b.yaml", service("c"));
    assert_eq!(read(&tree), ["kustomization.yaml", "b.yaml"]);
}
