//! What runs the processors of virtual machines, found out by booting a guest.
//!
//! A KVM device that can be opened proves nothing: under a hypervisor that does not nest properly the
//! guest stops in early boot while QEMU stays alive. So a guest whose only program prints one line is
//! booted with a deadline, and a hang is a no. The same guest under emulation says how slow that is.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::qemu;
use crate::bundle::Tools;
use crate::command;
use crate::pace::Pace;
use crate::problem::Problem;
use crate::reporter::{Reporter, Step};

/// What runs the processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accelerator {
    /// The host's own, through KVM.
    Kvm,
    /// QEMU translates every instruction.
    Tcg,
}

impl Accelerator {
    /// A deadline for something that the guest does by itself, written for one with KVM.
    pub(super) fn scale(self, deadline: Duration) -> Duration {
        match self {
            Self::Kvm => deadline,
            Self::Tcg => deadline * 10,
        }
    }
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What will be used.
    pub accelerator: Accelerator,
    /// How slow that is.
    pub pace: Pace,
    /// Why, for people.
    pub why: String,
}

impl Verdict {
    /// For a person: what, why and what follows.
    pub fn described(&self) -> String {
        let Self {
            accelerator,
            pace,
            why,
        } = self;
        match accelerator {
            Accelerator::Kvm => format!("KVM: {why}"),
            Accelerator::Tcg => format!(
                "emulation (TCG): {why}; every deadline is {} times as long",
                pace.factor()
            ),
        }
    }
}

const KVM: &str = "/dev/kvm";
/// What the kernel of the probe guest says when the only program there has run and ended well
/// (`bootstrap/bundle/machine/guest.rs`). What the program itself prints may be lost: the machine ends
/// before the serial line has sent it.
const ALIVE: &str = "Attempted to kill init! exitcode=0x00000000";
/// With KVM the probe takes less than a second.
const KVM_DEADLINE: Duration = Duration::from_secs(10);
const TCG_DEADLINE: Duration = Duration::from_mins(2);
/// How long the probe takes with KVM, process start included.
const USUAL: Duration = Duration::from_millis(700);
/// The factor is never taken for less: a boot is mostly waiting, what comes later is not.
const LEAST_FACTOR: u32 = 6;
const MOST_FACTOR: u32 = 30;

/// Whether the KVM device can be used, else why not.
///
/// # Errors
/// The reason, for people.
pub fn kvm_device() -> Result<(), String> {
    let opened = fs_err::OpenOptions::new().read(true).write(true).open(KVM);
    match opened {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("there is no {KVM}"))
        }
        Err(_) => Err(format!("{KVM} cannot be opened by this user")),
    }
}

/// Boots a guest with KVM if `device` is there.
///
/// # Errors
/// Why KVM does not run guests here, for people.
pub fn with_kvm(
    tools: &Tools,
    device: Result<(), String>,
    reporter: &dyn Reporter,
) -> Result<Verdict, String> {
    device?;
    let step = Step::start(reporter, "probe guest with KVM");
    let booted = probe(tools, Accelerator::Kvm, KVM_DEADLINE);
    step.finish(booted.as_ref().map_or_else(String::as_str, |_| "runs"));
    Ok(Verdict {
        accelerator: Accelerator::Kvm,
        pace: Pace::USUAL,
        why: format!("a guest booted in {:.1} s", booted?.as_secs_f32()),
    })
}

/// Boots a guest that is emulated, because of `why`.
///
/// # Errors
/// When no guest boots at all.
pub fn emulated(tools: &Tools, why: String, reporter: &dyn Reporter) -> anyhow::Result<Verdict> {
    let step = Step::start(reporter, "probe guest");
    let took = probe(tools, Accelerator::Tcg, TCG_DEADLINE).map_err(|why| {
        Problem::new(format!("QEMU cannot run a guest here: {why}"))
            .hint("run it by hand to see more: the `vm` part of the cache has it, below tools/bin")
    })?;
    step.finish("runs emulated");
    Ok(Verdict {
        accelerator: Accelerator::Tcg,
        pace: Pace::slower(factor(took)),
        why,
    })
}

/// The factor for deadlines when the probe took this long.
fn factor(took: Duration) -> u32 {
    let times = took.as_millis().div_ceil(USUAL.as_millis());
    let times = u32::try_from(times).unwrap_or(MOST_FACTOR);
    times.clamp(LEAST_FACTOR, MOST_FACTOR)
}

/// Boots the probe guest; how long it took, else why it did not.
fn probe(tools: &Tools, accelerator: Accelerator, limit: Duration) -> Result<Duration, String> {
    let mut qemu = tools.command("qemu-system-x86_64");
    qemu.args(qemu::BASE)
        .args(qemu::processors(accelerator, 256))
        .args(["-smp", "2", "-m", "256", "-serial", "stdio", "-kernel"])
        .arg(tools.kernel())
        .arg("-initrd")
        .arg(tools.probe())
        // Its only program ends, the kernel panics at once, and `-no-reboot` ends the process.
        .args(["-append", "console=ttyS0 quiet panic=-1"]);
    let begun = Instant::now();
    match command::run(&mut qemu, b"", limit) {
        Ok(said) if said.stdout.contains(ALIVE) => Ok(begun.elapsed()),
        Ok(_) => Err("a probe guest ended before its program ran".to_owned()),
        Err(problem) => Err(reason(accelerator, limit, &problem.to_string())),
    }
}

/// One line of what went wrong.
fn reason(accelerator: Accelerator, limit: Duration, said: &str) -> String {
    let mut lines = said.lines().map(str::trim);
    // The first line is the command itself.
    let telling = lines.find(|line| {
        let words = ["error", "failed", "KVM"];
        !line.starts_with('`') && words.iter().any(|word| line.contains(word))
    });
    let with = match accelerator {
        Accelerator::Kvm => " with KVM",
        Accelerator::Tcg => "",
    };
    let limit = limit.as_secs();
    match telling {
        Some(line) => format!("a probe guest did not boot{with} ({line})"),
        None => format!("a probe guest did not boot{with} within {limit} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_follow_the_probe() {
        let cases = [(0.3, 6), (3.5, 6), (7.0, 10), (60.0, 30)];
        for (seconds, expected) in cases {
            assert_eq!(
                factor(Duration::from_secs_f32(seconds)),
                expected,
                "{seconds} s"
            );
        }
    }

    #[test]
    fn a_hang_says_what_kvm_said() {
        let limit = Duration::from_secs(10);
        let cases = [
            (
                "`qemu -kernel k` did not end within 10s\n    KVM internal error. Suberror: 1\n    RAX=0",
                "a probe guest did not boot with KVM (KVM internal error. Suberror: 1)",
            ),
            (
                "`qemu -kernel k` failed with signal: 6\n    qemu: error: failed to set MSR 0x10a",
                "a probe guest did not boot with KVM (qemu: error: failed to set MSR 0x10a)",
            ),
            (
                "`qemu -kernel k` did not end within 10s",
                "a probe guest did not boot with KVM within 10 s",
            ),
        ];
        for (said, expected) in cases {
            assert_eq!(reason(Accelerator::Kvm, limit, said), expected);
        }
    }
}
