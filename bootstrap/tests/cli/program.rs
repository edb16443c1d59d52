//! How the tests run the binary.

use std::path::Path;
use std::process::Command;

/// Runs `bootstrap` and returns its exit code, standard output and standard error in one text, with
/// `home` and timestamps replaced.
pub(crate) fn bootstrap(home: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bootstrap"))
        .args(arguments)
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .output()
        .expect("the binary runs");
    let stdout = String::from_utf8(output.stdout).expect("standard output is UTF-8");
    let stderr = String::from_utf8(output.stderr).expect("standard error is UTF-8");
    let code = output.status.code().expect("it was not killed");
    let text = format!("exit code {code}\n--- stdout\n{stdout}--- stderr\n{stderr}");
    let text = text.replace(&home.display().to_string(), "$HOME");
    let stamp = regex::Regex::new(r"(?m)^\d{4}-\S+Z|\d+\.\ds").expect("the pattern is valid");
    stamp.replace_all(&text, "…").into_owned()
}

/// A file of tests that no `mod` line names would not run.
#[test]
fn every_file_here_is_a_module() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let main = fs_err::read_to_string(directory.join("main.rs")).unwrap();
    for entry in fs_err::read_dir(&directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") {
            assert!(
                main.contains(&format!("mod {module};\n")),
                "main.rs does not declare {name}"
            );
        }
    }
}
