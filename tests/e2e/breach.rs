//! The second promise: a breach is rolled back by itself, at once, and a person must look before it is tried again.

use convex_emulator::{Scenario, Write};
use jiff::SignedDuration;
use rollout_api::{HoldKind, IncidentState};
use rollout_e2e::{PhaseSpec, Setting, World, moment_of, plan, verdict_of};

use crate::PROGRAMS;

/// Checks come every ten minutes; the rest is what a busy machine may add at 600 times real time (1 s).
const ONE_CHECK: SignedDuration = SignedDuration::from_mins(10 + 10);

const SCENARIO: &str = r#"
[base]
errorRate = 0.4
[[change]]
when = { ENABLE_TWO = "true" }
after = "15m"
set = { errorRate = 7.0 }
"#;

const PHASES: [PhaseSpec; 3] = [
    PhaseSpec { flag: "ENABLE_ONE", bake: "20m", checkpoints: &["10m", "20m"] },
    PhaseSpec { flag: "ENABLE_TWO", bake: "6h", checkpoints: &["1h", "6h"] },
    PhaseSpec { flag: "ENABLE_THREE", bake: "1h", checkpoints: &["1h"] },
];

#[tokio::test(flavor = "multi_thread")]
async fn seven_percent_is_rolled_back_within_one_check() {
    let scenario = Scenario::parse(SCENARIO).unwrap();
    let setting = Setting { scenario, scale: 600, ..Setting::default() };
    let world = World::start(PROGRAMS, setting).await;
    let mut run = world.begin(&plan("breach", &PHASES)).await;
    run.until("rollback_finished").await;
    run.catch_up().await;

    // The reading that shows it and the decision are one step.
    let reading = run.of_kind("reading_taken").find(|entry| verdict_of(entry) == "breach").unwrap();
    let rollback = run.of_kind("rollback_started").next().unwrap();
    assert_eq!(reading.at, rollback.at);
    assert_eq!(rollback.seq, reading.seq + 1);
    assert!(rollback.text.contains("error_rate is 7 %"), "{}", rollback.text);

    // Nobody waited: not the engine for the next check, not the write for anything.
    let writes = applied(&world);
    let [_, on, off] = writes.as_slice() else { panic!("three writes expected: {writes:?}") };
    assert_eq!(on.changes, [("ENABLE_TWO".to_string(), Some("true".to_string()))]);
    assert_eq!(off.changes, [("ENABLE_TWO".to_string(), Some("false".to_string()))]);
    let began = on.at + SignedDuration::from_mins(15);
    let noticed = moment_of(rollback).duration_since(began);
    assert!(noticed <= ONE_CHECK, "noticed {noticed:?} after it began");
    let took = off.at.duration_since(moment_of(rollback));
    assert!(took <= ONE_CHECK, "the flag was off {took:?} after the decision");

    // Only that phase; the earlier flag stays on.
    let env = world.emulator.env();
    assert_eq!((env["ENABLE_ONE"].as_str(), env["ENABLE_TWO"].as_str()), ("true", "false"));
    let detail = run.detail().await;
    let stages: Vec<_> = detail.phases.iter().map(|phase| phase.stage.as_str()).collect();
    assert_eq!(stages, ["completed", "rolled_back", "pending"]);
    assert!(detail.summary.holds.iter().any(|hold| hold.kind == HoldKind::RolledBack));
    assert_eq!(detail.incidents.len(), 1);
    assert_eq!(detail.incidents[0].state, IncidentState::Open);
    assert_eq!(detail.incidents[0].phases, [2]);

    the_way_back(&world).await;
    run.until_that("the second attempt", |entry| {
        entry.kind == "bake_started" && entry.phase == Some(2)
    })
    .await;
    everything_off_in_one_write(&world).await;
    run.until("rollback_finished").await;
    assert_eq!(run.detail().await.incidents.len(), 2);
}

/// A retry needs a resolved incident, and a resolved incident needs a note.
async fn the_way_back(world: &World) {
    let status = world.ctl(&["status", "r1"]).await.expect_code(6);
    assert!(status.stdout.contains("rolled back"), "{}", status.stdout);
    let refused = world.ctl(&["retry", "r1", "--reason", "again"]).await.expect_code(3);
    assert!(refused.stderr.contains("incident"), "{}", refused.stderr);
    world.ctl(&["incident", "resolve", "r1", "1"]).await.expect_code(2);
    let note = ["incident", "resolve", "r1", "1", "--reason", "a cache was cold; warmed it"];
    world.ctl(&note).await.expect_code(0);
    world.ctl(&["retry", "r1", "--reason", "the cache is warm"]).await.expect_code(0);
}

/// `rollback --all` is one atomic batch at the deployment.
async fn everything_off_in_one_write(world: &World) {
    let before = applied(world).len();
    world.ctl(&["rollback", "r1", "--all", "--reason", "enough for today"]).await.expect_code(0);
    world.ctl(&["status", "r1", "--until", "rolled-back", "--timeout", "60s"]).await;
    let writes = applied(world).split_off(before);
    let [only] = writes.as_slice() else { panic!("one write expected: {writes:?}") };
    let mut changes = only.changes.clone();
    changes.sort();
    let off = |name: &str| (name.to_string(), Some("false".to_string()));
    assert_eq!(changes, [off("ENABLE_ONE"), off("ENABLE_TWO")]);
}

fn applied(world: &World) -> Vec<Write> {
    world.emulator.writes().into_iter().filter(|write| write.applied).collect()
}
