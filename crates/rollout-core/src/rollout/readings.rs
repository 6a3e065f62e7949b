//! Owns what a reading means: verdicts, drift, gaps, checkpoints, and what each purpose makes of it.
//!
//! Order matters and is the same for every reading: it is recorded; a breach starts the rollback at once; drift is told;
//! then the purpose is served.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use super::state::{RollbackStage, Rollout, Smoke, Stage, Status};
use super::step::Step;
use super::{GAP_INTERVALS, VERIFICATION_TRIES_MAX};
use crate::cadence::{saturating_add, saturating_sub};
use crate::criterion::{Criterion, Unit, Verdict};
use crate::effect::{Fault, FaultClass, Pace};
use crate::event::{EventKind, GapCause, HoldReason, RollbackCause};
use crate::id::{FlagName, PhaseNumber};
use crate::measurement::{
    FlagValues, Judged, JudgedReading, Measured, ProbeState, Purpose, Reading,
};
use crate::plan::{MissedPolicy, Plan};
use crate::retry;
use crate::source::{Basis, Source};

/// Whether anybody tells about a stretch of time in which nobody looked.
#[derive(Clone, Copy)]
pub(super) enum Told {
    /// The health sources did, by the reading that ends it.
    Afterwards,
    /// Nobody does.
    Never,
}

impl Step {
    pub(super) fn reading_ended(&mut self, purpose: Purpose, reading: Reading) {
        let reading = self.state.judge(purpose, reading);
        self.tell_rewrites(&reading);
        let moment = self.state.speaks_for(self.now, purpose);
        self.record_gap(&reading, moment);
        let guarded = self.state.guards_restore(self.now);
        let pushed = self.state.code_pushed(&reading);
        self.emit(EventKind::ReadingTaken {
            purpose,
            reading: alloc::boxed::Box::new(reading.clone()),
        });
        if reading.is_seeing() {
            self.release(|reason| matches!(reason, HoldReason::Blind { .. }));
        }
        if self.breach(&reading) || (guarded && self.late_write(&reading)) {
            return;
        }
        self.tell_drift(&reading);
        self.tell_push(pushed, &reading);
        self.judge_checkpoints(&reading, purpose);
        match purpose {
            Purpose::Baseline => self.baseline(&reading),
            Purpose::Preflight(number) => self.preflight(number, &reading),
            Purpose::Verification(number) => self.verification(number, &reading),
            Purpose::Recovery => self.recovery(&reading),
            Purpose::Final => self.final_reading(&reading),
            Purpose::Smoke => self.smoke_reading(&reading),
            Purpose::Check | Purpose::Backfill(_) => {}
        }
    }

    /// Before a reading is recorded: what lies between it and the last one that showed the phase.
    fn record_gap(&mut self, reading: &JudgedReading, moment: Timestamp) {
        let ranges = self.state.plan.missed == MissedPolicy::Backfill
            && self.state.plan.answers_for_ranges();
        if self.state.shows_phase(reading) {
            self.close_gap(moment, if ranges { Told::Afterwards } else { Told::Never });
        }
    }

    /// Records what has not been seen of the running window up to now, where it is long enough to tell: a reading speaks for
    /// the time since the one before, unless that is more than two intervals, or a flag was seen off in between. Then nothing
    /// is known of all of it. Time that only the wall clock skipped is no time between two readings, and never seen.
    pub(super) fn close_gap(&mut self, to: Timestamp, told: Told) {
        let Some((phase, bake)) = self.state.baking() else { return };
        let (from, drifted, stretch) =
            (bake.covered_until, bake.drifted, to.duration_since(bake.covered_until));
        if !stretch.is_positive() {
            return;
        }
        let jumped = bake.jumped.min(stretch);
        let passed = stretch - jumped;
        if passed <= self.state.interval_at(from).saturating_mul(GAP_INTERVALS) && !drifted {
            if jumped.is_positive() {
                let from = saturating_sub(to, jumped);
                self.emit(EventKind::GapRecorded { phase, from, to, cause: GapCause::ClockJump });
            }
            return;
        }
        let last = self.state.watch.last.as_ref().map(|(_, _, reading)| reading);
        let last_in_vain = last.filter(|last| !self.state.shows_phase(last));
        let cause = match last_in_vain {
            _ if drifted => GapCause::Drift,
            Some(last) => last.trouble().map_or(GapCause::Drift, GapCause::Unreadable),
            None if self.state.watch.resumed => GapCause::EngineDown,
            None => GapCause::Asleep,
        };
        // Sources tell how the system did, not whether its flags were on.
        self.emit(match told {
            Told::Afterwards if !drifted => EventKind::GapBackfilled { phase, from, to, cause },
            Told::Afterwards | Told::Never => EventKind::GapRecorded { phase, from, to, cause },
        });
    }

