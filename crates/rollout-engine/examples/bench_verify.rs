//! Measures how long it takes to check every hash chain of a store with a million entries: `bench_verify [DIRECTORY]`, by
//! default the directory of the binary itself.
//!
//! A thousand rollouts with a thousand entries of 200 bytes each. Checked twice: on the files, as `rolloutd verify` does
//! without a daemon, and through the thread of an open store, as a running daemon does it. Prints one row per goal for
//! `rollout-bench`: what, figure, goal and verdict, separated by tabs.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rollout_core::RolloutId;
use rollout_engine::store::{
    self, Append, OpenOptions, SledStore, Standing, Store as _, Survey, Writer,
};

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let beside_binary = || env::current_exe().map(|exe| exe.with_file_name(""));
    let parent = env::args_os().nth(1).map_or_else(beside_binary, |dir| Ok(PathBuf::from(dir)))?;
    let dir = tempfile::Builder::new().prefix("bench-verify-").tempdir_in(parent)?;
    fill(dir.path())?;

    let start = Instant::now();
    let survey = SledStore::examine(dir.path())?;
    println!("{}", row("verify 1,000,000 entries on the files", start.elapsed(), &survey)?);

    let (opened, _) = SledStore::open(dir.path(), OpenOptions::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (took, survey) = runtime.block_on(async {
        let (writer, handle) = Writer::spawn(Box::new(opened))?;
        let start = Instant::now();
        let survey = store::survey(&handle).await?;
        let took = start.elapsed();
        writer.close().await?;
        Ok::<_, Failure>((took, survey))
    })?;
    println!("{}", row("verify 1,000,000 entries while serving", took, &survey)?);
    Ok(())
}

fn fill(dir: &Path) -> Result<(), Failure> {
    let (mut store, _) = SledStore::open(dir, OpenOptions::default())?;
    for number in 1..=ROLLOUTS {
        let rollout = RolloutId::new(number).ok_or("rollouts are numbered from 1")?;
        let entries = (0..ENTRIES).map(|at| vec![(number ^ at) as u8; ENTRY_BYTES]).collect();
        let standing = Standing::Ended;
        store.commit(&[Append { rollout, after: 0, entries, standing, idempotency: None }])?;
    }
    Ok(store.close()?)
}

fn row(what: &str, took: Duration, survey: &Survey) -> Result<String, Failure> {
    if !survey.findings.is_empty() || survey.entries() != ROLLOUTS * ENTRIES {
        return Err(format!("{} entries, and {}", survey.entries(), survey.findings).into());
    }
    let verdict = if took <= GOAL { "met" } else { "NOT MET" };
    Ok(format!("{what}\t{:.2} s\t<= {} s\t{verdict}", took.as_secs_f64(), GOAL.as_secs()))
}

const ROLLOUTS: u64 = 1_000;
const ENTRIES: u64 = 1_000;
const ENTRY_BYTES: usize = 200;
const GOAL: Duration = Duration::from_secs(10);
