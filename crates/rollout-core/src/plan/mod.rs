//! Owns the plan as judged: what a person wants, after every rule was checked.
//!
//! [`PlanParts`] is anything with the right shape; [`Plan`] is one without contradictions. [`Plan::try_new`] is the only
//! way from one to the other for something a person wrote, and it answers with *every* violation, each with a JSON
//! pointer into the plan file. A plan is frozen when a rollout starts.

mod check;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Deref;

use jiff::SignedDuration;

use crate::cadence::Cadence;
use crate::coverage::Coverage;
use crate::criterion::{Criterion, Unit};
use crate::id::{FlagName, PhaseNumber};
use crate::measurement::{FunctionCall, Probe};
use crate::source::Source;

pub use check::Violation;

/// A plan without contradictions. Read its parts directly; they cannot be changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan(PlanParts);

/// Everything a plan says, with the right types but not yet checked against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanParts {
    /// Short name: `agent-flags`.
    pub name: String,
    /// Heading of the log.
    pub title: String,
    /// Name of the deployment in the daemon's configuration.
    pub deployment: String,
    /// Health sources by name.
    pub sources: BTreeMap<String, Source>,
    /// What is measured, in the order of the tables.
    pub criteria: Vec<Criterion>,
    /// When checks are due inside a bake window.
    pub cadence: Cadence,
    /// Least share of a window that must have been observed before its phase may complete.
    pub coverage_min: Coverage,
    /// How late a checkpoint may be judged before the log calls it late.
    pub grace: SignedDuration,
    /// What happens to a checkpoint that could not be judged in time.
    pub missed: MissedPolicy,
    /// What happens when somebody else changes a flag.
    pub drift: DriftPolicy,
    /// What happens when code is pushed in the middle of a window.
    pub code_push: PushPolicy,
    /// Items that must be ticked before each phase.
    pub checklist: Vec<ChecklistItem>,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// The test after the last phase.
    pub smoke: Option<SmokeTest>,
    /// Read-only functions that the log's quick reference names: `Current Flag Status` and its function.
    pub reference: Vec<(String, String)>,
}

/// One step of a plan: flag changes applied as one atomic batch, then watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// Short name, unique in the plan: `retry-with-backoff`.
    pub name: String,
    /// Heading of its group in the guide: `Observability`.
    pub group: String,
    /// What the flag is for.
    pub purpose: String,
    /// How risky it is.
    pub risk: Risk,
    /// What a rollback costs: `Logs stop`.
    pub rollback_impact: String,
    /// The flags it turns on. Never empty.
    pub flags: BTreeMap<FlagName, FlagChange>,
    /// How long the phase is watched; zero = only verified.
    pub bake: SignedDuration,
    /// Offsets of the checkpoints from the start of the window, rising, each within it.
    pub checkpoints: Vec<SignedDuration>,
    /// The phase is skipped, with a reason, where this does not hold.
    pub only_when: Option<Precondition>,
    /// Asked right after the flags were read back.
    pub verify: Vec<Probe>,
    /// Items before this phase, beyond the plan's checklist.
    pub before: Vec<ChecklistItem>,
    /// Items a person ticks once the flags are on; the phase completes only after them.
    pub after: Vec<ChecklistItem>,
    /// How many different people must approve.
    pub approvals: u8,
    /// When the phase may be enabled. Rollbacks never wait for it.
    pub change_window: Option<ChangeWindow>,
}

/// The two values of one flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagChange {
    /// Turns the behaviour on: `true`.
    pub on: String,
    /// Turns it off again: `false`. A variable that is not set counts as off.
    pub safe: String,
}

/// How risky a phase is, in the guide's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
}

/// What must hold for a phase to make sense at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Precondition {
    /// The question.
    pub probe: Probe,
    /// The reason written down when the phase is skipped.
    pub otherwise: String,
}

/// Something that must be true or done, with a short name to tick it by.
#[derive(Clone, Debug, PartialEq)]
pub struct ChecklistItem {
    /// Short name, unique among the items of a phase: `runbook`.
    pub name: String,
    /// The item as the guide words it: `Runbook reviewed`.
    pub text: String,
    /// Who says that it is done.
    pub proof: Proof,
}

/// Who says that a checklist item is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Proof {
    /// A named person.
    Person,
    /// The deployment, asked before each phase.
    Machine(Probe),
    /// The plan itself: at least one criterion has both a target and an alert threshold.
    ThresholdsSet,
}

/// When a phase may be enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeWindow {
    /// Five cron fields: when the window opens.
    pub cron: String,
    /// How long it stays open.
    pub lasts: SignedDuration,
    /// IANA time zone of the cron fields.
    pub zone: String,
}

/// What happens to a checkpoint that could not be judged in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissedPolicy {
    /// It is judged late, by the first reading that shows something, and the window grows by what was not observed.
    Extend,
    /// It is judged late, and the rollout is held until a person has seen it.
    Hold,
    /// Its health sources are asked about the time that was missed; they must take `$from` and `$to` (see
    /// [`FunctionCall::answers_for_a_range`]). What they cannot tell makes the window grow, as under `Extend`.
    Backfill,
    /// The phase is rolled back as soon as a checkpoint is later than the grace.
    Fail,
}

/// What happens when a flag has a value that this rollout did not give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftPolicy {
    /// The rollout is held until a person has seen it.
    Hold,
    /// The flag is set back to the value it should have, a few times; then the rollout is held.
    Revert,
    /// The new value is taken for the right one, unless it is the safe value of a phase that is on: that holds.
    Adopt,
}

