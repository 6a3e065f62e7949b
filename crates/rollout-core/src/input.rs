//! Owns everything that can happen to a rollout, and the answer when it may not.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::effect::Outcome;
use crate::id::{EffectKey, IncidentNumber, PhaseNumber};

/// Something that happens to a rollout.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A person wants something.
    Ordered(Order),
    /// The moment of [`crate::Rollout::next_deadline`] has come. Harmless when it has not.
    DeadlineReached,
    /// An effect ended. A late or repeated outcome is data, never an error: it gives no events.
    EffectEnded {
        /// The effect.
        key: EffectKey,
        /// How it ended.
        outcome: Outcome,
    },
    /// The engine started and loaded this rollout, which it had last touched at `last_seen`.
    EngineResumed {
        /// The latest moment at which the engine was known to run.
        last_seen: Timestamp,
    },
    /// These phases were being put back, or were, while nothing could be recorded. The journal is told now, whatever it says
    /// about them so far; safe values are written and read back once more.
    RolledBack {
        /// The phases.
        phases: Vec<PhaseNumber>,
        /// When, and why.
        why: String,
    },
    /// The wall clock moved against the monotonic one.
    ClockJumped {
        /// How far; negative = backward.
        by: SignedDuration,
    },
    /// A source that follows a stream saw something that looks like a breach: a reading is worth taking before the next
    /// planned one. It alone judges.
    Stirred,
}

/// A command with who gave it and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What to do.
    pub command: Command,
    /// Who says so.
    pub actor: String,
    /// Why; goes into the log.
    pub reason: String,
}

/// What a person may ask of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop advancing; watching goes on.
    Hold,
    /// Release what a person may release: own holds, drift, clock, failed checks. Skips nothing.
    Resume,
    /// Approve a phase.
    Approve(PhaseNumber),
    /// Tick a checklist item of a phase.
    Check {
        /// The phase.
        phase: PhaseNumber,
        /// The item's short name.
        item: String,
    },
    /// End the running bake window now and waive what is still due in it.
    Promote,
    /// Leave out a phase that is not enabled.
    Skip(PhaseNumber),
    /// Try rolled-back phases again.
    Retry,
    /// End the rollout; a phase that is not completed is rolled back first.
    Abort,
    /// Put flags back to their safe values.
    Rollback(RollbackScope),
    /// Close an incident; the reason is its note.
    ResolveIncident(IncidentNumber),
}

/// How much is rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollbackScope {
    /// The running phase; between phases the one completed last.
    Latest,
    /// Every phase whose flags may be on, in reverse order, in one batch.
    All,
}

/// The name of a command, as the CLI and the API spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// `approve`
    Approve,
    /// `check`
    Check,
    /// `hold`
    Hold,
    /// `resume`
    Resume,
    /// `promote`
    Promote,
    /// `skip`
    Skip,
    /// `retry`
    Retry,
    /// `abort`
    Abort,
    /// `rollback`
    Rollback,
    /// `incident resolve`
    ResolveIncident,
}

/// Who made something happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The engine, by the plan's rules.
    Engine,
    /// A person, by the name the daemon gave them.
    Person(String),
}

/// Why an input is refused. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The command does not fit the state.
    #[error("{why}")]
    NotNow {
        /// The refused command.
        verb: Verb,
        /// Why, in one sentence.
        why: String,
        /// What would be accepted now.
        allowed: Vec<Verb>,
    },
    /// The command names something that the plan does not have.
    #[error("{what}")]
    Unknown {
        /// What is not there, and what is.
        what: String,
    },
    /// A command without a reason.
    #[error("say why: every command takes a reason, and it goes into the log")]
    NoReason,
    /// A reason longer than the log will hold.
    #[error("the reason is longer than {max} bytes")]
    ReasonTooLong {
        /// The bound.
        max: usize,
    },
    /// The outcome does not answer the effect it names.
    #[error("the outcome does not fit the effect {key}")]
    Misfit {
        /// The effect.
        key: EffectKey,
    },
}

impl Order {
    /// Longest reason, in bytes.
    pub const REASON_BYTES_MAX: usize = 2_000;
}

impl Command {
    /// The command's name.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Hold => Verb::Hold,
            Self::Resume => Verb::Resume,
            Self::Approve(_) => Verb::Approve,
            Self::Check { .. } => Verb::Check,
            Self::Promote => Verb::Promote,
            Self::Skip(_) => Verb::Skip,
            Self::Retry => Verb::Retry,
            Self::Abort => Verb::Abort,
            Self::Rollback(_) => Verb::Rollback,
            Self::ResolveIncident(_) => Verb::ResolveIncident,
        }
    }
}

impl Verb {
    /// The verb as the CLI spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Check => "check",
            Self::Hold => "hold",
            Self::Resume => "resume",
            Self::Promote => "promote",
            Self::Skip => "skip",
            Self::Retry => "retry",
            Self::Abort => "abort",
            Self::Rollback => "rollback",
            Self::ResolveIncident => "incident resolve",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine => f.write_str("rolloutd"),
            Self::Person(name) => f.write_str(name),
        }
    }
}
