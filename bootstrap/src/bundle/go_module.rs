//! What a wrapper module pins: the only place where a version of a Go program is written down.

use std::path::Path;

use fs_err as fs;

use super::manifest::Source;
use crate::problem::{OrProblem, Problem};

/// The text of a `go.mod` and its `go.sum`.
#[derive(Clone, Debug)]
pub(super) struct GoModule {
    place: String,
    requirements: String,
    sums: String,
}

impl GoModule {
    /// Reads the module in `directory`.
    pub(super) fn read(directory: &Path) -> Result<Self, Problem> {
        let place = directory.display().to_string();
        let problem = || {
            Problem::new(format!("cannot read the wrapper module {place}"))
                .hint("check out the repository again: go.mod and go.sum are part of it")
        };
        let requirements = fs::read_to_string(directory.join("go.mod")).or_problem(problem)?;
        let sums = fs::read_to_string(directory.join("go.sum")).or_problem(problem)?;
        Ok(Self {
            place,
            requirements,
            sums,
        })
    }

    /// The version that is required of `module`, as Go writes it (`v1.37.2`).
    pub(super) fn version(&self, module: &str) -> Result<&str, Problem> {
        let lines = self.requirements.lines().map(|line| {
            let line = line.trim();
            line.strip_prefix("require ").unwrap_or(line)
        });
        let mut words = lines.map(|line| (line.split_whitespace(), line.contains("=>")));
        let version = words.find_map(|(mut words, replaced)| {
            (words.next() == Some(module) && !replaced)
                .then(|| words.next())
                .flatten()
        });
        version
            .ok_or_else(|| Problem::new(format!("{}/go.mod does not require {module}", self.place)))
    }

    /// Module, version and hash, for the manifest.
    pub(super) fn source(&self, module: &str) -> Result<Source, Problem> {
        let version = self.version(module)?;
        let sum = self.sums.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let found = words.next() == Some(module) && words.next() == Some(version);
            found.then(|| words.next()).flatten()
        });
        let sum = sum.ok_or_else(|| {
            Problem::new(format!(
                "{}/go.sum has no hash of {module} {version}",
                self.place
            ))
            .hint("run `go mod tidy` in that directory and commit the result")
        })?;
        Ok(Source::GoModule {
            module: module.to_owned(),
            version: version.to_owned(),
            sum: sum.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module() -> GoModule {
        GoModule {
            place: "x".to_owned(),
            requirements:
                "module x\n\nrequire a.org/b v1.2.3\n\nrequire (\n\tc.org/d v0.1.0 // indirect\n)\n\
                           replace c.org/e => c.org/e v9.0.0\n"
                    .to_owned(),
            sums: "a.org/b v1.2.3 h1:code=\na.org/b v1.2.3/go.mod h1:mod=\n".to_owned(),
        }
    }

    #[test]
    fn versions_are_found_in_both_forms() {
        assert_eq!(module().version("a.org/b").unwrap(), "v1.2.3");
        assert_eq!(module().version("c.org/d").unwrap(), "v0.1.0");
    }

    #[test]
    fn what_is_not_required_is_an_error() {
        for name in ["c.org/e", "a.org"] {
            let problem = module().version(name).unwrap_err();
            assert_eq!(
                problem.to_string(),
                format!("x/go.mod does not require {name}")
            );
        }
    }

    #[test]
    fn the_source_carries_the_hash_of_the_code() {
        let Source::GoModule { sum, .. } = module().source("a.org/b").unwrap() else {
            panic!("not a Go module");
        };
        assert_eq!(sum, "h1:code=");
        let problem = module().source("c.org/d").unwrap_err();
        assert_eq!(
            problem.to_string(),
            "x/go.sum has no hash of c.org/d v0.1.0"
        );
    }
}
