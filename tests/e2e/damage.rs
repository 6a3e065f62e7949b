//! A damaged store under the real binary: what it says, how it ends, and what can be done about it.
//!
//! Hundreds of cases against the store alone are in `rollout-engine/tests/damage.rs`; here is what a person sees.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rollout_api::client::ClientError;
use rollout_api::{OrderRequest, OrderVerb};
use rollout_e2e::{Daemon, GATED, SMALLEST, Setting, Stillborn, Tool, World, has_all};
use serde_json::json;

use crate::PROGRAMS;

/// Places of the database that are damaged, spread over what is used of it.
const PLACES: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_refused_by_name_and_the_rest_can_be_served() {
    let mut world = World::start(PROGRAMS, Setting::default()).await;
    let mut ended = world.begin(&SMALLEST.replace("ENABLE_ONE", "ENABLE_OLD")).await;
    ended.until("rollout_completed").await;
    let mut live = world.begin(GATED).await;
    live.until("baseline_passed").await;
    for text in ["one", "two", "three"] {
        for verb in [OrderVerb::Hold, OrderVerb::Resume] {
            live.order(verb, order(text)).await.unwrap();
        }
    }
    live.catch_up().await;
    world.kill().await;
    let (state, kept) = (world.state_dir(), world.dir().join("kept"));
    copy_all(&state, &kept);
    let database = fs::read(state.join("store/db")).unwrap();
    let used = database.iter().rposition(|byte| *byte != 0).unwrap();

    let mut refused = 0;
    for place in 0..PLACES {
        fs::remove_dir_all(&state).unwrap();
        copy_all(&kept, &state);
        let mut damaged = database.clone();
        let at = used * (2 * place + 1) / (2 * PLACES);
        damaged[at] ^= 1 << (place % 8);
        fs::write(state.join("store/db"), damaged).unwrap();
        match world.try_restart().await {
            Ok(()) => {
                // Without effect: then everything is there.
                let page = world.client().events(&live.id, 0, 500).await.unwrap();
                assert!(page.events.len() >= live.entries.len(), "byte {at}: a silent loss");
                world.kill().await;
            }
            Err(stillborn) => {
                refused += 1;
                assert_refused(&world, &stillborn, at).await;
            }
        }
    }
    assert!(refused >= PLACES / 2, "only {refused} of {PLACES} places mattered");
}

