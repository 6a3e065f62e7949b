//! The state of a deployment, and every way in which it changes.
//!
//! Owns variables, tasks, keys, faults and records; knows no HTTP and no clock: the time is a
//! parameter of whatever needs it. After every write of variables the scenario is told, so that
//! what the app does in answer to a flag starts at the instant of the write.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use crate::access::{KeyError, Keys};
use crate::calls::{Call, Outcome};
use crate::completion::{Completion, EntryKind, identity_type};
use crate::envvars::{EnvChange, EnvVarRejected, EnvVars};
use crate::executions::ExecutionLog;
use crate::faults::{Fault, Faults};
use crate::functions::FunctionKind;
use crate::health::{Health, Progress};
use crate::records::{Records, RequestRecord, Write};
use crate::scenario::Scenario;
use crate::stamps::{Stamp, Stamps, hash};
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
    executions: ExecutionLog,
    executions_noted: u64,
    restarts: u64,
    revision: u64,
    redacts: bool,
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
            executions: ExecutionLog::default(),
            executions_noted: 0,
            restarts: 0,
            revision: 0,
            redacts: false,
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
            self.revision += 1;
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
        self.revision += 1;
    }

    /// Pauses, disables, suspends or resumes the deployment.
    pub fn set_run_state(&mut self, run_state: RunState) {
        self.run_state = run_state;
        self.revision += 1;
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

    /// Notes that a function ran for a client, in the log of executions.
    pub(crate) fn note_execution(
        &mut self,
        now: Timestamp,
        call: &Call<'_>,
        kind: FunctionKind,
        outcome: &Outcome,
    ) {
        self.executions_noted += 1;
        let draw = hash(self.executions_noted, "execution");
        let took = Duration::from_micros(TOOK_MICROS_MIN + draw % TOOK_MICROS_MIN);
        self.log_execution(
            now,
            Completion {
                kind: EntryKind::Completion,
                udf_type: kind.into(),
                identifier: call.name.strip_suffix(":default").unwrap_or(call.name).to_owned(),
                component_path: None,
                finished_at: now.checked_add(took).unwrap_or(now),
                executed_at: now,
                took,
                cached: false,
                error: match outcome {
                    Outcome::Value(_) => None,
                    Outcome::Failed(text, _) => Some(text.clone()),
                },
                http_status: None,
                will_retry: false,
                caller: call.caller,
                identity: identity_type(call.identity),
                request_id: call.request_id.to_owned(),
                execution_id: format!("{draw:016x}"),
                parent_execution_id: None,
                log_lines: Vec::new(),
                documents: (1, u64::from(kind == FunctionKind::Mutation)),
            },
        );
    }

    /// Adds an execution that is logged at `now`.
    pub fn log_execution(&mut self, now: Timestamp, completion: Completion) {
        self.executions.push(now, completion);
    }

    /// The log of executions.
    #[must_use]
    pub fn executions(&self) -> &ExecutionLog {
        &self.executions
    }

    /// The text of a function error as clients see it; its reason may be withheld.
    pub(crate) fn error_message(&self, request_id: &str, reason: &str) -> String {
        let head = format!("[Request ID: {request_id}] Server Error");
        if self.redacts { head } else { format!("{head}\n{reason}") }
    }

    /// Withholds the reasons of function errors from now on, or no longer.
    pub fn set_redaction(&mut self, redacts: bool) {
        self.redacts = redacts;
    }

    /// Restarts the server process: what it held in memory is lost, and the cursors of the streams
    /// go on `cursor_back_ms` behind the clock.
    pub fn restart(&mut self, cursor_back_ms: f64) {
        self.executions.restart(cursor_back_ms);
        self.restarts += 1;
    }

    /// How often the server process was restarted.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Lets the app's own traffic happen up to `now`.
    pub fn catch_up(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// How long after `now` the app's own traffic goes on; `None` when it has none.
    #[must_use]
    pub fn next_execution_after(&self, now: Timestamp) -> Option<SignedDuration> {
        let _ = now;
        None
    }

    /// Changes with everything that a websocket or a long poll can wait for.
    #[must_use]
    pub(crate) fn ticks(&self) -> u64 {
        self.revision.wrapping_add(self.executions.pushed()).wrapping_add(self.restarts)
    }

    /// Grows with everything that the answer of a subscribed query can depend on.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Makes a request id for a request that brought none.
    pub fn next_request_id(&mut self) -> String {
        self.stamps.next_request_id()
    }
}

/// A function of the emulated app takes this long, or up to twice as long.
const TOOK_MICROS_MIN: u64 = 200;
