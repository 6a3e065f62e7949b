//! Owns the program from its first to its last line: arguments in, exit code out.

use std::ffi::OsString;

use clap::Parser;
use rollout_api::Exit;

use crate::cli::Cli;
use crate::commands;
use crate::env::{Env, Screen};
use crate::io::Io;

/// Runs the program with the arguments, outputs and surroundings of this process, and ends it.
pub fn main() -> ! {
    let (mut out, mut talk) = (std::io::stdout(), std::io::stderr());
    let exit = run(std::env::args_os(), &Env::of_process(), &mut Io::new(&mut out, &mut talk));
    std::process::exit(i32::from(exit.code()))
}

/// Runs the program. `args` begins with the program's own name.
pub fn run(args: impl IntoIterator<Item = OsString>, env: &Env, io: &mut Io<'_>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(answer) => return print_usage(&answer, env, io),
    };
    let format = cli.output;
    commands::run(cli, env, io).unwrap_or_else(|failure| {
        failure.report(format, io);
        failure.exit()
    })
}

/// Help and version are data; a usage error is talk.
fn print_usage(answer: &clap::Error, env: &Env, io: &mut Io<'_>) -> Exit {
    let text = |screen| match screen {
        Screen::Terminal => answer.render().ansi().to_string(),
        Screen::Monochrome | Screen::Pipe => answer.render().to_string(),
    };
    if answer.use_stderr() {
        io.say_rendered(&text(env.stderr));
        return Exit::Usage;
    }
    match io.print_rendered(&text(env.stdout)) {
        Ok(()) => Exit::Done,
        Err(error) => crate::failure::Failure::from(error).exit(),
    }
}
