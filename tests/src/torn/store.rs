//! Owns the store alone: worn out under the recording by `e2e-store-churn`, and looked at on disks that a power cut may have
//! left.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::draw::Image;
use super::recording::{Recording, cut_again, length, settle};
use super::{Cut, Judged, Subject, empty_place, has_witness};
use crate::power_cut::check::Findings;
use crate::shim::Faults;

/// Longest time for one process; thousands of commits take seconds.
const PROCESS_MAX: Duration = Duration::from_secs(240);

/// A store without a daemon.
#[derive(Debug)]
pub(super) struct StoreAlone {
    pub(super) program: String,
    /// Commits in each life.
    pub(super) commits: u32,
}

/// An entry that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact {
    rollout: u64,
    seq: u64,
}

impl Subject for StoreAlone {
    type Fact = Fact;
    /// The seed from which everything follows that is written.
    type World = u64;

    fn name(&self) -> &'static str {
        "store alone"
    }

    async fn record(&self, dice: &mut fastrand::Rng) -> Result<Recording<Fact, u64>, String> {
        let dir = empty_place()?;
        let (trace, store) = (dir.path().join("recording"), dir.path().join("store"));
        fs::create_dir(&store)
            .and_then(|()| fs::write(&trace, b""))
            .map_err(|error| error.to_string())?;
        let seed = dice.u64(..);
        let (mut told, mut turns) = (Vec::new(), Vec::new());
        for leave in ["open", "closed", "open"] {
            let (heard, lengths) = self.live(&store, &trace, seed, leave).await?;
            told.extend(heard);
            turns.extend(lengths);
            settle(&trace, &Image::default(), &store)?;
        }
        Recording::new(settle(&trace, &Image::default(), &store)?, told, &turns, seed)
    }

    fn judge(
        &self,
        cut: Cut<Fact, u64>,
    ) -> impl Future<Output = Result<Judged, String>> + Send + 'static {
        let program = self.program.clone();
        async move {
            let Cut { mut image, told, world: seed, again } = cut;
            // The last entry that was acknowledged stands for all before.
            let ends: BTreeMap<_, _> = told.iter().map(|fact| (fact.rollout, fact.seq)).collect();
            if let Some(mut dice) = again {
                image = start_and_cut(&program, image, seed, &mut dice).await?;
            }
            let dir = empty_place()?;
            image.write(dir.path())?;
            drop(image);
            let mut command = Command::new(&program);
            command.arg("look").arg(dir.path()).arg(seed.to_string());
            let lines: String =
                ends.iter().map(|(rollout, seq)| format!("{rollout} {seq}\n")).collect();
            let output = run(command, lines).await?;
            has_witness(&String::from_utf8_lossy(&output.stdout), told.len())?;
            let lines = |word: &str| -> Vec<String> {
                let said = String::from_utf8_lossy(&output.stdout);
                said.lines().filter_map(|line| line.strip_prefix(word)).map(String::from).collect()
            };
            let (lost, repairs) = (lines("lost "), lines("repair "));
            Ok(Judged { findings: Findings { lost, stuck: Vec::new() }, repairs })
        }
    }
}

impl StoreAlone {
    /// One process; answers what it acknowledged, and the lengths of the recording between which it started, and stopped.
    async fn live(
        &self,
        store: &Path,
        trace: &Path,
        seed: u64,
        leave: &str,
    ) -> Result<(Vec<(u64, Fact)>, [Range<u64>; 2]), String> {
        let before = length(trace)?;
        let output = wear(&self.program, store, trace, seed, self.commits, leave).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        let told: Option<Vec<_>> = said
            .lines()
            .map(|line| {
                let mut numbers = line.split(' ').map(|number| number.parse::<u64>().ok());
                let (length, rollout, seq) = (numbers.next()??, numbers.next()??, numbers.next()??);
                Some((length, Fact { rollout, seq }))
            })
            .collect();
        let told = told.ok_or_else(|| format!("{} says what nobody asked", self.program))?;
        // The first commit is made once the store is open, and nothing is acknowledged after the last one.
        let first = told.first().map_or(before, |(length, _)| *length);
        let last = told.last().map_or(before, |(length, _)| *length);
        Ok((told, [before..first, last..length(trace)?]))
    }
}

/// What is left when the power fails while the store is opened on `image`, or right after its first commit.
async fn start_and_cut(
    program: &str,
    image: Image,
    seed: u64,
    dice: &mut fastrand::Rng,
) -> Result<Image, String> {
    let dir = empty_place()?;
    let (trace, store) = (dir.path().join("recording"), dir.path().join("store"));
    image.write(&store)?;
    wear(program, &store, &trace, seed, 1, "open").await?;
    cut_again(&trace, &image, &store, dice)
}

/// Lets a process wear the store out while it is recorded.
async fn wear(
    program: &str,
    store: &Path,
    trace: &Path,
    seed: u64,
    commits: u32,
    leave: &str,
) -> Result<Output, String> {
    let mut command = Command::new(program);
    command.arg("wear").arg(store).arg(trace).arg(seed.to_string());
    command.arg(commits.to_string()).arg(leave);
    command.envs(Faults::none().record(store, trace).env());
    run(command, String::new()).await
}

/// Runs a command to its end, which comes in any case, with this text on its input.
async fn run(mut command: Command, input: String) -> Result<Output, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let mut stdin = child.stdin.take().ok_or("a child without an input")?;
    let ended = timeout(PROCESS_MAX, async {
        // A child that has failed does not read it any more.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await
    });
    let output = ended.await.map_err(|_| "the process does not end")?;
    let output = output.map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(output),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{}: {}", output.status, said.trim()))
        }
    }
}
