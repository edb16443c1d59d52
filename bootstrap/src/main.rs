//! The command `bootstrap`: everything it does lives in the library beside it.
use std::process::ExitCode;

fn main() -> ExitCode {
    bootstrap::cli::run(std::env::args_os())
}
