//! Owns everything that has happened to a rollout, in the past tense. The journal is a list of these and nothing else.
//!
//! An event holds what was decided, never what must be computed again: a verdict in the journal stays what it was, however
//! the rules change later.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::coverage::Coverage;
use crate::criterion::Verdict;
use crate::effect::Fault;
use crate::id::{FlagName, IncidentNumber, PhaseNumber, RolloutId};
use crate::input::Actor;
use crate::measurement::{JudgedReading, Purpose, Written};
use crate::plan::Plan;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When it was decided; never earlier than the event before it.
    pub at: Timestamp,
    /// Who made it happen.
    pub actor: Actor,
    /// Why, in a person's words, where a person did it.
    pub note: Option<String>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// The first event of every journal.
    RolloutCreated {
        /// The rollout's id.
        id: RolloutId,
        /// The plan, frozen.
        plan: Box<Plan>,
        /// SHA-256 of the plan file as it was sent, in hex.
        digest: String,
        /// Where the deployment answers, for the log.
        url: String,
        /// When the baseline may begin.
        start_at: Timestamp,
    },
    /// The engine took the rollout up again: it was started again, or had its store again.
    EngineResumed {
        /// The latest moment at which the engine was known to run before.
        last_seen: Timestamp,
    },
    /// The wall clock moved against the monotonic one.
    ClockJumped {
        /// How far; negative = backward.
        by: SignedDuration,
    },
    /// The start time came.
    BaselineStarted,
    /// A reading was asked for.
    ReadingStarted {
        /// Why.
        purpose: Purpose,
    },
    /// A reading was taken and judged.
    ReadingTaken {
        /// Why it was asked for.
        purpose: Purpose,
        /// What it showed.
        reading: Box<JudgedReading>,
    },
    /// A stretch of time of which nothing is known.
    GapRecorded {
        /// The phase whose window it falls into.
        phase: PhaseNumber,
        /// Its start: the last reading that showed something.
        from: Timestamp,
        /// Its end: the next such reading, or the moment at which the window was given up.
        to: Timestamp,
        /// Why nothing is known.
        cause: GapCause,
    },
    /// A checkpoint got its verdict, once and for all.
    CheckpointJudged {
        /// The phase.
        phase: PhaseNumber,
        /// Its place after the start of the window: T+6h.
        offset: SignedDuration,
        /// When it was due.
        due: Timestamp,
        /// The verdict of the reading that settled it; that reading is the event before.
        verdict: Verdict,
    },
    /// The baseline held.
    BaselinePassed,
    /// An attempt at a phase began.
    PhaseStarted {
        /// The phase.
        phase: PhaseNumber,
    },
    /// The precondition holds and the system is well; what is left are gates.
    PreflightPassed {
        /// The phase.
        phase: PhaseNumber,
    },
    /// The gates took so long to open that the preflight says nothing any more; it is taken again.
    PreflightExpired {
        /// The phase.
        phase: PhaseNumber,
    },
    /// A checklist item was ticked by a person.
    ItemTicked {
        /// The phase.
        phase: PhaseNumber,
        /// The item's short name.
        item: String,
    },
    /// A person approved.
    PhaseApproved {
        /// The phase.
        phase: PhaseNumber,
    },
    /// The calendar answered when the phase may be enabled.
    ChangeWindowFound {
        /// The phase.
        phase: PhaseNumber,
        /// When the window opens.
        opens: Timestamp,
        /// When it closes.
        closes: Timestamp,
    },
    /// All gates were open; the flags are about to be written.
    EnablingStarted {
        /// The phase.
        phase: PhaseNumber,
    },
    /// A write, a look at the calendar or the smoke test's start failed.
    EffectFailed {
        /// How.
        fault: Fault,
        /// When it is tried again; `None` = a person must say so.
        retry_at: Option<Timestamp>,
    },
    /// Its waiting time is over: the same effect is asked for again.
    EffectRetried,
    /// The phase's flags have their on values.
    FlagsSet {
        /// The phase.
        phase: PhaseNumber,
        /// Flags that were written.
        wrote: Vec<FlagName>,
        /// Flags that had the value already.
        already: Vec<FlagName>,
    },
    /// The flags were read back and everything asked of them was found; the window begins at this moment.
    BakeStarted {
        /// The phase.
        phase: PhaseNumber,
    },
    /// The window is over and all its checkpoints have verdicts.
    BakeEnded {
        /// The phase.
        phase: PhaseNumber,
    },
    /// The phase is done; its flags stay on.
    PhaseCompleted {
        /// The phase.
        phase: PhaseNumber,
        /// How much of the window was observed.
        coverage: Coverage,
        /// Whether the whole window was kept.
        how: HowCompleted,
    },
    /// The phase was left out.
    PhaseSkipped {
        /// The phase.
        phase: PhaseNumber,
        /// Why.
        why: String,
    },
    /// A flag has a value that this rollout did not give it.
    DriftSeen {
        /// The flag.
        flag: FlagName,
        /// The value it should have; `None` = not set.
        expected: Option<String>,
        /// The value it has; `None` = not set.
        found: Option<String>,
    },
    /// The rollout no longer advances; it is watched all the same.
    Held {
        /// Why.
        hold: HoldReason,
    },
    /// A hold ended.
    Released {
        /// The hold.
        hold: HoldReason,
    },
    /// A rollback began, and an incident was opened.
    RollbackStarted {
        /// The phases, in the order of the rollback.
        phases: Vec<PhaseNumber>,
        /// The values that the flags go back to.
        restore: BTreeMap<FlagName, String>,
        /// Why.
        cause: RollbackCause,
        /// The incident.
        incident: IncidentNumber,
    },
    /// The safe values were written; they are now read back.
    FlagsRestored {
        /// Flags that were written.
        wrote: Vec<FlagName>,
        /// Flags that had their safe value already.
        already: Vec<FlagName>,
    },
    /// The flags were read back with other values than the safe ones; they are written again.
    RestoreLost {
        /// When.
        retry_at: Timestamp,
    },
    /// The safe values were read back.
    RollbackFinished,
    /// A person closed an incident.
    IncidentResolved {
        /// The incident.
        incident: IncidentNumber,
    },
    /// A person wants a rolled-back phase tried again.
    RetryOrdered {
        /// The phase.
        phase: PhaseNumber,
    },
    /// A person ends the rollout as soon as nothing is left half done.
    AbortOrdered,
    /// The rollout ended without its end.
    RolloutAborted,
    /// The last phase is done; everything is looked at once more.
    FinalChecksStarted,
    /// The final reading held.
    FinalChecksPassed,
    /// The smoke test's function is about to be called.
    SmokeStarted,
    /// The smoke test created something.
    SmokeCreated {
        /// Its id.
        id: String,
    },
    /// The smoke test succeeded.
    SmokePassed,
    /// The smoke test failed.
    SmokeFailed {
        /// How.
        why: String,
    },
    /// All is done.
    RolloutCompleted,
    /// Nobody looked for a stretch of time, and the health sources told about it afterwards.
    GapBackfilled {
        /// The phase whose window it falls into.
        phase: PhaseNumber,
        /// Its start: the last reading that showed something.
        from: Timestamp,
        /// Its end: up to here the sources told.
        to: Timestamp,
        /// Why nobody looked.
        cause: GapCause,
    },
    /// A flag has a value that this rollout did not give it, told with what the deployment knows of the write.
    DriftFound {
        /// The flag.
        flag: FlagName,
        /// The value it should have, and had; `None` = not set.
        expected: Option<String>,
        /// The value it has; `None` = not set.
        found: Option<String>,
        /// The write, where the deployment tells.
        written: Option<Written>,
    },
    /// Somebody wrote a flag and it has the value it should have: it may have had another one in between.
    FlagRewritten {
        /// The flag.
        flag: FlagName,
        /// The write.
        written: Written,
    },
    /// A foreign value is taken for the right one from now on, as the plan says.
    DriftAdopted {
        /// The flag.
        flag: FlagName,
        /// The value.
        value: String,
    },
    /// Foreign values are about to be replaced, as the plan says.
    RevertStarted {
        /// The values that the flags should have.
        changes: BTreeMap<FlagName, String>,
    },
    /// Foreign values were replaced.
    DriftReverted {
        /// Flags that were written.
        wrote: Vec<FlagName>,
        /// Flags that had their value again already.
        already: Vec<FlagName>,
    },
    /// Code was pushed to the deployment while a phase was in its window.
    CodePushed {
        /// The phase.
        phase: PhaseNumber,
        /// When, by the deployment's clock.
        pushed_at: Timestamp,
    },
    /// The phase is verified again, and its window begins anew.
    WindowRestarted {
        /// The phase.
        phase: PhaseNumber,
    },
}

