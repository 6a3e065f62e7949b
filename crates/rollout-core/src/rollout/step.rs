//! Owns one decision: a copy of the state, the events so far, and the rules by which a rollout goes on by itself.
//!
//! Each event is applied to the copy as soon as it is decided, so the next rule sees what is true after it. `advance` asks
//! for the next automatic event until there is none; it is bounded.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use super::readings::Told;
use super::state::{PhaseState, Rollout, SlotUse, Smoke, Stage, Status};
use super::{GAP_INTERVALS, LATE_WRITE_MAX, PREFLIGHT_VALID};
use crate::cadence::{saturating_add, saturating_sub};
use crate::effect::{Fault, FaultClass};
use crate::event::{Event, EventKind, HoldReason, HowCompleted, RollbackCause};
use crate::id::{FlagName, IncidentNumber, PhaseNumber};
use crate::input::{Actor, Input, Rejection};
use crate::measurement::Purpose;

/// Most automatic events of one decision: a whole plan of skipped phases fits, an endless loop does not.
const ADVANCES_MAX: usize = 1_000;

/// In whose name the journal is told what the engine did without it.
const ENGINE: &str = "rolloutd";

/// One decision under way.
pub(super) struct Step {
    pub(super) state: Rollout,
    pub(super) now: Timestamp,
    events: Vec<Event>,
}

impl Step {
    pub(super) fn new(rollout: &Rollout, now: Timestamp) -> Self {
        Self { now: now.max(rollout.last_at), state: rollout.clone(), events: Vec::new() }
    }

    pub(super) fn run(mut self, input: Input) -> Result<Vec<Event>, Rejection> {
        // What is on the wire ends within minutes; a write that is still to come after that has not begun.
        let begins_anew = matches!(input, Input::EngineResumed { .. });
        match input {
            Input::Ordered(order) => self.order(order)?,
            Input::DeadlineReached => {}
            Input::EffectEnded { key, outcome } => {
                if !self.effect_ended(key, outcome)? {
                    return Ok(Vec::new());
                }
            }
            Input::EngineResumed { last_seen } => self.engine_resumed(last_seen),
            Input::RolledBack { phases, why } => self.rolled_back_unrecorded(&phases, &why),
            Input::ClockJumped { by } => self.clock_jumped(by),
            Input::Stirred => self.stirred(),
        }
        let tries_again = self.state.slot.retry_at.is_some_and(|at| at <= self.now);
        let slack = if begins_anew || tries_again { SignedDuration::ZERO } else { LATE_WRITE_MAX };
        self.stop_stale_enabling(slack);
        self.stop_stale_revert(begins_anew);
        self.fail_missed();
        self.advance();
        Ok(self.events)
    }

    /// Records an event of the engine's own.
    pub(super) fn emit(&mut self, kind: EventKind) {
        self.push(Actor::Engine, None, kind);
    }

    /// Records an event that a person caused.
    pub(super) fn emit_for(&mut self, actor: &str, reason: &str, kind: EventKind) {
        self.push(Actor::Person(actor.to_string()), Some(reason.to_string()), kind);
    }

    fn push(&mut self, actor: Actor, note: Option<String>, kind: EventKind) {
        let event = Event { at: self.now, actor, note, kind };
        self.state.evolve(&event);
        self.events.push(event);
    }

    /// Holds the rollout unless this very hold is there already.
    pub(super) fn hold(&mut self, reason: HoldReason) {
        if !self.state.is_held_by(&reason) {
            self.emit(EventKind::Held { hold: reason });
        }
    }

    /// Ends every hold that `ends` picks, in the engine's name.
    pub(super) fn release(&mut self, ends: impl Fn(&HoldReason) -> bool) {
        let reasons: Vec<_> =
            self.state.holds.iter().map(|hold| hold.reason.clone()).filter(|r| ends(r)).collect();
        for hold in reasons {
            self.emit(EventKind::Released { hold });
        }
    }

