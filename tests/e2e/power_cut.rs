//! The fifth invariant on a real file system: what a person was told is accepted survives a power cut.

use rollout_e2e::power_cut::{Arm, POWER_CUT_TOOLS, Tally, cut_power};
use rollout_e2e::{everything_is_required, has_all, say};

use crate::PROGRAMS;

/// Cuts in each arm; `just power-cut 200` makes more.
const CUTS: u32 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_power_cut() {
    if !everything_is_required() {
        say("skipped: power cuts run with ROLLOUT_REQUIRE_ALL=1, or by `just power-cut 30`");
        return;
    }
    if !has_all("the power cuts", &POWER_CUT_TOOLS) {
        return;
    }
    let seed = fastrand::u64(..);
    say(&format!("SEED={seed}"));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tallies = Vec::new();
    for arm in [Arm::Synced, Arm::Control] {
        tallies.push(cut_power(PROGRAMS.rolloutd, arm, CUTS, &mut random).await.unwrap());
    }
    say(&Tally::heading());
    tallies.iter().for_each(|tally| say(&tally.to_string()));
    let objections: Vec<_> = tallies.iter().filter_map(Tally::objection).collect();
    assert!(objections.is_empty(), "{}", objections.join("\n\n"));
}
