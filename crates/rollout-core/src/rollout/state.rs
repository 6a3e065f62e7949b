//! Owns what a rollout is at one moment. Only `evolve` changes it; everybody else reads.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use crate::cadence::saturating_add;
use crate::coverage::Coverage;
use crate::criterion::Verdict;
use crate::effect::Known;
use crate::event::{HoldReason, HowCompleted, RollbackCause};
use crate::id::{EffectKey, FlagName, IncidentNumber, PhaseNumber, RolloutId, Seq};
use crate::measurement::{FlagValues, JudgedReading, Purpose, Written};
use crate::plan::{FlagChange, MissedPolicy, Phase, Plan};

/// One run of a plan against one deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    pub(super) id: RolloutId,
    pub(super) plan: Arc<Plan>,
    pub(super) digest: String,
    pub(super) url: String,
    pub(super) created_at: Timestamp,
    pub(super) start_at: Timestamp,
    pub(super) seq: Seq,
    pub(super) last_at: Timestamp,
    pub(super) status: Status,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) baseline_waived: bool,
    pub(super) baseline_flags: FlagValues,
    pub(super) final_checks_passed: bool,
    pub(super) abort_ordered: bool,
    pub(super) holds: Vec<Hold>,
    pub(super) phases: Vec<PhaseState>,
    pub(super) watch: Watch,
    pub(super) slot: Slot,
    pub(super) rollback: Option<Rollback>,
    pub(super) incidents: Vec<Incident>,
    pub(super) smoke: Smoke,
    /// Writes and code pushes that are no news any more.
    pub(super) known: Known,
    /// Where each source's stream was read up to by the last reading.
    pub(super) cursors: BTreeMap<String, String>,
    /// When this rollout last changed a flag: what ran before says nothing about what runs now.
    pub(super) flipped_at: Option<Timestamp>,
    /// Since when late writes are looked for: the end of the last rollback, and later by what the wall clock skipped since.
    pub(super) guarded_from: Option<Timestamp>,
    /// Flags that were found with foreign values, each with its last foreign write as far as it is known. Only for words.
    pub(super) foreign: BTreeMap<FlagName, Option<Written>>,
    /// Foreign values that are taken for right.
    pub(super) adopted: BTreeMap<FlagName, String>,
    /// Foreign values that are being replaced: the values that the flags should have.
    pub(super) revert: Option<Revert>,
    /// How often foreign values were replaced in this rollout.
    pub(super) reverts: u32,
}

/// Where a rollout as a whole stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Its start time has not come.
    Scheduled,
    /// The baseline is being taken.
    Baseline,
    /// Phases are on their way.
    Running,
    /// The phases are done.
    FinalChecks,
    /// All is done.
    Completed,
    /// A person ended it.
    Aborted,
}

/// Where the current attempt at a phase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its turn has not come.
    Pending,
    /// Precondition, machine-checked items and health are being asked.
    Preflight,
    /// Waits for people or the calendar.
    Gated,
    /// Its flags are being written.
    Enabling,
    /// Its flags are being read back, and what the plan asks for is verified.
    Verifying,
    /// In its bake window.
    Baking,
    /// Window over; waits for items that a person ticks.
    Concluding,
    /// Done; its flags stay on.
    Completed,
    /// Left out.
    Skipped,
    /// The safe values are being written.
    RollingBack,
    /// The safe values are being read back.
    Recovering,
    /// The safe values were read back.
    RolledBack,
}

/// The state of one phase.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseState {
    /// Where the current attempt stands.
    pub stage: Stage,
    /// Which attempt it is, from 1 on.
    pub attempt: u32,
    /// Ticked items and who ticked them.
    pub ticked: BTreeMap<String, String>,
    /// Who approved.
    pub approved_by: BTreeSet<String>,
    /// The change window found, when the plan has one.
    pub window: Option<(Timestamp, Timestamp)>,
    /// When the preflight passed.
    pub preflight_at: Option<Timestamp>,
    /// Definite "no" answers of the running verification.
    pub verification_failed: u32,
    /// The bake window, once it began.
    pub bake: Option<Bake>,
    /// Why the phase was skipped.
    pub skipped_why: Option<String>,
    /// How it was completed.
    pub completed: Option<(Coverage, HowCompleted)>,
}

