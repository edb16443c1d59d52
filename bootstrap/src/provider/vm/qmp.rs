//! Asks a running QEMU something, in its machine protocol
//! (<https://www.qemu.org/docs/master/interop/qmp-spec.html>): lines of JSON on a socket.

use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::spec::VmSpec;
use super::{qemu, sockets};
use crate::problem::{OrProblem, Problem};

/// QEMU answers at once or not at all.
const DEADLINE: Duration = Duration::from_secs(20);
/// Events that may come between a question and its answer.
const EVENTS: usize = 1000;

/// Runs one command and gives what it returned.
///
/// # Errors
/// When the machine does not run, does not answer within 20 s, or refuses.
pub(super) fn ask(spec: &VmSpec, command: &str, arguments: &Value) -> Result<Value, Problem> {
    let name = &spec.name;
    let failed = || Problem::new(format!("QEMU of machine {name} does not answer {command}"));
    let stream = sockets::connect(&spec.sockets, &qemu::socket(spec, "qmp")).or_problem(failed)?;
    stream.set_read_timeout(Some(DEADLINE)).or_problem(failed)?;
    stream
        .set_write_timeout(Some(DEADLINE))
        .or_problem(failed)?;
    let mut lines = BufReader::new(stream.try_clone().or_problem(failed)?).lines();
    let mut say = |question: Value| -> Result<Value, Problem> {
        let mut line = question.to_string();
        line.push('\n');
        (&stream).write_all(line.as_bytes()).or_problem(failed)?;
        answer(&mut lines, name.as_str(), command)
    };
    say(json!({ "execute": "qmp_capabilities" }))?;
    if arguments.is_null() {
        return say(json!({ "execute": command }));
    }
    say(json!({ "execute": command, "arguments": arguments }))
}

/// The next line that is an answer, neither the greeting nor an event.
fn answer(
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
    name: &str,
    command: &str,
) -> Result<Value, Problem> {
    let failed = || Problem::new(format!("QEMU of machine {name} does not answer {command}"));
    for line in lines.take(EVENTS) {
        let line = line.or_problem(failed)?;
        let message: Value = serde_json::from_str(&line).or_problem(failed)?;
        if let Some(value) = message.get("return") {
            return Ok(value.clone());
        }
        if let Some(text) = message.pointer("/error/desc").and_then(Value::as_str) {
            return Err(Problem::new(format!(
                "QEMU of machine {name} refuses {command}: {text}"
            )));
        }
    }
    Err(failed())
}

/// Runs a line of the monitor that people use: some things have no other command.
///
/// # Errors
/// As [`ask`].
pub(super) fn monitor(spec: &VmSpec, line: &str) -> Result<String, Problem> {
    let arguments = json!({ "command-line": line });
    let value = ask(spec, "human-monitor-command", &arguments)?;
    Ok(value.as_str().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_between() {
        let said = [
            r#"{"QMP": {"version": {}}}"#,
            r#"{"event": "STOP"}"#,
            r#"{"return": {"status": "running"}}"#,
        ];
        let mut lines = said.iter().map(|line| Ok((*line).to_owned()));
        let value = answer(&mut lines, "n1", "query-status").unwrap();
        assert_eq!(value, json!({ "status": "running" }));
    }

    #[test]
    fn a_refusal_is_told() {
        let mut lines = [Ok(r#"{"error": {"desc": "no such netdev"}}"#.to_owned())].into_iter();
        let error = answer(&mut lines, "n1", "netdev_del").unwrap_err();
        assert_eq!(
            error.to_string(),
            "QEMU of machine n1 refuses netdev_del: no such netdev"
        );
    }
}
