//! Shows that the simulator's checks can fail: see `sim-mutants --help`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = rollout_sim::MutantArgs::parse();
    ExitCode::from(rollout_sim::mutants_command(&args, &mut std::io::stdout()))
}
