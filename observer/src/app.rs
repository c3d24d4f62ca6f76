//! The wiring, and the only place that reads a clock.

mod clock;
mod command;
mod courtesy;
mod doctor;
mod effort;
mod ending;
mod explain;
mod export;
mod exposed;
mod judge;
mod live;
mod mark;
mod observation;
mod output;
mod replay;
mod report;
mod run;
mod serve;
mod session;
mod signals;
mod wait;

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use crate::{
    cli::{Action, Cli},
    heap,
};

/// Runs what the command line asked for and gives the exit status.
pub fn main(cli: Cli) -> ExitCode {
    heap::give_back_large_blocks();
    let action = cli.action.unwrap_or(Action::Live(cli.live));
    let outcome = match action {
        Action::Live(args) => live::live(args),
        Action::Run(args) => return run::run(args),
        Action::Serve(args) => serve::serve(args),
        Action::Replay(args) => replay::replay(&args),
        Action::Report(args) => report::report(&args),
        Action::Export(args) => export::export(&args),
        Action::Doctor(args) => doctor::doctor(&args),
        Action::Explain(args) => explain::explain(&args),
        Action::Mark(args) => mark::tell(&args.name),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells the user something on stderr. Nobody may be listening any more (`2>&1 | head`), which is no
/// reason to fail.
fn say(message: fmt::Arguments) {
    let _ = writeln!(io::stderr(), "observer: {message}");
}

/// Prints an answer on stdout, on the same terms.
fn answer(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
