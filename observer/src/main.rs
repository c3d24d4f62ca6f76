//! The binary: parse, run, exit status; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    match observer::cli::parse(std::env::args_os()) {
        Ok(cli) => observer::app::main(cli),
        Err(status) => status,
    }
}
