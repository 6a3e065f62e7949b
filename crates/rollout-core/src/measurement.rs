//! Owns what is read from a deployment: requests in, answers out, as plain data.
//!
//! A [`Reading`] is one look at the world: flag values, one measurement per criterion, answers to probes. It carries its
//! own failures part by part, so that a health function that throws does not hide a flag that somebody changed.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::Timestamp;

use crate::criterion::{Unit, Verdict};
use crate::effect::Fault;
use crate::id::{FlagName, PhaseNumber};
use crate::source::Basis;

/// Flag values as read; `None` = the variable is not set.
pub type FlagValues = BTreeMap<FlagName, Option<String>>;

/// A function on the deployment and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FunctionCall {
    /// `dir/module:function`.
    pub path: String,
    /// One JSON object as text. The plan has checked that it is one.
    pub args: String,
}

impl FunctionCall {
    /// Where the range of time begins that a health source is asked about: a text in its arguments, with its quotes, that is replaced by
    /// milliseconds since 1970, as a number.
    const FROM: &str = r#""$from""#;
    /// Where that range ends.
    const TO: &str = r#""$to""#;

    /// True when the arguments say which range of time is asked about, both its ends.
    pub fn answers_for_a_range(&self) -> bool {
        self.args.contains(Self::FROM) && self.args.contains(Self::TO)
    }

    /// The call for one range of time. Texts that are exactly `$from` or `$to` become numbers; all else stays.
    ///
    /// The arguments are JSON, and a quote inside a text is written as `\"`, so a quoted placeholder is always a whole text.
    pub(crate) fn about(&self, from: Timestamp, to: Timestamp) -> Self {
        let args = self.args.replace(Self::FROM, &from.as_millisecond().to_string());
        let args = args.replace(Self::TO, &to.as_millisecond().to_string());
        Self { path: self.path.clone(), args }
    }
}

/// A yes-or-no question to the deployment, with evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// What the log calls it: `mode`.
    pub name: String,
    /// What is asked.
    pub kind: ProbeKind,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeKind {
    /// Is this environment variable set to something other than the empty text? Its value is never shown.
    VariableSet(FlagName),
    /// Does this function answer as expected?
    Function {
        /// The function that is asked.
        call: FunctionCall,
        /// JSON pointer into its result; empty = the whole result.
        pointer: String,
        /// What it should find there.
        expect: Expectation,
    },
}

/// What a probe expects at its pointer.
#[derive(Clone, Debug, PartialEq)]
pub enum Expectation {
    /// Any answer that is not a failure.
    Answers,
    /// Exactly this value.
    Equals(Scalar),
}

/// A single JSON value that is no list and no object.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `true` or `false`.
    Boolean(bool),
    /// A number; the deployment sends all of them as floats.
    Number(f64),
    /// A text.
    Text(String),
}

/// One look at the world, part by part.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// All asked flags from one snapshot, or why they could not be read.
    pub flags: Result<FlagValues, Fault>,
    /// The last write of each asked flag that came after what was known, as far as the deployment tells.
    pub writes: BTreeMap<FlagName, Written>,
    /// The last push of code, as far as the deployment tells.
    pub push: Option<Timestamp>,
    /// Where each source's stream was read up to.
    pub cursors: BTreeMap<String, String>,
    /// One per asked metric.
    pub measurements: Vec<Measurement>,
    /// One per asked probe, in the order asked.
    pub probes: Vec<ProbeAnswer>,
}

/// The last write of a variable, whatever value it gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// When, by the deployment's clock.
    pub at: Timestamp,
    /// Who, where the deployment's audit log says so.
    pub by: Option<String>,
}

/// One value of one criterion.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Name of the criterion it is for.
    pub criterion: String,
    /// What was found.
    pub measured: Measured,
    /// What it stands on, where the source says so.
    pub basis: Option<Basis>,
}

/// What was found at a criterion's pointer.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// A number, in the criterion's unit; may be NaN or infinite, as the deployment said it.
    Number(f64),
    /// A text.
    Text(String),
    /// The source answered, but not with a value: null, or nothing at the pointer.
    Missing(String),
    /// The source could not be asked, failed, or answered with something that is no value.
    Failed(String),
}

/// The answer to one probe.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeAnswer {
    /// Name of the probe.
    pub probe: String,
    /// Whether it found what it expected.
    pub state: ProbeState,
    /// What was found, as JSON text for the log, or why it could not be asked. Never the value of a variable.
    pub found: String,
}

