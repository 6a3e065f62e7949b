//! A key that the deployment refuses holds the rollout and says which file to look at; the key itself is never shown.

use std::fs;
use std::path::Path;

use rollout_api::HoldKind;
use rollout_e2e::{GATED, PhaseSpec, Setting, World, plan, text_of, verdict_of};

use crate::PROGRAMS;

const PHASE: PhaseSpec =
    PhaseSpec { flag: "ENABLE_ONE", bake: "700h", checkpoints: &["1h", "700h"] };

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_holds_and_is_never_shown() {
    let mut world = World::start(PROGRAMS, Setting::default()).await;
    let key = world.emulator.admin_key();
    let mut run = world.begin(GATED).await;
    run.until("preflight_passed").await;

    world.emulator.revoke_key(&key);
    world.ctl(&["check", "r1", "runbook", "--reason", "read it"]).await.expect_code(0);
    let failed = run.until("effect_failed").await;
    assert_eq!(failed.details["fault"]["code"], "BadAdminKey", "{}", failed.text);
    let held = run.until("held").await;
    let words = text_of(&held, "hold");
    assert!(words.contains("credential file of deployment production"), "{words}");
    assert!(world.emulator.writes().iter().all(|write| !write.applied));

    let status = world.ctl(&["status", "r1"]).await.expect_code(5);
    assert!(status.stdout.contains("held"), "{}", status.stdout);
    let detail = run.detail().await;
    assert!(detail.summary.holds.iter().any(|hold| hold.kind == HoldKind::EffectFailed));

    // Put right, it goes on where it stopped.
    world.emulator.restore_keys();
    world.ctl(&["resume", "r1", "--reason", "the key is back"]).await.expect_code(0);
    run.until("bake_started").await;
    assert_eq!(world.emulator.env()["ENABLE_ONE"], "true");

    let secret = key.split('|').next_back().unwrap();
    let shown = format!("{}{}{:?}", world.daemon().messages(), run.log().await, run.entries);
    assert!(!shown.contains(secret), "the key is in what people see");
    world.kill().await;
    let state = world.dir().join("state");
    let files = search(&state, secret.as_bytes());
    assert!(files > 0, "no file of the store was searched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_from_elsewhere_is_refused_before_anything_starts() {
    let world = World::without_daemon(PROGRAMS, Setting::default()).await;
    world.write_key("project:team:app|topsecret");
    let mut world = world;
    world.restart().await;
    world.write("plan.toml", GATED);
    let refused = world.ctl(&["start", "plan.toml"]).await.expect_code(3);
    assert!(refused.stderr.contains("RO0305"), "{}", refused.stderr);
    let shown = format!("{}{}{}", refused.stdout, refused.stderr, world.daemon().messages());
    assert!(!shown.contains("topsecret"), "{shown}");
    assert!(world.emulator.writes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_deployment_refuses_starts_nothing() {
    let world = World::start(PROGRAMS, Setting::default()).await;
    world.emulator.revoke_key(&world.emulator.admin_key());
    world.write("plan.toml", GATED);
    let refused = world.ctl(&["start", "plan.toml"]).await.expect_code(3);
    assert!(refused.stderr.contains("BadAdminKey"), "{}", refused.stderr);
    let list = world.ctl(&["list"]).await.expect_code(0);
    assert!(!list.stdout.contains("r1"), "{}", list.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_revoked_in_the_window_is_no_breach_and_a_new_one_needs_no_restart() {
    let world = World::start(PROGRAMS, Setting { scale: 600, ..Setting::default() }).await;
    let key = world.emulator.admin_key();
    let mut run = world.begin(&plan("revoked", &[PHASE])).await;
    run.until("bake_started").await;

    // Nothing can be seen any more: that is said, and it is neither a breach nor a pass.
    world.emulator.revoke_key(&key);
    let reading = run.until_that("a reading without a key", |entry| {
        entry.kind == "reading_taken" && verdict_of(entry) == "error"
    });
    let reading = reading.await;
    assert!(reading.text.contains("credential file of deployment production"), "{}", reading.text);
    run.until("held").await;
    assert_eq!(run.count("rollback_started"), 0, "{}", run.last_entries());
    assert_eq!(run.phase(1).await.stage, "baking");

    // A rollback is tried for ever, and a person is told what it needs.
    world.ctl(&["rollback", "r1", "--reason", "the key is gone"]).await;
    for _ in 0..4 {
        let failed = run.until("effect_failed").await;
        assert_eq!(failed.details["fault"]["code"], "BadAdminKey", "{}", failed.text);
    }
    let told = |hold: &rollout_api::HoldView| hold.kind == HoldKind::EffectFailed;
    assert!(run.detail().await.summary.holds.iter().any(told), "{}", run.last_entries());

    // Each new key in the file is taken up by the next try: one that may not write, then a good one.
    world.write_key(&world.emulator.read_only_key());
    let refused = run.until_that("a try with the other key", |entry| {
        entry.kind == "effect_failed" && entry.details["fault"]["code"] != "BadAdminKey"
    });
    let refused = refused.await;
    assert_eq!(refused.details["fault"]["code"], "OperationNotPermitted", "{}", refused.text);
    assert!(refused.text.contains("deployment:env:write"), "{}", refused.text);
    world.emulator.restore_keys();
    world.write_key(&key);
    run.until("rollback_finished").await;
    assert_eq!(world.emulator.env()["ENABLE_ONE"], "false");
    run.catch_up().await;
    assert!(run.of_kind("reading_taken").all(|entry| verdict_of(entry) != "breach"));
}

/// Looks for `secret` in every file below `dir`; says how many there are.
fn search(dir: &Path, secret: &[u8]) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += search(&path, secret);
            continue;
        }
        files += 1;
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(secret.len()).any(|window| window == secret);
        assert!(!found, "the key is in {}", path.display());
    }
    files
}
