//! The state of a deployment, and every way in which it changes.
//!
//! Owns variables, tasks, keys, faults and records; knows no HTTP and no clock: the time is a
//! parameter of whatever needs it. After every write of variables the scenario is told, so that
//! what the app does in answer to a flag starts at the instant of the write.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use crate::access::{KeyError, Keys};
use crate::activity::Activity;
use crate::audit::{AuditAccess, AuditEvent, AuditLog};
use crate::declared::DeclaredVariable;
use crate::envvars::{EnvChange, EnvVarRejected, EnvVars};
use crate::faults::{Fault, Faults};
use crate::health::{Health, Progress};
use crate::injected::InjectedExecutions;
use crate::records::{Records, RequestRecord, Write};
use crate::run_state::{DisabledBy, RunState};
use crate::scenario::Scenario;
use crate::sent::{SENT_MAX, Sent};
use crate::stamps::{Stamp, Stamps};
use crate::tasks::Tasks;
use crate::traffic;

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
    sent: Records<Sent, SENT_MAX>,
    activity: Activity,
    revision: u64,
    redacts: bool,
    changed_at: Timestamp,
    audit_log: AuditLog,
    disabled_by: DisabledBy,
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
        env.declare(settings.scenario.declared.clone());
        let (redacts, access) = (settings.scenario.redacts, settings.scenario.audit_access);
        let audit_log = AuditLog::new(access);
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
            sent: Records::default(),
            activity: Activity::start(now),
            revision: 0,
            redacts,
            changed_at: now,
            audit_log,
            disabled_by: DisabledBy::default(),
        })
    }

    /// Applies `write` as one transaction and records it, whether it is refused or not.
    ///
    /// # Errors
    ///
    /// Returns why nothing was changed.
    pub fn write(&mut self, mut write: Write, changes: &[EnvChange]) -> Result<(), EnvVarRejected> {
        self.catch_up(write.at);
        let events = AuditEvent::of(&write, &self.env);
        let result = self.env.apply(changes, &mut self.stamps, write.at);
        if result.is_ok() {
            self.progress.observe(&self.env, write.at);
            self.audit_log.extend(events);
            self.changed(write.at);
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

    /// Changes a variable as this member of the team would, in the dashboard.
    ///
    /// # Errors
    ///
    /// Returns why nothing was changed.
    pub fn edit_as(
        &mut self,
        member: &str,
        changes: &[EnvChange],
        now: Timestamp,
    ) -> Result<(), EnvVarRejected> {
        let member = Some(member.to_owned());
        self.write(Write { member, ..Write::foreign(now, changes) }, changes)
    }

    /// Records a write that never reached the variables.
    pub fn record_lost_write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Records a request.
    pub fn record_request(&mut self, request: RequestRecord, sent: Sent) {
        self.requests.push(request);
        self.sent.push(sent);
    }

    /// Records a message of a websocket.
    pub fn record_message(&mut self, text: &str) {
        self.sent.push(Sent::message(text));
    }

    /// Records that code was pushed at `now`.
    pub fn push(&mut self, now: Timestamp) {
        self.last_push = self.stamps.next(now);
        self.changed(now);
    }

    /// Pauses, disables, suspends or resumes the deployment.
    pub fn set_run_state(&mut self, run_state: RunState) {
        self.run_state = run_state;
        self.revision += 1;
    }

    /// What a disabled deployment exceeded.
    pub fn set_disabled_by(&mut self, disabled_by: DisabledBy) {
        self.disabled_by = disabled_by;
    }

    /// Why no function runs, as clients are told; `None` while they do.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        self.run_state.refusal(self.disabled_by)
    }

    /// When something last changed that a query can read.
    #[must_use]
    pub fn changed_at(&self) -> Timestamp {
        self.changed_at
    }

    fn changed(&mut self, at: Timestamp) {
        self.changed_at = self.changed_at.max(at);
        self.revision += 1;
    }

    /// The audit log.
    #[must_use]
    pub fn audit_log(&self) -> &AuditLog {
        &self.audit_log
    }

    /// Says whether the deployment has an audit log.
    pub fn set_audit_access(&mut self, access: AuditAccess) {
        self.audit_log.access = access;
    }

    /// Judges updates of variables from now on by what the app declares.
    pub fn declare(&mut self, declared: Vec<DeclaredVariable>) {
        self.env.declare(declared);
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

    /// The newest requests as they were sent.
    #[must_use]
    pub fn sent(&self) -> &Records<Sent, SENT_MAX> {
        &self.sent
    }

    /// The text of a function error as clients see it; its reason may be withheld.
    pub(crate) fn error_message(&self, request_id: &str, reason: &str) -> String {
        let head = format!("[Request ID: {request_id}] Server Error");
        if self.redacts { head } else { format!("{head}\n{reason}") }
    }

    /// Whether the reasons of function errors are withheld.
    #[must_use]
    pub fn redacts(&self) -> bool {
        self.redacts
    }

    /// Withholds the reasons of function errors from now on, or no longer.
    pub fn set_redaction(&mut self, redacts: bool) {
        self.redacts = redacts;
    }

    /// Lets the app's own traffic happen up to `now`; called before anything that it depends on
    /// changes, and before anybody looks.
    pub fn catch_up(&mut self, now: Timestamp) {
        let refusal = self.refusal();
        self.activity.catch_up(&self.progress, refusal, now);
    }

    /// Logs executions at `now` that a test made up.
    pub fn inject_executions(&mut self, now: Timestamp, injected: &[InjectedExecutions]) {
        self.catch_up(now);
        for executions in injected {
            let count = self.activity.log().pushed();
            for completion in executions.completions(now, count) {
                self.activity.record(now, completion);
            }
        }
    }

    /// How long after `now` the app's own traffic goes on; `None` when it has none.
    #[must_use]
    pub fn next_execution_after(&self, now: Timestamp) -> Option<SignedDuration> {
        traffic::next_after(&self.progress, now).map(|at| at.duration_since(now))
    }

    /// What ran on the deployment.
    #[must_use]
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// What ran on the deployment, to add to it.
    pub fn activity_mut(&mut self) -> &mut Activity {
        &mut self.activity
    }

    /// Restarts the server process at `now`: what it held in memory is lost, and the cursors of the
    /// streams go on `cursor_back_ms` behind the clock.
    pub fn restart(&mut self, now: Timestamp, cursor_back_ms: f64) {
        self.activity.restart(now, cursor_back_ms);
    }

    /// Changes with everything that a websocket or a long poll can wait for.
    #[must_use]
    pub(crate) fn ticks(&self) -> u64 {
        self.revision.wrapping_add(self.activity.ticks())
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
