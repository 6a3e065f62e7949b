//! Owns one machine with its deployments: emulators outside, a disk that can lose its power, and the daemon on it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use convex_emulator::{Config, Emulator};
use tempfile::TempDir;

use super::disk::{self, Disk};
use crate::daemon::{Daemon, Stillborn};
use crate::shim::Faults;
use crate::world::clocks;

/// How much faster than real time: a check every sixth of a second per rollout.
pub(crate) const SCALE: u32 = 3_600;
/// Deployments, and so rollouts that are live at once.
pub(crate) const DEPLOYMENTS: usize = 4;

/// A machine. Dropping it kills the daemon, unmounts the disk and removes everything.
pub(super) struct Site {
    // In the order in which it must go.
    daemon: Option<Daemon>,
    disk: Disk,
    _emulators: Vec<Emulator>,
    /// Names of the deployments.
    pub(super) deployments: Vec<String>,
    program: String,
    clock: Option<String>,
    faults: Faults,
    dir: TempDir,
}

impl Site {
    /// Builds a machine on which no daemon has run yet.
    pub(super) async fn build(rolloutd: &str) -> Result<Self, String> {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("rollout-power-").tempdir_in(place);
        let dir = dir.map_err(|error| error.to_string())?;
        let disk = Disk::new(dir.path())?;
        let (clock, daemon_clock) = clocks(SCALE);
        let (mut emulators, mut deployments) = (Vec::new(), Vec::new());
        for number in 1..=DEPLOYMENTS {
            let emulator = Emulator::start(Config { clock, ..Config::default() }).await;
            emulators.push(emulator.map_err(|error| error.to_string())?);
            deployments.push(format!("d{number}"));
        }
        write_config(dir.path(), &disk.state_dir(), &deployments, &emulators)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            daemon: None,
            disk,
            _emulators: emulators,
            deployments,
            program: rolloutd.to_string(),
            clock: daemon_clock,
            faults: Faults::none(),
            dir,
        })
    }

    /// Lets a daemon make its store, durably whatever its fsync does, and puts `faults` around every later daemon.
    pub(super) async fn found(&mut self, faults: Faults) -> Result<(), String> {
        self.start().await?;
        if let Some(daemon) = self.daemon.take() {
            daemon.kill().await;
        }
        self.disk.write_back()?;
        self.faults = faults;
        Ok(())
    }

    /// Starts the daemon; it is ready when this returns.
    ///
    /// # Errors
    ///
    /// How it ended instead.
    pub(super) async fn start(&mut self) -> Result<(), String> {
        let config = self.dir.path().join("rolloutd.toml");
        let started =
            Daemon::try_start(&self.program, &config, self.clock.as_deref(), &self.faults).await;
        let daemon = started.map_err(|Stillborn { status, said }| format!("{status}: {said}"))?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Fails the power: the daemon stops where it stands, and so does the disk. Answers the disk as it is found afterwards.
    pub(super) async fn fail_power(&mut self) -> Result<PathBuf, String> {
        let daemon = self.daemon.take().ok_or("no daemon runs")?;
        disk::freeze(daemon.pid().ok_or("the daemon ended by itself")?)?;
        let image = self.disk.cut()?;
        daemon.kill().await;
        Ok(image)
    }

    /// Gives the machine its power back, with the disk as it was found.
    ///
    /// # Errors
    ///
    /// Why the disk cannot be mounted.
    pub(super) fn restore_power(&mut self, image: PathBuf) -> Result<(), String> {
        self.disk.replace(image)
    }

    /// The daemon's socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("rolloutd.sock")
    }

    /// Everything that daemons have said on this machine.
    pub(super) fn messages(&self) -> String {
        self.daemon.as_ref().map(Daemon::messages).unwrap_or_default()
    }
}

/// Writes the configuration of a daemon for these deployments, and their keys, below `dir`.
pub(crate) fn write_config(
    dir: &Path,
    state: &Path,
    deployments: &[String],
    emulators: &[Emulator],
) -> std::io::Result<()> {
    let (root, state) = (dir.display(), state.display());
    let mut text = format!(
        "state_dir = \"{state}\"\nsocket = \"{root}/rolloutd.sock\"\ncredentials_dir = \"{root}/credentials\"\n"
    );
    let credentials = dir.join("credentials");
    fs::create_dir(&credentials)?;
    for (name, emulator) in deployments.iter().zip(emulators) {
        text += &format!("\n[deployments.{name}]\nurl = \"{}\"\n", emulator.url());
        let key = credentials.join(format!("{name}.key"));
        fs::write(&key, emulator.admin_key())?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    }
    fs::write(dir.join("rolloutd.toml"), text)
}
