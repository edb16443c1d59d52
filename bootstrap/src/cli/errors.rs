//! Prints an error the way every subcommand does: `error:`, its causes, its hints.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::problem::{Class, Problem, Problems};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// Writes the chain of `error`, outermost first, then the hints found in it, innermost first:
/// whoever is nearest to the cause knows best what to do.
///
/// A cause whose text already stands in the line above it is left out, because some libraries
/// repeat their source.
pub(super) fn print(out: &mut impl Write, error: &anyhow::Error) -> io::Result<()> {
    let mut above = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let text = cause.to_string();
        if depth == 0 {
            writeln!(out, "{ERROR}error:{ERROR:#} {text}")?;
        } else if !above.contains(&text) {
            writeln!(out, "  caused by: {}", indent(&text))?;
        }
        if let Some(problems) = cause.downcast_ref::<Problems>() {
            for problem in problems.list() {
                list_item(out, problem)?;
            }
        }
        above = text;
    }
    let hints: Vec<_> = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<Problem>())
        .collect();
    for hint in hints.iter().rev().filter_map(|problem| problem.hint_text()) {
        writeln!(out, "{HINT}hint:{HINT:#} {hint}")?;
    }
    Ok(())
}

/// One of several problems: its whole chain on one line, its hint below.
fn list_item(out: &mut impl Write, problem: &Problem) -> io::Result<()> {
    let mut line = problem.to_string();
    let mut cause = std::error::Error::source(problem);
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    writeln!(out, "  - {}", indent(&line))?;
    if let Some(hint) = problem.hint_text() {
        writeln!(out, "    {HINT}hint:{HINT:#} {hint}")?;
    }
    Ok(())
}

/// Keeps the lines of a long text (a log's tail) under their first line.
fn indent(text: &str) -> String {
    text.replace('\n', "\n    ")
}

/// The exit code of `error`: 3 when any part of it was refused, else 1.
pub(super) fn exit_code(error: &anyhow::Error) -> u8 {
    let refused = |problem: &Problem| problem.class() == Class::Refused;
    let any = error.chain().any(|cause| {
        cause.downcast_ref::<Problem>().is_some_and(refused)
            || cause
                .downcast_ref::<Problems>()
                .is_some_and(|all| all.list().iter().any(refused))
    });
    if any { 3 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(error: &anyhow::Error) -> String {
        let mut out = Vec::new();
        print(&mut anstream::StripStream::new(&mut out), error).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn prints_the_chain_and_the_innermost_hint_first() {
        let inner =
            Problem::new("no space left in /cache").hint("free 2 GiB or set XDG_CACHE_HOME");
        let outer = Problem::new("failed to build kubebox")
            .hint("run it again")
            .because(inner);
        insta::assert_snapshot!(printed(&anyhow::Error::from(outer).context("cannot make the bundle")), @r"
        error: cannot make the bundle
          caused by: failed to build kubebox
          caused by: no space left in /cache
        hint: free 2 GiB or set XDG_CACHE_HOME
        hint: run it again
        ");
    }

    #[test]
    fn leaves_out_a_cause_that_was_said_already() {
        let error = anyhow::anyhow!("disk on fire").context("write failed: disk on fire");
        assert_eq!(printed(&error), "error: write failed: disk on fire\n");
    }

    #[test]
    fn lists_every_problem_with_its_hint() {
        let list = vec![
            Problem::new("no program `go`").hint("install Go 1.26 or newer"),
            Problem::new("cannot write /cache").because(anyhow::anyhow!("permission denied")),
        ];
        let error = Problems::check(list, |n| format!("this machine lacks {n} prerequisites"));
        insta::assert_snapshot!(printed(&error.unwrap_err().into()), @r"
        error: this machine lacks 2 prerequisites
          - no program `go`
            hint: install Go 1.26 or newer
          - cannot write /cache: permission denied
        ");
    }

    #[test]
    fn refusal_has_its_own_exit_code() {
        assert_eq!(exit_code(&Problem::new("failed").into()), 1);
        let refused = Problem::refused("would delete data");
        assert_eq!(exit_code(&anyhow::Error::from(refused).context("up")), 3);
    }
}
