//! The running emulator: a deployment on a socket, with a handle for tests and demos.
//!
//! The handle owns the server: [`Emulator::stop`] returns when the port and all connections are
//! closed, and dropping the handle closes them as well, without waiting.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::clock::EmulatorClock;
use crate::connection::ConnectionCounts;
use crate::deployment::{Deployment, DeploymentSettings, SettingsError};
use crate::envvars::{EnvChange, EnvVarRejected};
use crate::faults::Fault;
use crate::http::Shell;
use crate::injected::InjectedExecutions;
use crate::records::{RequestRecord, Write};
use crate::run_state::RunState;
use crate::scenario::Scenario;
use crate::tasks::Task;

/// What an emulator starts with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The name of the deployment; both keys begin with it.
    pub name: String,
    /// The full key.
    pub admin_key: String,
    /// The read-only key.
    pub read_only_key: String,
    /// The first variables.
    pub env: BTreeMap<String, String>,
    /// How the app behaves.
    pub scenario: Scenario,
    /// The emulator's time.
    pub clock: EmulatorClock,
}

/// Why an emulator did not start.
#[derive(Debug, Error)]
pub enum EmulatorError {
    /// The settings are wrong.
    #[error("the deployment cannot start")]
    Settings(#[from] SettingsError),
    /// The address is not free.
    #[error("cannot listen on {bind}")]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A running emulator.
#[derive(Debug)]
pub struct Emulator {
    shell: Arc<Shell>,
    address: SocketAddr,
    server: Option<JoinHandle<()>>,
}

impl Default for Config {
    fn default() -> Self {
        Self::named("happy-otter-123")
    }
}

impl Config {
    /// Makes the default configuration of a deployment with this name: healthy, in real time, on
    /// a free port of loopback, with keys that fit the name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            admin_key: format!("{name}|01{ADMIN_SECRET}"),
            read_only_key: format!("{name}|02{ADMIN_SECRET}"),
            name,
            env: BTreeMap::new(),
            scenario: Scenario::default(),
            clock: EmulatorClock::real(),
        }
    }
}

impl Emulator {
    /// Starts an emulator; it answers as soon as this returns.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the settings, or why the address cannot be had.
    pub async fn start(config: Config) -> Result<Self, EmulatorError> {
        let settings = DeploymentSettings {
            name: config.name,
            admin_key: config.admin_key,
            read_only_key: config.read_only_key,
            env: config.env,
            scenario: config.scenario,
        };
        let deployment = Deployment::new(settings, config.clock.now())?;
        let bind = config.bind;
        let listener =
            TcpListener::bind(bind).await.map_err(|source| EmulatorError::Bind { bind, source })?;
        let address =
            listener.local_addr().map_err(|source| EmulatorError::Bind { bind, source })?;
        let shell = Arc::new(Shell::new(deployment, config.clock));
        let server = tokio::spawn(Arc::clone(&shell).serve(listener));
        Ok(Self { shell, address, server: Some(server) })
    }

    /// Closes the port and all connections, and ends all requests that are held.
    pub async fn stop(mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            // The only error is the one just asked for.
            server.await.ok();
        }
        self.shell.close().await;
    }

    /// The URL of the deployment, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The full key.
    #[must_use]
    pub fn admin_key(&self) -> String {
        self.shell.with(|deployment, _| deployment.keys().admin().to_owned())
    }

    /// The read-only key.
    #[must_use]
    pub fn read_only_key(&self) -> String {
        self.shell.with(|deployment, _| deployment.keys().read_only().to_owned())
    }

    /// Emulator time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shell.clock.now()
    }

    /// The variables as they are.
    #[must_use]
    pub fn env(&self) -> BTreeMap<String, String> {
        self.shell.with(|deployment, _| deployment.env().to_map())
    }

    /// All attempts to write variables, oldest first; see [`Write::applied`].
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.shell.with(|deployment, _| deployment.writes().iter().cloned().collect())
    }

    /// All requests, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.shell.with(|deployment, _| deployment.requests().iter().cloned().collect())
    }

    /// All tasks, oldest first.
    #[must_use]
    pub fn tasks(&self) -> Vec<Task> {
        self.shell.with(|deployment, _| deployment.tasks().iter().cloned().collect())
    }

    /// Changes a variable as somebody else would; no value removes it.
    ///
    /// # Errors
    ///
    /// Returns why nothing was changed.
    pub fn edit(&self, name: &str, value: Option<&str>) -> Result<(), EnvVarRejected> {
        let change = EnvChange { name: name.to_owned(), value: value.map(str::to_owned) };
        self.shell.with(|deployment, now| deployment.edit(&[change], now))
    }

    /// Changes a variable as this member of the team would, in the dashboard.
    ///
    /// # Errors
    ///
    /// Returns why nothing was changed.
    pub fn edit_as(
        &self,
        member: &str,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), EnvVarRejected> {
        let change = EnvChange { name: name.to_owned(), value: value.map(str::to_owned) };
        self.shell.with(|deployment, now| deployment.edit_as(member, &[change], now))
    }

    /// Calls `act` with the deployment and emulator time, for whatever has no method of its own.
    pub fn with<T>(&self, act: impl FnOnce(&mut Deployment, Timestamp) -> T) -> T {
        self.shell.with(act)
    }

    /// Logs executions now that a test made up.
    pub fn inject_executions(&self, injected: &[InjectedExecutions]) {
        self.shell.with(|deployment, now| deployment.inject_executions(now, injected));
    }

    /// Restarts the server process: executions and metrics are lost, and the cursors of the streams
    /// go on `cursor_back_ms` behind the clock. Variables stay.
    pub fn restart(&self, cursor_back_ms: f64) {
        self.shell.with(|deployment, now| deployment.restart(now, cursor_back_ms));
    }

    /// How many TCP connections were accepted since the start, and how many are open.
    #[must_use]
    pub fn connections(&self) -> ConnectionCounts {
        self.shell.connections.counts()
    }

    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.shell.with(|deployment, _| deployment.inject(fault));
    }

    /// Forgets all faults; keys that were revoked stay so.
    pub fn clear_faults(&self) {
        self.shell.with(|deployment, _| deployment.faults_mut().clear());
    }

    /// Makes a key invalid at once.
    pub fn revoke_key(&self, key: &str) {
        self.shell.with(|deployment, _| deployment.keys_mut().revoke(key));
    }

    /// Makes all keys valid again.
    pub fn restore_keys(&self) {
        self.shell.with(|deployment, _| deployment.keys_mut().restore());
    }

    /// Pauses, disables, suspends or resumes the deployment.
    pub fn set_run_state(&self, run_state: RunState) {
        self.shell.with(|deployment, now| {
            deployment.catch_up(now);
            deployment.set_run_state(run_state);
        });
    }

    /// Pushes code, as `npx convex deploy` would.
    pub fn push(&self) {
        self.shell.with(|deployment, now| deployment.push(now));
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            self.shell.abandon();
        }
    }
}

/// The common part of the default secrets; they guard nothing but an emulator.
const ADMIN_SECRET: &str = "c0ffee5eed";
