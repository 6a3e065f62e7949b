//! Judges every kind of disk that a power cut may leave: `rollout-torn-writes [N] [daemon|store]` draws N disks (1,000 by
//! default) from recordings of the real daemon and as many of its store alone, or only of one of the two, a fifth as many
//! without our sync, and prints one table.
//! Needs a C compiler. `ROLLOUT_SEED` repeats the draws; what is recorded stays the machine's. With
//! `ROLLOUT_TORN_KEEP=DIR`, disks on which something failed are kept there.

use std::env;
use std::process::ExitCode;

use rollout_e2e::torn::{Extent, TORN_TOOLS, Tally, Torn, TornPrograms, tear_writes};
use rollout_e2e::{has_all, until_interrupted};

/// Disks when nobody says how many.
const DISKS: u32 = 1_000;
/// Requests in each life of a recorded daemon.
const MOMENTS: u64 = 400;
/// Commits in each life of a recorded store.
const COMMITS: u32 = 600;

#[tokio::main]
async fn main() -> ExitCode {
    // Dropping the run kills its daemons.
    until_interrupted(run()).await
}

async fn run() -> Result<(), String> {
    if !has_all("the torn writes", &TORN_TOOLS) {
        return Err(String::from("nothing was torn"));
    }
    let disks = match env::args().nth(1) {
        Some(text) => text.parse().map_err(|_| format!("`{text}` is not a number of disks"))?,
        None => DISKS,
    };
    let both: &[Torn] = match env::args().nth(2).as_deref() {
        None => &[Torn::Daemon, Torn::Store],
        Some("daemon") => &[Torn::Daemon],
        Some("store") => &[Torn::Store],
        Some(other) => return Err(format!("`{other}` is neither `daemon` nor `store`")),
    };
    let seed = match env::var("ROLLOUT_SEED") {
        Ok(text) => text.parse().map_err(|_| format!("ROLLOUT_SEED=`{text}` is not a number"))?,
        Err(_) => fastrand::u64(..),
    };
    // Cargo puts all programs into the same directory.
    let own = env::current_exe().map_err(|error| error.to_string())?;
    let beside = |name: &str| own.with_file_name(name).display().to_string();
    let programs =
        TornPrograms { rolloutd: beside("e2e-rolloutd"), churn: beside("e2e-store-churn") };
    println!("SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let extent = Extent { disks, moments: MOMENTS, commits: COMMITS };
    println!("{}", Tally::heading());
    let mut tallies = Vec::new();
    for torn in both {
        let both_arms = tear_writes(&programs, *torn, extent, &mut dice).await?;
        both_arms.iter().for_each(|tally| println!("{tally}"));
        tallies.extend(both_arms);
    }
    tallies.iter().for_each(|tally| println!("{}", tally.remarks()));
    let objections: Vec<_> = tallies.iter().filter_map(Tally::objection).collect();
    match objections.is_empty() {
        true => Ok(()),
        false => Err(objections.join("\n\n")),
    }
}
