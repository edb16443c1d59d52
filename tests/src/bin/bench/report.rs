//! The table that `make bench` prints.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::processes::Usage;

/// Rows of results, and the machine they were measured on.
#[derive(Debug)]
pub(crate) struct Report {
    rows: Vec<(String, String, String)>,
    components: Vec<(String, Usage, f64)>,
    phases: Vec<String>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            rows: Vec::new(),
            components: Vec::new(),
            phases: Vec::new(),
        }
    }

    /// One result with its budget.
    pub(crate) fn row(&mut self, what: &str, budget: &str, measured: String) {
        self.rows
            .push((what.to_owned(), budget.to_owned(), measured));
    }

    /// What a component took, with its share of one core in per cent.
    pub(crate) fn component(&mut self, name: &str, usage: &Usage, share: f64) {
        self.components
            .push((name.to_owned(), usage.clone(), share));
    }

    /// Median, 99th percentile and maximum of some durations.
    pub(crate) fn distribution(&mut self, what: &str, budget: &str, durations: &[Duration]) {
        let mut sorted = durations.to_vec();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(index).copied().unwrap_or_default()
        };
        let measured = format!(
            "p50 {}, p99 {}, max {}",
            milliseconds(at(50)),
            milliseconds(at(99)),
            milliseconds(at(100))
        );
        self.row(what, budget, measured);
    }

    /// The lines of `bootstrap up` that say how long a step took.
    pub(crate) fn phases(&mut self, log: &str) {
        let steps = log
            .lines()
            .filter_map(|line| line.split_once(' ').map(|(_, rest)| rest));
        self.phases.extend(
            steps
                .filter(|step| step.contains(": done in "))
                .map(str::to_owned),
        );
    }

    /// Prints everything as Markdown.
    pub(crate) fn print(&self) -> Result<()> {
        let mut text = String::new();
        writeln!(text, "Machine: {}\n", machine()?)?;
        writeln!(text, "| what | budget | measured |\n|---|---|---|")?;
        for (what, budget, measured) in &self.rows {
            writeln!(text, "| {what} | {budget} | {measured} |")?;
        }
        writeln!(
            text,
            "\n| component | processes | resident | of one core while idle |\n|---|---|---|---|"
        )?;
        let mut components: Vec<_> = self.components.iter().collect();
        components.sort_by_key(|(_, usage, _)| std::cmp::Reverse(usage.resident));
        for (name, usage, share) in components {
            let resident = mebibytes(usage.resident);
            let processes = usage.processes;
            writeln!(text, "| {name} | {processes} | {resident} | {share:.2} % |")?;
        }
        let all: u64 = self.components.iter().map(|(_, u, _)| u.resident).sum();
        let share: f64 = self.components.iter().map(|(_, _, share)| share).sum();
        writeln!(text, "| all | | {} | {share:.2} % |", mebibytes(all))?;
        writeln!(text, "\nTime per step of `bootstrap up`:\n")?;
        for phase in &self.phases {
            writeln!(text, "- {phase}")?;
        }
        std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())
            .context("failed to print the report")
    }
}

/// A size given in KiB.
pub(crate) fn mebibytes(kib: u64) -> String {
    let kib = f64::from(u32::try_from(kib).unwrap_or(u32::MAX));
    format!("{:.1} MiB", kib / 1024.0)
}

pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1000.0)
}

/// Date, kernel, processors and memory.
fn machine() -> Result<String> {
    let read = |command: &str| {
        tests::process::text(std::process::Command::new("sh").args(["-c", command]), None)
    };
    Ok(format!(
        "{}, Linux {}, {} × {}, {} GiB",
        read("date +%Y-%m-%d")?.trim(),
        read("uname -r")?.trim(),
        read("nproc")?.trim(),
        read("sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1")?.trim(),
        read("awk '/^MemTotal/ { print int($2 / 1048576 + 0.5) }' /proc/meminfo")?.trim(),
    ))
}
