//! The scenario: how the emulated app behaves over time and in answer to flags.
//!
//! Owns the meaning of a scenario once read; [`crate::scenario_file`] owns how it is written, and
//! [`crate::health`] what it answers at a moment. A scenario never changes after it was read.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::SignedDuration;

use crate::audit::AuditAccess;
use crate::completion::{LogLine, UdfType};
use crate::declared::DeclaredVariable;
use crate::functions::FunctionKind;
use crate::scenario_file::{self, ScenarioError};
use crate::traffic::{Traffic, TrafficChange};
use crate::value::Value;

/// A whole scenario. The default one is an app that is always healthy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scenario {
    /// Health values that differ from the healthy defaults, by field.
    pub base: BTreeMap<String, Value>,
    /// Largest deviation of a base value to either side, by field.
    pub noise: BTreeMap<String, f64>,
    /// Makes the noise of two scenarios differ.
    pub seed: u64,
    /// What changes, in file order; later entries win.
    pub changes: Vec<Change>,
    /// When the deployment cannot be reached.
    pub outages: Vec<Outage>,
    /// The app's own calls.
    pub traffic: Vec<Traffic>,
    /// Variables that the app declares.
    pub declared: Vec<DeclaredVariable>,
    /// Whether the deployment withholds the reasons of function errors.
    pub redacts: bool,
    /// Whether the deployment has an audit log.
    pub audit_access: AuditAccess,
    /// Tasks that do not succeed, by name.
    pub tasks: BTreeMap<String, TaskOutcome>,
}

/// A change of the app's behaviour, in force while all its conditions hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// Variables that must have these values; empty means always.
    pub when: BTreeMap<String, String>,
    /// Time since `when` became true, or since the start without `when`.
    pub after: SignedDuration,
    /// How long the change is in force; `None` is for ever.
    pub lasts: Option<SignedDuration>,
    /// Health fields to answer; `None` leaves the key out.
    pub fields: BTreeMap<String, Option<Value>>,
    /// Alerts to add.
    pub alerts: Vec<Alert>,
    /// What becomes of the app's own calls.
    pub traffic: Vec<TrafficChange>,
    /// A function that throws.
    pub throw: Option<Throw>,
    /// A function that logs.
    pub log: Option<Log>,
}

/// An alert as `checkAlerts` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// `critical`, `warning` or what the scenario says.
    pub severity: String,
    /// Text for people.
    pub message: String,
    /// The health field it is about.
    pub metric: Option<String>,
}

/// A function that throws while its change is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Throw {
    /// The function, as `module:name`.
    pub function: String,
    /// The message of the error.
    pub message: String,
    /// With data the function throws a `ConvexError`.
    pub error_value: Option<Value>,
}

/// A function that logs while its change is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The function, as `module:name`.
    pub function: String,
    /// What it logs, in order.
    pub lines: Vec<LogLine>,
}

/// A time during which no client gets an answer, or a bad one.
#[derive(Debug, Clone, PartialEq)]
pub struct Outage {
    /// Time since the start.
    pub at: SignedDuration,
    /// Its length.
    pub lasts: SignedDuration,
    /// What a client sees.
    pub kind: OutageKind,
}

/// What a client sees during an outage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutageKind {
    /// Connections are accepted and closed at once with no bytes.
    Refuse,
    /// Every request is answered with this status.
    Status {
        /// The HTTP status.
        status: u16,
        /// The `code` of the body; without one the body is empty.
        code: Option<String>,
    },
    /// Requests get no answer for longer than a client waits, and have no effect.
    Slow,
    /// Requests are read, then the connection is reset.
    Reset,
}

/// How a task ends that does not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskOutcome {
    /// It fails.
    Failed,
    /// It stays pending.
    Never,
}

impl Scenario {
    /// The scenario that ships under `name`.
    #[must_use]
    pub fn builtin(name: &str) -> Option<Self> {
        let (_, text) = BUILTIN.iter().find(|(builtin, _)| *builtin == name)?;
        Some(Self::parse(text).expect("builtin scenarios are parsed by a test of this crate"))
    }

    /// The names of the scenarios that ship with the emulator.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// What kind of function `name` is, if it is one of those that are only called by traffic.
    #[must_use]
    pub fn kind_of_traffic(&self, name: &str) -> Option<FunctionKind> {
        let traffic = self.traffic.iter().find(|traffic| traffic.function == name)?;
        match traffic.udf_type {
            UdfType::Query => Some(FunctionKind::Query),
            UdfType::Mutation => Some(FunctionKind::Mutation),
            UdfType::Action => Some(FunctionKind::Action),
            UdfType::HttpAction => None,
        }
    }

    /// Reads the text of a scenario file.
    ///
    /// # Errors
    ///
    /// Returns what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        scenario_file::parse(text)
    }

    /// Reads a scenario file.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the file or its text.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }
}

const BUILTIN: [(&str, &str); 4] = [
    ("healthy", include_str!("../scenarios/healthy.toml")),
    ("breach", include_str!("../scenarios/breach.toml")),
    ("outage", include_str!("../scenarios/outage.toml")),
    ("strange", include_str!("../scenarios/strange.toml")),
];