/// A bake window in its course. All times are counted from its persisted start.
#[derive(Clone, Debug, PartialEq)]
pub struct Bake {
    /// T+0: the flags are on and verified.
    pub started_at: Timestamp,
    /// The window as planned.
    pub window: SignedDuration,
    /// How much the window grew, by what was not observed.
    pub extension: SignedDuration,
    /// Time covered by readings that showed something.
    pub observed: SignedDuration,
    /// Time of which nothing is known.
    pub unobserved: SignedDuration,
    /// Up to here every moment is either observed or recorded as a gap.
    pub covered_until: Timestamp,
    /// Whether a flag was seen with another value since `covered_until`.
    pub drifted: bool,
    /// By how much the wall clock went forward since `covered_until` without that time having passed.
    pub jumped: SignedDuration,
    /// The last missed moment that the sources were asked about, whatever they said.
    pub looked_back: Option<Timestamp>,
    /// The checkpoints, in order.
    pub checkpoints: Vec<Checkpoint>,
}

/// A due moment in a bake window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its place after the start of the window.
    pub offset: SignedDuration,
    /// When it is due.
    pub due: Timestamp,
    /// Its verdict and when it was given.
    pub judged: Option<(Timestamp, Verdict)>,
}

/// A reason not to advance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Why.
    pub reason: HoldReason,
    /// Since when.
    pub since: Timestamp,
    /// In whose name.
    pub by: String,
    /// What they said.
    pub note: Option<String>,
}

/// The watch over a live rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// When the next reading is due; `None` only when the rollout has not begun or has ended.
    pub next_at: Option<Timestamp>,
    /// The reading under way.
    pub observing: Option<(Seq, Purpose)>,
    /// When the last reading was asked for.
    pub asked_at: Option<Timestamp>,
    /// Readings in a row that showed nothing.
    pub failed: u32,
    /// The last reading, whatever it showed.
    pub last: Option<(Timestamp, Purpose, JudgedReading)>,
    /// The flags as they were last read, and when.
    pub flags: Option<(Timestamp, FlagValues)>,
    /// When a reading last showed something.
    pub seen_at: Option<Timestamp>,
    /// Whether the engine was restarted since then.
    pub resumed: bool,
    /// Whether a reading without breach was seen since the last rollback began.
    pub well_since_rollback: bool,
}

/// The one effect that changes something, or asks for something outside the watch. There is at most one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The event that asked for the current try.
    pub(super) seq: Seq,
    /// Failures in a row.
    pub(super) failed: u32,
    /// Set while it waits to be tried again.
    pub(super) retry_at: Option<Timestamp>,
    /// Set while a person must say so first.
    pub(super) stopped: bool,
    /// How the last try failed, until it is asked for anew.
    pub(super) trouble: Option<String>,
}

/// What the slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotUse {
    Restore,
    Revert,
    Enable(PhaseNumber),
    FindWindow(PhaseNumber),
    Smoke,
}

/// Foreign values that are being replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revert {
    /// The values that the flags should have.
    pub(super) changes: BTreeMap<FlagName, String>,
    /// When this was decided.
    pub(super) since: Timestamp,
}

/// A rollback under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollback {
    /// Its phases, in the order of the rollback.
    pub phases: Vec<PhaseNumber>,
    /// The values that the flags go back to.
    pub restore: BTreeMap<FlagName, String>,
    /// Write or read back.
    pub stage: RollbackStage,
    /// Its incident.
    pub incident: IncidentNumber,
}

/// Where a rollback stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollbackStage {
    /// The safe values are being written.
    Writing,
    /// They are being read back.
    ReadingBack,
}

/// The record opened by every rollback.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Its number in this rollout.
    pub number: IncidentNumber,
    /// When the rollback began.
    pub opened_at: Timestamp,
    /// The phases that were rolled back.
    pub phases: Vec<PhaseNumber>,
    /// Why.
    pub cause: RollbackCause,
    /// When the safe values were read back.
    pub restored_at: Option<Timestamp>,
    /// Who resolved it, when, and with what note.
    pub resolved: Option<(Timestamp, String, String)>,
}

/// Where the smoke test stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Smoke {
    /// Not begun.
    NotStarted,
    /// Its function is being called.
    Creating {
        /// The event that began this run of the test; its key tells runs apart, and tries of one run belong together.
        run: Seq,
        /// When it began. Ids and positions come again in another store, and after a restore; a moment does not.
        at: Timestamp,
    },
    /// Something was created; its success is awaited.
    Waiting {
        /// Its id.
        id: String,
        /// Since when.
        since: Timestamp,
    },
    /// Succeeded.
    Passed,
    /// Failed.
    Failed,
}

impl Rollout {
    /// The id.
    pub fn id(&self) -> RolloutId {
        self.id
    }

