//! A Convex deployment in one process, for tests, demos and dry runs of a rollout.
//!
//! It speaks the wire of a real deployment as far as a rollout tool uses it, runs an app whose
//! health follows a scenario, and can go wrong on demand. It shares no code with the adapter that
//! talks to it, so that both cannot be wrong in the same way.
//!
//! The core has no clock and no sockets: [`wire::handle`] and [`delivery::deliver`] are functions
//! of a [`Deployment`], a time and a request. [`Emulator`] puts them on a socket.
//!
//! ```
//! use convex_emulator::{Config, Emulator, Fault, FaultKind, Scenario};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let scenario = Scenario::builtin("breach").unwrap();
//! let emulator = Emulator::start(Config { scenario, ..Config::default() }).await?;
//! emulator.inject(Fault::once("update_environment", FaultKind::CutAfterCommit));
//! println!("{} {}", emulator.url(), emulator.admin_key());
//! emulator.stop().await;
//! # Ok::<(), convex_emulator::EmulatorError>(())
//! # }).unwrap();
//! ```

pub mod access;
pub mod activity;
pub mod audit;
mod batch_routes;
mod calls;
pub mod cli;
pub mod clock;
pub mod completion;
mod connection;
pub mod control;
mod control_plane;
pub mod declared;
pub mod delivery;
pub mod deployment;
pub mod emulator;
mod env_routes;
pub mod envvars;
pub mod executions;
pub mod faults;
mod function_routes;
pub mod functions;
pub mod health;
pub mod histogram;
mod http;
pub mod injected;
pub mod metrics;
mod metrics_json;
mod metrics_routes;
pub mod records;
pub mod run_state;
pub mod scenario;
pub mod scenario_file;
mod scenario_traffic;
mod scenario_values;
pub mod sent;
mod socket;
pub mod stamps;
pub mod streams;
pub mod sync;
mod sync_messages;
mod sync_routes;
mod system;
pub mod tasks;
pub mod traffic;
pub mod value;
pub mod wire;

pub use audit::AuditAccess;
pub use clock::EmulatorClock;
pub use connection::{Carried, ConnectionCounts};
pub use declared::{DeclaredPresence, DeclaredVariable};
pub use deployment::{Deployment, DeploymentSettings, SettingsError};
pub use emulator::{Config, Emulator, EmulatorError};
pub use envvars::{EnvChange, EnvVarRejected};
pub use faults::{Fault, FaultKind};
pub use injected::InjectedExecutions;
pub use records::{RequestRecord, Write, WriteOrigin};
pub use run_state::{DisabledBy, RunState};
pub use scenario::Scenario;
pub use scenario_file::ScenarioError;
pub use sent::Sent;
pub use tasks::Task;
