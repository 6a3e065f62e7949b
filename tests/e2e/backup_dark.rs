//! A daemon that has lost its disk, and the commands around it: who may take its directory, what it offers, what it can show.

use std::fs;
use std::time::Duration;

use rollout_api::StoreWord;
use rollout_e2e::{Call, DiskError, Faults, PhaseSpec, Run, Setting, Tool, World, has_all, plan};
use tokio::time::{Instant, interval};

use crate::PROGRAMS;

/// Longest wait for one thing, in real time.
const WAIT_MAX: Duration = Duration::from_secs(60);
const PHASES: [PhaseSpec; 1] =
    [PhaseSpec { flag: "ENABLE_ONE", bake: "48h", checkpoints: &["24h", "48h"] }];

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_in_the_dark_keeps_its_directory_and_offers_what_it_can_do() {
    if !has_all("a daemon in the dark", &[Tool::Cc]) {
        return;
    }
    let setting = Setting { scale: 600, ..Setting::default() };
    let mut world = World::without_daemon(PROGRAMS, setting).await;
    let control = world.dir().join("control");
    world.set_faults(Faults::none().controlled(&world.state_dir(), &control));
    world.restart().await;
    let mut run = world.begin(&plan("dark", &PHASES)).await;
    run.until("bake_started").await;
    let (state, file) = (world.state_dir().display().to_string(), world.dir().join("a.backup"));
    let file = file.display().to_string();
    let config = world.dir().join("rolloutd.toml").display().to_string();
    world.rolloutd(&["backup", "--config", &config, "--to", &file]).await.expect_code(0);
    let well = run.detail().await.allowed;
    assert!(well.contains(&"promote".to_owned()), "{well:?}");

    Faults::switch(&control, &[(Call::Write, DiskError::Full), (Call::Sync, DiskError::Full)]);
    until_store(&world, StoreWord::Failing).await;
    what_it_offers(&world, &run).await;
    nobody_takes_its_directory(&mut world, &[&config, &state, &file]).await;

    Faults::switch(&control, &[]);
    until_store(&world, StoreWord::Ok).await;
    assert_eq!(run.detail().await.allowed, well);
    let status = world.ctl(&["status", "r1", "--output", "json"]).await.expect_code(0);
    assert!(!status.stdout.contains("\"store\""), "{}", status.stdout);
    world.rolloutd(&["verify", "--config", &config]).await.expect_code(0);
    world.kill().await;
    // The process is gone, and its signature says nothing any more.
    world.rolloutd(&["verify", "--state-dir", &state]).await.expect_code(0);
}

/// What it shows, what it cannot, and which orders it still takes.
async fn what_it_offers(world: &World, run: &Run) {
    assert_eq!(run.detail().await.allowed, ["abort", "rollback"]);
    let get = world.ctl(&["get", "r1"]).await.expect_code(0);
    let first = get.stdout.lines().next().unwrap_or_default();
    assert!(first.contains("No space left on device"), "{first}");
    assert!(!first.contains("Os {"), "{first}");
    for args in [&["log", "r1"][..], &["events", "r1"]] {
        let refused = world.ctl(args).await.expect_code(1);
        assert!(refused.stderr.contains("RO0210"), "{}", refused.stderr);
        assert!(refused.stderr.contains("`get` and `status`"), "{}", refused.stderr);
    }
    // Whoever polls it is told that it does not go on, and offered nothing that would be refused without a word on that.
    let told = world.ctl(&["status", "r1"]).await.expect_code(1);
    assert_eq!(told.stdout.lines().count(), 1, "{}", told.stdout);
    assert!(told.stderr.contains("next: a store that can be written"), "{}", told.stderr);
    let status = world.ctl(&["status", "r1", "--output", "json"]).await.expect_code(1);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["store"], "failing");
    let notice = status["notice"].as_str().unwrap_or_default();
    assert!(notice.starts_with("Nothing is recorded since"), "{status}");
    assert_eq!(status["id"], "r1");
}

/// The store is closed meanwhile; whoever has only the directory is refused all the same.
async fn nobody_takes_its_directory(world: &mut World, places: &[&str; 3]) {
    let [config, state, file] = *places;
    let pid = world.daemon().pid().unwrap();
    let other = fs::read_to_string(config).unwrap().replace("rolloutd.sock", "other.sock");
    let other = world.write("other.toml", &other).display().to_string();
    for args in [
        &["restore", "--state-dir", state, "--from", file, "--replace"][..],
        &["verify", "--state-dir", state],
        &["verify", "--state-dir", state, "--in-place"],
        &["backup", "--state-dir", state, "--to", &format!("{file}.2")],
        &["serve", "--config", &other],
    ] {
        let refused = world.rolloutd(args).await.expect_code(1);
        assert!(refused.stderr.contains("RO0204"), "{args:?}: {}", refused.stderr);
        // While it tries to open the store again, it has it open.
        let named =
            [format!("process {pid} closed it and still runs"), format!("process {pid} has")];
        assert!(named.iter().any(|words| refused.stderr.contains(words)), "{}", refused.stderr);
    }
}

async fn until_store(world: &World, word: StoreWord) {
    let (end, mut ticks) = (Instant::now() + WAIT_MAX, interval(Duration::from_millis(20)));
    while world.client().status().await.unwrap().store.state != word {
        assert!(Instant::now() < end, "not reached: {word:?}");
        ticks.tick().await;
    }
}