    /// Starts the rollback of a breach. True when one was started.
    fn breach(&mut self, reading: &JudgedReading) -> bool {
        let Some(worst) = reading.breaches().next() else { return false };
        let Some(phase) = self.breach_target() else { return false };
        let cause = breach_cause(&self.state.plan, worst);
        self.roll_back(vec![phase], cause, None);
        true
    }

    /// The phase that a breach rolls back: the exposed one, between phases the one completed last. While a rollback is
    /// under way, and for a while after it until the system was seen well, a breach is its echo and not a new one.
    pub(super) fn breach_target(&self) -> Option<PhaseNumber> {
        let state = &self.state;
        let ended = state.status.is_terminal();
        let echo = !state.watch.well_since_rollback && state.echoes(self.now);
        let quiet = ended || state.rollback.is_some() || echo;
        (!quiet).then(|| state.latest_on())?
    }

    /// Puts a flag back again that an earlier write of our own turned on after its rollback. True when there was one.
    fn late_write(&mut self, reading: &JudgedReading) -> bool {
        if self.state.rollback.is_some() {
            return false;
        }
        let rolled_back =
            |number: &PhaseNumber| self.state.phases[number.index()].stage == Stage::RolledBack;
        let numbers = self.state.plan.numbered().map(|(number, _)| number);
        // One flag is enough: somebody may have put the others back.
        let landed =
            numbers.filter(rolled_back).find(|number| self.state.a_flag_is_on(*number, reading));
        let Some(number) = landed else { return false };
        let flags = self.state.plan.phase(number).into_iter().flat_map(|phase| phase.flags.keys());
        let what = flags.map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let found = "on again after it was put back".to_string();
        self.roll_back(vec![number], RollbackCause::Verification { what, found }, None);
        true
    }

    /// Settles every checkpoint that was due by the moment for which this reading speaks, once and for all.
    /// One that was missed is left to a look back, where the plan wants that; if that shows nothing, to the next reading.
    fn judge_checkpoints(&mut self, reading: &JudgedReading, purpose: Purpose) {
        if !self.state.shows_phase(reading) {
            return;
        }
        let Some((phase, bake)) = self.state.baking() else { return };
        let moment = self.state.speaks_for(self.now, purpose);
        let looks_back = matches!(purpose, Purpose::Backfill(_));
        let open = bake.checkpoints.iter().filter(|checkpoint| {
            checkpoint.judged.is_none()
                && checkpoint.due <= moment
                && (looks_back || !self.state.may_look_back(bake, checkpoint.due, self.now))
        });
        let due: Vec<_> = open.map(|checkpoint| (checkpoint.offset, checkpoint.due)).collect();
        for (offset, due) in due {
            let late = self.is_late(due);
            if late && self.state.plan.missed == MissedPolicy::Fail {
                // It was missed, whatever is seen now; `fail_missed` rolls the phase back.
                return;
            }
            self.emit(EventKind::CheckpointJudged { phase, offset, due, verdict: reading.verdict });
            if late && self.state.plan.missed == MissedPolicy::Hold {
                self.hold(HoldReason::Missed { phase, offset });
            }
        }
    }

    fn baseline(&mut self, reading: &JudgedReading) {
        if self.state.status != Status::Baseline {
            return;
        }
        if let Err(Fault { class: FaultClass::Permanent, reason, .. }) = &reading.flags {
            return self.hold(HoldReason::EffectFailed { why: reason.clone() });
        }
        let (Ok(found), true) = (&reading.flags, reading.verdict.is_observed()) else { return };
        let on = |flag: &FlagName| match (self.state.safe_value(flag), found.get(flag)) {
            (Some(safe), Some(Some(value))) => {
                (value != safe).then(|| format!("{flag} is {value:?}, not {safe:?}"))
            }
            (Some(_), Some(None) | None) | (None, _) => None,
        };
        let flags_on = self.state.plan.flags().iter().find_map(on);
        // A waiver accepts warnings, each of them, and no breach beside them.
        let unwell = reading.judged.iter().find(|judged| match judged.verdict {
            Verdict::Pass => false,
            Verdict::Breach => true,
            Verdict::Warn | Verdict::NoData | Verdict::Error => !self.state.baseline_waived,
        });
        let unwell = unwell.map(|judged| judged_words(&self.state.plan, judged));
        match flags_on.or(unwell) {
            Some(why) => self.hold(HoldReason::Baseline { why }),
            None => self.emit(EventKind::BaselinePassed),
        }
    }