    fn engine_resumed(&mut self, last_seen: Timestamp) {
        // What has ended may still be rolled back, or guarded against a late write.
        if self.state.status.is_terminal() && self.state.is_at_rest() {
            return;
        }
        self.emit(EventKind::EngineResumed { last_seen });
        if self.state.watch.observing.is_some() && self.state.plan.asks_about_times() {
            // It would be asked again about a range of time that ended before the engine did.
            self.emit(EventKind::ReadingStarted { purpose: self.state.purpose() });
        }
        let once = self
            .state
            .plan
            .smoke
            .as_ref()
            .is_some_and(|test| test.repeat == crate::SmokeRepeat::Never);
        if once
            && matches!(self.state.smoke, Smoke::Creating { .. })
            && self.state.slot.retry_at.is_none()
        {
            let why = "rolloutd stopped while its function was called; nobody knows whether it ran"
                .to_string();
            self.stop_smoke(why);
        }
    }

    /// Flags of these phases were put back without a record, whatever the journal knows of it.
    fn rolled_back_unrecorded(&mut self, phases: &[PhaseNumber], why: &str) {
        let under_way = self.state.rollback.as_ref().map(|rollback| rollback.phases.clone());
        let under_way = under_way.unwrap_or_default();
        let touched = |number: &PhaseNumber| {
            let stage = self.state.phases.get(number.index()).map(|state| state.stage);
            stage.is_some_and(|stage| !stage.is_before_enabling() && stage != Stage::Skipped)
        };
        if !phases.iter().any(touched) {
            return;
        }
        // Whoever put a phase back did not know of a later one whose enabling had reached the journal: it goes with it.
        let exposed = self.state.exposed();
        let wanted = |number: &PhaseNumber| {
            let meant = phases.contains(number) || exposed == Some(*number);
            touched(number) && (meant || under_way.contains(number))
        };
        let numbered = self.state.plan.numbered().map(|(number, _)| number).rev();
        let back: Vec<PhaseNumber> = numbered.filter(wanted).collect();
        if !back.is_empty() && back != under_way {
            self.roll_back(back, RollbackCause::Ordered, Some((ENGINE, why)));
        }
    }

    /// The smoke test needs a person.
    pub(super) fn stop_smoke(&mut self, why: String) {
        self.emit(EventKind::SmokeFailed { why: why.clone() });
        self.hold(HoldReason::Smoke { why });
    }

    /// Looks at once, where a breach would be rolled back and nobody is looking already.
    fn stirred(&mut self) {
        if self.breach_target().is_some() && self.state.watch.observing.is_none() {
            let purpose = self.state.purpose();
            self.emit(EventKind::ReadingStarted { purpose });
        }
    }

    fn clock_jumped(&mut self, by: SignedDuration) {
        let has_ended = self.state.status.is_terminal();
        // What has ended may still be rolled back, or guarded against a late write.
        if has_ended && self.state.is_at_rest() {
            return;
        }
        self.emit(EventKind::ClockJumped { by });
        if by.is_negative() && !has_ended {
            self.hold(HoldReason::ClockJump);
        }
    }

    /// Starts the rollback of these phases. One step with the judgement that asks for it; nothing stands in its way.
    pub(super) fn roll_back(
        &mut self,
        phases: Vec<PhaseNumber>,
        cause: RollbackCause,
        by: Option<(&str, &str)>,
    ) {
        if self.state.baking().is_some_and(|(number, _)| phases.contains(&number)) {
            self.close_gap(self.now, Told::Never);
        }
        // What was asked about a window that is now given up needs no answer any more.
        self.release(|reason| match reason {
            HoldReason::CoverageShort { phase } | HoldReason::Missed { phase, .. } => {
                phases.contains(phase)
            }
            HoldReason::Person
            | HoldReason::Baseline { .. }
            | HoldReason::Drift { .. }
            | HoldReason::CodePush { .. }
            | HoldReason::RolledBack { .. }
            | HoldReason::EffectFailed { .. }
            | HoldReason::Blind { .. }
            | HoldReason::ClockJump
            | HoldReason::Smoke { .. } => false,
        });
        let named = phases.iter().filter_map(|number| self.state.plan.phase(*number));
        let flags = named.flat_map(|phase| phase.flags.iter());
        let restore: BTreeMap<FlagName, String> =
            flags.map(|(flag, change)| (flag.clone(), change.safe.clone())).collect();
        let opened = u32::try_from(self.state.incidents.len()).unwrap_or(u32::MAX);
        let incident = IncidentNumber::new(opened.saturating_add(1))
            .expect("one more than something is not zero");
        let kind = EventKind::RollbackStarted { phases, restore, cause, incident };
        match by {
            Some((actor, reason)) => self.emit_for(actor, reason, kind),
            None => self.emit(kind),
        }
        // What has ended stays ended: to try again, a new rollout is started.
        if !self.state.status.is_terminal() {
            self.hold(HoldReason::RolledBack { incident });
        }
    }