/// Whether a probe found what it expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeState {
    /// Found.
    Met,
    /// The deployment answered, and the answer is another one.
    NotMet,
    /// Could not be asked: says nothing about the deployment.
    Failed,
}

/// Why a reading is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Before the first phase: flags off, metrics there, no alerts.
    Baseline,
    /// Before a phase: its precondition and machine-checked checklist items.
    Preflight(PhaseNumber),
    /// Right after a phase's flags were set.
    Verification(PhaseNumber),
    /// The watch: in bake windows, and whenever else a rollout is live.
    Check,
    /// After a rollback: are the safe values back?
    Recovery,
    /// After the last phase.
    Final,
    /// Waiting for the smoke test's task to succeed.
    Smoke,
    /// A look back: health up to this moment, which was missed; flags as they are now.
    Backfill(Timestamp),
}

/// A reading after it was judged; this is what the journal keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedReading {
    /// Flag values, or why there are none.
    pub flags: Result<FlagValues, Fault>,
    /// Writes of flags that are news.
    pub writes: BTreeMap<FlagName, Written>,
    /// A push of code that is news.
    pub push: Option<Timestamp>,
    /// Where each source's stream was read up to.
    pub cursors: BTreeMap<String, String>,
    /// One per criterion of the plan, in the plan's order.
    pub judged: Vec<Judged>,
    /// Answers to probes.
    pub probes: Vec<ProbeAnswer>,
    /// The worst verdict; at least `Error` when the flags could not be read.
    pub verdict: Verdict,
}

/// One measurement with its verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Name of the criterion.
    pub criterion: String,
    /// What was found.
    pub measured: Measured,
    /// What that means.
    pub verdict: Verdict,
    /// Why, where there is no value to show for it.
    pub reason: Option<String>,
    /// What the value stands on, where the source says so.
    pub basis: Option<Basis>,
}

impl Reading {
    /// A reading without news of writes and pushes.
    pub fn of(
        flags: Result<FlagValues, Fault>,
        measurements: Vec<Measurement>,
        probes: Vec<ProbeAnswer>,
    ) -> Self {
        let (writes, cursors) = (BTreeMap::new(), BTreeMap::new());
        Self { flags, writes, push: None, cursors, measurements, probes }
    }
}

impl Measurement {
    /// A measurement of a source that does not say what it stands on.
    pub fn of(criterion: impl Into<String>, measured: Measured) -> Self {
        Self { criterion: criterion.into(), measured, basis: None }
    }
}

impl Measured {
    /// The value with its unit, or the reason why there is none.
    pub fn shown(&self, unit: Unit) -> String {
        match self {
            Self::Number(value) => unit.show(*value),
            Self::Text(text) => text.clone(),
            Self::Missing(reason) | Self::Failed(reason) => reason.clone(),
        }
    }
}

impl Purpose {
    /// The phase that the reading is for, where it is for one.
    pub fn phase(self) -> Option<PhaseNumber> {
        match self {
            Self::Preflight(phase) | Self::Verification(phase) => Some(phase),
            Self::Baseline
            | Self::Check
            | Self::Recovery
            | Self::Final
            | Self::Smoke
            | Self::Backfill(_) => None,
        }
    }
}

impl JudgedReading {
    /// The first reason why this reading shows nothing, in words.
    pub fn trouble(&self) -> Option<String> {
        if let Err(fault) = &self.flags {
            return Some(fault.reason.clone());
        }
        if let Some(blind) = self.judged.iter().find(|judged| !judged.verdict.is_observed()) {
            let reason = blind.reason.as_deref().unwrap_or(blind.verdict.word());
            return Some(alloc::format!("{}: {reason}", blind.criterion));
        }
        let unanswered = self.probes.iter().find(|answer| answer.state == ProbeState::Failed)?;
        Some(alloc::format!("{}: {}", unanswered.probe, unanswered.found))
    }

    /// True when the reading shows how the system does and what its flags are, and every probe it asked was answered. A
    /// breach counts whatever else is missing; it is not what the rest waits for.
    pub fn is_seeing(&self) -> bool {
        self.verdict.is_observed()
            && self.flags.is_ok()
            && self.probes.iter().all(|answer| answer.state != ProbeState::Failed)
    }

    /// The criteria beyond their alert thresholds.
    pub fn breaches(&self) -> impl Iterator<Item = &Judged> {
        self.judged.iter().filter(|judged| judged.verdict == Verdict::Breach)
    }

    /// The judged measurement of a criterion.
    pub fn of(&self, criterion: &str) -> Option<&Judged> {
        self.judged.iter().find(|judged| judged.criterion == criterion)
    }
}
