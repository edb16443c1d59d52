//! Running programs: output captured, failures told with everything the program said.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

/// A `Command` as one would type it, for messages.
pub fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Opens a log for a process to go on writing, made if it is not there.
///
/// # Errors
/// When it cannot be opened.
pub fn log(path: impl AsRef<Path>) -> Result<File> {
    let file = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path.as_ref())?;
    Ok(file.into_parts().0)
}

/// Runs to the end and gives the output, whatever the exit status.
///
/// # Errors
/// When the program cannot be started or fed.
pub fn output(command: &mut Command, input: Option<&str>) -> Result<Output> {
    let name = shown(command);
    let mut child = command
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start `{name}`"))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin
            .write_all(input.as_bytes())
            .with_context(|| format!("failed to write to `{name}`"))?;
    }
    child
        .wait_with_output()
        .with_context(|| format!("failed to wait for `{name}`"))
}

/// Runs to the end and gives what it printed on stdout.
///
/// # Errors
/// When it exits with anything but 0: with its stdout and stderr.
pub fn text(command: &mut Command, input: Option<&str>) -> Result<String> {
    let out = output(command, input)?;
    let stdout = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        bail!(
            "`{}` ended with {}\nstdout: {stdout}\nstderr: {}",
            shown(command),
            out.status,
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(stdout)
}
