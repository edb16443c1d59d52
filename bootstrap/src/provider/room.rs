//! How much memory and disk this host has left for machines.

use std::path::Path;

/// The memory in MiB that programs can still have, from the text of `/proc/meminfo`; `None` where the
/// kernel does not say, which is no reason to refuse anything.
pub(super) fn memory(meminfo: &str) -> Option<u64> {
    let kibibytes = meminfo.lines().find_map(|line| {
        let kibibytes = line
            .strip_prefix("MemAvailable:")?
            .trim()
            .strip_suffix("kB")?;
        kibibytes.trim().parse::<u64>().ok()
    })?;
    Some(kibibytes >> 10)
}

/// The disk in MiB that is free at `path`, and where that was read: the path may not exist yet, but its
/// first ancestor that does is on the same disk.
pub(super) fn disk(path: &Path) -> Option<(u64, &Path)> {
    let place = path.ancestors().find(|place| place.exists())?;
    let stat = rustix::fs::statvfs(place).ok()?;
    Some(((stat.f_bavail * stat.f_frsize) >> 20, place))
}