/// Why nothing is known about a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GapCause {
    /// The engine did not run.
    EngineDown,
    /// Readings were tried and showed nothing; the last reason.
    Unreadable(String),
    /// A flag did not have the phase's value, so that nothing was seen of it.
    Drift,
    /// The engine ran, but its readings came late: the machine was busy, suspended, or the deployment slow to answer.
    Asleep,
    /// The wall clock went forward without that time having passed for the engine: it was set, or the machine slept.
    ClockJump,
}

/// How a phase came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowCompleted {
    /// By the plan: window, coverage, checkpoints, items.
    Kept,
    /// By a person who waived the rest of the window.
    Promoted,
}

/// Why flags are put back.
#[derive(Clone, Debug, PartialEq)]
pub enum RollbackCause {
    /// A criterion lies beyond its alert threshold.
    Breach {
        /// The criterion.
        criterion: String,
        /// The value with its unit.
        value: String,
        /// The threshold: `> 5`.
        alert: String,
    },
    /// The deployment answered a verification with something else than the plan expects.
    Verification {
        /// The probe or flag.
        what: String,
        /// What was found.
        found: String,
    },
    /// A person said so.
    Ordered,
    /// A person ends the rollout in the middle of a phase.
    Abort,
    /// A checkpoint was missed, and the plan says `missed = "fail"`.
    Missed {
        /// The checkpoint.
        offset: SignedDuration,
        /// When it was due.
        due: Timestamp,
    },
}