    /// The plan, frozen at the start.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// SHA-256 of the plan file, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Where the deployment answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// When its baseline may begin.
    pub fn start_at(&self) -> Timestamp {
        self.start_at
    }

    /// When it was created.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Position of the last applied event.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Time of the last applied event.
    pub fn last_at(&self) -> Timestamp {
        self.last_at
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        self.status
    }

    /// When it completed or was aborted.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    /// How the last try of the running write failed, while it waits to be tried again.
    pub fn trouble(&self) -> Option<&str> {
        self.slot.trouble.as_deref().filter(|_| self.slot_use().is_some())
    }

    /// Why it does not advance; empty = it does.
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    /// The phases' states, in the plan's order.
    pub fn phases(&self) -> &[PhaseState] {
        &self.phases
    }

    /// The watch.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The rollback under way.
    pub fn rollback(&self) -> Option<&Rollback> {
        self.rollback.as_ref()
    }

    /// All incidents, oldest first.
    pub fn incidents(&self) -> &[Incident] {
        &self.incidents
    }

    /// The smoke test.
    pub fn smoke(&self) -> &Smoke {
        &self.smoke
    }

    /// The key that the effect asked for by event `seq` carries.
    pub(super) fn key(&self, seq: Seq) -> EffectKey {
        EffectKey { rollout: self.id, seq }
    }

    /// The first phase that is neither completed nor skipped.
    pub fn current(&self) -> Option<PhaseNumber> {
        let open = |state: &PhaseState| !matches!(state.stage, Stage::Completed | Stage::Skipped);
        self.phases.iter().position(open).and_then(PhaseNumber::from_index)
    }

    /// A phase as planned and as it stands.
    pub(super) fn phase(&self, number: PhaseNumber) -> Option<(&Phase, &PhaseState)> {
        Some((self.plan.phase(number)?, self.phases.get(number.index())?))
    }

    /// The phase whose flags are on but which is not completed.
    pub fn exposed(&self) -> Option<PhaseNumber> {
        self.current().filter(|number| self.phases[number.index()].stage.is_exposed())
    }

    /// The window that is running.
    pub(super) fn baking(&self) -> Option<(PhaseNumber, &Bake)> {
        let number = self.current()?;
        let state = &self.phases[number.index()];
        (state.stage == Stage::Baking).then_some((number, state.bake.as_ref()?))
    }

    /// True when the rollout does not advance.
    pub fn is_held(&self) -> bool {
        !self.holds.is_empty()
    }

    /// True while nothing new is begun: it is held, or flags are being set back.
    pub(super) fn stands_still(&self) -> bool {
        self.is_held() || self.revert.is_some()
    }

    /// The value of a flag that counts as on.
    pub(super) fn on_value<'a>(&'a self, flag: &FlagName, change: &'a FlagChange) -> &'a str {
        self.adopted.get(flag).map_or(change.on.as_str(), String::as_str)
    }

    pub(super) fn is_held_by(&self, reason: &HoldReason) -> bool {
        self.holds.iter().any(|hold| hold.reason == *reason)
    }

    /// What the effect slot is for now.
    pub(super) fn slot_use(&self) -> Option<SlotUse> {
        if let Some(rollback) = &self.rollback {
            return (rollback.stage == RollbackStage::Writing).then_some(SlotUse::Restore);
        }
        if self.revert.is_some() {
            return Some(SlotUse::Revert);
        }
        if matches!(self.smoke, Smoke::Creating { .. }) {
            return Some(SlotUse::Smoke);
        }
        let number = self.current().filter(|_| self.status == Status::Running)?;
        let (phase, state) = self.phase(number)?;
        match state.stage {
            Stage::Enabling => Some(SlotUse::Enable(number)),
            Stage::Gated if phase.change_window.is_some() && state.window.is_none() => {
                Some(SlotUse::FindWindow(number))
            }
            Stage::Gated
            | Stage::Pending
            | Stage::Preflight
            | Stage::Verifying
            | Stage::Baking
            | Stage::Concluding
            | Stage::Completed
            | Stage::Skipped
            | Stage::RollingBack
            | Stage::Recovering
            | Stage::RolledBack => None,
        }
    }
}

impl Status {
    /// The word in tables and on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Baseline => "baseline",
            Self::Running => "running",
            Self::FinalChecks => "final_checks",
            Self::Completed => "completed",
            Self::Aborted => "aborted",
        }
    }

    /// True when nothing more happens by itself.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Aborted)
    }
}

