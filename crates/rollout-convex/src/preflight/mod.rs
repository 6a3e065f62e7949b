//! Owns the preflight: everything that can be known about a deployment before a rollout starts, without changing anything.
//!
//! Invariants: every finding that is not well says what to do; what could not be found out is *unknown* and never a fail;
//! nothing is asked after the deadline. Only the dry step writes, and only on explicit wish.

mod dry_step;
mod entry;
mod flags;
mod functions;
mod health;
mod look;
mod needs;

use std::time::Duration;

use jiff::Timestamp;
use rollout_core::FaultClass;

use crate::convex::Convex;
use crate::error::{CallError, Stakes};
use crate::transport::Transport;
use crate::wire::DeployedFunction;
use look::Look;

pub use health::endpoint_finding;
pub use needs::{Needs, Role, Wanted};

/// One line of a preflight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in one or two words: `key`, `clock`.
    pub check: &'static str,
    /// How it is.
    pub standing: Standing,
    /// What was found, in one sentence.
    pub found: String,
    /// What to do; always there where the standing is not `Well`.
    pub advice: Option<String>,
    /// What it is about, as a JSON pointer into the plan file.
    pub pointer: Option<String>,
    /// Whether it keeps a rollout from being started.
    pub bar: Bar,
}

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// As it should be.
    Well,
    /// Allowed, and should be known.
    Warn,
    /// Could not be found out.
    Unknown,
    /// A rollout would not work.
    Fail,
}

/// Whether a finding keeps a rollout from being started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// It does: the deployment itself says so, and waiting does not help.
    Start,
    /// It does not: it may pass, or the rollout holds by itself.
    Nothing,
}

/// Whether a rollout may be started on a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// What keeps it from that; empty = nothing.
    pub bars: Vec<Finding>,
    /// Why it will have to wait, where the deployment is away.
    pub away: Option<String>,
}

/// What is on a deployment, for who writes a plan for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// All environment variables.
    pub variables: std::collections::BTreeMap<String, String>,
    /// All functions of the app, or why they are not known.
    pub functions: Result<Vec<DeployedFunction>, String>,
}

impl Finding {
    fn new(check: &'static str, standing: Standing, found: String, advice: Option<String>) -> Self {
        Self { check, standing, found, advice, pointer: None, bar: Bar::Nothing }
    }

    /// Something that is as it should be.
    pub fn well(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Standing::Well, found.into(), None)
    }

    /// Something that is allowed and should be known.
    pub fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Standing::Warn, found.into(), Some(advice.into()))
    }

    /// Something that could not be found out.
    pub fn unknown(
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(check, Standing::Unknown, found.into(), Some(advice.into()))
    }

    /// Something with which a rollout would not work.
    pub fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Standing::Fail, found.into(), Some(advice.into()))
    }

    fn barring(self) -> Self {
        Self { bar: Bar::Start, ..self }
    }

    fn at(self, pointer: &str) -> Self {
        Self { pointer: Some(pointer.to_owned()), ..self }
    }
}

impl<T: Transport> Convex<T> {
    /// Looks at everything that a rollout with these needs stands on. Takes at most `within`: what was not answered until
    /// then is unknown. `now` is this machine's clock, for the comparison with the deployment's.
    ///
    /// Changes nothing. Runs the health functions of `needs`, once each.
    pub async fn preflight(
        &self,
        needs: &Needs,
        within: Duration,
        now: &(dyn Fn() -> Timestamp + Sync),
    ) -> Vec<Finding> {
        let look = Look::whole(self, needs, within, now).await;
        let mut findings = vec![entry::reach(&look, &self.name)];
        findings.extend(entry::url(&look, &self.identity, self.warnings()));
        findings.push(entry::key(&look, &self.identity, &self.name));
        findings.extend(entry::permissions(&look, needs));
        findings.push(entry::state(&look, &self.name));
        findings.push(entry::clock(&look));
        findings.extend(functions::findings(&look, needs, &self.name));
        findings.extend(flags::findings(&look, needs, &self.name));
        findings.extend(health::findings(&look, needs));
        if look.key.is_ok() {
            findings.extend(self.unwatched().into_iter().map(entry::unwatched));
        }
        findings
    }

    /// What keeps a rollout with these needs from being started, asked with two requests, and what makes it wait. Takes at
    /// most `within`. A deployment that is away, or too old to say, keeps nothing from being started.
    pub async fn admission(
        &self,
        needs: &Needs,
        within: Duration,
        now: &(dyn Fn() -> Timestamp + Sync),
    ) -> Admission {
        let look = Look::definite(self, within, now).await;
        let waiting = |error: &CallError| error.class(Stakes::Read) != FaultClass::Permanent;
        let away = look.key.as_ref().err().filter(|error| waiting(error));
        let away = away.map(|error| error.reason(&self.name));
        let key = entry::key(&look, &self.identity, &self.name);
        let permissions = entry::permissions(&look, needs);
        let functions = functions::findings(&look, needs, &self.name);
        let all = std::iter::once(key).chain(permissions).chain(functions);
        Admission { bars: all.filter(|finding| finding.bar == Bar::Start).collect(), away }
    }

    /// Sets each flag of `needs` to the safe value that it has already: the only way to learn whether the app's own
    /// validators accept it. One atomic batch. No value changes, but rows get a new time of writing, subscriptions that
    /// read them run again, and the audit log has an entry each.
    ///
    /// A flag that is not set, or has another value, is left alone: creating `false` where nothing was may turn something
    /// on, since the text `false` is true for JavaScript. Between reading and writing there is a moment in which somebody
    /// else's change of such a flag would be undone, so it is for quiet times.
    pub async fn dry_step(&self, needs: &Needs) -> Finding {
        dry_step::perform(self, needs).await
    }

    /// What is on the deployment, for who writes a plan for it.
    ///
    /// # Errors
    ///
    /// A fault as for any reading, when the variables cannot be read.
    pub async fn survey(&self) -> Result<Survey, rollout_core::Fault> {
        let variables = self.list_variables(None).await;
        let variables =
            variables.map_err(|error| error.fault(crate::error::Stakes::Read, &self.name))?;
        let functions = look::functions(self).await;
        let functions = functions.map_err(|error| error.reason(&self.name));
        Ok(Survey { variables, functions })
    }
}
