//! Which provider makes the machines, and why.

use super::Kind;
use super::vm::accelerator::{self, Verdict};
use crate::bundle::{Cache, Tools};
use crate::problem::Problem;
use crate::reporter::Reporter;
use crate::state::ClusterFile;

/// A provider that makes machines, with what was found out about it.
#[derive(Debug)]
pub enum Choice {
    /// Namespaces of this host.
    Native,
    /// Virtual machines.
    Vm(Box<ChosenVm>),
}

/// How virtual machines will run here.
#[derive(Debug)]
pub struct ChosenVm {
    /// The programs that make and run them.
    pub tools: Tools,
    /// What runs their processors.
    pub verdict: Verdict,
}

/// What a person may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The best that works here.
    Auto,
    /// This one.
    For(Kind),
}

/// What is known before any guest is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Host<'a> {
    root: bool,
    /// Whether `/dev/kvm` can be opened, else why not.
    kvm_device: Result<(), &'a str>,
}

/// The first step of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Native,
    Vm,
    /// Boot a guest under KVM and decide by that.
    Probe,
}

/// Decides as far as that needs no guest.
fn first(asked: Asked, made_by: Option<Kind>, host: Host<'_>) -> First {
    let of = |kind| match kind {
        Kind::Native | Kind::Existing => First::Native,
        Kind::Vm => First::Vm,
    };
    match (asked, made_by) {
        (Asked::For(kind), _) | (Asked::Auto, Some(kind)) => of(kind),
        (Asked::Auto, None) if host.kvm_device.is_ok() => First::Probe,
        (Asked::Auto, None) if host.root => First::Native,
        (Asked::Auto, None) => First::Vm,
    }
}

/// Chooses for a new cluster, or for one that `existing` describes, and says what and why.
///
/// # Errors
/// When virtual machines were asked for, or are all that is left, and no guest boots.
pub fn choose(
    asked: Asked,
    existing: Option<&ClusterFile>,
    cache: &Cache,
    reporter: &dyn Reporter,
) -> anyhow::Result<Choice> {
    let device = accelerator::kvm_device();
    let root = rustix::process::geteuid().is_root();
    let host = Host {
        root,
        kvm_device: match &device {
            Ok(()) => Ok(()),
            Err(why) => Err(why.as_str()),
        },
    };
    let made_by = existing.map(|file| file.provider);
    let step = first(asked, made_by, host);
    if step == First::Native {
        if asked == Asked::Auto && made_by.is_none() {
            let why = device.err().unwrap_or_default();
            reporter.note(&format!("provider native: {why}, and this user is root"));
        }
        return Ok(Choice::Native);
    }
    let tools = Tools::ensure(cache, reporter)?;
    let verdict = match accelerator::with_kvm(&tools, device, reporter) {
        Ok(verdict) => verdict,
        Err(why) if step == First::Probe && root => {
            reporter.note(&format!("provider native: {why}, and this user is root"));
            return Ok(Choice::Native);
        }
        Err(why) => accelerator::emulated(&tools, why, reporter)?,
    };
    reporter.note(&format!("provider vm: {}", verdict.described()));
    Ok(Choice::Vm(Box::new(ChosenVm { tools, verdict })))
}

/// The provider of a cluster that exists.
///
/// # Errors
/// When the cluster was made by others, or no guest boots any more.
pub fn again(file: &ClusterFile, cache: &Cache, reporter: &dyn Reporter) -> anyhow::Result<Choice> {
    match file.provider {
        Kind::Existing => {
            let problem: Problem = super::existing::not_ours(&file.topology.cluster);
            Err(problem.into())
        }
        kind @ (Kind::Native | Kind::Vm) => choose(Asked::For(kind), Some(file), cache, reporter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_where() {
        let kvm = |root| Host {
            root,
            kvm_device: Ok(()),
        };
        let none = |root| Host {
            root,
            kvm_device: Err("there is no /dev/kvm"),
        };
        let auto = Asked::Auto;
        let cases = [
            (
                "a KVM device is only a promise",
                auto,
                None,
                kvm(true),
                First::Probe,
            ),
            ("also for users", auto, None, kvm(false), First::Probe),
            ("root without KVM", auto, None, none(true), First::Native),
            ("a user without KVM", auto, None, none(false), First::Vm),
            (
                "a cluster of VMs",
                auto,
                Some(Kind::Vm),
                none(true),
                First::Vm,
            ),
            (
                "a native cluster",
                auto,
                Some(Kind::Native),
                kvm(true),
                First::Native,
            ),
            (
                "asked for",
                Asked::For(Kind::Vm),
                None,
                none(true),
                First::Vm,
            ),
        ];
        for (case, asked, made_by, host, expected) in cases {
            assert_eq!(first(asked, made_by, host), expected, "{case}");
        }
    }
}
