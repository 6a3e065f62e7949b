//! The simulator as a command; see `rollout-sim --help`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = rollout_sim::Args::parse();
    ExitCode::from(rollout_sim::command(&args, &mut std::io::stdout()))
}