/// Why a rollout does not advance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldReason {
    /// A person said so.
    Person,
    /// The baseline is not what the plan asks for.
    Baseline {
        /// What is wrong.
        why: String,
    },
    /// A flag has a foreign value.
    Drift {
        /// The flag.
        flag: FlagName,
    },
    /// Phases were rolled back.
    RolledBack {
        /// The incident.
        incident: IncidentNumber,
    },
    /// An effect failed in a way that only a person can mend.
    EffectFailed {
        /// How.
        why: String,
    },
    /// Nothing has been seen for too long; ends by itself with the next good reading.
    Blind {
        /// The last reason.
        why: String,
    },
    /// A checkpoint was settled late, and the plan wants a person to look.
    Missed {
        /// The phase.
        phase: PhaseNumber,
        /// The checkpoint.
        offset: SignedDuration,
    },
    /// Too little of the window was observed.
    CoverageShort {
        /// The phase.
        phase: PhaseNumber,
    },
    /// The wall clock went backward.
    ClockJump,
    /// The smoke test failed, or nobody knows whether its function ran.
    Smoke {
        /// What happened.
        why: String,
    },
    /// Code was pushed in the middle of a window.
    CodePush {
        /// The phase.
        phase: PhaseNumber,
        /// When, by the deployment's clock.
        pushed_at: Timestamp,
    },
}