    fn preflight(&mut self, phase: PhaseNumber, reading: &JudgedReading) {
        let Some((planned, state)) = self.state.phase(phase) else { return };
        if state.stage != Stage::Preflight {
            return;
        }
        let mut answers = reading.probes.iter();
        if let Some(precondition) = &planned.only_when {
            match answers.next().map(|answer| answer.state) {
                Some(ProbeState::Met) => {}
                Some(ProbeState::NotMet) => {
                    let why = precondition.otherwise.clone();
                    return self.emit(EventKind::PhaseSkipped { phase, why });
                }
                Some(ProbeState::Failed) | None => return,
            }
        }
        let items_met = answers.all(|answer| answer.state == ProbeState::Met);
        let well = reading.verdict.is_well();
        if items_met && well {
            self.emit(EventKind::PreflightPassed { phase });
        }
    }

    fn verification(&mut self, phase: PhaseNumber, reading: &JudgedReading) {
        let Some((_, state)) = self.state.phase(phase) else { return };
        if state.stage != Stage::Verifying {
            return;
        }
        if self.state.contradicts(phase, reading) {
            if state.verification_failed >= VERIFICATION_TRIES_MAX {
                let cause = self.contradiction(phase, reading);
                self.roll_back(vec![phase], cause, None);
            }
            return;
        }
        let all_met = reading.probes.iter().all(|answer| answer.state == ProbeState::Met);
        if all_met && reading.verdict.is_observed() {
            self.emit(EventKind::BakeStarted { phase });
            self.judge_checkpoints(reading, Purpose::Verification(phase));
        }
    }

    fn contradiction(&self, phase: PhaseNumber, reading: &JudgedReading) -> RollbackCause {
        if let Some(answer) =
            reading.probes.iter().find(|answer| answer.state == ProbeState::NotMet)
        {
            return RollbackCause::Verification {
                what: answer.probe.clone(),
                found: answer.found.clone(),
            };
        }
        let flags = self.state.plan.phase(phase).into_iter().flat_map(|phase| &phase.flags);
        let found = reading.flags.as_ref().ok();
        let value = |flag: &FlagName| found.and_then(|found| found.get(flag)).cloned().flatten();
        let wrong = flags.map(|(flag, change)| (flag, change, value(flag)));
        let mut wrong =
            wrong.filter(|(_, change, value)| value.as_deref() != Some(change.on.as_str()));
        let (what, found) = wrong.next().map_or_else(Default::default, |(flag, _, value)| {
            (flag.to_string(), value.unwrap_or_else(|| "not set".to_string()))
        });
        RollbackCause::Verification { what, found }
    }

    fn recovery(&mut self, reading: &JudgedReading) {
        let Some(rollback) = &self.state.rollback else { return };
        let Ok(found) = &reading.flags else { return };
        if rollback.stage != RollbackStage::ReadingBack {
            return;
        }
        let back = rollback
            .restore
            .iter()
            .all(|(flag, safe)| found.get(flag) == Some(&Some(safe.clone())));
        match back {
            true => self.emit(EventKind::RollbackFinished),
            false => {
                let delay = retry::write_delay(
                    self.state.slot.failed.saturating_add(1),
                    self.state.id.get(),
                    Pace::Usual,
                );
                self.emit(EventKind::RestoreLost { retry_at: saturating_add(self.now, delay) });
            }
        }
    }

    fn final_reading(&mut self, reading: &JudgedReading) {
        let all_met = reading.probes.iter().all(|answer| answer.state == ProbeState::Met);
        let well = reading.verdict.is_well();
        if all_met && well && !self.state.is_held() {
            self.emit(EventKind::FinalChecksPassed);
        }
    }

    fn smoke_reading(&mut self, reading: &JudgedReading) {
        let (Smoke::Waiting { since, .. }, Some(test)) =
            (&self.state.smoke, &self.state.plan.smoke)
        else {
            return;
        };
        let answer = reading.probes.first();
        let found = answer.map(|answer| answer.found.clone()).unwrap_or_default();
        let failed =
            test.failure.iter().any(|state| found == format!("{state:?}") || found == *state);
        let late = self.now.duration_since(*since) >= test.timeout;
        match answer.map(|answer| answer.state) {
            Some(ProbeState::Met) => self.emit(EventKind::SmokePassed),
            Some(ProbeState::NotMet) if failed => self.stop_smoke(format!("ended as {found}")),
            Some(_) | None if late => {
                self.stop_smoke(format!("no success in time; last answer {found}"))
            }
            Some(_) | None => {}
        }
    }
}

