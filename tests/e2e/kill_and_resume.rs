//! The first promise: SIGKILL at any moment and a restart give the same end as no kill at all.

use std::collections::{BTreeMap, BTreeSet};

use convex_emulator::WriteOrigin;
use jiff::{SignedDuration, Timestamp};
use rollout_e2e::{
    PhaseSpec, Run, Setting, World, moment_of, plan, settled_rows, text_of, verdict_of,
};

use crate::PROGRAMS;

const HOURS: &[&str] = &["1h", "2h", "3h"];
const PHASES: [PhaseSpec; 3] = [
    PhaseSpec { flag: "ENABLE_ONE", bake: "3h", checkpoints: HOURS },
    PhaseSpec { flag: "ENABLE_TWO", bake: "3h", checkpoints: HOURS },
    PhaseSpec { flag: "ENABLE_THREE", bake: "3h", checkpoints: HOURS },
];

/// What must not depend on kills.
#[derive(Debug, PartialEq)]
struct End {
    env: BTreeMap<String, String>,
    stages: Vec<String>,
    writes: Vec<Vec<(String, Option<String>)>>,
    checkpoints: Vec<(Option<u8>, String, String)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn four_kills_change_nothing() {
    let straight = async {
        let world = world().await;
        let mut run = world.begin(&plan("straight", &PHASES)).await;
        run.until("rollout_completed").await;
        end(&world, &run).await
    };
    let killed = async {
        let mut world = world().await;
        let mut run = world.begin(&plan("killed", &PHASES)).await;
        for phase in 1..=3 {
            if phase == 2 {
                // Nobody knows whether the write of this phase is on its way, done, or not begun.
                run.until_that("enabling of phase 2", |entry| {
                    entry.kind == "enabling_started" && entry.phase == Some(phase)
                })
                .await;
                world.restart().await;
            }
            let started = run.until("bake_started").await;
            assert_eq!(started.phase, Some(phase));
            let due = moment_of(&started) + SignedDuration::from_mins(50);
            run.until_that("the middle of the window", |entry| moment_of(entry) >= due).await;
            world.restart().await;
        }
        run.until("rollout_completed").await;
        assert_eq!(run.count("engine_resumed"), 4, "{}", run.last_entries());
        check_due_times(&run);
        check_log(&run).await;
        end(&world, &run).await
    };
    let (straight, killed) = tokio::join!(straight, killed);
    assert_eq!(straight, killed);
    assert_eq!(killed.writes.len(), 3, "{:?}", killed.writes);
    let places: BTreeSet<_> = killed.checkpoints.iter().map(|(phase, at, _)| (phase, at)).collect();
    assert_eq!((places.len(), killed.checkpoints.len()), (9, 9), "each exactly once");
    assert!(killed.env.values().all(|value| value == "true"), "{:?}", killed.env);
}

async fn world() -> World {
    World::start(PROGRAMS, Setting { scale: 3_600, ..Setting::default() }).await
}

async fn end(world: &World, run: &Run) -> End {
    let detail = run.detail().await;
    let writes = world.emulator.writes();
    assert!(writes.iter().all(|write| write.applied && write.origin == WriteOrigin::Client));
    let mut writes: Vec<_> = writes.into_iter().map(|write| write.changes).collect();
    writes.sort();
    let checkpoint = |entry: &rollout_api::JournalEntry| {
        (entry.phase, text_of(entry, "checkpoint").to_string(), verdict_of(entry).to_string())
    };
    End {
        env: world.emulator.env(),
        stages: detail.phases.into_iter().map(|phase| phase.stage).collect(),
        writes,
        checkpoints: run.of_kind("checkpoint_judged").map(checkpoint).collect(),
    }
}

/// Due times are counted from the persisted start of the window, not from the start of any process.
fn check_due_times(run: &Run) {
    let started: BTreeMap<_, _> =
        run.of_kind("bake_started").map(|entry| (entry.phase, moment_of(entry))).collect();
    let mut seen = 0;
    for judged in run.of_kind("checkpoint_judged") {
        let hours = text_of(judged, "checkpoint").trim_start_matches("T+").trim_end_matches('h');
        let offset = SignedDuration::from_hours(hours.parse().unwrap());
        let due: Timestamp = text_of(judged, "due").parse().unwrap();
        assert_eq!(due, started[&judged.phase] + offset, "{}", judged.text);
        assert!(moment_of(judged) >= due, "judged before it was due: {}", judged.text);
        seen += 1;
    }
    assert_eq!(seen, 9);
}

/// The complaint that began this project: empty checkpoint rows.
async fn check_log(run: &Run) {
    let log = run.log().await;
    assert_eq!(settled_rows(&log).len(), 9, "{log}");
    assert_eq!(run.log().await, log, "the same journal gives the same log");
}
