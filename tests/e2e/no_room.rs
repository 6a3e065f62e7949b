//! No room, no disk: the real daemon on a file system that is full, read-only or broken. Nothing unrecorded is acknowledged or
//! turned on, a breach is rolled back all the same, and the log tells it once it can be written again.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use convex_emulator::Scenario;
use rollout_api::client::ClientError;
use rollout_api::{OrderRequest, OrderVerb, StoreStatus, StoreWord};
use rollout_e2e::{
    Call, DiskError, Faults, PhaseSpec, Run, Setting, Tool, World, everything_is_required, has_all,
    plan, say, text_of,
};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::PROGRAMS;

/// Longest wait for one thing, in real time.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The n-th write or sync that fails, up to this one.
const NTH_MAX: u64 = 40;
/// How much faster than real time it is.
const SCALE: u32 = 600;
/// Time between two checks in the second window.
const EVERY: &str = "10m";
/// The same where the database must fill what it has left: sled has up to 2 MiB, a thousand readings, in its last segment.
const EVERY_FILLING: &str = "10s";
/// How many daemons are failed at once.
const AT_ONCE: usize = 6;

/// Health is bad as soon as somebody sets this variable; it is no flag of any plan.
const SCENARIO: &str = r#"
[base]
errorRate = 0.4
[[change]]
when = { BREACH = "true" }
after = "0s"
set = { errorRate = 7.0 }
"#;

