//! The command line: one file per subcommand, its arguments beside its function.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 failed,
//! 2 wrong usage, 3 refused by a safety rule, 130 interrupted.

mod bundle;
mod errors;
mod output;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Creates machines, makes a Kubernetes cluster of them and runs immudb on it from git
#[derive(Debug, Parser)]
#[command(name = "bootstrap", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bundle(bundle::Args),
}

/// Parses the arguments, runs the subcommand and prints what went wrong.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => {
            let code = if usage.use_stderr() { 2 } else { 0 };
            // A closed pipe is no reason to fail: there is nobody left to tell.
            drop(usage.print());
            return ExitCode::from(code);
        }
    };
    let result = match cli.command {
        Command::Bundle(args) => bundle::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let stderr = &mut anstream::stderr().lock();
            drop(errors::print(stderr, &error));
            ExitCode::from(errors::exit_code(&error))
        }
    }
}
