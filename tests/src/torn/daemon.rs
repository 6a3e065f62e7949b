//! Owns the daemon at work: recorded over several lives, and started on disks that a power cut may have left.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use convex_emulator::{Config, Emulator, EmulatorClock};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::draw::Image;
use super::recording::{Recording, length, settle};
use super::{Judged, Subject, empty_place};
use crate::daemon::{Daemon, Stillborn};
use crate::power_cut::check;
use crate::power_cut::load::{self, Acknowledged, Book};
use crate::power_cut::site::{DEPLOYMENTS, SCALE, write_config};
use crate::shim::Faults;
use crate::world::{clocks_from, origin};

/// Longest time for one step, in real time.
const STEP_MAX: Duration = Duration::from_secs(60);
/// How much later than the last acknowledgement of a recording all of it is over, in the deployments' time.
const MARGIN: SignedDuration = SignedDuration::from_hours(12);

/// A daemon with busy operators.
#[derive(Debug)]
pub(super) struct DaemonAtWork {
    pub(super) program: String,
    /// Requests sent or answered in each life.
    pub(super) moments: u64,
}

/// Something acknowledged, and when in the deployments' time.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    what: Acknowledged,
    at: Timestamp,
}

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Killed,
    Stopped,
}

impl Subject for DaemonAtWork {
    type Fact = Fact;

    fn name(&self) -> &'static str {
        "daemon"
    }

    async fn record(&self, dice: &mut fastrand::Rng) -> Result<Recording<Fact>, String> {
        let begun = Instant::now();
        let site = Site::build(origin()).await?;
        let trace = site.dir.path().join("recording");
        fs::write(&trace, b"").map_err(|error| error.to_string())?;
        let faults = Faults::none().record(&site.state_dir(), &trace);
        let book = Book::beside(&trace);
        let mut turns = Vec::new();
        // The first start is one on an empty directory; the others have to find what is there.
        for end in [End::Killed, End::Stopped, End::Killed] {
            turns.extend(self.live(&site, &faults, &book, &trace, end, dice).await?);
            settle(&trace, &site.state_dir())?;
        }
        let told = book.read_told().into_iter().map(|told| {
            let gone = told.at.duration_since(begun) * SCALE;
            let gone = SignedDuration::try_from(gone).unwrap_or(SignedDuration::MAX);
            let at = origin().checked_add(gone).unwrap_or(Timestamp::MAX);
            (told.recorded, Fact { what: told.what, at })
        });
        Recording::new(settle(&trace, &site.state_dir())?, told.collect(), &turns)
    }

    fn judge(
        &self,
        image: Image,
        told: Vec<Fact>,
        next: Option<Fact>,
    ) -> impl Future<Output = Result<Judged, String>> + Send + 'static {
        let program = self.program.clone();
        async move {
            let now = match (next, told.last()) {
                (Some(next), _) => next.at,
                (None, Some(last)) => last.at.checked_add(MARGIN).unwrap_or(last.at),
                (None, None) => origin(),
            };
            let site = Site::build(now).await?;
            image.write(&site.state_dir())?;
            drop(image);
            let daemon = site.start(&program, &Faults::none()).await?;
            let told: Vec<_> = told.into_iter().map(|fact| fact.what).collect();
            let said = daemon.messages();
            let looked = timeout(STEP_MAX, check::look(&site.socket(), &told, &said)).await;
            let findings = looked.map_err(|_| "the daemon does not answer")??;
            daemon.kill().await;
            Ok(Judged { findings, repairs: Vec::new() })
        }
    }
}

impl DaemonAtWork {
    /// One life of the daemon; answers the lengths of the recording between which it started, and stopped.
    async fn live(
        &self,
        site: &Site,
        faults: &Faults,
        book: &Book,
        trace: &Path,
        end: End,
        dice: &mut fastrand::Rng,
    ) -> Result<[Range<u64>; 2], String> {
        let before = length(trace)?;
        let mut daemon = site.start(&self.program, faults).await?;
        let ready = length(trace)?;
        let mut operators = load::begin(&site.socket(), &site.deployments, book, dice);
        let worked = timeout(STEP_MAX, book.after(self.moments)).await;
        worked.map_err(|_| "the operators got nothing done")?;
        let enough = length(trace)?;
        match end {
            End::Killed => daemon.kill().await,
            End::Stopped => {
                let pid = daemon.pid().ok_or("the daemon ended by itself")?;
                let told = Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await;
                told.map_err(|error| error.to_string())?;
                let status = daemon.wait().await;
                if !status.success() {
                    return Err(format!("{status}: {}", daemon.messages()));
                }
            }
        }
        let at_home = async { while operators.join_next().await.is_some() {} };
        timeout(STEP_MAX, at_home).await.map_err(|_| "an operator did not notice")?;
        Ok([before..ready, enough..length(trace)?])
    }
}

/// A directory with the configuration of a daemon, and the deployments in it.
struct Site {
    _emulators: Vec<Emulator>,
    deployments: Vec<String>,
    clock: Option<String>,
    dir: TempDir,
}

impl Site {
    /// Builds one where it is `now`.
    async fn build(now: Timestamp) -> Result<Self, String> {
        let dir = empty_place()?;
        let (clock, daemon_clock): (EmulatorClock, _) = clocks_from(SCALE, now);
        let (mut emulators, mut deployments) = (Vec::new(), Vec::new());
        for number in 1..=DEPLOYMENTS {
            let emulator = Emulator::start(Config { clock, ..Config::default() }).await;
            emulators.push(emulator.map_err(|error| error.to_string())?);
            deployments.push(format!("d{number}"));
        }
        let site = Self { _emulators: emulators, deployments, clock: daemon_clock, dir };
        fs::create_dir(site.state_dir())
            .and_then(|()| {
                let dir = site.dir.path();
                write_config(dir, &site.state_dir(), &site.deployments, &site._emulators)
            })
            .map_err(|error| error.to_string())?;
        Ok(site)
    }

    async fn start(&self, program: &str, faults: &Faults) -> Result<Daemon, String> {
        let config = self.dir.path().join("rolloutd.toml");
        let started = Daemon::try_start(program, &config, self.clock.as_deref(), faults).await;
        started.map_err(|Stillborn { status, said }| format!("{status}: {said}"))
    }

    fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("rolloutd.sock")
    }
}
