//! A disk that takes a write and cannot keep it: the real daemon on a real ext4 whose device has no room below it.
//!
//! The kernel answers such a sync with an error once, and from then on takes its cache for what is on the disk. What was
//! acknowledged before and after must be there when the cache is gone; and nothing of it is, if the store is only opened again.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rollout_api::client::{Client, ClientError};
use rollout_api::{JournalEntry, OrderRequest, OrderVerb, StoreWord};
use rollout_e2e::{GATED, PhaseSpec, Run, Setting, Tool, World, has_all, plan, say};

use crate::PROGRAMS;
use crate::no_room::{quiet, until, until_store};

const WINDOW: PhaseSpec = PhaseSpec { flag: "ENABLE_ONE", bake: "24h", checkpoints: &["24h"] };
/// Holds and resumes, at most, until the disk has failed.
const ORDERS_MAX: u32 = 500;
/// How often a file is read past the cache, at most.
const READS_MAX: u32 = 1_000;
/// Room of the disk's backing, and what the file system believes to have.
const BACKING: &str = "size=80m";
const IMAGE_BYTES: u64 = 300 << 20;
/// Bytes of a block of the file system: small, so that most blocks of the database are their own.
const BLOCK_BYTES: u64 = 1024;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_around_a_failed_write_back_is_there_once_the_cache_is_gone() {
    around_a_failed_write_back(Flag::On).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_when_the_daemon_has_nothing_to_watch_and_ends() {
    around_a_failed_write_back(Flag::Off).await;
}

/// Whether the daemon watches a flag while its disk fails. Without one it ends, for systemd to start it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flag {
    On,
    Off,
}

async fn around_a_failed_write_back(flag: Flag) {
    let tools = [Tool::Root, Tool::MkfsExt4, Tool::Mount];
    if !has_all("a failed write-back", &tools) {
        return;
    }
    let mut world = World::without_daemon(PROGRAMS, Setting::default()).await;
    let device = Device::mount(&world);
    world.restart().await;
    let run = match flag {
        Flag::On => {
            let mut run = world.begin(&plan("write-back", &[WINDOW])).await;
            run.until("bake_started").await;
            run
        }
        Flag::Off => world.begin(GATED).await,
    };
    device.take_room();

    let mut told = Vec::new();
    let refusal = orders(&run, ORDERS_MAX, &mut told).await.expect_err("the disk does not fail");
    assert!(format!("{refusal:?}").contains("RO0210"), "{refusal:?}");
    if flag == Flag::Off {
        world.daemon().wait().await;
    }
    let forgotten = device.forgotten();
    // Without this the disk has failed in some other way, and the rest would prove nothing.
    assert!(forgotten > 0, "the disk has everything that the kernel takes for written");
    device.give_room();
    if flag == Flag::Off {
        world.restart().await;
    }
    until_store(&world, StoreWord::Ok).await;
    let before = told.len();
    orders(&run, 6, &mut told).await.expect("the disk is well again");
    assert!(told.len() >= before + 5, "{told:?}");

    world.kill().await;
    device.mount_again().await;
    world.restart().await;
    let there = journal(&world, &run).await;
    for entry in &told {
        let found = there.iter().find(|one| one.seq == entry.seq);
        assert_eq!(found, Some(entry), "acknowledged and gone, of {} entries", there.len());
    }
    let state = world.state_dir().display().to_string();
    world.kill().await;
    world.rolloutd(&["verify", "--state-dir", &state]).await.expect_code(0);
    say(&format!(
        "a failed write-back, the flag {flag:?}: {forgotten} bytes were not on the disk, {} acknowledged entries are",
        told.len()
    ));
    drop(device);
}

/// Holds and resumes in turn, and notes what was answered; ends with the first refusal.
async fn orders(run: &Run, count: u32, told: &mut Vec<JournalEntry>) -> Result<(), ClientError> {
    for number in 0..count {
        // Long, so that a few orders need a block of their own.
        let reason = format!("{number} {}", "because ".repeat(60));
        let order = OrderRequest { reason, ..OrderRequest::default() };
        let verb = if number % 2 == 0 { OrderVerb::Hold } else { OrderVerb::Resume };
        told.extend(run.order(verb, order).await?.events);
    }
    Ok(())
}

