//! Owns how one event changes a rollout. Cannot fail: what was decided is true, and the journal is read back through the
//! very function that applied it live.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use super::state::{
    Bake, Hold, Incident, PhaseState, Rollback, RollbackStage, Rollout, Slot, SlotUse, Smoke,
    Stage, Status, Watch,
};
use crate::cadence::saturating_add;
use crate::effect::{Known, Pace};
use crate::event::{Event, EventKind, GapCause, HoldReason};
use crate::id::{FlagName, PhaseNumber, Seq};
use crate::measurement::{JudgedReading, ProbeState, Purpose};
use crate::retry;

impl Rollout {
    /// A rollout from its first event; `None` for any other event.
    pub(super) fn from_creation(event: &Event) -> Option<Self> {
        let EventKind::RolloutCreated { id, plan, digest, url, start_at } = &event.kind else {
            return None;
        };
        let phases = plan.phases.iter().map(|_| PhaseState::new(1)).collect();
        Some(Self {
            id: *id,
            plan: Arc::new((**plan).clone()),
            digest: digest.clone(),
            url: url.clone(),
            created_at: event.at,
            start_at: *start_at,
            seq: Seq::FIRST,
            last_at: event.at,
            status: Status::Scheduled,
            ended_at: None,
            baseline_waived: false,
            baseline_flags: BTreeMap::new(),
            final_checks_passed: false,
            abort_ordered: false,
            holds: Vec::new(),
            phases,
            watch: Watch {
                next_at: None,
                observing: None,
                asked_at: None,
                failed: 0,
                last: None,
                flags: None,
                seen_at: None,
                resumed: false,
                well_since_rollback: true,
            },
            slot: Slot::asked_by(Seq::FIRST),
            rollback: None,
            incidents: Vec::new(),
            smoke: Smoke::NotStarted,
            known: Known::default(),
            cursors: BTreeMap::new(),
            flipped_at: None,
            guarded_from: None,
            foreign: BTreeMap::new(),
            adopted: BTreeMap::new(),
            revert: None,
            reverts: 0,
        })
    }

    /// Applies one persisted event. Cannot fail: what was decided is true.
    pub fn evolve(&mut self, event: &Event) {
        self.seq = self.seq.next();
        self.last_at = self.last_at.max(event.at);
        let at = event.at;
        match &event.kind {
            EventKind::RolloutCreated { .. } => {}
            EventKind::EngineResumed { .. } => {
                self.watch.resumed = true;
                self.find_window_anew();
            }
            EventKind::ClockJumped { by } => self.jump(at, *by),
            EventKind::BaselineStarted
            | EventKind::BaselinePassed
            | EventKind::FinalChecksStarted
            | EventKind::FinalChecksPassed
            | EventKind::RolloutCompleted
            | EventKind::AbortOrdered
            | EventKind::RolloutAborted => self.evolve_status(at, &event.kind),
            EventKind::ReadingStarted { purpose } => {
                self.watch.observing = Some((self.seq, *purpose));
                self.watch.asked_at = Some(at);
            }
            EventKind::ReadingTaken { purpose, reading } => {
                self.evolve_reading(at, *purpose, reading)
            }
            EventKind::GapRecorded { phase, .. }
            | EventKind::GapBackfilled { phase, .. }
            | EventKind::CheckpointJudged { phase, .. } => self.evolve_window(*phase, event),
            EventKind::DriftSeen { .. }
            | EventKind::DriftFound { .. }
            | EventKind::FlagRewritten { .. }
            | EventKind::DriftAdopted { .. }
            | EventKind::RevertStarted { .. }
            | EventKind::DriftReverted { .. }
            | EventKind::CodePushed { .. } => self.evolve_changes(at, &event.kind),
            EventKind::Held { hold } => self.hold(event, hold),
            EventKind::Released { hold } => self.release(at, hold),
            EventKind::EffectFailed { fault, retry_at } => {
                self.slot.trouble = Some(fault.reason.clone());
                self.slot.failed = self.slot.failed.saturating_add(1);
                self.slot.retry_at = *retry_at;
                self.slot.stopped = retry_at.is_none();
            }
            EventKind::EffectRetried => self.retry_slot(),
            EventKind::RollbackStarted { .. }
            | EventKind::FlagsRestored { .. }
            | EventKind::RestoreLost { .. }
            | EventKind::RollbackFinished
            | EventKind::IncidentResolved { .. } => self.evolve_rollback(event),
            EventKind::SmokeStarted
            | EventKind::SmokeCreated { .. }
            | EventKind::SmokePassed
            | EventKind::SmokeFailed { .. } => self.evolve_smoke(at, &event.kind),
            EventKind::PhaseStarted { phase }
            | EventKind::PreflightPassed { phase }
            | EventKind::PreflightExpired { phase }
            | EventKind::ItemTicked { phase, .. }
            | EventKind::PhaseApproved { phase }
            | EventKind::ChangeWindowFound { phase, .. }
            | EventKind::EnablingStarted { phase }
            | EventKind::FlagsSet { phase, .. }
            | EventKind::BakeStarted { phase }
            | EventKind::BakeEnded { phase }
            | EventKind::PhaseCompleted { phase, .. }
            | EventKind::PhaseSkipped { phase, .. }
            | EventKind::WindowRestarted { phase }
            | EventKind::RetryOrdered { phase } => self.evolve_phase(*phase, event),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "`evolve` sends only these kinds here")]
    fn evolve_status(&mut self, at: Timestamp, kind: &EventKind) {
        match kind {
            EventKind::BaselineStarted => {
                self.status = Status::Baseline;
                self.read_at(at);
            }
            EventKind::BaselinePassed => {
                self.status = Status::Running;
                let last = self.watch.last.as_ref();
                self.baseline_flags =
                    last.and_then(|(_, _, reading)| reading.flags.clone().ok()).unwrap_or_default();
            }
            EventKind::FinalChecksStarted => {
                self.status = Status::FinalChecks;
                self.read_at(at);
            }
            EventKind::FinalChecksPassed => self.final_checks_passed = true,
            EventKind::AbortOrdered => self.abort_ordered = true,
            EventKind::RolloutCompleted => self.end(Status::Completed),
            EventKind::RolloutAborted => self.end(Status::Aborted),
            _ => {}
        }
    }

