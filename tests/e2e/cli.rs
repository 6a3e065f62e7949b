//! What a script sees: one exit code per kind of ending, refusals with the way out, plan errors with their line.

use rollout_e2e::{GATED, Run, SMALLEST, Setting, World};

use crate::PROGRAMS;

#[tokio::test(flavor = "multi_thread")]
async fn every_ending_has_its_exit_code() {
    let world = World::start(PROGRAMS, Setting::default()).await;
    world.write("gated.toml", GATED);
    let started = world.ctl(&["start", "gated.toml"]).await.expect_code(0);
    assert!(started.stdout.contains("r1"), "{}", started.stdout);
    let mut run = Run::new(world.socket(), "r1".to_string());
    run.until("preflight_passed").await;

    world.ctl(&["status", "r1"]).await.expect_code(0);
    let late = world.ctl(&["status", "r1", "--until", "done", "--timeout", "1s"]).await;
    late.expect_code(8);

    world.ctl(&["hold", "r1", "--reason", "lunch"]).await.expect_code(0);
    world.ctl(&["status", "r1"]).await.expect_code(5);
    world.ctl(&["status", "r1", "--until", "done"]).await.expect_code(5);
    world.ctl(&["status", "r1", "--until", "held"]).await.expect_code(0);
    world.ctl(&["resume", "r1", "--reason", "back"]).await.expect_code(0);

    world.ctl(&["check", "r1", "runbook", "--reason", "read it"]).await.expect_code(0);
    run.until("bake_started").await;
    world.ctl(&["rollback", "r1", "--reason", "cold feet"]).await.expect_code(0);
    run.until("rollback_finished").await;
    world.ctl(&["status", "r1"]).await.expect_code(6);
    world.ctl(&["status", "r1", "--until", "rolled-back"]).await.expect_code(0);

    world.ctl(&["abort", "r1", "--reason", "not this week"]).await.expect_code(0);
    run.until("rollout_aborted").await;
    world.ctl(&["status", "r1"]).await.expect_code(7);
    world.ctl(&["list"]).await.expect_code(0);
    world.ctl(&["get", "r1"]).await.expect_code(0);
    world.ctl(&["events", "r1"]).await.expect_code(0);
    let log = world.ctl(&["log", "r1"]).await.expect_code(0);
    assert_eq!(log.stdout.trim_end(), run.log().await.trim_end());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_why_and_what_is_allowed() {
    let world = World::start(PROGRAMS, Setting::default()).await;
    world.write("gated.toml", GATED);
    world.write("smallest.toml", SMALLEST);
    let unknown = world.ctl(&["get", "r99"]).await.expect_code(3);
    assert!(unknown.stderr.contains("RO0302"), "{}", unknown.stderr);

    world.ctl(&["start", "gated.toml"]).await.expect_code(0);
    let refused = world.ctl(&["retry", "r1", "--reason", "why not"]).await.expect_code(3);
    for part in ["RO0301", "hold", "abort"] {
        assert!(refused.stderr.contains(part), "no {part}: {}", refused.stderr);
    }
    let refused = world.ctl(&["check", "r1", "runbok", "--reason", "read it"]).await.expect_code(3);
    assert!(refused.stderr.contains("runbook"), "{}", refused.stderr);
    let refused = world.ctl(&["hold", "r1", "--reason", " "]).await;
    assert!(matches!(refused.code, Some(2 | 3)), "{refused:?}");
    let busy = world.ctl(&["start", "smallest.toml"]).await.expect_code(3);
    assert!(busy.stderr.contains("RO0306") && busy.stderr.contains("r1"), "{}", busy.stderr);

    for usage in [&["get"][..], &["hold", "r1"], &["start"], &["--no-such"], &["get", "one"]] {
        let said = world.ctl(usage).await.expect_code(2);
        assert!(!said.stderr.is_empty() && said.stdout.is_empty(), "{usage:?}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_plan_is_shown_at_its_line() {
    let world = World::start(PROGRAMS, Setting::default()).await;
    world.write(
        "bad.toml",
        &GATED.replace("checkpoints", "chekpoints").replace("24h\"\nche", "-1h\"\nche"),
    );
    world.write("good.toml", GATED);
    world.ctl(&["lint", "good.toml"]).await.expect_code(0);
    for verb in ["lint", "start"] {
        let said = world.ctl(&[verb, "bad.toml"]).await.expect_code(3);
        let text = format!("{}{}", said.stdout, said.stderr);
        for part in ["bad.toml", ":12", "chekpoints", "checkpoints"] {
            assert!(text.contains(part), "{verb} does not say {part}:\n{text}");
        }
    }
    let list = world.client().list().await.unwrap();
    assert!(list.rollouts.is_empty(), "a bad plan was started");
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_twice_with_one_key_starts_once() {
    let world = World::start(PROGRAMS, Setting::default()).await;
    world.write("gated.toml", GATED);
    world.write("other.toml", SMALLEST);
    let start = |file| ["start", file, "--idempotency-key", "ticket-17"];
    let first = world.ctl(&start("gated.toml")).await.expect_code(0);
    let again = world.ctl(&start("gated.toml")).await.expect_code(0);
    assert!(first.stdout.contains("r1") && again.stdout.contains("r1"), "{first:?} {again:?}");
    let other = world.ctl(&start("other.toml")).await.expect_code(3);
    assert!(other.stderr.contains("RO0307"), "{}", other.stderr);
    assert_eq!(world.client().list().await.unwrap().rollouts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_everything_but_lint_ends_with_nine() {
    let world = World::without_daemon(PROGRAMS, Setting::default()).await;
    world.write("good.toml", GATED);
    world.ctl(&["lint", "good.toml"]).await.expect_code(0);
    let verbs =
        [&["list"][..], &["get", "r1"], &["start", "good.toml"], &["hold", "r1", "--reason", "?"]];
    for verb in verbs {
        let said = world.ctl(verb).await.expect_code(9);
        assert_eq!(said.stdout, "");
        assert!(said.stderr.contains("rolloutd.sock"), "{verb:?}: {}", said.stderr);
    }
}
