//! Strange answers of the health functions: what shows nothing is "error" or "no data", never a breach and never a pass, and
//! never a reason to roll back.

use convex_emulator::{Fault, FaultKind, Scenario};
use rollout_api::JournalEntry;
use rollout_e2e::{PhaseSpec, Run, Setting, World, moment_of, plan, verdict_of};

use crate::PROGRAMS;

/// Each oddity is switched by a variable that belongs to no plan.
const SCENARIO: &str = r#"
[[change]]
when = { STRANGE = "gone" }
throw = { function = "monitoring/dashboard:getSystemHealth", message = "Could not find function for 'monitoring/dashboard:getSystemHealth'" }
[[change]]
when = { STRANGE = "throws" }
throw = { function = "monitoring/dashboard:getSystemHealth", message = "boom" }
[[change]]
when = { STRANGE = "throws with data" }
throw = { function = "monitoring/dashboard:getSystemHealth", message = "no traffic", data = { code = "NO_DATA" } }
[[change]]
when = { STRANGE = "nan" }
set = { errorRate = nan }
[[change]]
when = { STRANGE = "null" }
null = ["completionRate"]
[[change]]
when = { STRANGE = "text" }
set = { errorRate = "7 %" }
[[change]]
when = { STRANGE = "missing" }
unset = ["stuckWorkflows"]
"#;

/// The oddity, the criterion that it hits, its verdict, and a part of the reason.
const ODDITIES: [(&str, &str, &str, &str); 7] = [
    ("gone", "error_rate", "error", "Could not find function"),
    ("throws", "error_rate", "error", "boom"),
    ("throws with data", "error_rate", "error", "NO_DATA"),
    ("nan", "error_rate", "no data", "NaN"),
    ("null", "completion_rate", "no data", "null"),
    ("text", "error_rate", "error", "expected a number"),
    ("missing", "stuck_workflows", "no data", "/stuckWorkflows"),
];

const PHASE: PhaseSpec =
    PhaseSpec { flag: "ENABLE_ONE", bake: "700h", checkpoints: &["1h", "700h"] };

#[tokio::test(flavor = "multi_thread")]
async fn what_shows_nothing_is_never_judged() {
    let scenario = Scenario::parse(SCENARIO).unwrap();
    let setting = Setting { scenario, scale: 1_800, timeout: "1s", ..Setting::default() };
    let world = World::start(PROGRAMS, setting).await;
    let mut run = world.begin(&plan("strange", &[PHASE])).await;
    run.until("bake_started").await;

    for (strange, criterion, verdict, part) in ODDITIES {
        world.emulator.edit("STRANGE", Some(strange)).unwrap();
        let reading = next_reading(&world, &mut run).await;
        assert_eq!(
            verdict_of_criterion(&reading, criterion),
            verdict,
            "{strange}: {}",
            reading.text
        );
        let worst = verdict_of(&reading);
        assert!(["error", "no data"].contains(&worst), "{strange} was judged {worst}");
        assert!(reading.text.contains(part), "{strange}: {}", reading.text);
        world.emulator.edit("STRANGE", Some("not at all")).unwrap();
        let reading = next_reading(&world, &mut run).await;
        assert_eq!(verdict_of(&reading), "pass", "after {strange}: {}", reading.text);
    }

    world.emulator.inject(Fault::always("/api/function", FaultKind::SlowDrop { ms: 60_000 }));
    let reading = next_reading(&world, &mut run).await;
    assert_eq!(verdict_of(&reading), "error", "{}", reading.text);
    world.emulator.clear_faults();

    run.catch_up().await;
    assert!(run.of_kind("reading_taken").all(|entry| verdict_of(entry) != "breach"));
    assert_eq!(run.count("rollback_started"), 0);
    assert_eq!(run.phase(1).await.stage, "baking");
    assert_eq!(world.emulator.env()["ENABLE_ONE"], "true");
    assert_eq!(
        world.emulator.writes().iter().filter(|write| write.request_id.is_some()).count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_not_there_keeps_flags_off() {
    let world = World::start(PROGRAMS, Setting { scale: 600, ..Setting::default() }).await;
    let sources = "\n[sources]\nhealth = { function = \"monitoring/gone:getSystemHealth\" }\n\
                   alerts = { function = \"monitoring/dashboard:checkAlerts\" }\n";
    // A deployment that tells which functions it has is asked before the start, which is refused then.
    let silent = FaultKind::status(403, "OperationNotPermitted");
    world.emulator.inject(Fault::always("/api/query", silent));
    let mut run = world.begin(&(plan("gone", &[PHASE]) + sources)).await;
    for _ in 0..3 {
        let reading = run.until("reading_taken").await;
        assert_eq!(verdict_of(&reading), "error", "{}", reading.text);
        assert!(reading.text.contains("Could not find"), "{}", reading.text);
    }
    assert_eq!(run.count("baseline_passed"), 0);
    assert!(world.emulator.writes().is_empty());
}

/// The next reading that was asked for after this moment.
async fn next_reading(world: &World, run: &mut Run) -> JournalEntry {
    let now = world.emulator.now();
    run.until_that("the next reading", |entry| {
        entry.kind == "reading_started" && moment_of(entry) > now
    })
    .await;
    run.until("reading_taken").await
}

fn verdict_of_criterion<'a>(reading: &'a JournalEntry, criterion: &str) -> &'a str {
    let values = reading.details["values"].as_array().unwrap();
    let value = values.iter().find(|value| value["criterion"] == criterion).unwrap();
    value["verdict"].as_str().unwrap()
}
