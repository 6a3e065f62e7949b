//! What somebody sees who is woken at 03:00 and asks the daemon: what a held flag is and should be, who changed it, and what to
//! say next; what final checks wait for; what an order will not end.

use convex_emulator::Scenario;
use rollout_api::{HoldKind, OrderRequest, OrderVerb};
use rollout_e2e::{GATED, PhaseSpec, Run, Setting, World, plan};

use crate::PROGRAMS;

/// A deployment that keeps a log of who did what, as those in the cloud do.
const AUDITED: &str = "[deployment]\nauditLog = true\n";

const PHASES: [PhaseSpec; 1] =
    [PhaseSpec { flag: "ENABLE_ONE", bake: "48h", checkpoints: &["24h", "48h"] }];

/// A rollout in its window whose flag was set to `maybe` by kim, and which is held for it.
async fn drifted() -> (World, Run) {
    let scenario = Scenario::parse(AUDITED).unwrap();
    let world =
        World::start(PROGRAMS, Setting { scenario, scale: 600, ..Setting::default() }).await;
    let mut run = world.begin(&plan("night", &PHASES)).await;
    run.until("bake_started").await;
    run.until_that("a check", |entry| entry.kind == "reading_taken").await;
    world.emulator.edit_as("kim", "ENABLE_ONE", Some("maybe")).unwrap();
    run.until("held").await;
    (world, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_flag_is_shown_with_both_values_who_and_when_and_the_way_out() {
    let (world, run) = drifted().await;
    let status = world.ctl(&["status", "r1"]).await.expect_code(5);
    assert_eq!(status.stdout.lines().count(), 1, "{}", status.stdout);
    let what = "drift: ENABLE_ONE is \"maybe\", expected \"true\"; written 20";
    assert!(status.stdout.contains(what) && status.stdout.contains("kim"), "{}", status.stdout);
    let next =
        "next: set it back with `npx convex env set ENABLE_ONE true`, then `rolloutctl resume r1";
    assert!(status.stderr.contains(next), "{}", status.stderr);

    let page = world.ctl(&["get", "r1"]).await.expect_code(0).stdout;
    let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [what, "kim", "`npx convex env set ENABLE_ONE true`"] {
        assert!(words.contains(part), "no {part}: {page}");
    }

    let detail = run.detail().await;
    let [hold] = detail.summary.holds.as_slice() else { panic!("{:?}", detail.summary.holds) };
    assert_eq!(hold.kind, HoldKind::Drift);
    let drift = hold.drift.clone().unwrap();
    assert_eq!((drift.flag.as_str(), drift.expected.as_str()), ("ENABLE_ONE", "true"));
    assert_eq!(drift.found.as_deref(), Some("maybe"));
    assert!(drift.written_by.is_some_and(|by| by.contains("kim")));
    assert!(drift.written_at.is_some_and(|at| at <= drift.read_at));
    let json = world.ctl(&["status", "r1", "--output", "json"]).await.expect_code(5).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["holds"][0]["drift"]["found"], "maybe");
    assert!(json["holds"][0]["way_out"].as_str().is_some_and(|way| way.contains("resume r1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_that_will_not_last_says_so_and_one_that_lasts_does_not() {
    let (world, mut run) = drifted().await;
    let resume = ["resume", "r1", "--reason", "looks fine"];
    let told = world.ctl(&resume).await.expect_code(0);
    for part in ["r1 is held again: ENABLE_ONE is \"maybe\", expected \"true\"", "kim"] {
        assert!(told.stderr.contains(part), "no {part}: {}", told.stderr);
    }
    run.until("released").await;
    run.until("held").await;

    world.emulator.edit_as("kim", "ENABLE_ONE", Some("true")).unwrap();
    run.until("flag_rewritten").await;
    let detail = run.detail().await;
    let [hold] = detail.summary.holds.as_slice() else { panic!("{:?}", detail.summary.holds) };
    assert!(hold.words.ends_with("and has its value again"), "{}", hold.words);
    assert_eq!(hold.drift, None);
    let order = OrderRequest { reason: "kim put it back".into(), ..OrderRequest::default() };
    let resumed = run.order(OrderVerb::Resume, order).await.unwrap();
    assert_eq!(resumed.notice, None);
    world.ctl(&["status", "r1"]).await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_may_begin_at_once_does_not_wait_for_a_time() {
    let world = World::start(PROGRAMS, Setting::default()).await;
    world.write("gated.toml", GATED);
    let started = world.ctl(&["start", "gated.toml"]).await.expect_code(0);
    assert!(!started.stderr.contains("start time"), "{}", started.stderr);
    world.ctl(&["abort", "r1", "--reason", "another one"]).await.expect_code(0);
    let later = ["start", "gated.toml", "--at", "2099-01-01T00:00:00Z"];
    let started = world.ctl(&later).await.expect_code(0);
    assert!(started.stderr.contains("start time, 2099-01-01T00:00:00Z"), "{}", started.stderr);
}

/// An adopted value that the app itself does not understand.
#[tokio::test(flavor = "multi_thread")]
async fn final_checks_that_are_not_met_say_what_they_wait_for_and_the_ways_on() {
    let scenario = Scenario::parse(AUDITED).unwrap();
    let world =
        World::start(PROGRAMS, Setting { scenario, scale: 600, ..Setting::default() }).await;
    let phase = PhaseSpec { flag: "ENABLE_WORKFLOW", bake: "2h", checkpoints: &["1h", "2h"] };
    let text = plan("adopted", &[phase]).replace("[watch]\n", "[watch]\ndrift = \"adopt\"\n");
    let asks = "verify = [{ name = \"mode\", function = \"monitoring/dashboard:getFeatureFlags\", pointer = \"/mode\", \
                equals = \"workflow\" }]\n";
    let mut run = world.begin(&format!("{text}{asks}")).await;
    run.until("bake_started").await;
    world.emulator.edit_as("kim", "ENABLE_WORKFLOW", Some("treu")).unwrap();
    run.until("drift_adopted").await;
    run.until("final_checks_started").await;
    run.until_that("final checks", |entry| entry.text.starts_with("final checks: ")).await;

    let status = world.ctl(&["status", "r1"]).await.expect_code(0);
    let what = "`mode` to hold before the rollout completes; found \"direct\"";
    assert!(status.stdout.contains(what), "{}", status.stdout);
    for part in ["ENABLE_WORKFLOW is \"treu\" by somebody else", "`rolloutctl rollback r1 --all"] {
        assert!(status.stderr.contains(part), "no {part}: {}", status.stderr);
    }
    let page = world.ctl(&["get", "r1"]).await.expect_code(0).stdout;
    assert!(page.contains(what) && page.contains("by somebody else"), "{page}");

    world.emulator.edit_as("kim", "ENABLE_WORKFLOW", Some("true")).unwrap();
    run.until("rollout_completed").await;
}