/// What happens when code is pushed while a phase is in its bake window. It is recorded in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushPolicy {
    /// The rollout is held until a person has seen it.
    Hold,
    /// What was seen before the push counts no more: the window grows by it.
    Extend,
    /// The phase is verified again, and its window begins anew.
    Rebaseline,
}

/// Creates something and waits for its success.
#[derive(Clone, Debug, PartialEq)]
pub struct SmokeTest {
    /// What the log calls it: `final-verification-test`.
    pub name: String,
    /// The function that creates; `$key` in its arguments is the effect's key.
    pub create: FunctionCall,
    /// JSON pointer to the id in its result; empty = the result itself.
    pub id_pointer: String,
    /// The function that tells how it goes; `$id` in its arguments is that id.
    pub poll: FunctionCall,
    /// JSON pointer to the state in its result.
    pub state_pointer: String,
    /// The state that is a success.
    pub success: String,
    /// States that are a failure.
    pub failure: Vec<String>,
    /// How long it may take.
    pub timeout: SignedDuration,
    /// Time between two polls.
    pub every: SignedDuration,
    /// Whether the creating function may be called again after an unknown outcome.
    pub repeat: SmokeRepeat,
}

/// Whether a user's function may be called twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmokeRepeat {
    /// It recognises `$key` and creates nothing twice.
    Safe,
    /// It may not; after an unknown outcome a person decides.
    Never,
}

impl Plan {
    /// Most phases of a plan. The guide has five; a log of more than this is no longer read.
    pub const PHASES_MAX: usize = 64;
    /// Most criteria of a plan: each is a column in every reading that is kept.
    pub const CRITERIA_MAX: usize = 64;
    /// Most checkpoints of a phase.
    pub const CHECKPOINTS_MAX: usize = 64;
    /// Longest value of a flag, in bytes. The deployment allows 8 KiB; a value that switches something is a word.
    pub const VALUE_BYTES_MAX: usize = 1_024;
    /// Most probes that one reading asks.
    pub const PROBES_MAX: usize = 64;
    /// Shortest time between two checks: each is a call of the user's functions.
    pub const CHECK_EVERY_MIN: SignedDuration = SignedDuration::from_secs(10);
    /// Longest time that a source of executions looks back over: what the deployment's own metrics keep.
    pub const OVER_MAX: SignedDuration = SignedDuration::from_hours(1);
    /// Longest bake window: a month.
    pub const BAKE_MAX: SignedDuration = SignedDuration::from_hours(31 * 24);

    /// Checks parts against each other.
    ///
    /// # Errors
    ///
    /// Every violation, in the order of the plan file; never an empty list.
    pub fn try_new(parts: PlanParts) -> Result<Self, Vec<Violation>> {
        let violations = check::violations(&parts);
        match violations.is_empty() {
            true => Ok(Self(parts)),
            false => Err(violations),
        }
    }

    /// Takes parts that were checked when their rollout started, and are now read back from the journal. Later rules do
    /// not apply to them: a rollout goes on under the plan it started with.
    pub fn from_journal(parts: PlanParts) -> Self {
        Self(parts)
    }

    /// The phase with this number.
    pub fn phase(&self, number: PhaseNumber) -> Option<&Phase> {
        self.0.phases.get(number.index())
    }

    /// All phases with their numbers.
    pub fn numbered(&self) -> impl DoubleEndedIterator<Item = (PhaseNumber, &Phase)> {
        let numbered = self.0.phases.iter().enumerate();
        numbered.filter_map(|(index, phase)| Some((PhaseNumber::from_index(index)?, phase)))
    }

    /// All flags of all phases, in the order of their names.
    pub fn flags(&self) -> Vec<FlagName> {
        let mut flags: Vec<_> =
            self.0.phases.iter().flat_map(|phase| phase.flags.keys().cloned()).collect();
        flags.sort();
        flags
    }

    /// The items before a phase: the plan's, then its own.
    pub fn items_before<'a>(&'a self, phase: &'a Phase) -> impl Iterator<Item = &'a ChecklistItem> {
        self.0.checklist.iter().chain(&phase.before)
    }

    /// The unit of a criterion; a plain count for one that the plan does not have.
    pub fn unit_of(&self, criterion: &str) -> Unit {
        let found = self.0.criteria.iter().find(|candidate| candidate.name == criterion);
        found.map_or(Unit::Count, |criterion| criterion.unit)
    }

    /// True when at least one criterion has both a target and an alert threshold, so that a breach can be seen at all.
    pub fn thresholds_are_set(&self) -> bool {
        self.0
            .criteria
            .iter()
            .any(|criterion| criterion.target.is_some() && criterion.alert.is_some())
    }
}

impl PlanParts {
    /// True when every health source that is judged answers for a range of time, so that a reading can be taken of the past,
    /// and none leaves a hole to the one before.
    pub fn answers_for_ranges(&self) -> bool {
        self.silent_about_ranges().next().is_none()
    }

    /// True when a source is asked about a time that the core names, so that an old question must not be asked again later.
    pub(crate) fn asks_about_times(&self) -> bool {
        self.sources.values().any(Source::asks_about_a_time)
    }

    /// The judged sources that answer for one moment only.
    pub(super) fn silent_about_ranges(&self) -> impl Iterator<Item = &str> {
        let judged = |source: &str| {
            self.criteria
                .iter()
                .any(|criterion| criterion.is_judged() && criterion.source == source)
        };
        let sources = self.sources.iter().filter(move |(source, _)| judged(source));
        sources
            .filter(|(_, source)| !source.answers_for_a_range())
            .map(|(source, _)| source.as_str())
    }
}

impl Deref for Plan {
    type Target = PlanParts;

    fn deref(&self) -> &PlanParts {
        &self.0
    }
}

impl Risk {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
        }
    }
}
