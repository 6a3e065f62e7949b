//! Owns the daemon at work: recorded over several lives, and started on disks that a power cut may have left.
//!
//! The deployments stay as the recorded daemon left them, and time goes on. So to a judged daemon the machine was without
//! power for days, and its flags are not always as it left them: it has to wake up to that, too.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use convex_emulator::{Config, Emulator};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::draw::Image;
use super::recording::{Recording, cut_again, length, settle};
use super::{Cut, Judged, Subject, empty_place, has_witness};
use crate::daemon::{Daemon, Stillborn};
use crate::power_cut::check;
use crate::power_cut::load::{self, Acknowledged, Book};
use crate::power_cut::site::{DEPLOYMENTS, SCALE, write_config};
use crate::shim::Faults;
use crate::world::clocks;

/// Longest time for one step, in real time.
const STEP_MAX: Duration = Duration::from_secs(60);

/// A daemon with busy operators.
#[derive(Debug)]
pub(super) struct DaemonAtWork {
    pub(super) program: String,
    /// Requests sent or answered in each life.
    pub(super) moments: u64,
}

/// The deployments, and the time in which they are.
pub(super) struct Deployments {
    emulators: Vec<Emulator>,
    names: Vec<String>,
    clock: Option<String>,
}

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Killed,
    Stopped,
}

impl Subject for DaemonAtWork {
    type Fact = Acknowledged;
    type World = Arc<Deployments>;

    fn name(&self) -> &'static str {
        "daemon"
    }

    async fn record(
        &self,
        dice: &mut fastrand::Rng,
    ) -> Result<Recording<Acknowledged, Arc<Deployments>>, String> {
        let site = Site::build(Arc::new(Deployments::start().await?))?;
        let trace = site.dir.path().join("recording");
        fs::write(&trace, b"").map_err(|error| error.to_string())?;
        let faults = Faults::none().record(&site.state_dir(), &trace);
        let book = Book::beside(&trace);
        let mut turns = Vec::new();
        // The first start is one on an empty directory; the others have to find what is there.
        for end in [End::Killed, End::Stopped, End::Killed] {
            turns.extend(self.live(&site, &faults, &book, &trace, end, dice).await?);
            settle(&trace, &Image::default(), &site.state_dir())?;
        }
        let trace = settle(&trace, &Image::default(), &site.state_dir())?;
        let told = book.read_told().into_iter().map(|told| (told.recorded, told.what)).collect();
        Recording::new(trace, told, &turns, site.world)
    }

    fn judge(
        &self,
        cut: Cut<Acknowledged, Arc<Deployments>>,
    ) -> impl Future<Output = Result<Judged, String>> + Send + 'static {
        let program = self.program.clone();
        async move {
            let Cut { mut image, told, world, again } = cut;
            if let Some(mut dice) = again {
                image = start_and_cut(&program, image, &world, &mut dice).await?;
            }
            let site = Site::build(world)?;
            image.write(&site.state_dir())?;
            drop(image);
            let daemon = site.start(&program, &Faults::none()).await?;
            let said = daemon.messages();
            has_witness(&said, told.len())?;
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
        let mut operators = load::begin(&site.socket(), &site.world.names, book, dice);
        let worked = timeout(STEP_MAX, book.after(self.moments)).await;
        worked.map_err(|_| "the operators got nothing done")?;
        let enough = length(trace)?;
        match end {
            End::Killed => daemon.kill().await,
            End::Stopped => stop(&mut daemon).await?,
        }
        let at_home = async { while operators.join_next().await.is_some() {} };
        timeout(STEP_MAX, at_home).await.map_err(|_| "an operator did not notice")?;
        Ok([before..ready, enough..length(trace)?])
    }
}

/// Ends a daemon as `systemctl stop` does.
async fn stop(daemon: &mut Daemon) -> Result<(), String> {
    let pid = daemon.pid().ok_or("the daemon ended by itself")?;
    let told = Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await;
    told.map_err(|error| error.to_string())?;
    let status = daemon.wait().await;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{status}: {}", daemon.messages())),
    }
}

/// What is left when the power fails while a daemon starts on `image`, or right after.
async fn start_and_cut(
    program: &str,
    image: Image,
    world: &Arc<Deployments>,
    dice: &mut fastrand::Rng,
) -> Result<Image, String> {
    let site = Site::build(Arc::clone(world))?;
    image.write(&site.state_dir())?;
    let trace = site.dir.path().join("recording");
    let faults = Faults::none().record(&site.state_dir(), &trace);
    site.start(program, &faults).await?.kill().await;
    cut_again(&trace, &image, &site.state_dir(), dice)
}

impl Deployments {
    async fn start() -> Result<Self, String> {
        let (emulator_clock, clock) = clocks(SCALE);
        let (mut emulators, mut names) = (Vec::new(), Vec::new());
        for number in 1..=DEPLOYMENTS {
            let config = Config { clock: emulator_clock, ..Config::default() };
            emulators.push(Emulator::start(config).await.map_err(|error| error.to_string())?);
            names.push(format!("d{number}"));
        }
        Ok(Self { emulators, names, clock })
    }
}

/// A directory with the configuration of a daemon.
struct Site {
    world: Arc<Deployments>,
    dir: TempDir,
}

impl Site {
    fn build(world: Arc<Deployments>) -> Result<Self, String> {
        let site = Self { world, dir: empty_place()? };
        let (dir, state, world) = (site.dir.path(), site.state_dir(), &site.world);
        fs::create_dir(&state)
            .and_then(|()| write_config(dir, &state, &world.names, &world.emulators))
            .map_err(|error| error.to_string())?;
        Ok(site)
    }

    async fn start(&self, program: &str, faults: &Faults) -> Result<Daemon, String> {
        let (config, clock) = (self.dir.path().join("rolloutd.toml"), &self.world.clock);
        let started = Daemon::try_start(program, &config, clock.as_deref(), faults).await;
        started.map_err(|Stillborn { status, said }| format!("{status}: {said}"))
    }

    fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("rolloutd.sock")
    }
}
