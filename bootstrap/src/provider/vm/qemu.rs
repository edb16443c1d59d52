//! The command line of QEMU for a machine. Pure.
//!
//! - No initrd: the guest's kernel has ext4 and `NVMe` built in, so that is what the root is on.
//! - Sockets have relative names: QEMU runs in their directory, so the path of the state directory
//!   may be longer than the 107 bytes of a socket's name.
//! - `-no-reboot`: a guest that panics or reboots ends its process, and that is noticed.

use std::path::Path;

use super::accelerator::Accelerator;
use super::files::{hardware_address, host_network};
use super::spec::VmSpec;
use crate::bundle::LANES;

/// The guest's kernel is told what costs time and brings nothing in a machine of one purpose.
const KERNEL: &str = "root=/dev/nvme0n1 rw rootfstype=ext4 console=ttyS0 net.ifnames=0 nowatchdog \
                      rcupdate.rcu_expedited=1 random.trust_cpu=on audit=0 selinux=0 apparmor=0 panic=1 \
                      systemd.show_status=0 systemd.log_target=journal quiet";

/// The socket of a machine that is called `what`, relative to the directory of the sockets.
pub(super) fn socket(spec: &VmSpec, what: &str) -> String {
    format!("{}.{what}", spec.name)
}

/// The arguments that choose what runs the processors.
pub(super) fn processors(accelerator: Accelerator, translations: u32) -> Vec<String> {
    let words = match accelerator {
        Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host"].map(String::from),
        Accelerator::Tcg => [
            "-accel".to_owned(),
            format!("tcg,thread=multi,tb-size={translations}"),
            "-cpu".to_owned(),
            "max".to_owned(),
        ],
    };
    words.into()
}

/// What every guest starts with, the probe too: no device but what is asked for, and no rights that
/// QEMU does not need any more once it runs.
pub(super) const BASE: [&str; 9] = [
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-machine",
    "q35",
    "-no-reboot",
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
];

/// Everything after the program. `credentials` are files of the machine in SMBIOS form.
pub(super) fn arguments(spec: &VmSpec, kernel: &Path, credentials: &[&str]) -> Vec<String> {
    let mitigations = match spec.accelerator {
        Accelerator::Kvm => "",
        // Nothing speculates.
        Accelerator::Tcg => " mitigations=off",
    };
    let mut words: Vec<String> = BASE.map(String::from).into();
    words.extend(processors(spec.accelerator, spec.size.translations));
    words.extend(
        [
            option("-name", spec.name.to_string()),
            option("-smp", spec.size.processors.to_string()),
            option("-m", spec.size.memory.to_string()),
            option("-kernel", kernel.display().to_string()),
            option("-append", format!("{KERNEL}{mitigations}")),
            option("-rtc", "base=utc,clock=host".to_owned()),
            option("-device", "virtio-rng-pci".to_owned()),
        ]
        .into_iter()
        .chain(lines(spec))
        .chain(disks(spec))
        .chain(links(spec))
        .flatten(),
    );
    for credential in credentials {
        let file = escaped(&spec.file(credential));
        words.extend(option("-smbios", format!("type=11,path={file}")));
    }
    words
}

fn option(name: &str, value: String) -> [String; 2] {
    [name.to_owned(), value]
}

/// The console, the monitor, and the ports for questions.
fn lines(spec: &VmSpec) -> Vec<[String; 2]> {
    let log = escaped(&spec.file("serial.log"));
    let console = socket(spec, "console");
    let monitor = socket(spec, "qmp");
    let console =
        format!("socket,id=console,path={console},server=on,wait=off,logfile={log},logappend=off");
    let mut options = vec![
        option("-chardev", console),
        option("-serial", "chardev:console".to_owned()),
        option("-qmp", format!("unix:{monitor},server=on,wait=off")),
        option("-device", "virtio-serial-pci".to_owned()),
    ];
    for lane in 0..LANES {
        let path = socket(spec, &format!("exec.{lane}"));
        let socket = format!("socket,id=exec{lane},path={path},server=on,wait=off");
        let port = format!("virtserialport,chardev=exec{lane},name=exec.{lane}");
        options.extend([option("-chardev", socket), option("-device", port)]);
    }
    options
}

/// What is written to the root may be lost with the host, it is new at every start; what is written
/// to the data may not.
///
/// The root is the only `NVMe` disk: the guest's kernel, which has no initrd, finds it by a name that it
/// gives in the order of an asynchronous scan. The others are found by their serial number.
fn disks(spec: &VmSpec) -> Vec<[String; 2]> {
    let disk = |name: &str, how: &str| {
        let file = escaped(&spec.file(name));
        let id = name.split('.').next().unwrap_or_default();
        option("-drive", format!("if=none,id={id},file={file},{how}"))
    };
    let data = "format=raw,cache=writeback,discard=unmap";
    let virtio = |id: &str| format!("virtio-blk-pci,drive={id},serial={id}");
    vec![
        disk("root.qcow2", "format=qcow2,cache=unsafe,discard=unmap"),
        option("-device", "nvme,drive=root,serial=root".to_owned()),
        disk("data.raw", data),
        option("-device", virtio("data")),
        disk("seed.tar", "format=raw,readonly=on"),
        option("-device", virtio("seed")),
    ]
}

/// The link to the host, and the one to the other machines.
fn links(spec: &VmSpec) -> Vec<[String; 2]> {
    let restrict = if spec.outbound { "off" } else { "on" };
    let network = host_network();
    let own = socket(spec, "lan");
    let switch = super::switch::SOCKET;
    let host = format!("user,id=host,ipv6=off,net={network},restrict={restrict}");
    let lan = format!(
        "dgram,id=lan,local.type=unix,local.path={own},remote.type=unix,remote.path={switch}"
    );
    let mut options = vec![option("-netdev", host), option("-netdev", lan)];
    for (link, netdev) in [(0, "host"), (1, "lan")] {
        let mac = hardware_address(&spec.name, link);
        let device = format!("virtio-net-pci,netdev={netdev},mac={mac},romfile=");
        options.push(option("-device", device));
    }
    options
}

/// A path as a value of an option, in which a comma would begin the next.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::vm::spec::Size;
    use crate::topology::Role;

    fn spec(accelerator: Accelerator) -> VmSpec {
        VmSpec {
            name: "n1".parse().unwrap(),
            directory: "/state/a,b/nodes/n1".into(),
            sockets: "/state/a,b/sockets".into(),
            tools: "/tools".into(),
            disk: "/disk.qcow2".into(),
            accelerator,
            size: Size::of(Role::ControlPlane, accelerator, 2),
            outbound: false,
        }
    }

    #[test]
    fn a_machine_is_one_command() {
        let words = arguments(
            &spec(Accelerator::Tcg),
            Path::new("/tools/vmlinuz"),
            &["hostname.smbios"],
        );
        let lines = words.join("\n").replace("\n-", "\u{0}-").replace('\n', " ");
        insta::assert_snapshot!(lines.replace('\u{0}', "\n"));
    }

    #[test]
    fn kvm_translates_nothing_and_keeps_its_guards() {
        let words = arguments(&spec(Accelerator::Kvm), Path::new("/k"), &[]).join(" ");
        assert!(words.contains("-accel kvm -cpu host"), "{words}");
        assert!(!words.contains("mitigations=off"), "{words}");
    }
}