const PHASES: [PhaseSpec; 2] = [
    PhaseSpec { flag: "ENABLE_ONE", bake: "20m", checkpoints: &["20m"] },
    PhaseSpec { flag: "ENABLE_TWO", bake: "48h", checkpoints: &["24h", "48h"] },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_on_a_full_disk_is_rolled_back_and_recorded_on_the_reserve() {
    let Some((world, disk)) = small_disk("a full disk").await else { return };
    let mut run = in_the_second_window(&world, EVERY).await;
    disk.fill("filler");
    until_store(&world, StoreWord::Reserve).await;
    let refused = world.ctl(&["promote", "r1", "--reason", "it is late"]).await.expect_code(3);
    assert!(refused.stderr.contains("RO0211"), "{}", refused.stderr);
    let list = world.ctl(&["list"]).await.expect_code(0);
    assert!(list.stderr.contains("The disk is full since"), "{}", list.stderr);
    let detail = run.detail().await;
    assert!(!detail.allowed.contains(&"promote".to_owned()), "{:?}", detail.allowed);
    assert_eq!((detail.store, detail.waits[0].contains("RO0211")), (StoreWord::Reserve, true));
    world.ctl(&["status", "r1"]).await.expect_code(1);

    world.emulator.edit("BREACH", Some("true")).unwrap();
    run.until("rollback_finished").await;
    assert_eq!(world.emulator.env()["ENABLE_TWO"], "false");
    world.emulator.edit("BREACH", None).unwrap();
    let note = ["incident", "resolve", "r1", "1", "--reason", "the disk was full, too"];
    world.ctl(&note).await.expect_code(0);
    let refused = world.ctl(&["retry", "r1", "--reason", "again"]).await.expect_code(3);
    assert!(refused.stderr.contains("RO0211"), "{}", refused.stderr);

    disk.empty("filler");
    until_store(&world, StoreWord::Ok).await;
    world.ctl(&["retry", "r1", "--reason", "there is room again"]).await.expect_code(0);
    run.until_that("the second attempt", |entry| {
        entry.kind == "bake_started" && entry.phase == Some(2)
    })
    .await;
    close(world, disk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_on_a_disk_without_any_room_is_rolled_back_and_told_afterwards() {
    let Some((world, disk)) = small_disk("a disk without any room").await else { return };
    let mut run = in_the_second_window(&world, EVERY_FILLING).await;
    disk.fill("filler");
    until_store(&world, StoreWord::Reserve).await;
    until_filled(&world, &disk).await;
    the_dark(&world, &mut run).await;
    disk.empty("filler");
    disk.empty("more");
    told_afterwards(&world, &mut run, "No space left on device").await;
    close(world, disk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_on_a_disk_that_became_read_only_is_rolled_back_and_told_afterwards() {
    let Some((world, disk)) = small_disk("a disk that becomes read-only").await else { return };
    let mut run = in_the_second_window(&world, EVERY).await;
    disk.fail();
    until_store(&world, StoreWord::Failing).await;
    the_dark(&world, &mut run).await;
    disk.mount_again().await;
    told_afterwards(&world, &mut run, "Read-only file system").await;
    close(world, disk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_in_the_dark_the_daemon_names_what_nobody_watches() {
    if !has_all("a stop in the dark", &[Tool::Cc]) {
        return;
    }
    let mut world = world(SCALE).await;
    let control = world.dir().join("control");
    world.set_faults(Faults::none().controlled(&world.state_dir(), &control));
    world.restart().await;
    in_the_second_window(&world, EVERY).await;
    Faults::switch(
        &control,
        &[(Call::Write, DiskError::ReadOnly), (Call::Sync, DiskError::Broken)],
    );
    until_store(&world, StoreWord::Failing).await;
    let pid = world.daemon().pid().unwrap().to_string();
    assert!(quiet("kill", &["-TERM", &pid]));
    let status = world.daemon().wait().await;
    assert_eq!(status.code(), Some(1));
    let said = world.daemon().messages();
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("RO0210") && last.contains("flags of r1 may be on"), "{last}");
    Faults::switch(&control, &[]);
    world.restart().await;
    assert_eq!(store(&world).await.state, StoreWord::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_nth_write_or_sync_loses_nothing_that_was_acknowledged() {
    if !has_all("errors of the n-th write and sync", &[Tool::Cc]) {
        return;
    }
    let step = if everything_is_required() { 1 } else { 13 };
    let mut cases = Vec::new();
    for nth in (1..=NTH_MAX).step_by(step) {
        for call in [Call::Write, Call::Sync] {
            for error in [DiskError::Full, DiskError::Broken] {
                cases.push((call, error, nth));
            }
        }
    }
    let count = cases.len();
    let mut running = tokio::task::JoinSet::new();
    for (call, error, nth) in cases {
        if running.len() >= AT_ONCE {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(one_error(call, error, nth));
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    say(&format!(
        "{count} daemons whose disk failed once, at each of their first {NTH_MAX} writes and syncs"
    ));
}

/// One daemon whose `nth` call fails, from its start to a rollback on disk. It may refuse to start, or end; whatever it
/// acknowledged before stands.
async fn one_error(call: Call, error: DiskError, nth: u64) {
    let context = format!("{call} {nth}: {error}");
    let mut world = world(SCALE).await;
    world.set_faults(Faults::none().error_some(&world.state_dir(), call, error, nth, 1));
    if world.try_restart().await.is_err() {
        // As systemd does.
        world.set_faults(Faults::none());
        world.restart().await;
    }
    let plan = plan("no-room", &PHASES);
    let key = rollout_api::client::IdempotencyKey::random();
    let request = rollout_api::StartRequest { plan, start_at: None, reason: None };
    let mut acknowledged = None;
    let end = Instant::now() + WAIT_MAX;
    while acknowledged.is_none() {
        assert!(Instant::now() < end, "{context}: was never started");
        match world.client().start(&request, &key).await {
            Ok(started) => acknowledged = Some(started.rollout.id),
            Err(ClientError::Unreachable { .. }) => {
                world.set_faults(Faults::none());
                world.restart().await;
            }
            Err(_) => tick().await,
        }
    }
    let id = acknowledged.unwrap();
    // Followed by asking, as the daemon may end while no flag is on.
    let mut is_bad = false;
    loop {
        assert!(Instant::now() < end, "{context}: no rollback");
        match world.client().get(&id).await {
            Ok(detail) if detail.summary.rolled_back && !detail.summary.rolling_back => break,
            Ok(detail) if !is_bad && detail.phases[1].stage == "baking" => {
                world.emulator.edit("BREACH", Some("true")).unwrap();
                is_bad = true;
            }
            Ok(_) => {}
            Err(ClientError::Unreachable { .. }) => {
                world.set_faults(Faults::none());
                world.restart().await;
            }
            Err(problem) => panic!("{context}: {problem:?}"),
        }
        tick().await;
    }
    assert_eq!(world.emulator.env()["ENABLE_TWO"], "false", "{context}");
    world.set_faults(Faults::none());
    world.restart().await;
    let detail = world.client().get(&id).await.unwrap();
    assert!(detail.summary.rolled_back, "{context}: it is on disk");
}

/// In the dark with a flag on: orders are refused, a breach puts the flag back, and the status says so.
async fn the_dark(world: &World, run: &mut Run) {
    let order = OrderRequest { reason: "wait".into(), ..OrderRequest::default() };
    let hold = run.order(OrderVerb::Hold, order).await.unwrap_err();
    assert!(format!("{hold:?}").contains("RO0210"), "{hold:?}");
    let get = world.ctl(&["get", "r1"]).await.expect_code(0);
    assert!(get.stdout.starts_with("Nothing is recorded since"), "{}", get.stdout);
    world.ctl(&["status", "r1"]).await.expect_code(1);
    world.emulator.edit("BREACH", Some("true")).unwrap();
    until("the flag is off", || async { world.emulator.env()["ENABLE_TWO"] == "false" }).await;
    until("the rollback is over, as far as is known", || async {
        let detail = run.detail().await;
        detail.summary.rolled_back && !detail.summary.rolling_back
    })
    .await;
    assert_eq!(store(world).await.unrecorded, ["r1"]);
    world.emulator.edit("BREACH", None).unwrap();
    let all = ["rollback", "r1", "--all", "--reason", "all of it"];
    let refused = world.ctl(&all).await.expect_code(1);
    assert!(refused.stderr.contains("under way but cannot be recorded"), "{}", refused.stderr);
    until("all flags are off", || async { world.emulator.env()["ENABLE_ONE"] == "false" }).await;
}

/// The store is well again: the journal has the rollback, and why it is so late.
async fn told_afterwards(world: &World, run: &mut Run, why: &str) {
    until_store(world, StoreWord::Ok).await;
    run.until("engine_resumed").await;
    let told = run.until("rollback_started").await;
    assert_eq!(told.actor, "rolloutd");
    let note = told.note.clone().unwrap_or_default();
    assert!(note.starts_with("rolled back at ") && note.contains(why), "{note}");
    run.until("rollback_finished").await;
    let env = world.emulator.env();
    assert_eq!((env["ENABLE_ONE"].as_str(), env["ENABLE_TWO"].as_str()), ("false", "false"));
    let log = run.log().await;
    assert!(log.contains("while nothing could be recorded"), "{log}");
    assert_eq!(text_of(&told, "scope"), "");
}

async fn world(scale: u32) -> World {
    let scenario = Scenario::parse(SCENARIO).unwrap();
    let setting = Setting { scenario, scale, ..Setting::default() };
    World::without_daemon(PROGRAMS, setting).await
}

async fn in_the_second_window(world: &World, every: &str) -> Run {
    let plan = plan("no-room", &PHASES).replace("every = \"10m\"", &format!("every = \"{every}\""));
    let mut run = world.begin(&plan).await;
    run.until_that("the second window", |entry| {
        entry.kind == "bake_started" && entry.phase == Some(2)
    })
    .await;
    run
}

/// A daemon whose state lies on a small file system of its own, or `None` with a word on why not.
async fn small_disk(test: &str) -> Option<(World, Disk)> {
    if !has_all(test, &[Tool::Root, Tool::MkfsExt4, Tool::Mount]) {
        return None;
    }
    let mut world = world(SCALE).await;
    let disk = Disk::mount(&world);
    world.restart().await;
    Some((world, disk))
}

async fn close(mut world: World, disk: Disk) {
    world.kill().await;
    drop(disk);
}

async fn store(world: &World) -> StoreStatus {
    world.client().status().await.unwrap_or_else(|error| panic!("no status: {error:?}")).store
}

pub(crate) async fn until_store(world: &World, word: StoreWord) {
    until(&format!("{word:?}"), || async { store(world).await.state == word }).await;
}

/// Fills the disk again and again, until not even the reserve's room is left.
async fn until_filled(world: &World, disk: &Disk) {
    until("nothing can be recorded", || async {
        disk.fill("more");
        store(world).await.state == StoreWord::Failing
    })
    .await;
}

/// Asks until it is so; bounded.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let asking = async {
        while !is_so().await {
            tick().await;
        }
    };
    timeout(WAIT_MAX, asking).await.unwrap_or_else(|_| panic!("not reached: {what}"));
}

/// What is asked of a status cannot be waited for, only asked again.
async fn tick() {
    let mut ticks = interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    ticks.tick().await;
}

/// A small ext4 file system in a file, mounted where the daemon keeps its state; unmounted with the value.
struct Disk {
    image: PathBuf,
    place: PathBuf,
}

impl Disk {
    fn mount(world: &World) -> Self {
        let disk = Self { image: world.dir().join("disk.img"), place: world.state_dir() };
        File::create(&disk.image).and_then(|file| file.set_len(48 << 20)).unwrap();
        let image = disk.image.display().to_string();
        assert!(quiet("mkfs.ext4", &["-q", "-F", "-m", "0", &image]), "mkfs.ext4");
        assert!(disk.mount_now(), "mount");
        disk
    }

    fn mount_now(&self) -> bool {
        let (image, place) = (self.image.display().to_string(), self.place.display().to_string());
        quiet("mount", &["-o", "loop,errors=remount-ro", &image, &place])
    }

    /// Writes until the disk is full; what is there already stays.
    fn fill(&self, name: &str) {
        let path = self.place.join(name);
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        for block in [1 << 20, 4096, 1] {
            let block = vec![7_u8; block];
            while file.write_all(&block).and_then(|()| file.sync_data()).is_ok() {
                if block.len() == 1 {
                    break;
                }
            }
        }
    }

    fn empty(&self, name: &str) {
        let path = self.place.join(name);
        if path.exists() {
            fs::remove_file(path).unwrap();
        }
        assert!(quiet("sync", &["-f", &self.place.display().to_string()]));
    }

    /// Makes the file system find an error in itself, after which it is read-only.
    fn fail(&self) {
        let found =
            Command::new("losetup").args(["-n", "-O", "NAME", "-j"]).arg(&self.image).output();
        let name = String::from_utf8(found.unwrap().stdout).unwrap();
        let name = Path::new(name.trim()).file_name().unwrap().to_owned();
        let trigger = Path::new("/sys/fs/ext4").join(name).join("trigger_fs_error");
        fs::write(trigger, "broken by a test\n").unwrap();
    }

    /// Unmounts and mounts, as an operator would after `fsck`. The daemon must have let go.
    async fn mount_again(&self) {
        let place = self.place.display().to_string();
        until("the file system can be unmounted", || async { quiet("umount", &[&place]) }).await;
        let image = self.image.display().to_string();
        // 1 = errors were corrected.
        let fsck =
            Command::new("fsck.ext4").args(["-p", "-f", &image]).stdout(Stdio::null()).status();
        assert!(fsck.unwrap().code().is_some_and(|code| code <= 1), "fsck.ext4");
        assert!(self.mount_now(), "mount");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a test that failed has a daemon on it that ends right after this.
        quiet("umount", &["-l", &self.place.display().to_string()]);
    }
}

pub(crate) fn quiet(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