impl Rollout {
    /// Gives every criterion of the plan its verdict, in the plan's order, and keeps of all changes what is news.
    fn judge(&self, purpose: Purpose, reading: Reading) -> JudgedReading {
        let Reading { flags, mut writes, push, cursors, measurements, probes } = reading;
        let plan = &self.plan;
        let clipped = |flags: FlagValues| {
            flags.into_iter().map(|(flag, value)| (flag, value.map(clip))).collect()
        };
        let flags = flags.map(clipped);
        // A read-back asks for flags alone.
        let asked = plan.criteria.iter().filter(|_| purpose != Purpose::Recovery);
        let judged = asked.map(|criterion| {
            let mut found = measurements.iter();
            let found = found.find(|measurement| measurement.criterion == criterion.name);
            let not_measured = || Measured::Failed("was not measured".to_string());
            let measured =
                found.map_or_else(not_measured, |measurement| measurement.measured.clone());
            let basis = found.and_then(|measurement| measurement.basis);
            let measured = self.too_few_yet(criterion, &measured, basis).unwrap_or(measured);
            let (verdict, reason) = criterion.judge(&measured);
            Judged { criterion: criterion.name.clone(), measured, verdict, reason, basis }
        });
        let judged: Vec<Judged> = judged.collect();
        let counted =
            judged.iter().zip(&plan.criteria).filter(|(_, criterion)| criterion.is_judged());
        let worst = counted.map(|(judged, _)| judged.verdict).max().unwrap_or(Verdict::NoData);
        let verdict = if flags.is_err() { worst.max(Verdict::Error) } else { worst };
        writes.retain(|flag, written| self.known.writes.get(flag) != Some(&written.at));
        let push = push.filter(|at| self.known.push != Some(*at));
        JudgedReading { flags, writes, push, cursors, judged, probes, verdict }
    }

    /// A number of calls that is too low so far says nothing yet while it is of less time than its source looks back over, since a
    /// flag was changed or the stream was not heard: more may come. What is too high already is.
    fn too_few_yet(
        &self,
        criterion: &Criterion,
        measured: &Measured,
        basis: Option<Basis>,
    ) -> Option<Measured> {
        let (source, basis) = (self.plan.sources.get(&criterion.source)?, basis?);
        let calls = source.calls().filter(|_| criterion.unit == Unit::Count)?;
        let bound = match criterion.judge(measured).0 {
            Verdict::Breach => {
                criterion.alert.as_ref().filter(|alert| alert.comparison.points_down())
            }
            Verdict::Warn => {
                criterion.target.as_ref().filter(|target| target.comparison.points_up())
            }
            Verdict::Pass | Verdict::NoData | Verdict::Error => None,
        };
        bound?;
        // The deployment's own metrics are of whole minutes, and the last one is still filling.
        let minutes = calls.over.as_mins().saturating_sub(1);
        let whole = match source {
            Source::AppMetrics(_) => SignedDuration::from_mins(minutes),
            Source::Executions(_)
            | Source::Function(_)
            | Source::Http(_)
            | Source::Prometheus(_) => calls.over,
        };
        let span = basis.to.duration_since(basis.from);
        let words =
            || format!("too few in {} s so far; {} s count", span.as_secs(), calls.over.as_secs());
        (span < whole).then(|| Measured::Missing(words()))
    }

    /// The phase that a rollback without further words means.
    pub(super) fn latest_on(&self) -> Option<PhaseNumber> {
        let completed = || self.phases.iter().rposition(|state| state.stage == Stage::Completed);
        self.exposed().or_else(|| completed().and_then(PhaseNumber::from_index))
    }
}

fn breach_cause(plan: &Plan, judged: &Judged) -> RollbackCause {
    let criterion = plan.criteria.iter().find(|criterion| criterion.name == judged.criterion);
    let alert = criterion.and_then(Criterion::alert_words).unwrap_or_default();
    RollbackCause::Breach { criterion: judged.criterion.clone(), value: shown(plan, judged), alert }
}

/// A judged value in words, for a hold: `alert_count is 2, target = 0`.
fn judged_words(plan: &Plan, judged: &Judged) -> String {
    let criterion = plan.criteria.iter().find(|criterion| criterion.name == judged.criterion);
    let target = criterion.and_then(Criterion::target_words).unwrap_or_default();
    format!("{} is {}, target {target}", judged.criterion, shown(plan, judged))
}

/// A judged value with its unit, or the reason why there is none.
fn shown(plan: &Plan, judged: &Judged) -> String {
    judged.measured.shown(plan.unit_of(&judged.criterion))
}

/// Bounds a value that the journal keeps. What is cut was longer than any value of a plan, and so equals none of them.
fn clip(value: String) -> String {
    if value.len() <= Plan::VALUE_BYTES_MAX {
        return value;
    }
    let cut = (0..=Plan::VALUE_BYTES_MAX).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
    format!("{}… ({} bytes)", &value[..cut], value.len())
}
