//! A deployment that cannot be reached for two hours is neither a breach nor a pass: the log shows the gap, the window grows
//! by it, and the rollout completes by itself.

use convex_emulator::{Fault, FaultKind};
use jiff::{SignedDuration, Timestamp};
use rollout_e2e::{PhaseSpec, Setting, World, moment_of, plan, text_of};

use crate::PROGRAMS;

const WINDOW: SignedDuration = SignedDuration::from_hours(6);
const PHASE: PhaseSpec =
    PhaseSpec { flag: "ENABLE_ONE", bake: "6h", checkpoints: &["1h", "2h", "6h"] };

#[tokio::test(flavor = "multi_thread")]
async fn two_hours_of_silence_are_a_gap_and_nothing_else() {
    let world = World::start(PROGRAMS, Setting { scale: 3_600, ..Setting::default() }).await;
    let mut run = world.begin(&plan("outage", &[PHASE])).await;
    let started = moment_of(&run.until("bake_started").await);

    let from = started + SignedDuration::from_mins(70);
    run.until_that("a part of the window", |entry| moment_of(entry) >= from).await;
    world.emulator.inject(Fault::always("", FaultKind::CutBeforeCommit));
    let to = world.emulator.now() + SignedDuration::from_hours(2);
    run.until_that("the end of the outage", |entry| moment_of(entry) >= to).await;
    assert_eq!(run.phase(1).await.stage, "baking", "{}", run.last_entries());
    assert_eq!(world.emulator.env()["ENABLE_ONE"], "true");
    world.emulator.clear_faults();
    let completed = run.until("rollout_completed").await;

    assert_eq!(run.count("rollback_started"), 0);
    assert!(run.count("held") > 0, "two blind hours were not said aloud; {}", run.last_entries());
    assert_eq!(run.count("held"), run.count("released"), "a hold by blindness ends by itself");
    let time = |entry, field| text_of(entry, field).parse::<Timestamp>().unwrap();
    let gaps: Vec<_> = run.of_kind("gap_recorded").collect();
    let unseen: SignedDuration = gaps
        .iter()
        .map(|gap| time(gap, "to").duration_since(time(gap, "from")))
        .fold(SignedDuration::ZERO, |sum, gap| sum + gap);
    assert!(unseen >= SignedDuration::from_mins(90), "{unseen:?} in {gaps:?}");
    assert!(gaps.iter().any(|gap| gap.text.contains("nothing could be read")), "{gaps:?}");
    let lasted = moment_of(&completed).duration_since(started);
    assert!(lasted >= WINDOW + unseen, "the window did not grow: {lasted:?}, gaps of {unseen:?}");
    assert_eq!(world.emulator.writes().iter().filter(|write| write.applied).count(), 1);

    let log = run.log().await;
    let (_, gap_section) = log.split_once("### Gaps").unwrap();
    assert!(gap_section.contains("nothing could be read"), "{gap_section}");
}
