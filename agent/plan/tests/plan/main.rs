//! The package as the agent uses it: a simulated cluster, laws that hold for any input, tables and snapshots.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod world;

#[cfg(test)]
mod list {
    use std::collections::BTreeSet;

    #[test]
    fn every_file_is_a_module_of_the_list() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plan");
        let files: BTreeSet<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
            .filter(|name| name != "main")
            .collect();
        let listed = include_str!("main.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("mod "));
        let listed: BTreeSet<_> = listed
            .filter_map(|line| line.strip_suffix(';'))
            .map(str::to_owned)
            .collect();
        assert_eq!(files, listed);
    }
}