impl EventKind {
    /// The phase that the event is about, where it is about one; of a rollback the one that goes first.
    pub fn phase(&self) -> Option<PhaseNumber> {
        match self {
            Self::GapRecorded { phase, .. }
            | Self::GapBackfilled { phase, .. }
            | Self::CheckpointJudged { phase, .. }
            | Self::PhaseStarted { phase }
            | Self::PreflightPassed { phase }
            | Self::PreflightExpired { phase }
            | Self::ItemTicked { phase, .. }
            | Self::PhaseApproved { phase }
            | Self::ChangeWindowFound { phase, .. }
            | Self::EnablingStarted { phase }
            | Self::FlagsSet { phase, .. }
            | Self::BakeStarted { phase }
            | Self::BakeEnded { phase }
            | Self::PhaseCompleted { phase, .. }
            | Self::PhaseSkipped { phase, .. }
            | Self::CodePushed { phase, .. }
            | Self::WindowRestarted { phase }
            | Self::RetryOrdered { phase } => Some(*phase),
            Self::RollbackStarted { phases, .. } => phases.first().copied(),
            Self::ReadingStarted { purpose } | Self::ReadingTaken { purpose, .. } => {
                purpose.phase()
            }
            Self::Held { hold } | Self::Released { hold } => hold.phase(),
            Self::RolloutCreated { .. }
            | Self::EngineResumed { .. }
            | Self::ClockJumped { .. }
            | Self::BaselineStarted
            | Self::BaselinePassed
            | Self::EffectFailed { .. }
            | Self::EffectRetried
            | Self::DriftSeen { .. }
            | Self::DriftFound { .. }
            | Self::FlagRewritten { .. }
            | Self::DriftAdopted { .. }
            | Self::RevertStarted { .. }
            | Self::DriftReverted { .. }
            | Self::FlagsRestored { .. }
            | Self::RestoreLost { .. }
            | Self::RollbackFinished
            | Self::IncidentResolved { .. }
            | Self::AbortOrdered
            | Self::RolloutAborted
            | Self::FinalChecksStarted
            | Self::FinalChecksPassed
            | Self::SmokeStarted
            | Self::SmokeCreated { .. }
            | Self::SmokePassed
            | Self::SmokeFailed { .. }
            | Self::RolloutCompleted => None,
        }
    }
}

impl HoldReason {
    /// The phase that the hold is about, where it is about one.
    pub fn phase(&self) -> Option<PhaseNumber> {
        match self {
            Self::Missed { phase, .. }
            | Self::CoverageShort { phase }
            | Self::CodePush { phase, .. } => Some(*phase),
            Self::Person
            | Self::Baseline { .. }
            | Self::Drift { .. }
            | Self::RolledBack { .. }
            | Self::EffectFailed { .. }
            | Self::Blind { .. }
            | Self::ClockJump
            | Self::Smoke { .. } => None,
        }
    }

    /// The reason in words.
    pub fn words(&self) -> String {
        use alloc::format;
        match self {
            Self::Person => String::from("held by a person"),
            Self::Baseline { why } => format!("baseline: {why}"),
            Self::Drift { flag } => format!("drift: {flag} was changed by somebody else"),
            Self::RolledBack { incident } => format!("rolled back: incident {incident}"),
            Self::EffectFailed { why } => format!("needs a person: {why}"),
            Self::Blind { why } => format!("blind: {why}"),
            Self::Missed { phase, offset } => {
                format!(
                    "phase {phase}: checkpoint {} was judged late",
                    crate::rollout::offset_label(*offset)
                )
            }
            Self::CoverageShort { phase } => {
                format!("phase {phase}: too little of the window was observed")
            }
            Self::ClockJump => String::from("the clock went backward"),
            Self::Smoke { why } => format!("smoke test: {why}"),
            Self::CodePush { phase, pushed_at } => {
                format!(
                    "phase {phase}: code was pushed at {pushed_at:.0}, in the middle of its window"
                )
            }
        }
    }
}

impl fmt::Display for RollbackCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Breach { criterion, value, alert } => {
                write!(f, "{criterion} is {value}, alert threshold {alert}")
            }
            Self::Verification { what, found } => {
                write!(f, "verification of {what} failed: found {found}")
            }
            Self::Ordered => f.write_str("ordered by a person"),
            Self::Abort => f.write_str("the rollout was aborted"),
            Self::Missed { offset, due } => {
                let label = crate::rollout::offset_label(*offset);
                write!(f, "checkpoint {label}, due {due:.0}, was missed")
            }
        }
    }
}
