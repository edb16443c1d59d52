//! The command line: one file per subcommand, its arguments beside its function.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 failed,
//! 2 wrong usage, 3 refused by a safety rule, 130 interrupted.

mod bundle;
mod ca;
mod console;
mod down;
mod errors;
mod exec;
mod kubeconfig;
mod logs;
mod machine;
mod output;
mod ports;
mod start;
mod status;
mod stop;
mod summary;
mod target;
mod up;

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
    Up(up::Args),
    Start(start::Args),
    Stop(stop::Args),
    Down(down::Args),
    Status(status::Args),
    Kubeconfig(kubeconfig::Args),
    Ca(ca::Args),
    Logs(logs::Args),
    Exec(exec::Args),
    Console(console::Args),
    Bundle(bundle::Args),
    #[command(hide = true)]
    Machine(machine::Args),
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
    let done = |()| ExitCode::SUCCESS;
    let result = match cli.command {
        Command::Exec(args) => exec::run(&args),
        Command::Console(args) => console::run(&args),
        Command::Up(args) => up::run(&args).map(done),
        Command::Start(args) => start::run(&args).map(done),
        Command::Stop(args) => stop::run(&args).map(done),
        Command::Down(args) => down::run(&args).map(done),
        Command::Status(args) => status::run(&args).map(done),
        Command::Kubeconfig(args) => kubeconfig::run(&args).map(done),
        Command::Ca(args) => ca::run(&args).map(done),
        Command::Logs(args) => logs::run(&args).map(done),
        Command::Bundle(args) => bundle::run(&args).map(done),
        Command::Machine(args) => machine::run(&args).map(done),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            let stderr = &mut anstream::stderr().lock();
            drop(errors::print(stderr, &error));
            ExitCode::from(errors::exit_code(&error))
        }
    }
}
