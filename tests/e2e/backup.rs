//! Backup and restore of a running daemon in the middle of a bake window, and what both refuse.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use jiff::SignedDuration;
use rollout_api::JournalEntry;
use rollout_e2e::{GATED, PhaseSpec, Run, SMALLEST, Setting, World, moment_of, plan, settled_rows};

use crate::PROGRAMS;

const PHASES: [PhaseSpec; 2] = [
    PhaseSpec { flag: "ENABLE_ONE", bake: "3h", checkpoints: &["1h", "3h"] },
    PhaseSpec { flag: "ENABLE_TWO", bake: "1h", checkpoints: &["1h"] },
];

/// SIGKILL, the store wiped, the backup restored: the window goes on, and no event that was backed up is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_brings_a_bake_window_back() {
    let mut world = World::start(PROGRAMS, Setting { scale: 1_800, ..Setting::default() }).await;
    let smallest = world.begin(&SMALLEST.replace("ENABLE_ONE", "ENABLE_OLD")).await;
    let mut ended = smallest;
    ended.until("rollout_completed").await;
    let mut run = world.begin(&plan("baking", &PHASES)).await;
    let started = run.until("bake_started").await;
    let due = moment_of(&started) + SignedDuration::from_mins(70);
    run.until_that("the first checkpoint is behind us", |entry| moment_of(entry) >= due).await;

    let config = config(&world);
    let file = world.dir().join("a.backup").display().to_string();
    let made = world.rolloutd(&["backup", "--config", &config, "--to", &file]).await.expect_code(0);
    assert!(made.stdout.starts_with("backed up 2 rollouts, "), "{}", made.stdout);
    let online = world.rolloutd(&["verify", "--config", &config]).await.expect_code(0);
    assert!(online.stdout.contains(": all sound\n"), "{}", online.stdout);
    world.kill().await;
    fs::remove_dir_all(world.state_dir().join("store")).unwrap();
    let of_file = world.rolloutd(&["verify", "--backup", &file]).await.expect_code(0);
    assert!(of_file.stdout.contains("r2 "), "{}", of_file.stdout);

    let restored =
        world.rolloutd(&["restore", "--config", &config, "--from", &file]).await.expect_code(0);
    assert!(restored.stdout.contains("live then: r2, now held."), "{}", restored.stdout);
    let offline = world.rolloutd(&["verify", "--config", &config]).await.expect_code(0);
    assert!(offline.stdout.contains(": all sound\n"), "{}", offline.stdout);
    world.restart().await;
    let mut again = Run::new(world.socket(), run.id.clone());
    let held = again.until("held").await;
    assert!(held.note.is_some_and(|note| note.contains("restored from")), "it says why");
    world.ctl(&["resume", &run.id, "--reason", "flags compared"]).await.expect_code(0);
    again.until("rollout_completed").await;
    assert_same(&run.entries, &again.entries);
    assert_eq!(again.count("bake_started"), 2, "the window went on: {}", again.last_entries());
    assert_eq!(again.count("engine_resumed"), 1);
    let judged = again.count("checkpoint_judged");
    assert_eq!(judged, 3, "each checkpoint exactly once: {}", again.last_entries());
    assert_eq!(settled_rows(&again.log().await).len(), 3);
    let mut before = Run::new(world.socket(), ended.id.clone());
    before.catch_up().await;
    assert_same(&ended.entries, &before.entries);
    world.rolloutd(&["verify", "--config", &config]).await.expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_meant_is_refused_and_changes_nothing() {
    let mut world = World::start(PROGRAMS, Setting::default()).await;
    let run = world.begin(GATED).await;
    let config = config(&world);
    let file = world.dir().join("a.backup").display().to_string();

    let backup = ["backup", "--config", &config, "--to", &file];
    world.rolloutd(&backup).await.expect_code(0);
    let again = world.rolloutd(&backup).await.expect_code(2);
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    world.rolloutd(&[&backup[..], &["--force"]].concat()).await.expect_code(0);
    assert!(!Path::new(&format!("{file}.part")).exists());

    // A second daemon, and a restore, while the first one holds the directory.
    let pid = world.daemon().pid().unwrap();
    let state_dir = world.state_dir().display().to_string();
    let other = fs::read_to_string(&config).unwrap().replace("rolloutd.sock", "other.sock");
    let other = world.write("other.toml", &other).display().to_string();
    for args in [
        &["serve", "--config", &other][..],
        &["restore", "--config", &other, "--from", &file, "--replace"],
    ] {
        let refused = world.rolloutd(args).await.expect_code(1);
        assert!(refused.stderr.contains("RO0204"), "{}", refused.stderr);
        let words = format!("process {pid} has it open");
        assert!(refused.stderr.contains(&words), "{}", refused.stderr);
    }
    // A daemon that has lost its store does not hold the directory, but it answers.
    let elsewhere = fs::read_to_string(&config).unwrap();
    let elsewhere = elsewhere.replace(&state_dir, &format!("{state_dir}-of-nobody"));
    let elsewhere = world.write("elsewhere.toml", &elsewhere).display().to_string();
    for config in [&config, &elsewhere] {
        let restore = ["restore", "--config", config, "--from", &file, "--replace"];
        let refused = world.rolloutd(&restore).await.expect_code(1);
        assert!(refused.stderr.contains("a daemon answers at"), "{}", refused.stderr);
    }
    let locked = world.rolloutd(&["verify", "--config", &other]).await.expect_code(9);
    assert!(locked.stderr.contains("nobody answers at"), "{}", locked.stderr);
    world.kill().await;

    let occupied = world.rolloutd(&["restore", "--config", &config, "--from", &file]).await;
    assert!(occupied.expect_code(2).stderr.contains("--replace"));
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let bad = world.dir().join("bad.backup");
    fs::write(&bad, &bytes).unwrap();
    let bad = bad.display().to_string();
    for args in [
        &["restore", "--config", &config, "--replace", "--from", &bad][..],
        &["verify", "--backup", &bad],
    ] {
        let refused = world.rolloutd(args).await.expect_code(3);
        let named = refused.stderr.contains("RO0209") && refused.stderr.contains("at byte ");
        assert!(named, "{}", refused.stderr);
    }
    let foreign = world.rolloutd(&["verify", "--backup", &config]).await.expect_code(3);
    assert!(foreign.stderr.contains("no backup of rolloutd"), "{}", foreign.stderr);
    let missing = world.rolloutd(&["restore", "--config", &config, "--from", "/nowhere"]).await;
    missing.expect_code(2);

    // Without a daemon the backup comes from the directory, and a restore keeps what it replaces.
    world.rolloutd(&[&backup[..], &["--force"]].concat()).await.expect_code(0);
    let restore = ["restore", "--config", &config, "--from", &file, "--replace"];
    let restored = world.rolloutd(&restore).await.expect_code(0);
    assert!(restored.stdout.contains("store.before-restore-1"), "{}", restored.stdout);
    assert!(world.state_dir().join("store.before-restore-1/db").exists());
    world.restart().await;
    assert_eq!(world.client().get(&run.id).await.unwrap().summary.id, run.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_a_backup_is_written_over() {
    let world = World::start(PROGRAMS, Setting::default()).await;
    let (config, file) = (config(&world), world.dir().join("a.backup").display().to_string());
    world.rolloutd(&["backup", "--config", &config, "--to", &file]).await.expect_code(0);
    let (dir, link) = (world.dir().display().to_string(), world.dir().join("link"));
    symlink(&file, &link).unwrap();
    let socket = world.socket().display().to_string();
    let link = link.display().to_string();
    for (what, words) in [
        ("/dev/null", "is a device"),
        (&dir, "is a directory; name a file in it"),
        (&link, "is a symbolic link"),
        (&socket, "is no plain file"),
    ] {
        let refused =
            world.rolloutd(&["backup", "--config", &config, "--to", what, "--force"]).await;
        let refused = refused.expect_code(2);
        assert!(refused.stderr.contains(words), "{what}: {}", refused.stderr);
    }
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

    // Somebody's file, one with nothing in it, and one where the unfinished backup would be.
    let of_somebody = world.write("notes.txt", "my only notes").display().to_string();
    let empty = world.write("empty", "").display().to_string();
    world.write("b.backup.part", "my only notes");
    let part = world.dir().join("b.backup").display().to_string();
    for target in [&of_somebody, &empty, &part] {
        for force in [&["--force"][..], &[]] {
            let backup = [&["backup", "--config", &config, "--to", target][..], force].concat();
            let refused = world.rolloutd(&backup).await.expect_code(2);
            let words = "is no backup of rolloutd, and nothing else is ever written over";
            assert!(refused.stderr.contains(words), "{target}: {}", refused.stderr);
        }
    }
    assert_eq!(fs::read_to_string(&of_somebody).unwrap(), "my only notes");
    assert_eq!(fs::read_to_string(format!("{part}.part")).unwrap(), "my only notes");
    // What a backup that was cut short left is ours.
    fs::write(format!("{file}.part"), "").unwrap();
    world.rolloutd(&["backup", "--config", &config, "--to", &file, "--force"]).await.expect_code(0);

    for what in [&dir, &socket, &"/dev/null".to_owned()] {
        for args in
            [&["verify", "--backup", what][..], &["restore", "--state-dir", &dir, "--from", what]]
        {
            let refused = world.rolloutd(args).await.expect_code(2);
            assert!(refused.stderr.contains("no plain file"), "{args:?}: {}", refused.stderr);
        }
    }
}

/// An empty directory, as a missing mount leaves it, must never take the place of a good backup.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_not_backed_up_over_something() {
    let mut world = World::start(PROGRAMS, Setting::default()).await;
    world.begin(GATED).await;
    let config = config(&world);
    let file = world.dir().join("a.backup").display().to_string();
    let backup = ["backup", "--config", &config, "--to", &file, "--force"];
    world.rolloutd(&backup).await.expect_code(0);
    let good = fs::read(&file).unwrap();
    world.kill().await;
    let store = world.state_dir().join("store");
    for is_there in [true, false] {
        fs::remove_dir_all(&store).unwrap();
        if is_there {
            fs::create_dir(&store).unwrap();
        }
        let verify = ["verify", "--config", &config];
        for nothing in [&backup[..], &verify[..]] {
            let refused = world.rolloutd(nothing).await.expect_code(2);
            assert!(refused.stderr.contains("there is no store in"), "{}", refused.stderr);
        }
        assert_eq!(fs::read(&file).unwrap(), good, "the good backup was replaced");
        assert!(!store.join("db").exists(), "a store was created");
    }
}

/// A rollout that was aborted and has an open incident is not called live, and a new store is called new.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_called_ended_and_what_is_new_is_called_new() {
    let mut world = World::start(PROGRAMS, Setting::default()).await;
    let (config, store) = (config(&world), world.state_dir().join("store"));
    assert!(world.daemon().messages().contains("there was no store there"), "at the start");
    let list = world.ctl(&["list"]).await.expect_code(0);
    assert!(list.stderr.contains("The store is new: there was none"), "{}", list.stderr);
    let mut run = world.begin(&plan("aborted", &PHASES)).await;
    let list = world.ctl(&["list"]).await.expect_code(0);
    assert!(!list.stderr.contains("The store is new"), "{}", list.stderr);
    run.until("bake_started").await;
    world.ctl(&["abort", &run.id, "--reason", "not today"]).await.expect_code(0);
    run.until("rollout_aborted").await;

    let file = world.dir().join("a.backup").display().to_string();
    world.rolloutd(&["backup", "--config", &config, "--to", &file]).await.expect_code(0);
    let verify = ["verify", "--config", &config];
    let online = world.rolloutd(&verify).await.expect_code(0);
    world.kill().await;
    let offline = world.rolloutd(&verify).await.expect_code(0);
    let of_file = world.rolloutd(&["verify", "--backup", &file]).await.expect_code(0);
    for verified in [online, offline, of_file] {
        assert!(verified.stdout.contains("ended, incident open  sound"), "{}", verified.stdout);
    }
    fs::remove_dir_all(&store).unwrap();
    let restore = ["restore", "--config", &config, "--from", &file];
    let restored = world.rolloutd(&restore).await.expect_code(0);
    assert!(restored.stdout.contains("no rollout was live then"), "{}", restored.stdout);
    assert!(restored.stdout.contains("ended then, incident"), "{}", restored.stdout);
    assert!(!restored.stdout.contains("before-restore"), "{}", restored.stdout);
    assert!(!world.state_dir().join("store.before-restore-1").exists());
    world.restart().await;
    assert_eq!(world.daemon().messages().matches("there was no store there").count(), 1);
}

/// Everything of `before` is the beginning of `after`.
fn assert_same(before: &[JournalEntry], after: &[JournalEntry]) {
    assert!(!before.is_empty());
    for (one, other) in before.iter().zip(after) {
        assert_eq!((one.seq, &one.at, &one.text), (other.seq, &other.at, &other.text));
    }
    assert!(after.len() >= before.len(), "{} entries of {}", after.len(), before.len());
}

fn config(world: &World) -> String {
    world.dir().join("rolloutd.toml").display().to_string()
}
