//! Owns the wear of a store without a daemon: thousands of commits, so that sled cleans its segments and writes over them,
//! and the look at what is left of them. Both run in processes of their own, `e2e-store-churn`.
//!
//! What is written follows from a seed, a rollout and a number, so a look knows every byte that must be there. What was
//! acknowledged is printed once the commit has returned, with the length that the recording had by then.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use fastrand::Rng;
use rollout_core::{RolloutId, Seq};
use rollout_engine::store::{
    Append, IdempotencyRow, OpenOptions, OpenReport, SledSource, SledStore, Standing, Store as _,
};

/// Rollouts that are live at once.
const LIVE: usize = 60;
/// Entries with which a rollout ends.
const ENTRIES_MAX: u64 = 40;
/// Appends that share a commit, as those do that wait for the store's thread.
const BATCH: std::ops::RangeInclusive<usize> = 1..=6;

/// How a process leaves its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// As a daemon that is stopped.
    Closed,
    /// Where it stands: nothing is flushed, closed or dropped.
    Open,
}

/// Opens the store in `dir` and makes `commits` commits; prints `length rollout seq` for each entry that is acknowledged.
///
/// # Errors
///
/// What the store says.
pub fn wear(
    dir: &Path,
    recording: &Path,
    seed: u64,
    commits: u32,
    leave: Leave,
) -> Result<(), String> {
    let (mut store, report) = open(dir)?;
    let mut dice = Rng::with_seed(seed.wrapping_add(report.incarnation));
    let mut out = io::stdout().lock();
    for _ in 0..commits {
        let batch = batch(&store, seed, &mut dice)?;
        store.commit(&batch).map_err(words)?;
        let length = fs::metadata(recording).map_err(|error| error.to_string())?.len();
        let lines: String = batch
            .iter()
            .map(|append| format!("{length} {} {}\n", append.rollout.get(), append.after + 1))
            .collect();
        let told = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
        told.map_err(|error| error.to_string())?;
    }
    match leave {
        Leave::Closed => store.close().map_err(words),
        // Destructors do not run, so sled's own threads end in the middle of whatever they do.
        Leave::Open => std::process::exit(0),
    }
}

/// Opens the store in `dir` as a daemon does and checks that everything is there up to the acknowledged entries in `told`,
/// to the byte; then commits, closes it, and opens it again. Answers what is lost, and what was put right at the opening.
///
/// # Errors
///
/// Why it cannot be opened, read, or worked with.
pub fn look(dir: &Path, seed: u64, told: &BTreeMap<u64, u64>) -> Result<Seen, String> {
    let (mut store, report) = open(dir)?;
    if let Some(aside) = report.quarantined.first() {
        return Err(format!("{} was set aside: {}", aside.rollout, aside.why));
    }
    let lost = lost(&store, seed, told)?;
    let mut dice = Rng::with_seed(seed ^ report.incarnation);
    let batch = batch(&store, seed, &mut dice)?;
    store.commit(&batch).map_err(|error| format!("the first commit: {}", words(error)))?;
    let ends = ends(&store)?;
    store.close().map_err(words)?;
    drop(store);
    let (store, _) = open(dir).map_err(|error| format!("opened once, and then: {error}"))?;
    if self::ends(&store)? != ends {
        return Err(String::from("what was committed after the cut is gone at the next opening"));
    }
    Ok(Seen { lost, repairs: report.repairs.iter().map(ToString::to_string).collect() })
}

/// What a look found.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What was acknowledged and is not there, or is another.
    pub lost: Vec<String>,
    /// What was put right at the opening.
    pub repairs: Vec<String>,
}

fn open(dir: &Path) -> Result<(SledStore, OpenReport), String> {
    SledSource::new(dir, OpenOptions::default()).open_now().map_err(words)
}

/// How far each rollout has come.
fn ends(store: &SledStore) -> Result<BTreeMap<u64, u64>, String> {
    let heads = store.heads().map_err(words)?;
    Ok(heads.iter().map(|head| (head.rollout.get(), head.seq.get())).collect())
}

fn lost(store: &SledStore, seed: u64, told: &BTreeMap<u64, u64>) -> Result<Vec<String>, String> {
    let mut lost = Vec::new();
    let ends = ends(store)?;
    for (rollout, seq) in told {
        let end = ends.get(rollout).copied().unwrap_or(0);
        if end < *seq {
            lost.push(format!("r{rollout}: told up to {seq}, found up to {end}"));
        }
    }
    for (number, end) in &ends {
        let rollout = rollout(*number)?;
        let entries = store.journal(rollout, Seq::FIRST).map_err(words)?;
        if entries.len() as u64 != *end {
            lost.push(format!("r{number} has {} entries and ends with {end}", entries.len()));
        }
        for entry in &entries {
            let seq = entry.seq.get();
            let wanted = written(seed, rollout, seq);
            let key = wanted.idempotency.as_ref().map(|row| row.key.as_str());
            let kept = key.map(|key| store.idempotency(key)).transpose().map_err(words)?.flatten();
            if wanted.entries.first() != Some(&entry.payload) || kept != wanted.idempotency {
                lost.push(format!("r{number} {seq} is another than was written"));
            }
        }
    }
    Ok(lost)
}

fn batch(store: &SledStore, seed: u64, dice: &mut Rng) -> Result<Vec<Append>, String> {
    let heads = store.heads().map_err(words)?;
    let mut next = heads.last().map_or(1, |head| head.rollout.get() + 1);
    let mut free: Vec<_> = heads
        .iter()
        .filter(|head| head.standing == Standing::Live)
        .map(|head| (head.rollout.get(), head.seq.get()))
        .collect();
    while free.len() < LIVE {
        free.push((next, 0));
        next += 1;
    }
    dice.shuffle(&mut free);
    free.truncate(dice.usize(BATCH));
    free.sort_unstable();
    free.into_iter().map(|(number, after)| Ok(written(seed, rollout(number)?, after + 1))).collect()
}

/// The append with which this entry comes.
fn written(seed: u64, rollout: RolloutId, seq: u64) -> Append {
    let mut dice = Rng::with_seed(seed ^ (rollout.get() << 32) ^ seq);
    let bytes = match dice.u8(0..100) {
        0..85 => dice.usize(60..400),
        85..98 => dice.usize(400..3_000),
        _ => dice.usize(7_000..20_000),
    };
    let mut payload = vec![0; bytes];
    dice.fill(&mut payload);
    let key = format!("{:016x}-{rollout}-{seq}", dice.u64(..));
    let row = IdempotencyRow { key, rollout, request_digest: [dice.u8(..); 32] };
    let standing = if seq < ENTRIES_MAX { Standing::Live } else { Standing::Ended };
    let idempotency = dice.bool().then_some(row);
    Append { rollout, after: seq - 1, entries: vec![payload], standing, idempotency }
}

fn rollout(number: u64) -> Result<RolloutId, String> {
    RolloutId::new(number).ok_or_else(|| String::from("no rollout has the number 0"))
}

/// An error with its causes.
fn words(error: impl std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words += &format!(": {cause}");
        source = cause.source();
    }
    words
}