/// The exit code, the names, the ways out, and what verify says of the same directory.
async fn assert_refused(world: &World, stillborn: &Stillborn, at: usize) {
    let Stillborn { status, said } = stillborn;
    assert_eq!(status.code(), Some(3), "byte {at}: {said}");
    let database = world.state_dir().join("store/db");
    let before = fs::read(&database).unwrap();
    let verified = world.rolloutd(&["verify", "--config", &config(world)]).await;
    let verified = verified.expect_code(3);
    assert!(fs::read(&database).unwrap() == before, "byte {at}: verify changed the database");
    if said.contains("cannot be opened, so --quarantine cannot help") {
        assert!(verified.stderr.contains("rolloutd restore --from"), "{}", verified.stderr);
        return;
    }
    assert!(said.contains("RO0202") || said.contains("RO0203"), "byte {at}: {said}");
    assert!(said.contains("r1 (") || said.contains("r2 ("), "byte {at} names nobody: {said}");
    for command in ["rolloutd verify", "rolloutd restore --from FILE", "serve --quarantine"] {
        assert!(said.contains(command), "byte {at}: {said}");
    }
    let rows = verified.stdout.lines().filter(|line| line.contains("DAMAGED from entry ")).count();
    assert!(rows > 0, "byte {at}: {}", verified.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantine_serves_the_rest_and_keeps_saying_so() {
    let mut world = World::start(PROGRAMS, Setting::default()).await;
    let mut sound = world.begin(&SMALLEST.replace("ENABLE_ONE", "ENABLE_OLD")).await;
    sound.until("rollout_completed").await;
    world.kill().await;
    let (state, older) = (world.state_dir(), world.dir().join("older"));
    copy_all(&state, &older);
    world.restart().await;
    let mut lost = world.begin(GATED).await;
    lost.until("baseline_passed").await;
    world.kill().await;
    // A database that went back in time under its witness, as a disk that forgets leaves it.
    fs::copy(older.join("store/db"), state.join("store/db")).unwrap();
    for entry in fs::read_dir(state.join("store")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let refused = world.try_restart().await.unwrap_err();
    let named = "r2 (live) from entry 1 on: entries up to ";
    assert!(refused.said.contains(named), "{}", refused.said);
    assert!(!refused.said.contains("r1 ("), "r1 is sound: {}", refused.said);

    let program = quarantining(&world);
    let daemon = Daemon::start(&program, Path::new(&config(&world)), None).await;
    assert!(daemon.messages().contains("quarantined, so nobody watches its flags"));
    daemon.kill().await;
    world.restart().await;
    assert!(world.daemon().messages().matches("RO0208").count() >= 2, "a plain start warns too");
    let status = world.client().status().await.unwrap();
    assert_eq!(status.store.quarantined, ["r2"]);
    let listed = world.ctl(&["list"]).await.expect_code(0);
    assert!(listed.stderr.contains("nobody watches their flags: r2 (RO0208)"), "{listed:?}");
    let order = world.ctl(&["hold", "r2", "--reason", "no"]).await.expect_code(3);
    assert!(order.stderr.contains("RO0208") && order.stderr.contains("quarantine/1"), "{order:?}");
    let served = world.client().events("r1", 0, 500).await.unwrap().events;
    assert_eq!(served.len(), sound.entries.len());
    assert!(state.join("store/quarantine/1/r2.md").exists());
    assert!(state.join("store/quarantine/1/store/db").exists(), "the damaged files are kept");
    let verified = world.rolloutd(&["verify", "--config", &config(&world)]).await.expect_code(0);
    assert!(verified.stdout.contains("quarantined"), "{}", verified.stdout);
    // Its id is not handed out again.
    assert_eq!(world.begin(GATED).await.id, "r3");
}

/// A database that cannot be opened at all is refused with the one way that is left, and a backup is it.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_open_needs_a_backup() {
    let mut world = World::start(PROGRAMS, Setting::default()).await;
    let run = world.begin(GATED).await;
    let (config, file) = (config(&world), world.dir().join("a.backup").display().to_string());
    world.rolloutd(&["backup", "--config", &config, "--to", &file]).await.expect_code(0);
    world.kill().await;
    fs::write(world.state_dir().join("store/conf"), b"not sled's settings").unwrap();
    for args in [&["serve"][..], &["serve", "--quarantine"]] {
        let refused = world.rolloutd(&[args, &["--config", &config]].concat()).await;
        let refused = refused.expect_code(3);
        assert!(refused.stderr.contains("--quarantine cannot help"), "{}", refused.stderr);
    }
    let restore = ["restore", "--config", &config, "--from", &file, "--replace"];
    world.rolloutd(&restore).await.expect_code(0);
    world.restart().await;
    world.client().get(&run.id).await.unwrap();
    let unknown = world.client().get("r9").await.unwrap_err();
    assert!(matches!(unknown, ClientError::Problem(problem) if problem.code == "RO0302"));
}

/// Verify reads a copy. Without room for one it says so, leaves nothing behind, and can be told to read the files themselves.
#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_a_copy_verify_says_so_and_reads_in_place_when_told() {
    if !has_all("a disk without room for a copy", &[Tool::Root, Tool::Mount]) {
        return;
    }
    let mut world = World::without_daemon(PROGRAMS, Setting::default()).await;
    let disk = Disk::mount(world.state_dir());
    world.restart().await;
    world.begin(GATED).await.until("baseline_passed").await;
    world.kill().await;
    let (config, store) = (config(&world), world.state_dir().join("store"));
    // A few days of work take less than the segment of 2 MiB that sled needs to open anything; a year's take more.
    fs::write(store.join("snap.old"), vec![7; 6 << 20]).unwrap();
    disk.fill_but(4 << 20);
    let verify = ["verify", "--config", &config];
    let refused = world.rolloutd(&verify).await.expect_code(1);
    assert!(refused.stderr.contains("--in-place"), "{}", refused.stderr);
    assert!(refused.stderr.contains("No space left on device"), "{}", refused.stderr);
    assert!(!store.join("examined").exists());
    let in_place = world.rolloutd(&[&verify[..], &["--in-place"]].concat()).await.expect_code(0);
    assert!(in_place.stdout.contains(": all sound\n"), "{}", in_place.stdout);
    drop(disk);
}

/// A small file system in memory.
struct Disk(PathBuf);

impl Disk {
    fn mount(place: PathBuf) -> Self {
        let args = ["-t", "tmpfs", "-o", "size=24m", "tmpfs"];
        let mounted = Command::new("mount").args(args).arg(&place).status();
        assert!(mounted.unwrap().success(), "mount");
        Self(place)
    }

    /// Leaves so many bytes free.
    fn fill_but(&self, free: u64) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[7; 4_096]).is_ok() {}
        let full = file.metadata().unwrap().len();
        file.set_len(full - free).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

fn order(reason: &str) -> OrderRequest {
    serde_json::from_value(json!({ "reason": reason })).unwrap()
}

/// A program that is the daemon with `--quarantine`.
fn quarantining(world: &World) -> String {
    let text = format!("#!/bin/sh\nexec {} \"$@\" --quarantine\n", PROGRAMS.rolloutd);
    let path = world.write("quarantining", &text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn config(world: &World) -> String {
    world.dir().join("rolloutd.toml").display().to_string()
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_all(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}