    fn end(&mut self, status: Status) {
        self.status = status;
        self.ended_at = Some(self.last_at);
        let guard = saturating_add(self.last_at, super::LATE_WRITE_MAX);
        self.watch.next_at = self.guards_restore(self.last_at).then_some(guard);
        self.watch.observing = None;
        self.abort_ordered = false;
        self.revert = None;
        self.holds.clear();
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "`evolve` sends only these kinds here")]
    fn evolve_window(&mut self, phase: PhaseNumber, event: &Event) {
        let policy = self.plan.missed;
        if let EventKind::GapRecorded { to, cause: GapCause::Drift, .. } = &event.kind {
            // Calls from before belong to another value of the flag.
            self.flipped_at = Some(*to);
        }
        let Some(bake) = &mut self.phase_mut(phase).bake else { return };
        match &event.kind {
            EventKind::GapRecorded { from, to, .. } => bake.add_gap(*from, *to, policy),
            EventKind::GapBackfilled { .. } => bake.forget_trouble(),
            EventKind::CheckpointJudged { offset, verdict, .. } => {
                let mut checkpoints = bake.checkpoints.iter_mut();
                if let Some(checkpoint) =
                    checkpoints.find(|checkpoint| checkpoint.offset == *offset)
                {
                    checkpoint.judged = Some((event.at, *verdict));
                }
            }
            _ => {}
        }
    }

    /// Time that the wall clock skipped has not been seen by anybody.
    fn jump(&mut self, at: Timestamp, by: SignedDuration) {
        self.find_window_anew();
        if by.is_positive() {
            // As long ago as before. After a machine's sleep that is too late, which brings no call of other values. Never later
            // than now: a clock that was set back and is put right moves the wall alone, and calls from now on count.
            let moved = |since: Timestamp| saturating_add(since, by).min(at);
            self.flipped_at = self.flipped_at.map(moved);
            // A deployment sits on a write for as long as it really takes.
            self.guarded_from = self.guarded_from.map(moved);
        }
        let baking = self.baking().map(|(number, _)| number).filter(|_| by.is_positive());
        if let Some(bake) = baking.and_then(|number| self.phase_mut(number).bake.as_mut()) {
            bake.jumped = bake.jumped.saturating_add(by);
        }
    }

    /// A change window that was found by a clock that was wrong, is wrong now, or was set meanwhile is looked for again.
    fn find_window_anew(&mut self) {
        let seq = self.seq;
        let current = self.current().and_then(|number| self.phase(number));
        let was_found = current.is_some_and(|(_, state)| state.window.is_some());
        // Of every phase: one behind that was rolled back may have become the current one. The window of an enabling that has
        // begun says whether its write may still be made.
        for state in self.phases.iter_mut().filter(|state| state.stage <= Stage::Gated) {
            state.window = None;
        }
        // An answer that is on its way is by the clock as it was, too, so it is not waited for.
        let seeks = matches!(self.slot_use(), Some(SlotUse::FindWindow(_)));
        if seeks && (was_found || self.slot.is_under_way()) {
            self.slot = Slot::asked_by(seq);
        }
    }

    /// Up to which moment a reading speaks: where its sources answer for a range of time, to the end of that range.
    pub(super) fn speaks_for(&self, now: Timestamp, purpose: Purpose) -> Timestamp {
        match purpose {
            Purpose::Backfill(to) => to,
            Purpose::Baseline
            | Purpose::Preflight(_)
            | Purpose::Verification(_)
            | Purpose::Check
            | Purpose::Recovery
            | Purpose::Final
            | Purpose::Smoke => {
                let asked = self.watch.asked_at.filter(|_| self.plan.answers_for_ranges());
                asked.unwrap_or(now)
            }
        }
    }

    fn evolve_reading(&mut self, at: Timestamp, purpose: Purpose, reading: &JudgedReading) {
        self.watch.observing = None;
        let moment = self.speaks_for(at, purpose);
        if let (Purpose::Backfill(to), Some((number, _))) = (purpose, self.baking())
            && let Some(bake) = &mut self.phase_mut(number).bake
        {
            bake.looked_back = Some(to);
        }
        // A read-back asks for flags alone, and says nothing about health.
        let is_read_back = purpose == Purpose::Recovery;
        let seen = if is_read_back { reading.flags.is_ok() } else { reading.is_seeing() };
        self.watch.failed = if seen { 0 } else { self.watch.failed.saturating_add(1) };
        let shown = self.baking().map(|(number, _)| number).filter(|_| self.shows_phase(reading));
        if let Some(bake) = shown.and_then(|number| self.phase_mut(number).bake.as_mut()) {
            bake.add_observed(moment);
        } else if let Some((number, _)) = self.baking()
            && reading.flags.is_ok()
            && !self.flags_are_on(number, reading)
            && let Some(bake) = &mut self.phase_mut(number).bake
        {
            bake.drifted = true;
        }
        self.learn(reading);
        if seen && !is_read_back {
            self.watch.seen_at = Some(at);
            self.watch.resumed = false;
        }
        if reading.verdict.is_well() && self.rollback.is_none() {
            self.watch.well_since_rollback = true;
        }
        if let Purpose::Verification(number) = purpose
            && self.contradicts(number, reading)
        {
            let state = self.phase_mut(number);
            state.verification_failed = state.verification_failed.saturating_add(1);
        }
        if let Ok(flags) = &reading.flags {
            self.watch.flags = Some((at, flags.clone()));
        }
        self.watch.last = Some((at, purpose, reading.clone()));
        // An ended rollout is watched only while its rollback runs, and a little longer.
        let watched =
            !self.status.is_terminal() || self.rollback.is_some() || self.guards_restore(at);
        self.watch.next_at = watched.then(|| self.next_reading_after(at, purpose, seen));
    }

    /// When to look next, after a reading at `at`.
    fn next_reading_after(&self, at: Timestamp, purpose: Purpose, seen: bool) -> Timestamp {
        let cadence = &self.plan.cadence;
        if matches!(purpose, Purpose::Backfill(_)) || self.looks_back_to(at).is_some() {
            // The next missed moment, or the present.
            return at;
        }
        if let Some((_, bake)) = self.baking() {
            let every = cadence.interval_at(at.duration_since(bake.started_at));
            let dues =
                bake.checkpoints.iter().map(|checkpoint| checkpoint.due).chain([bake.ends_at()]);
            let tick = cadence.next_after(bake.started_at, at);
            let planned = dues.filter(|due| *due > at).min().map_or(tick, |due| due.min(tick));
            return match seen {
                true => planned,
                false => planned.min(saturating_add(
                    at,
                    retry::read_delay(self.watch.failed, self.seed(), every),
                )),
            };
        }
        let every = match (purpose, &self.plan.smoke) {
            (Purpose::Smoke, Some(test)) => test.every,
            (_, _) => cadence.idle(),
        };
        let again = match purpose {
            Purpose::Recovery if !seen => {
                retry::write_delay(self.watch.failed, self.seed(), Pace::Usual)
            }
            _ if !seen => retry::read_delay(self.watch.failed, self.seed(), every),
            Purpose::Check if self.guards_restore(at) => every.min(super::LATE_WRITE_MAX),
            Purpose::Verification(number) => retry::read_delay(
                self.phases[number.index()].verification_failed.max(1),
                self.seed(),
                every,
            ),
            Purpose::Baseline
            | Purpose::Preflight(_)
            | Purpose::Check
            | Purpose::Recovery
            | Purpose::Final
            | Purpose::Smoke
            | Purpose::Backfill(_) => every,
        };
        saturating_add(at, again)
    }

    /// True while a write from before the last rollback may still land, or may have landed unseen: until the flags were read
    /// after the longest time that a deployment sits on one (see `LATE_WRITE_MAX`), however long that takes.
    pub fn guards_restore(&self, now: Timestamp) -> bool {
        let Some(from) = self.guarded_from else { return false };
        let landed = saturating_add(from, super::LATE_WRITE_MAX);
        let unseen = self.watch.flags.as_ref().is_none_or(|(read, _)| *read <= landed);
        now <= saturating_add(landed, super::LATE_WRITE_MAX) || unseen
    }

    /// True while readings may still show what the last rollback put right: rates look back over some time.
    pub(super) fn echoes(&self, now: Timestamp) -> bool {
        let span =
            self.plan.cadence.idle().saturating_mul(super::GAP_INTERVALS).max(super::ECHO_MIN);
        self.restored_at().is_none_or(|at| now <= saturating_add(at, span))
    }

    /// When the safe values of the last rollback were read back. A clock that was set since does not move it as it moves
    /// `guarded_from`: an echo that ends early errs towards flags off.
    fn restored_at(&self) -> Option<Timestamp> {
        self.incidents.iter().filter_map(|incident| incident.restored_at).max()
    }

    fn seed(&self) -> u64 {
        self.id.get() << 20
    }

    /// True when a reading says something about the phase in its window: values are there, and the flags are on.
    pub(super) fn shows_phase(&self, reading: &JudgedReading) -> bool {
        let Some((number, _)) = self.baking() else { return false };
        reading.verdict.is_observed() && self.flags_are_on(number, reading)
    }

    /// True when all flags of a phase were read with their on values.
    pub(super) fn flags_are_on(&self, number: PhaseNumber, reading: &JudgedReading) -> bool {
        let (Ok(found), Some(phase)) = (&reading.flags, self.plan.phase(number)) else {
            return false;
        };
        let on = |(flag, change): (&FlagName, &crate::FlagChange)| {
            found.get(flag).and_then(Option::as_deref) == Some(self.on_value(flag, change))
        };
        phase.flags.iter().all(on)
    }

    /// True when at least one flag of a phase was read with its on value.
    pub(super) fn a_flag_is_on(&self, number: PhaseNumber, reading: &JudgedReading) -> bool {
        let (Ok(found), Some(phase)) = (&reading.flags, self.plan.phase(number)) else {
            return false;
        };
        let mut changes = phase.flags.iter();
        changes.any(|(flag, change)| found.get(flag) == Some(&Some(change.on.clone())))
    }

    /// True when the deployment definitely says something else than a verification expects.
    pub(super) fn contradicts(&self, number: PhaseNumber, reading: &JudgedReading) -> bool {
        let flags_differ = reading.flags.is_ok() && !self.flags_are_on(number, reading);
        flags_differ || reading.probes.iter().any(|answer| answer.state == ProbeState::NotMet)
    }

    fn hold(&mut self, event: &Event, reason: &HoldReason) {
        let (since, by) = (event.at, event.actor.to_string());
        if let HoldReason::Drift { flag } = reason {
            self.leave_revert(flag);
        }
        self.holds.push(Hold { reason: reason.clone(), since, by, note: event.note.clone() });
    }

    fn release(&mut self, at: Timestamp, reason: &HoldReason) {
        self.holds.retain(|hold| hold.reason != *reason);
        match reason {
            HoldReason::Baseline { .. } => self.baseline_waived = true,
            HoldReason::EffectFailed { .. } => {
                self.open_gates_anew(at);
                self.retry_slot();
            }
            HoldReason::Smoke { .. } => self.smoke = Smoke::NotStarted,
            HoldReason::Person
            | HoldReason::Drift { .. }
            | HoldReason::RolledBack { .. }
            | HoldReason::Blind { .. }
            | HoldReason::Missed { .. }
            | HoldReason::CoverageShort { .. }
            | HoldReason::CodePush { .. }
            | HoldReason::ClockJump => {}
        }
        if !matches!(reason, HoldReason::Blind { .. }) && self.watch.next_at.is_some() {
            self.read_at(at);
        }
    }

    /// Asks for a reading at `at`; an answer to one that is under way would come from before, and is not waited for.
    pub(super) fn read_at(&mut self, at: Timestamp) {
        self.watch.observing = None;
        self.watch.next_at = Some(at);
    }

    /// A person has looked and says go on: an enabling that was stopped as too old is fresh again.
    fn open_gates_anew(&mut self, at: Timestamp) {
        let Some(number) = self.current() else { return };
        let state = self.phase_mut(number);
        if state.stage == Stage::Enabling {
            state.preflight_at = Some(at);
            state.window = None;
        }
    }

    fn retry_slot(&mut self) {
        self.slot.seq = self.seq;
        self.slot.retry_at = None;
        self.slot.stopped = false;
        if let Some(number) = self.current() {
            let state = self.phase_mut(number);
            if state.stage == Stage::Gated {
                state.window = None;
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "`evolve` sends only these kinds here")]
    fn evolve_rollback(&mut self, event: &Event) {
        let at = event.at;
        match &event.kind {
            EventKind::RollbackStarted { phases, restore, cause, incident } => {
                for number in phases {
                    self.phase_mut(*number).stage = Stage::RollingBack;
                }
                self.incidents.push(Incident {
                    number: *incident,
                    opened_at: at,
                    phases: phases.clone(),
                    cause: cause.clone(),
                    restored_at: None,
                    resolved: None,
                });
                self.drop_revert();
                let (phases, restore) = (phases.clone(), restore.clone());
                self.rollback = Some(Rollback {
                    phases,
                    restore,
                    stage: RollbackStage::Writing,
                    incident: *incident,
                });
                self.slot = Slot::asked_by(self.seq);
                if self.status == Status::FinalChecks {
                    self.status = Status::Running;
                    self.smoke = Smoke::NotStarted;
                    self.final_checks_passed = false;
                }
                self.watch.well_since_rollback = false;
                self.watch.next_at.get_or_insert(saturating_add(at, self.plan.cadence.idle()));
            }
            EventKind::FlagsRestored { .. } => {
                self.set_rollback(RollbackStage::ReadingBack, Stage::Recovering);
                let restored = self.rollback.as_ref().map(|rollback| rollback.restore.clone());
                self.flipped(at, restored.unwrap_or_default().into_keys());
                self.read_at(at);
            }
            EventKind::RestoreLost { retry_at } => {
                self.set_rollback(RollbackStage::Writing, Stage::RollingBack);
                self.slot.seq = self.seq;
                self.slot.failed = self.slot.failed.saturating_add(1);
                self.slot.retry_at = Some(*retry_at);
                self.slot.stopped = false;
            }
            EventKind::RollbackFinished => {
                self.guarded_from = Some(at);
                self.watch.next_at =
                    Some(saturating_add(at, self.plan.cadence.idle().min(super::LATE_WRITE_MAX)));
                if let Some(done) = self.rollback.take() {
                    for number in done.phases {
                        self.phase_mut(number).stage = Stage::RolledBack;
                    }
                }
                for incident in
                    self.incidents.iter_mut().filter(|incident| incident.restored_at.is_none())
                {
                    incident.restored_at = Some(at);
                }
            }
            EventKind::IncidentResolved { incident } => {
                let by = event.actor.to_string();
                let note = event.note.clone().unwrap_or_default();
                let mut known = self.incidents.iter_mut();
                if let Some(found) = known.find(|found| found.number == *incident) {
                    found.resolved = Some((at, by, note));
                }
            }
            _ => {}
        }
    }

    fn set_rollback(&mut self, stage: RollbackStage, of_phases: Stage) {
        let Some(rollback) = &mut self.rollback else { return };
        rollback.stage = stage;
        for number in rollback.phases.clone() {
            self.phase_mut(number).stage = of_phases;
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "`evolve` sends only these kinds here")]
    fn evolve_smoke(&mut self, at: Timestamp, kind: &EventKind) {
        match kind {
            EventKind::SmokeStarted => {
                self.smoke = Smoke::Creating { run: self.seq, at };
                self.slot = Slot::asked_by(self.seq);
            }
            EventKind::SmokeCreated { id } => {
                self.smoke = Smoke::Waiting { id: id.clone(), since: at };
                let every =
                    self.plan.smoke.as_ref().map_or(self.plan.cadence.idle(), |test| test.every);
                self.read_at(saturating_add(at, every));
            }
            EventKind::SmokePassed => self.smoke = Smoke::Passed,
            EventKind::SmokeFailed { .. } => self.smoke = Smoke::Failed,
            _ => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "`evolve` sends only these kinds here")]
    fn evolve_phase(&mut self, number: PhaseNumber, event: &Event) {
        let (at, seq) = (event.at, self.seq);
        let plan = Arc::clone(&self.plan);
        let state = self.phase_mut(number);
        match &event.kind {
            EventKind::PhaseStarted { .. } | EventKind::PreflightExpired { .. } => {
                state.stage = Stage::Preflight;
                self.read_at(at);
            }
            EventKind::PreflightPassed { .. } => {
                state.stage = Stage::Gated;
                state.preflight_at = Some(at);
                self.slot = Slot::asked_by(seq);
            }
            EventKind::ItemTicked { item, .. } => {
                state.ticked.insert(item.clone(), event.actor.to_string());
            }
            EventKind::PhaseApproved { .. } => {
                state.approved_by.insert(event.actor.to_string());
            }
            EventKind::ChangeWindowFound { opens, closes, .. } => {
                state.window = Some((*opens, *closes))
            }
            EventKind::EnablingStarted { .. } => {
                state.stage = Stage::Enabling;
                self.slot = Slot::asked_by(seq);
            }
            EventKind::FlagsSet { .. } => {
                state.stage = Stage::Verifying;
                let flags = plan.phase(number).map(|phase| phase.flags.keys().cloned());
                self.flipped(at, flags.into_iter().flatten());
                self.read_at(at);
            }
            EventKind::WindowRestarted { .. } => {
                state.stage = Stage::Verifying;
                state.verification_failed = 0;
                state.bake = None;
                self.read_at(at);
            }
            EventKind::BakeStarted { .. } => {
                state.stage = Stage::Baking;
                state.bake = plan.phase(number).map(|phase| Bake::new(phase, at));
                self.watch.next_at = Some(self.next_reading_after(at, Purpose::Check, true));
            }
            EventKind::BakeEnded { .. } => state.stage = Stage::Concluding,
            EventKind::PhaseCompleted { coverage, how, .. } => {
                state.stage = Stage::Completed;
                state.completed = Some((*coverage, *how));
            }
            EventKind::PhaseSkipped { why, .. } => {
                state.stage = Stage::Skipped;
                state.skipped_why = Some(why.clone());
            }
            EventKind::RetryOrdered { .. } => {
                *state = PhaseState::new(state.attempt.saturating_add(1))
            }
            _ => {}
        }
    }

    fn phase_mut(&mut self, number: PhaseNumber) -> &mut PhaseState {
        let named = self.phases.get_mut(number.index());
        named.expect("events name phases of the plan they were decided under")
    }
}

impl Slot {
    /// A fresh effect, asked for by event `seq`.
    pub(super) fn asked_by(seq: Seq) -> Self {
        Self { seq, failed: 0, retry_at: None, stopped: false, trouble: None }
    }

    /// True while the current try is on its way; false while it waits for its time or for a person.
    pub(super) fn is_under_way(&self) -> bool {
        self.retry_at.is_none() && !self.stopped
    }
}