    /// Goes on by the plan's rules until nothing more happens by itself.
    fn advance(&mut self) {
        for _ in 0..ADVANCES_MAX {
            let Some(kind) = self.next_automatic() else { return };
            self.emit(kind);
        }
        unreachable!("a rollout advanced {ADVANCES_MAX} times in one decision");
    }

    /// The next event that follows from the state and the time alone.
    fn next_automatic(&self) -> Option<EventKind> {
        let state = &self.state;
        if let Some(kind) = self.retry_due().or_else(|| self.blind()) {
            return Some(kind);
        }
        if state.rollback.is_none() {
            if state.abort_ordered {
                return Some(EventKind::RolloutAborted);
            }
            if let Some(kind) = self.next_stage() {
                return Some(kind);
            }
        }
        let due =
            state.watch.observing.is_none() && state.watch.next_at.is_some_and(|at| at <= self.now);
        due.then(|| EventKind::ReadingStarted {
            purpose: self.look_back().map_or_else(|| state.purpose(), Purpose::Backfill),
        })
    }

    /// The next missed moment to look back to, when nothing of the present is asked.
    fn look_back(&self) -> Option<Timestamp> {
        let idle = self.state.purpose() == Purpose::Check;
        self.state.looks_back_to(self.now).filter(|_| idle)
    }

    /// True when a checkpoint that was due then is settled later than the grace.
    pub(super) fn is_late(&self, due: Timestamp) -> bool {
        self.state.is_late(due, self.now)
    }

    /// Gates were open when the flags were first to be written. Where that write is made anew long after (a crash, an outage),
    /// a person looks first: it may have landed, so there is no way back to the gates but a rollback.
    fn stop_stale_enabling(&mut self, slack: SignedDuration) {
        let enabling = match self.state.slot_use() {
            Some(SlotUse::Enable(number)) if !self.state.slot.stopped => self.state.phase(number),
            Some(
                SlotUse::Enable(_)
                | SlotUse::Restore
                | SlotUse::Revert
                | SlotUse::FindWindow(_)
                | SlotUse::Smoke,
            )
            | None => None,
        };
        let Some((_, state)) = enabling else { return };
        let then = saturating_sub(self.now, slack);
        let why = match state.window {
            Some((_, closes)) if closes <= then => "its change window has closed",
            _ if is_fresh(state, then) => return,
            _ => "what the preflight saw is more than an hour old",
        };
        let why = format!("the flags were not written in time, and {why}; they may be on");
        let fault = Fault::new(FaultClass::Unknown, None, &why);
        self.emit(EventKind::EffectFailed { fault, retry_at: None });
        self.hold(HoldReason::EffectFailed { why });
    }

    /// Under `missed = "fail"`, a checkpoint that nobody settled in time rolls its phase back.
    fn fail_missed(&mut self) {
        let Some((checkpoint, missed_at)) = self.state.overdue_from() else { return };
        let cause = RollbackCause::Missed { offset: checkpoint.offset, due: checkpoint.due };
        if let Some((phase, _)) = self.state.baking().filter(|_| missed_at <= self.now) {
            self.roll_back(vec![phase], cause, None);
        }
    }

    fn retry_due(&self) -> Option<EventKind> {
        let due =
            self.state.slot.retry_at.is_some_and(|at| at <= self.now) && self.state.may_retry();
        (due || self.window_is_over()).then_some(EventKind::EffectRetried)
    }

    /// True when a change window closed before the other gates opened: the next one must be found.
    fn window_is_over(&self) -> bool {
        let state = self.state.gated().and_then(|number| self.state.phases.get(number.index()));
        state.is_some_and(|state| state.window.is_some_and(|(_, closes)| closes <= self.now))
    }

