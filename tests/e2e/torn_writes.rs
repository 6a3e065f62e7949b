//! The fifth invariant on every disk that a power cut may leave: what a person was told is accepted is there, and nobody has
//! to put anything right.

use std::time::Instant;

use rollout_e2e::torn::{Extent, TORN_TOOLS, Tally, Torn, TornPrograms, tear_writes};
use rollout_e2e::{everything_is_required, has_all, say};

use crate::PROGRAMS;

/// What is left to `just torn-writes 1000` is more of the same.
const DAEMON: Extent = Extent { disks: 24, moments: 250, commits: 0 };
const STORE: Extent = Extent { disks: 24, moments: 0, commits: 350 };

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_on_every_disk_that_a_power_cut_may_leave() {
    if !everything_is_required() {
        say("skipped: torn writes run with ROLLOUT_REQUIRE_ALL=1, or by `just torn-writes 100`");
        return;
    }
    if !has_all("the torn writes", &TORN_TOOLS) {
        return;
    }
    let seed = fastrand::u64(..);
    say(&format!("SEED={seed}"));
    let mut dice = fastrand::Rng::with_seed(seed);
    let programs = TornPrograms {
        rolloutd: PROGRAMS.rolloutd.to_owned(),
        churn: env!("CARGO_BIN_EXE_e2e-store-churn").to_owned(),
    };
    let start = Instant::now();
    let mut tallies = Vec::new();
    for (torn, extent) in [(Torn::Daemon, DAEMON), (Torn::Store, STORE)] {
        tallies.extend(tear_writes(&programs, torn, extent, &mut dice).await.unwrap());
    }
    say(&Tally::heading());
    tallies.iter().for_each(|tally| say(&tally.to_string()));
    say(&format!("torn writes took {:.0?}", start.elapsed()));
    let objections: Vec<_> = tallies.iter().filter_map(Tally::objection).collect();
    assert!(objections.is_empty(), "{}", objections.join("\n\n"));
    let written_over = tallies.iter().map(Tally::segments_written_over).max();
    assert!(
        written_over > Some(0),
        "sled never wrote over a segment, so its cleaning was not torn"
    );
}
