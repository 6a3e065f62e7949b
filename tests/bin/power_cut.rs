//! Cuts the power of the real daemon: `rollout-power-cut [N]` makes N cuts (200 by default) in each arm and prints one
//! table. Needs root, ext4 and a C compiler. `ROLLOUT_SEED` repeats the same draws; the moments of the cuts stay the
//! machine's.

use std::env;
use std::process::ExitCode;

use rollout_e2e::power_cut::{Arm, POWER_CUT_TOOLS, Tally, cut_power};
use rollout_e2e::{has_all, until_interrupted};

/// Cuts in each arm when nobody says how many.
const CUTS: u32 = 200;

#[tokio::main]
async fn main() -> ExitCode {
    // Dropping the run unmounts its disk.
    until_interrupted(run()).await
}

async fn run() -> Result<(), String> {
    if !has_all("the power cuts", &POWER_CUT_TOOLS) {
        return Err(String::from("nothing was cut"));
    }
    let cuts = match env::args().nth(1) {
        Some(text) => text.parse().map_err(|_| format!("`{text}` is not a number of cuts"))?,
        None => CUTS,
    };
    let seed = match env::var("ROLLOUT_SEED") {
        Ok(text) => text.parse().map_err(|_| format!("ROLLOUT_SEED=`{text}` is not a number"))?,
        Err(_) => fastrand::u64(..),
    };
    // Cargo puts both programs into the same directory.
    let rolloutd = env::current_exe().map_err(|error| error.to_string())?;
    let rolloutd = rolloutd.with_file_name("e2e-rolloutd");
    let rolloutd = rolloutd.to_str().ok_or("the path of the programs is no text")?;
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    println!("{}", Tally::heading());
    let mut objections = Vec::new();
    for arm in [Arm::Synced, Arm::Control] {
        let tally = cut_power(rolloutd, arm, cuts, &mut random).await?;
        println!("{tally}");
        objections.extend(tally.objection());
    }
    match objections.is_empty() {
        true => Ok(()),
        false => Err(objections.join("\n\n")),
    }
}
