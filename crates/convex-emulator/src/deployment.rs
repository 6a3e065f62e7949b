//! The state of a deployment, and every way in which it changes.
//!
//! Owns variables, tasks, keys, faults and records; knows no HTTP and no clock: the time is a
//! parameter of whatever needs it. After every write of variables the scenario is told, so that
//! what the app does in answer to a flag starts at the instant of the write.

use std::collections::BTreeMap;

use jiff::Timestamp;
use thiserror::Error;

use crate::access::{KeyError, Keys};
use crate::envvars::{EnvChange, EnvVarRejected, EnvVars};
use crate::faults::{Fault, Faults};
use crate::health::{Health, Progress};
use crate::records::{Records, RequestRecord, Write};
use crate::scenario::Scenario;
use crate::stamps::{Stamp, Stamps};
use crate::tasks::Tasks;

/// What a deployment starts with.
#[derive(Debug, Clone)]
pub struct DeploymentSettings {
    /// Its name.
    pub name: String,
    /// The full key, `name|secret`.
    pub admin_key: String,
    /// The read-only key, `name|secret`.
    pub read_only_key: String,
    /// Its first variables.
    pub env: BTreeMap<String, String>,
    /// How its app behaves.
    pub scenario: Scenario,
}

/// Settings a deployment cannot start with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// A key is wrong.
    #[error("a key cannot be used")]
    Key(#[from] KeyError),
    /// The first variables are refused.
    #[error("the environment variables are refused")]
    Env(#[from] EnvVarRejected),
}

/// Whether a deployment runs functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It does.
    Running,
    /// A person paused it.
    Paused,
    /// It exceeded a limit.
    Disabled,
    /// Convex suspended it.
    Suspended,
}

/// A deployment.
#[derive(Debug, Clone)]
pub struct Deployment {
    name: String,
    keys: Keys,
    env: EnvVars,
    progress: Progress,
    tasks: Tasks,
    faults: Faults,
    stamps: Stamps,
    run_state: RunState,
    last_push: Stamp,
    writes: Records<Write>,
    requests: Records<RequestRecord>,
}

impl RunState {
    /// The state as Convex spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
            Self::Suspended => "suspended",
        }
    }
}

impl Deployment {
    /// Starts a deployment at `now`; its scenario starts then as well.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the settings.
    pub fn new(settings: DeploymentSettings, now: Timestamp) -> Result<Self, SettingsError> {
        let keys = Keys::new(&settings.name, settings.admin_key, settings.read_only_key)?;
        let (mut env, mut stamps) = (EnvVars::default(), Stamps::default());
        let last_push = stamps.next(now);
        let changes: Vec<EnvChange> = settings
            .env
            .into_iter()
            .map(|(name, value)| EnvChange { name, value: Some(value) })
            .collect();
        env.apply(&changes, &mut stamps, now)?;
        let progress = Progress::start(settings.scenario, &env, now);
        Ok(Self {
            name: settings.name,
            keys,
            env,
            progress,
            tasks: Tasks::default(),
            faults: Faults::default(),
            stamps,
            run_state: RunState::Running,
            last_push,
            writes: Records::default(),
            requests: Records::default(),
        })
    }

    /// Applies `write` as one transaction and records it, whether it is refused or not.
    ///
    /// # Errors
    ///
    /// Returns why nothing was changed.
    pub fn write(&mut self, mut write: Write, changes: &[EnvChange]) -> Result<(), EnvVarRejected> {
        let result = self.env.apply(changes, &mut self.stamps, write.at);
        if result.is_ok() {
            self.progress.observe(&self.env, write.at);
        }
        write.applied = result.is_ok();
        self.writes.push(write);
        result
    }

    /// Changes a variable as somebody else would, from another client.
    ///
    /// # Errors
    ///
    /// Returns why nothing was changed.
    pub fn edit(&mut self, changes: &[EnvChange], now: Timestamp) -> Result<(), EnvVarRejected> {
        self.write(Write::foreign(now, changes), changes)
    }

    /// Records a write that never reached the variables.
    pub fn record_lost_write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Records a request.
    pub fn record_request(&mut self, request: RequestRecord) {
        self.requests.push(request);
    }

    /// Records that code was pushed at `now`.
    pub fn push(&mut self, now: Timestamp) {
        self.last_push = self.stamps.next(now);
    }

    /// Pauses, disables, suspends or resumes the deployment.
    pub fn set_run_state(&mut self, run_state: RunState) {
        self.run_state = run_state;
    }

    /// Adds a fault.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.add(fault);
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Its keys, to revoke or restore them.
    pub fn keys_mut(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// Its variables.
    #[must_use]
    pub fn env(&self) -> &EnvVars {
        &self.env
    }

    /// The scenario under way.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The app's health at `now`.
    #[must_use]
    pub fn health(&self, now: Timestamp) -> Health {
        self.progress.health(&self.env, now)
    }

    /// The app's tasks.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The app's tasks, to create one.
    pub fn tasks_mut(&mut self) -> &mut Tasks {
        &mut self.tasks
    }

    /// The faults in force.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The faults in force, to let one fire or to clear them.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// Whether it runs functions.
    #[must_use]
    pub fn run_state(&self) -> RunState {
        self.run_state
    }

    /// The last push of code.
    #[must_use]
    pub fn last_push(&self) -> &Stamp {
        &self.last_push
    }

    /// All attempts to write variables, oldest first.
    #[must_use]
    pub fn writes(&self) -> &Records<Write> {
        &self.writes
    }

    /// All requests, oldest first.
    #[must_use]
    pub fn requests(&self) -> &Records<RequestRecord> {
        &self.requests
    }

    /// Makes a request id for a request that brought none.
    pub fn next_request_id(&mut self) -> String {
        self.stamps.next_request_id()
    }
}
