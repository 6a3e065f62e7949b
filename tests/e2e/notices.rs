//! What a deployment does not tell, and what it announces: shown before a start, and beside every rollout that it concerns.

use convex_emulator::{Fault, FaultKind};
use rollout_e2e::{PhaseSpec, Setting, World, plan};

use crate::PROGRAMS;

const PHASE: PhaseSpec = PhaseSpec { flag: "ENABLE_ONE", bake: "700h", checkpoints: &["700h"] };
const UNWATCHED: &str = "Not watched on production: code pushes, rewrites of flags (";
const DEPRECATED: &str = "Deployment production will soon refuse this version of rolloutd";

/// A deployment that does not answer system queries, and announces that it will not know this client for long.
async fn world(scale: u32) -> World {
    let world = World::start(PROGRAMS, Setting { scale, ..Setting::default() }).await;
    // A 404 passes, so it is asked again with every reading; a 403 is believed for an hour.
    world.emulator.inject(Fault::always("/api/query", FaultKind::empty(404)));
    let (state, message) = ("UpgradeRequired".to_owned(), "use 2.0".to_owned());
    world.emulator.inject(Fault::always("", FaultKind::Deprecated { state, message }));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_warns_of_what_will_not_be_seen_and_of_a_deployment_that_moves_on() {
    let world = world(1).await;
    let config = world.dir().join("rolloutd.toml").display().to_string();
    let with_daemon = world.ctl(&["doctor"]).await.expect_code(0);
    let alone = world.rolloutd(&["doctor", "--config", &config]).await.expect_code(0);
    for page in [with_daemon.stdout, alone.stdout] {
        let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "warn changes not watched: code pushes; deployment production",
            "warn changes not watched: rewrites of flags; deployment production",
            "-> let the key read data (ViewData)",
            "warn version deployment production will soon refuse this version of rolloutd",
            "(UpgradeRequired: use 2.0) -> install a newer rolloutd",
        ] {
            assert!(words.contains(part), "no `{part}`: {page}");
        }
    }
    assert!(world.emulator.writes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_at_a_live_rollout_reads_it_in_one_line_each() {
    let world = world(600).await;
    let mut run = world.begin(&plan("noticed", &[PHASE])).await;
    run.until("bake_started").await;
    let status = world.ctl(&["status", "r1"]).await;
    assert_eq!(status.stdout.lines().count(), 1, "{}", status.stdout);
    let [unwatched, deprecated] = [UNWATCHED, DEPRECATED].map(|start| {
        let lines: Vec<_> = status.stderr.lines().filter(|line| line.starts_with(start)).collect();
        assert_eq!(lines.len(), 1, "`{start}`: {}", status.stderr);
        lines[0].to_owned()
    });
    assert!(unwatched.ends_with(')') && deprecated.ends_with(')'), "{}", status.stderr);
    let page = world.ctl(&["get", "r1"]).await.expect_code(0).stdout;
    let list = world.ctl(&["list"]).await.expect_code(0);
    let json = world.ctl(&["status", "r1", "--output", "json"]).await.stdout;
    for shown in [&page, &list.stderr, &json] {
        assert!(shown.contains(UNWATCHED) && shown.contains(DEPRECATED), "{shown}");
    }

    // What is told again is not mentioned any more; what was announced stays announced.
    world.emulator.clear_faults();
    run.until("reading_started").await;
    run.until("reading_taken").await;
    let told = world.ctl(&["status", "r1"]).await.stderr;
    assert!(!told.contains("Not watched") && told.contains(DEPRECATED), "{told}");
    world.ctl(&["abort", "r1", "--reason", "enough"]).await.expect_code(0);
    run.until("rollout_aborted").await;
    assert_eq!(world.ctl(&["status", "r1"]).await.stderr, "");
}
