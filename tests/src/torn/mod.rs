//! Torn writes: every disk that a power cut may leave, not only the one that it happened to leave.
//!
//! A daemon works, starts and stops while everything that it does to its directory is recorded, in one order. Then, for many
//! moments, a disk is drawn from what a file system may make of the recording up to there (`disk.rs` has the contract,
//! `draw.rs` the draws), and a daemon is started on it, and looked at: everything is there that was acknowledged before the
//! moment, and everything goes on. A start that is refused is a failure, whatever the reason: a power cut must never need a
//! person. On every fourth disk the power fails once more during that start.
//!
//! Beside the daemon the store alone is worn out in the same way, because it takes thousands of commits until sled writes
//! over what it wrote before. And each is judged once more as if our own `fdatasync` of the database were not there: if that
//! does not fail, the disks are too gentle and prove nothing.

mod churn;
mod daemon;
mod disk;
mod draw;
mod recording;
mod store;
mod tally;
mod trace;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::task::JoinSet;

pub use self::churn::{Leave, Seen, look, wear};
use self::daemon::DaemonAtWork;
use self::disk::Disk;
use self::draw::Image;
use self::recording::{Ours, Recording};
use self::store::StoreAlone;
pub use self::tally::Tally;
use crate::power_cut::check::Findings;
use crate::tool::Tool;

/// What this needs of a machine.
pub const TORN_TOOLS: [Tool; 1] = [Tool::Cc];

/// Disks that are judged at once: mostly they wait.
const JUDGES: usize = 4;
/// Disks that are drawn from one recording.
const DISKS_PER_RECORDING: u32 = 150;
/// On one of so many disks the power fails again during the start.
const AGAIN: u32 = 4;
/// One disk of the control arm for so many of the other.
const CONTROL_SHARE: u32 = 5;
/// Fewest disks of a control arm.
const CONTROL_MIN: u32 = 30;
/// What is said at an opening when the second memory of a store is gone, which is to notice that the first one forgot.
const NO_WITNESS: &str = "the witness was missing or unreadable";
/// Where disks on which something failed are kept, if it is set.
const KEEP: &str = "ROLLOUT_TORN_KEEP";

/// The programs under test.
#[derive(Clone, Debug)]
pub struct TornPrograms {
    /// `e2e-rolloutd`.
    pub rolloutd: String,
    /// `e2e-store-churn`.
    pub churn: String,
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Disks that are drawn; a fifth as many for the control arm.
    pub disks: u32,
    /// Requests sent or answered in each life of a recorded daemon.
    pub moments: u64,
    /// Commits in each life of a recorded store.
    pub commits: u32,
}

/// What is recorded and judged.
trait Subject {
    /// Something that was acknowledged.
    type Fact: Clone + Send + 'static;
    /// What a process needs besides its directory.
    type World: Clone + Send + 'static;

    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Lets it work while it is recorded.
    async fn record(&self, dice: &mut fastrand::Rng) -> Result<Recorded<Self>, String>;

    /// Puts an image into an empty directory, starts on it, and looks.
    fn judge(
        &self,
        cut: Cut<Self::Fact, Self::World>,
    ) -> impl Future<Output = Result<Judged, String>> + Send + 'static;
}

/// What was recorded of a subject.
type Recorded<S> = Recording<<S as Subject>::Fact, <S as Subject>::World>;

/// The power failed.
struct Cut<F, W> {
    /// What is left.
    image: Image,
    /// What was acknowledged before.
    told: Vec<F>,
    /// What was there when it was recorded.
    world: W,
    /// With these draws it fails once more while somebody starts on what is left.
    again: Option<fastrand::Rng>,
}

/// What was found on a disk that could be opened.
#[derive(Debug, Default)]
struct Judged {
    findings: Findings,
    /// What was put right at the opening.
    repairs: Vec<String>,
}

/// Refuses a store that lost its witness, once there was something to bear witness to.
fn has_witness(said: &str, told: usize) -> Result<(), String> {
    match told > 0 && said.contains(NO_WITNESS) {
        true => Err(format!("{NO_WITNESS} although something had been acknowledged")),
        false => Ok(()),
    }
}

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// The real daemon with busy operators.
    Daemon,
    /// Its store, worn out until sled writes over its own segments.
    Store,
}

