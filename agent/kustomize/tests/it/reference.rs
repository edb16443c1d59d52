//! kustomize itself: `kubectl kustomize` of the bundle, and what it said before.
//!
//! Starting it costs a hundred times what a build of ours does, so its answers are kept in the
//! target folder, by the contents of the tree and of the binary: a run that was cut short goes on
//! where it was, and a changed library is compared again without asking again.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::random_tree::Files;

/// The reference binary with its answers.
pub(crate) struct Reference {
    binary: PathBuf,
    answers: PathBuf,
}

/// What the reference prints for a tree, or its complaint.
pub(crate) type Answer = Result<String, String>;

impl Reference {
    /// Finds the binary: `$IMMUOPS_BUNDLE/bin/kubebox`, else the current bundle of the cache.
    pub(crate) fn find() -> Self {
        let folder = |variable| std::env::var_os(variable).map(PathBuf::from);
        let cache = || {
            let home = || folder("HOME").expect("HOME is set").join(".cache");
            folder("XDG_CACHE_HOME")
                .unwrap_or_else(home)
                .join("immuops/bundle/current")
        };
        let bundle = folder("IMMUOPS_BUNDLE").unwrap_or_else(cache);
        let binary = bundle.join("bin/kubebox");
        assert!(
            binary.is_file(),
            "the reference {} is missing: build the bundle first (`make bundle`), or set IMMUOPS_BUNDLE",
            binary.display()
        );
        let digest = hex(&Sha256::digest(fs_err::read(&binary).unwrap()));
        let answers = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("kustomize-reference")
            .join(digest);
        fs_err::create_dir_all(&answers).unwrap();
        Self { binary, answers }
    }

    /// What the reference says to the folder `top` of a tree.
    pub(crate) fn build(&self, files: &Files) -> Answer {
        let kept = self.answers.join(digest(files));
        if let Ok(text) = fs_err::read_to_string(&kept) {
            return match text.split_once('\n') {
                Some(("built", output)) => Ok(output.to_owned()),
                Some(("failed", complaint)) => Err(complaint.to_owned()),
                _ => panic!("{} is damaged: remove it", kept.display()),
            };
        }
        let answer = self.ask(files);
        let text = match &answer {
            Ok(output) => format!("built\n{output}"),
            Err(complaint) => format!("failed\n{complaint}"),
        };
        // Complete or not at all: a run may be killed at any time.
        let mut file = tempfile::NamedTempFile::new_in(&self.answers).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        file.persist(kept).unwrap();
        answer
    }

    fn ask(&self, files: &Files) -> Answer {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let output = Command::new(&self.binary)
            .args(["kubectl", "kustomize"])
            .arg(folder.path().join("top"))
            .env("HOME", folder.path())
            .output()
            .unwrap();
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        // Only kustomize's own refusal is an answer; a killed process is none.
        let code = output.status.code();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            code.is_some() && !complaint.is_empty(),
            "the reference ended with {}: {complaint}",
            output.status
        );
        Err(complaint)
    }
}

fn digest(files: &Files) -> String {
    let mut hash = Sha256::new();
    for (path, text) in files {
        for part in [path, text] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    digits.collect::<Vec<_>>().concat()
}