impl Stage {
    /// All stages, in the order of a phase's life.
    pub const ALL: [Self; 12] = [
        Self::Pending,
        Self::Preflight,
        Self::Gated,
        Self::Enabling,
        Self::Verifying,
        Self::Baking,
        Self::Concluding,
        Self::Completed,
        Self::Skipped,
        Self::RollingBack,
        Self::Recovering,
        Self::RolledBack,
    ];

    /// The word in tables and on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Preflight => "preflight",
            Self::Gated => "gated",
            Self::Enabling => "enabling",
            Self::Verifying => "verifying",
            Self::Baking => "baking",
            Self::Concluding => "concluding",
            Self::Completed => "completed",
            Self::Skipped => "skipped",
            Self::RollingBack => "rolling_back",
            Self::Recovering => "recovering",
            Self::RolledBack => "rolled_back",
        }
    }

    /// True before the phase's flags are touched.
    pub fn is_before_enabling(self) -> bool {
        matches!(self, Self::Pending | Self::Preflight | Self::Gated)
    }

    /// True when the phase's flags may be on and the phase is not completed.
    pub fn is_exposed(self) -> bool {
        matches!(self, Self::Enabling | Self::Verifying | Self::Baking | Self::Concluding)
    }

    /// True while the safe values are on their way.
    pub fn is_rolling_back(self) -> bool {
        matches!(self, Self::RollingBack | Self::Recovering)
    }
}

impl PhaseState {
    /// A phase before its first or next attempt.
    pub(super) fn new(attempt: u32) -> Self {
        Self {
            stage: Stage::Pending,
            attempt,
            ticked: BTreeMap::new(),
            approved_by: BTreeSet::new(),
            window: None,
            preflight_at: None,
            verification_failed: 0,
            bake: None,
            skipped_why: None,
            completed: None,
        }
    }
}

impl Bake {
    pub(super) fn new(phase: &Phase, started_at: Timestamp) -> Self {
        let checkpoint = |offset: &SignedDuration| Checkpoint {
            offset: *offset,
            due: saturating_add(started_at, *offset),
            judged: None,
        };
        Self {
            started_at,
            window: phase.bake,
            extension: SignedDuration::ZERO,
            observed: SignedDuration::ZERO,
            unobserved: SignedDuration::ZERO,
            covered_until: started_at,
            drifted: false,
            jumped: SignedDuration::ZERO,
            looked_back: None,
            checkpoints: phase.checkpoints.iter().map(checkpoint).collect(),
        }
    }

    /// When the window ends, as things stand.
    pub fn ends_at(&self) -> Timestamp {
        saturating_add(self.started_at, self.window.saturating_add(self.extension))
    }

    /// Share of the planned window that was observed.
    pub fn coverage(&self) -> Coverage {
        Coverage::of(self.observed, self.window)
    }

    /// True when the window is over and every checkpoint has its verdict.
    pub(super) fn is_done(&self) -> bool {
        self.covered_until >= self.ends_at()
            && self.checkpoints.iter().all(|checkpoint| checkpoint.judged.is_some())
    }

    pub(super) fn add_gap(&mut self, from: Timestamp, to: Timestamp, policy: MissedPolicy) {
        // A gap at the end of a stretch: what comes before it was seen.
        self.add_observed(from);
        let gap = to.duration_since(from).max(SignedDuration::ZERO);
        self.unobserved = self.unobserved.saturating_add(gap);
        self.forget_trouble();
        self.covered_until = self.covered_until.max(to);
        match policy {
            MissedPolicy::Extend | MissedPolicy::Backfill => {
                self.extension = self.extension.saturating_add(gap)
            }
            MissedPolicy::Hold | MissedPolicy::Fail => {}
        }
    }

    /// From here on another code runs: what was seen before counts no more, and the window is as long again from here.
    pub(super) fn begin_again(&mut self, at: Timestamp) {
        self.add_observed(at);
        self.observed = SignedDuration::ZERO;
        self.extension = at.duration_since(self.started_at).max(SignedDuration::ZERO);
        for checkpoint in &mut self.checkpoints {
            checkpoint.due = saturating_add(at, checkpoint.offset);
            checkpoint.judged = None;
        }
    }

    /// What happened since `covered_until` was settled.
    pub(super) fn forget_trouble(&mut self) {
        self.drifted = false;
        self.jumped = SignedDuration::ZERO;
    }

    pub(super) fn add_observed(&mut self, at: Timestamp) {
        let seen = at.duration_since(self.covered_until).max(SignedDuration::ZERO);
        self.observed = self.observed.saturating_add(seen);
        self.covered_until = self.covered_until.max(at);
    }
}
