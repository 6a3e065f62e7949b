//! Owns the port to the outside, made of data: effects out, outcomes in.
//!
//! An effect names an absolute target and a stable key. Performing it twice must be harmless; where it is not (a user's
//! mutation), the plan says so and the core never asks twice.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::criterion::{Bound, Unit};
use crate::id::{EffectKey, FlagName};
use crate::measurement::{FunctionCall, Probe, Reading};
use crate::plan::ChangeWindow;
use crate::source::{Source, Span};

/// An effect that the state still needs, with the name it keeps across crashes.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingEffect {
    /// Same before and after a crash.
    pub key: EffectKey,
    /// Which deployment it concerns, by the name in the plan.
    pub deployment: String,
    /// Where that deployment answered when the rollout began. An effect must never reach another one.
    pub url: String,
    /// What to do.
    pub effect: Effect,
}

/// Something to do outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Look; answered by [`Outcome::Observed`]. Changes nothing.
    Observe(Observation),
    /// Bring flags to these values in one atomic batch: read first, write only what differs, write nothing when all are
    /// equal. Answered by [`Outcome::FlagsSet`].
    SetFlags {
        /// Value per flag.
        changes: BTreeMap<FlagName, String>,
        /// Whether risk goes up or down.
        purpose: WritePurpose,
    },
    /// Run a function and read one text from its result; answered by [`Outcome::Invoked`]. Never repeated by the shell.
    Invoke {
        /// The function; texts in its arguments that equal a binding's name are replaced by its value.
        call: FunctionCall,
        /// JSON pointer to the text that is wanted.
        pointer: String,
        /// Replacements: `$key`.
        bindings: BTreeMap<String, String>,
    },
    /// Ask the calendar when a change window is open; answered by [`Outcome::ChangeWindowFound`].
    FindChangeWindow {
        /// The window as planned.
        window: ChangeWindow,
        /// The moment from which on.
        from: Timestamp,
    },
}

/// Whether a write turns flags on or back to safe values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePurpose {
    /// A phase is enabled.
    Enable,
    /// A rollback: nothing goes before it.
    RestoreSafe,
}

/// What one reading asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// Flags to read, all from one snapshot.
    pub flags: Vec<FlagName>,
    /// What is known of writes and code pushes; only what came after is news.
    pub known: Known,
    /// Health sources to ask, each once.
    pub sources: Vec<SourceQuery>,
    /// Probes to ask.
    pub probes: Vec<Probe>,
    /// Replacements in the arguments of the probes' functions: `$id`.
    pub bindings: BTreeMap<String, String>,
}

/// What was known about a deployment's changes when a reading was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// When each flag was written last.
    pub writes: BTreeMap<FlagName, Timestamp>,
    /// When code was pushed last.
    pub push: Option<Timestamp>,
}

/// One health source and what is wanted from its result.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceQuery {
    /// Its name in the plan.
    pub source: String,
    /// Where the answer comes from.
    pub ask: Source,
    /// The range of time that is asked about.
    pub span: Span,
    /// How long until it is asked again, at most: so long what follows a stream goes on following.
    pub stay: SignedDuration,
    /// Where the source's stream was read up to by the last answer that is recorded.
    pub cursor: Option<String>,
    /// Values wanted from the one result.
    pub metrics: Vec<MetricQuery>,
}

/// One value wanted from a source's result.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricQuery {
    /// The criterion it is for.
    pub criterion: String,
    /// JSON pointer (RFC 6901); empty = the whole result.
    pub pointer: String,
    /// Decides how the value is read: a list counts as its length under [`Unit::Count`].
    pub unit: Unit,
    /// Beyond this the value is a breach. For what follows a stream: then it is worth a look at once.
    pub alert: Option<Bound>,
}

impl SourceQuery {
    /// A source asked about a range of time, once, for the first time.
    pub fn once(
        source: impl Into<String>,
        ask: impl Into<Source>,
        span: Span,
        metrics: Vec<MetricQuery>,
    ) -> Self {
        let (source, ask) = (source.into(), ask.into());
        Self { source, ask, span, stay: SignedDuration::ZERO, cursor: None, metrics }
    }
}

impl MetricQuery {
    /// A value without an alert threshold.
    pub fn of(criterion: impl Into<String>, pointer: impl Into<String>, unit: Unit) -> Self {
        Self { criterion: criterion.into(), pointer: pointer.into(), unit, alert: None }
    }
}

/// How an effect ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A reading; its parts may have failed.
    Observed(Reading),
    /// All flags have the wanted values.
    FlagsSet {
        /// What this effect wrote.
        wrote: Vec<FlagName>,
        /// What had the wanted value before, and was left alone.
        already: Vec<FlagName>,
    },
    /// The function ran.
    Invoked {
        /// The text at the pointer.
        value: String,
    },
    /// The next time the window is open: now (`opens` ≤ `from`) or later.
    ChangeWindowFound {
        /// When it opens.
        opens: Timestamp,
        /// When it closes.
        closes: Timestamp,
    },
    /// The effect did not end well.
    Failed {
        /// Why, and what may be done about it.
        fault: Fault,
        /// How long the outside wants to be left alone. The journal has the next try's moment instead.
        pace: Pace,
    },
}

impl Outcome {
    /// A failure after which the usual waits hold.
    pub fn failed(fault: Fault) -> Self {
        Self::Failed { fault, pace: Pace::Usual }
    }
}

/// How soon a failed write is tried again. Readings have slower waits of their own, whatever the pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Nothing is known: from 2 s, doubling up to 30 s.
    Usual,
    /// It said that it has too much to do: from 3 s, doubling up to 16 s.
    Overloaded,
    /// It said that it has just been started: from 1 s, doubling up to 16 s.
    Restarting,
}

/// A failure of the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What may be done about it.
    pub class: FaultClass,
    /// The deployment's own code, where there is one: `BadAdminKey`.
    pub code: Option<String>,
    /// One sentence for people, without secrets, at most [`Fault::REASON_BYTES_MAX`] bytes.
    pub reason: String,
}

/// What may be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultClass {
    /// Did not happen; may work later.
    Transient,
    /// Did not happen, and will not without a person: a wrong key, a value that is refused.
    Permanent,
    /// Perhaps it happened: the answer was lost on the way.
    Unknown,
}

impl Fault {
    /// Longest reason that is kept; longer ones are cut.
    pub const REASON_BYTES_MAX: usize = 600;

    /// Makes a fault, cutting the reason to its bound.
    pub fn new(class: FaultClass, code: Option<String>, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        if reason.len() > Self::REASON_BYTES_MAX {
            let cut =
                (0..=Self::REASON_BYTES_MAX - 3).rev().find(|at| reason.is_char_boundary(*at));
            reason.truncate(cut.unwrap_or(0));
            reason.push('…');
        }
        Self { class, code, reason }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_cut_at_a_character() {
        let fault = Fault::new(FaultClass::Transient, None, "ä".repeat(1_000));
        assert!(fault.reason.len() <= Fault::REASON_BYTES_MAX);
        assert!(fault.reason.ends_with("ä…"));
    }
}