async fn journal(world: &World, run: &Run) -> Vec<JournalEntry> {
    let (client, mut entries): (Client, Vec<JournalEntry>) = (world.client(), Vec::new());
    loop {
        let after = entries.last().map_or(0, |entry| entry.seq);
        let page = client.events(&run.id, after, 500).await.unwrap().events;
        if page.is_empty() {
            return entries;
        }
        entries.extend(page);
    }
}

/// An ext4 file system whose image is a sparse file in a small memory file system: when that is full, blocks that were
/// never written cannot be. Its journal was, so the file system itself stays well.
struct Device {
    below: PathBuf,
    place: PathBuf,
}

impl Device {
    fn mount(world: &World) -> Self {
        let device = Self { below: world.dir().join("below"), place: world.state_dir() };
        fs::create_dir(&device.below).unwrap();
        let below = device.below.display().to_string();
        assert!(quiet("mount", &["-t", "tmpfs", "-o", BACKING, "none", &below]), "mount");
        let image = File::create(device.image()).unwrap();
        image.set_len(IMAGE_BYTES).unwrap();
        let options = ["-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"];
        let (block, path) = (BLOCK_BYTES.to_string(), device.image().display().to_string());
        let made = [&["-q", "-F", "-m", "0", "-b", &block], &options[..], &[&path]].concat();
        assert!(quiet("mkfs.ext4", &made), "mkfs.ext4");
        device.give_the_journal_its_room();
        assert!(device.mount_now(), "mount");
        device
    }

    /// Writes each block of the journal over itself, so that the backing has it.
    fn give_the_journal_its_room(&self) {
        let mut command = Command::new("debugfs");
        let output = command.args(["-R", "blocks <8>"]).arg(self.image()).stdin(Stdio::null());
        let blocks = String::from_utf8(output.output().unwrap().stdout).unwrap();
        let image = OpenOptions::new().read(true).write(true).open(self.image()).unwrap();
        let mut block = vec![0; usize::try_from(BLOCK_BYTES).unwrap()];
        let blocks: Vec<u64> = blocks.split_whitespace().map(|one| one.parse().unwrap()).collect();
        assert!(blocks.len() > 1000, "debugfs names {} blocks of the journal", blocks.len());
        for number in blocks {
            image.read_exact_at(&mut block, number * BLOCK_BYTES).unwrap();
            image.write_all_at(&block, number * BLOCK_BYTES).unwrap();
        }
    }

    fn mount_now(&self) -> bool {
        let (image, place) = (self.image().display().to_string(), self.place.display().to_string());
        quiet("mount", &["-o", "loop,nodiscard", &image, &place])
    }

    /// Leaves nothing for blocks that were never written.
    fn take_room(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        let page = vec![7; 4096];
        while filler.write_all(&page).is_ok() {}
    }

    fn give_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// Bytes of the database that the kernel has otherwise than the disk.
    fn forgotten(&self) -> usize {
        let database = self.place.join("store").join("db");
        let cached = fs::read(&database).unwrap();
        // Reading past the cache writes back what is not yet, and says when that fails: once for each block.
        let direct = (0..READS_MAX).find_map(|_| past_the_cache(&database).ok()).unwrap();
        assert_eq!(cached.len(), direct.len());
        cached.iter().zip(&direct).filter(|(cached, direct)| cached != direct).count()
    }

    /// Unmounts, which forgets the cache, and mounts. The daemon must be gone.
    async fn mount_again(&self) {
        let place = self.place.display().to_string();
        until("the file system can be unmounted", || async { quiet("umount", &[&place]) }).await;
        assert!(self.mount_now(), "mount");
    }

    fn image(&self) -> PathBuf {
        self.below.join("image")
    }

    fn filler(&self) -> PathBuf {
        self.below.join("filler")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Lazily: a test that failed has a daemon on it that ends right after this.
        for mounted in [&self.place, &self.below] {
            lazily(mounted);
        }
    }
}

/// What the disk has of a file.
fn past_the_cache(file: &Path) -> Result<Vec<u8>, String> {
    let mut command = Command::new("dd");
    command.arg(format!("if={}", file.display())).args(["iflag=direct", "bs=4k"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn lazily(mounted: &Path) {
    quiet("umount", &["-l", &mounted.display().to_string()]);
}