    /// Says aloud when nothing has been seen for too long while a flag is on.
    fn blind(&self) -> Option<EventKind> {
        let state = &self.state;
        let exposed = state.exposed().is_some()
            || state.phases.iter().any(|phase| phase.stage == Stage::Completed);
        if !exposed
            || state.watch.failed == 0
            || state.status.is_terminal()
            || state.rollback.is_some()
        {
            return None;
        }
        if state.holds.iter().any(|hold| matches!(hold.reason, HoldReason::Blind { .. })) {
            return None;
        }
        let limit = self.state.interval_at(self.now).saturating_mul(GAP_INTERVALS);
        let blind = self.now.duration_since(state.watch.seen_at?) > limit;
        let why = state.watch.last.as_ref().and_then(|(_, _, reading)| reading.trouble());
        let why = why.unwrap_or_else(|| "no reading".to_string());
        blind.then_some(EventKind::Held { hold: HoldReason::Blind { why } })
    }

    fn next_stage(&self) -> Option<EventKind> {
        let state = &self.state;
        let held = state.stands_still();
        match state.status {
            Status::Scheduled => (state.start_at <= self.now).then_some(EventKind::BaselineStarted),
            Status::Running if held => None,
            Status::Running => match state.current() {
                Some(number) => self.next_of_phase(number),
                None => Some(EventKind::FinalChecksStarted),
            },
            Status::FinalChecks if held => None,
            Status::FinalChecks => self.next_of_final_checks(),
            Status::Baseline | Status::Completed | Status::Aborted => None,
        }
    }

    fn next_of_phase(&self, phase: PhaseNumber) -> Option<EventKind> {
        let (planned, state) = self.state.phase(phase)?;
        match state.stage {
            Stage::Pending => Some(EventKind::PhaseStarted { phase }),
            Stage::Gated => self.next_of_gated(phase),
            Stage::Baking => {
                state.bake.as_ref()?.is_done().then_some(EventKind::BakeEnded { phase })
            }
            Stage::Concluding => {
                let coverage = state.bake.as_ref()?.coverage();
                if coverage < self.state.plan.coverage_min {
                    return Some(EventKind::Held { hold: HoldReason::CoverageShort { phase } });
                }
                let ticked = planned.after.iter().all(|item| state.ticked.contains_key(&item.name));
                let how = HowCompleted::Kept;
                ticked.then_some(EventKind::PhaseCompleted { phase, coverage, how })
            }
            Stage::Preflight
            | Stage::Enabling
            | Stage::Verifying
            | Stage::Completed
            | Stage::Skipped
            | Stage::RollingBack
            | Stage::Recovering
            | Stage::RolledBack => None,
        }
    }

    /// Enables when all gates are open at this moment, and what the preflight saw still counts.
    fn next_of_gated(&self, phase: PhaseNumber) -> Option<EventKind> {
        let (planned, state) = self.state.phase(phase)?;
        let in_window = match (&planned.change_window, state.window) {
            (None, _) => true,
            (Some(_), Some((opens, closes))) => opens <= self.now && self.now < closes,
            (Some(_), None) => false,
        };
        if !(self.state.people_are_done(planned, state) && in_window) {
            return None;
        }
        // Whoever said to go on while a flag has a foreign value may have set it back since it was read: it is read first.
        let fresh = is_fresh(state, self.now) && !self.state.has_foreign_value();
        let last = self.state.watch.last.as_ref();
        let well = last.is_some_and(|(_, _, reading)| reading.verdict.is_well());
        Some(match fresh && well {
            true => EventKind::EnablingStarted { phase },
            false => EventKind::PreflightExpired { phase },
        })
    }

    fn next_of_final_checks(&self) -> Option<EventKind> {
        if !self.state.final_checks_passed {
            return None;
        }
        match (&self.state.plan.smoke, &self.state.smoke) {
            (None, _) | (Some(_), Smoke::Passed) => Some(EventKind::RolloutCompleted),
            (Some(_), Smoke::NotStarted) => Some(EventKind::SmokeStarted),
            (Some(_), Smoke::Creating { .. } | Smoke::Waiting { .. } | Smoke::Failed) => None,
        }
    }
}

/// True while what the preflight saw still counts.
fn is_fresh(state: &PhaseState, then: Timestamp) -> bool {
    state.preflight_at.is_some_and(|at| then <= saturating_add(at, PREFLIGHT_VALID))
}
