//! Owns one test's world: a directory, a deployment, a daemon, and the time they share.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use convex_emulator::{Config, Emulator, EmulatorClock, Scenario};
use jiff::Timestamp;
use rollout_api::client::{Client, IdempotencyKey};
use rollout_api::{StartRequest, StartResponse};
use tempfile::TempDir;

use crate::ctl::{self, Finished};
use crate::daemon::{Daemon, Stillborn};
use crate::run::Run;
use crate::shim::Faults;

/// Name of the deployment in the daemon's configuration and in every plan of the tests.
const DEPLOYMENT: &str = "production";

/// The binaries under test; only an integration test knows where they are.
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    /// `CARGO_BIN_EXE_e2e-rolloutd`.
    pub rolloutd: &'static str,
    /// `CARGO_BIN_EXE_e2e-rolloutctl`.
    pub rolloutctl: &'static str,
}

/// What is special about a world.
#[derive(Clone, Debug)]
pub struct Setting {
    /// How the app behaves.
    pub scenario: Scenario,
    /// How much faster than real time it is there; 1 = the system's own clock.
    pub scale: u32,
    /// Environment variables of the deployment at the start.
    pub env: BTreeMap<String, String>,
    /// How long one call to the deployment may take.
    pub timeout: &'static str,
    /// What fails around the daemon.
    pub faults: Faults,
    /// More of the daemon's configuration, as written: endpoints.
    pub config: String,
}

/// A deployment, a daemon and a directory. The daemon is killed and the directory removed with the value.
pub struct World {
    // Before `dir`: the daemon must be gone when its files are removed.
    daemon: Option<Daemon>,
    /// The deployment.
    pub emulator: Emulator,
    programs: Programs,
    clock: Option<String>,
    faults: Faults,
    dir: TempDir,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            scenario: Scenario::default(),
            scale: 1,
            env: BTreeMap::new(),
            timeout: "20s",
            faults: Faults::none(),
            config: String::new(),
        }
    }
}

impl World {
    /// Starts a deployment and a daemon.
    ///
    /// # Panics
    ///
    /// When something does not start.
    pub async fn start(programs: Programs, setting: Setting) -> Self {
        let mut world = Self::without_daemon(programs, setting).await;
        world.restart().await;
        world
    }

    /// Starts a deployment and writes the configuration of a daemon that does not run.
    ///
    /// # Panics
    ///
    /// When something does not start.
    pub async fn without_daemon(programs: Programs, setting: Setting) -> Self {
        let dir = tempfile::Builder::new().prefix("rollout-e2e-").tempdir();
        let dir = dir.unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        let (emulator_clock, clock) = clocks(setting.scale);
        let config = Config {
            scenario: setting.scenario,
            env: setting.env,
            clock: emulator_clock,
            ..Config::default()
        };
        let emulator = Emulator::start(config).await;
        let emulator = emulator.unwrap_or_else(|error| panic!("no emulator: {error}"));
        let faults = setting.faults;
        let world = Self { daemon: None, emulator, programs, clock, faults, dir };
        world.write_config(setting.timeout, &setting.config);
        world.write_key(&world.emulator.admin_key());
        world
    }

    /// Puts another key into the credential file.
    pub fn write_key(&self, key: &str) {
        let path = self.credential();
        let file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(key.as_bytes()));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn write_config(&self, timeout: &str, more: &str) {
        let dir = self.dir.path().display();
        let text = format!(
            "state_dir = \"{dir}/state\"\nsocket = \"{dir}/rolloutd.sock\"\ncredentials_dir = \"{dir}/credentials\"\n\n\
             [deployments.{DEPLOYMENT}]\nurl = \"{}\"\ntimeout = \"{timeout}\"\n\n{more}",
            self.emulator.url()
        );
        for made in ["state", "credentials"].map(|name| fs::create_dir(self.dir.path().join(name)))
        {
            made.unwrap_or_else(|error| panic!("cannot make a directory: {error}"));
        }
        fs::write(self.config(), text).unwrap_or_else(|error| panic!("no configuration: {error}"));
    }

    /// Kills the daemon with SIGKILL.
    pub async fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill().await;
        }
    }

    /// Starts the daemon again on the same state; kills it first if it runs.
    pub async fn restart(&mut self) {
        let started = self.try_restart().await;
        started.unwrap_or_else(|Stillborn { status, said }| {
            panic!("the daemon ended with {status}; it said:\n{said}")
        });
    }

    /// Starts the daemon again where it may well end before it is ready; kills it first if it runs.
    ///
    /// # Errors
    ///
    /// How it ended.
    pub async fn try_restart(&mut self) -> Result<(), Stillborn> {
        self.kill().await;
        let (program, config) = (self.programs.rolloutd, self.config());
        let daemon = Daemon::try_start(program, &config, self.clock.as_deref(), &self.faults);
        self.daemon = Some(daemon.await?);
        Ok(())
    }

    /// What fails around the daemon from its next start on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// The daemon's process.
    ///
    /// # Panics
    ///
    /// When it was killed.
    pub fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("the test did not kill the daemon")
    }

    /// Talks to the daemon.
    ///
    /// # Panics
    ///
    /// Never on Linux.
    pub fn client(&self) -> Client {
        Client::unix(self.socket()).unwrap_or_else(|error| panic!("no client: {error}"))
    }

    /// Starts a rollout of a plan and follows it.
    ///
    /// # Panics
    ///
    /// When the daemon refuses.
    pub async fn begin(&self, plan: &str) -> Run {
        let request = StartRequest { plan: plan.to_string(), start_at: None, reason: None };
        let started = self.client().start(&request, &IdempotencyKey::random()).await;
        let StartResponse { rollout, .. } =
            started.unwrap_or_else(|error| panic!("the plan was not started: {error:?}"));
        Run::new(self.socket(), rollout.id)
    }

    /// Runs `rolloutctl` with nothing in its environment but the socket.
    pub async fn ctl(&self, args: &[&str]) -> Finished {
        ctl::run(self.programs.rolloutctl, &self.socket(), self.dir.path(), args).await
    }

    /// Runs `rolloutd` with these arguments to its end, under the daemon's clock; for commands that end by themselves.
    pub async fn rolloutd(&self, args: &[&str]) -> Finished {
        let (program, clock) = (self.programs.rolloutd, self.clock.as_deref());
        ctl::run_at(program, &self.socket(), self.dir.path(), args, clock).await
    }

    /// Writes a file into the world's directory, where `ctl` runs.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("rolloutd.sock")
    }

    /// The daemon's state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The directory that holds everything.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("rolloutd.toml")
    }

    fn credential(&self) -> PathBuf {
        self.dir.path().join("credentials").join(format!("{DEPLOYMENT}.key"))
    }
}

/// The emulator's clock and the same one as the daemon takes it.
pub(crate) fn clocks(scale: u32) -> (EmulatorClock, Option<String>) {
    if scale == 1 {
        return (EmulatorClock::real(), None);
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the one look at the system's clock that both count from"
    )]
    let real_origin = Timestamp::now();
    let origin = Timestamp::from_second(1_767_603_600).unwrap_or(real_origin);
    let emulator = EmulatorClock::scaled(real_origin, origin, f64::from(scale));
    (emulator, Some(format!("{real_origin},{origin},{scale}")))
}