/// Records, tears and judges; answers a tally for what is, and one without our sync.
///
/// # Errors
///
/// When the machine does not play along, or a recording lacks something.
pub async fn tear_writes(
    programs: &TornPrograms,
    torn: Torn,
    extent: Extent,
    dice: &mut fastrand::Rng,
) -> Result<[Tally; 2], String> {
    match torn {
        Torn::Daemon => {
            let (program, moments) = (programs.rolloutd.clone(), extent.moments);
            tear(&DaemonAtWork { program, moments }, extent.disks, dice).await
        }
        Torn::Store => {
            let (program, commits) = (programs.churn.clone(), extent.commits);
            tear(&StoreAlone { program, commits }, extent.disks, dice).await
        }
    }
}

async fn tear<S: Subject>(
    subject: &S,
    disks: u32,
    dice: &mut fastrand::Rng,
) -> Result<[Tally; 2], String> {
    let arms = [Ours::Counts, Ours::IsLeftOut];
    let mut tallies = arms.map(|ours| Tally::new(subject.name(), ours));
    while tallies[0].disks() < disks {
        let recording = subject.record(dice).await?;
        let number = DISKS_PER_RECORDING.min(disks - tallies[0].disks());
        let control = number.div_ceil(CONTROL_SHARE).max(CONTROL_MIN);
        for ((ours, tally), number) in arms.into_iter().zip(&mut tallies).zip([number, control]) {
            tally.recorded(&recording.trace);
            judge_disks(subject, &recording, ours, number, tally, dice).await?;
        }
    }
    Ok(tallies)
}

/// A disk that is being judged.
struct Case {
    words: String,
    acknowledged: usize,
    image: Option<Image>,
    judged: Result<Judged, String>,
}

async fn judge_disks<S: Subject>(
    subject: &S,
    recording: &Recorded<S>,
    ours: Ours,
    number: u32,
    tally: &mut Tally,
    dice: &mut fastrand::Rng,
) -> Result<(), String> {
    let trace = recording.trace(ours);
    let moments = recording.moments(&trace, ours, number as usize, dice);
    let keeps = ours == Ours::Counts && env::var_os(KEEP).is_some();
    let mut disk = Disk::new(&trace, &Image::default());
    let mut judging = JoinSet::new();
    for moment in moments {
        disk.advance(moment)?;
        let image = Image::draw(&disk, dice);
        let told = recording.told_before(&trace, moment);
        let again = (ours == Ours::Counts && dice.u32(0..AGAIN) == 0).then(|| dice.fork());
        let twice = if again.is_some() { "twice, first " } else { "" };
        let words = format!(
            "{twice}after {moment} of {} steps, {} acknowledged; {}",
            trace.steps.len(),
            told.len(),
            image.words
        );
        let told: Vec<_> = told.iter().map(|(_, fact)| fact.clone()).collect();
        let (acknowledged, kept) = (told.len(), keeps.then(|| image.clone()));
        let judged = subject.judge(Cut { image, told, world: recording.world.clone(), again });
        judging
            .spawn(async move { Case { words, acknowledged, image: kept, judged: judged.await } });
        if judging.len() >= JUDGES {
            count(tally, judging.join_next().await)?;
        }
    }
    while !judging.is_empty() {
        count(tally, judging.join_next().await)?;
    }
    Ok(())
}

fn count(
    tally: &mut Tally,
    case: Option<Result<Case, tokio::task::JoinError>>,
) -> Result<(), String> {
    let Some(case) = case else { return Ok(()) };
    let Case { words, acknowledged, image, judged } = case.map_err(|error| error.to_string())?;
    let failed = tally.count(words, acknowledged, judged);
    match (failed, image, env::var_os(KEEP)) {
        (true, Some(image), Some(keep)) => keep_image(&image, Path::new(&keep), tally),
        _ => Ok(()),
    }
}

fn keep_image(image: &Image, keep: &Path, tally: &Tally) -> Result<(), String> {
    let dir = keep.join(format!("disk-{}", tally.disks()));
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    image.write(&dir)
}

/// An empty directory, in memory where there is some.
fn empty_place() -> Result<TempDir, String> {
    let memory = PathBuf::from("/dev/shm");
    let place = if memory.is_dir() { memory } else { env::temp_dir() };
    let dir = tempfile::Builder::new().prefix("rollout-torn-").tempdir_in(place);
    dir.map_err(|error| error.to_string())
}
