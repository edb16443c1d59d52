//! Tests of the library as its users see it, in one binary.

#[cfg(test)]
mod broken;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod memo;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod random;
#[cfg(test)]
mod random_object;
#[cfg(test)]
mod random_tree;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod safety;
#[cfg(test)]
mod scalars;
#[cfg(test)]
mod targets;

/// The number in an environment variable.
#[cfg(test)]
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[cfg(test)]
mod listed {
    /// A test file that nobody lists would never run.
    #[test]
    fn every_file_is_listed() {
        let main = include_str!("main.rs");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
        for entry in fs_err::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let module = name.strip_suffix(".rs").unwrap();
            assert!(
                module == "main" || main.contains(&format!("mod {module};")),
                "{name} is not in main.rs"
            );
        }
    }
}
