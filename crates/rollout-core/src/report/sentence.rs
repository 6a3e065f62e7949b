//! Owns one event in one line: its kind's name for machines, its sentence for people.
//!
//! A sentence is plain text without line breaks. It names the person who caused an event; their words are the event's note
//! and are left to the caller. Values of variables that are not flags of the plan are never in it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::markdown::one_line;
use super::story::person;
use super::time::{Times, words};
use crate::criterion::{Unit, Verdict};
use crate::event::{Event, EventKind, GapCause, HoldReason, HowCompleted, RollbackCause};
use crate::id::{FlagName, PhaseNumber};
use crate::measurement::{Judged, JudgedReading, ProbeKind, Written};
use crate::plan::{Plan, PushPolicy};
use crate::rollout::offset_label;

/// The kind's name in event lists and on the wire: `checkpoint_judged`.
pub fn event_name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::RolloutCreated { .. } => "rollout_created",
        EventKind::EngineResumed { .. } => "engine_resumed",
        EventKind::ClockJumped { .. } => "clock_jumped",
        EventKind::BaselineStarted => "baseline_started",
        EventKind::ReadingStarted { .. } => "reading_started",
        EventKind::ReadingTaken { .. } => "reading_taken",
        EventKind::GapRecorded { .. } => "gap_recorded",
        EventKind::CheckpointJudged { .. } => "checkpoint_judged",
        EventKind::BaselinePassed => "baseline_passed",
        EventKind::PhaseStarted { .. } => "phase_started",
        EventKind::PreflightPassed { .. } => "preflight_passed",
        EventKind::PreflightExpired { .. } => "preflight_expired",
        EventKind::ItemTicked { .. } => "item_ticked",
        EventKind::PhaseApproved { .. } => "phase_approved",
        EventKind::ChangeWindowFound { .. } => "change_window_found",
        EventKind::EnablingStarted { .. } => "enabling_started",
        EventKind::EffectFailed { .. } => "effect_failed",
        EventKind::EffectRetried => "effect_retried",
        EventKind::FlagsSet { .. } => "flags_set",
        EventKind::BakeStarted { .. } => "bake_started",
        EventKind::BakeEnded { .. } => "bake_ended",
        EventKind::PhaseCompleted { .. } => "phase_completed",
        EventKind::PhaseSkipped { .. } => "phase_skipped",
        EventKind::DriftSeen { .. } => "drift_seen",
        EventKind::Held { .. } => "held",
        EventKind::Released { .. } => "released",
        EventKind::RollbackStarted { .. } => "rollback_started",
        EventKind::FlagsRestored { .. } => "flags_restored",
        EventKind::RestoreLost { .. } => "restore_lost",
        EventKind::RollbackFinished => "rollback_finished",
        EventKind::IncidentResolved { .. } => "incident_resolved",
        EventKind::RetryOrdered { .. } => "retry_ordered",
        EventKind::AbortOrdered => "abort_ordered",
        EventKind::RolloutAborted => "rollout_aborted",
        EventKind::FinalChecksStarted => "final_checks_started",
        EventKind::FinalChecksPassed => "final_checks_passed",
        EventKind::SmokeStarted => "smoke_started",
        EventKind::SmokeCreated { .. } => "smoke_created",
        EventKind::SmokePassed => "smoke_passed",
        EventKind::SmokeFailed { .. } => "smoke_failed",
        EventKind::RolloutCompleted => "rollout_completed",
        EventKind::GapBackfilled { .. } => "gap_backfilled",
        EventKind::DriftFound { .. } => "drift_found",
        EventKind::FlagRewritten { .. } => "flag_rewritten",
        EventKind::DriftAdopted { .. } => "drift_adopted",
        EventKind::RevertStarted { .. } => "revert_started",
        EventKind::DriftReverted { .. } => "drift_reverted",
        EventKind::CodePushed { .. } => "code_pushed",
        EventKind::WindowRestarted { .. } => "window_restarted",
    }
}

/// One event in one calm line: `phase 3: T+6h judged pass`. With the plan it names flags and items, and says what was late.
pub fn sentence(event: &Event, plan: Option<&Plan>) -> String {
    let own =
        if let EventKind::RolloutCreated { plan, .. } = &event.kind { Some(&**plan) } else { None };
    let plan = own.or(plan);
    one_line(&Said { event, plan }.line())
}

/// Why flags were put back, in words, without the value of any variable that is not a flag.
pub(super) fn cause_words(cause: &RollbackCause, plan: Option<&Plan>) -> String {
    let RollbackCause::Verification { what, .. } = cause else { return cause.to_string() };
    let mut probes = plan.into_iter().flat_map(|plan| &plan.phases).flat_map(|phase| &phase.verify);
    let is_variable =
        probes.any(|probe| probe.name == *what && matches!(probe.kind, ProbeKind::VariableSet(_)));
    match is_variable {
        true => format!("verification of {what} failed: the variable is not set"),
        false => cause.to_string(),
    }
}

/// Why nothing is known about a stretch of time, in words.
pub(super) fn gap_words(cause: &GapCause) -> String {
    match cause {
        GapCause::EngineDown => "the engine was not running for all or part of it".to_string(),
        GapCause::Unreadable(reason) => format!("nothing could be read: {reason}"),
        GapCause::Drift => "a flag did not have the phase's value".to_string(),
        GapCause::Asleep => "readings came late; the machine was busy or asleep".to_string(),
        GapCause::ClockJump => {
            "the clock went forward by that much at once: it was set, or the machine slept"
                .to_string()
        }
    }
}

/// Flags that were written and flags that were left alone: `wrote A; B had the value already`.
pub(super) fn written(wrote: &[FlagName], already: &[FlagName]) -> String {
    let listed =
        |flags: &[FlagName]| flags.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (wrote.is_empty(), already.is_empty()) {
        (true, true) => "nothing to write".to_string(),
        (true, false) => format!("{} had the value already", listed(already)),
        (false, true) => format!("wrote {}", listed(wrote)),
        (false, false) => {
            format!("wrote {}; {} had the value already", listed(wrote), listed(already))
        }
    }
}

/// Phases by their numbers: `phase 3`, `phases 3, 2, 1`.
pub(super) fn phase_list(phases: &[PhaseNumber]) -> String {
    let numbers = phases.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match phases.len() {
        1 => format!("phase {numbers}"),
        _ => format!("phases {numbers}"),
    }
}

/// An event about to be told.
struct Said<'a> {
    event: &'a Event,
    plan: Option<&'a Plan>,
}

impl Said<'_> {
    #[expect(clippy::too_many_lines, reason = "one short arm for each kind of event")]
    fn line(&self) -> String {
        let by = self.by();
        match &self.event.kind {
            EventKind::RolloutCreated { id, plan, start_at, .. } => {
                format!(
                    "rollout {id} of plan {} created{by}, may start {}",
                    plan.name,
                    utc(*start_at)
                )
            }
            EventKind::EngineResumed { last_seen } => {
                let away = self.event.at.duration_since(*last_seen);
                format!("rolloutd records again, {} after the last entry", words(away))
            }
            EventKind::ClockJumped { by } => jump_words(*by),
            EventKind::ReadingStarted { purpose } => {
                format!("reading asked for: {}", purpose.words())
            }
            EventKind::ReadingTaken { purpose, reading } => {
                format!("{}: {}", purpose.words(), self.reading(reading))
            }
            EventKind::GapRecorded { phase, from, to, cause } => {
                let lasts = words(to.duration_since(*from));
                format!("phase {phase}: nothing is known of {lasts}; {}", gap_words(cause))
            }
            EventKind::GapBackfilled { phase, from, to, cause } => {
                let lasts = words(to.duration_since(*from));
                let why = gap_words(cause);
                format!(
                    "phase {phase}: nobody looked for {lasts}; {why}; the sources told afterwards"
                )
            }
            EventKind::CheckpointJudged { phase, offset, due, verdict } => {
                let late = self.late(*due);
                format!("phase {phase}: {} judged {verdict}{late}", offset_label(*offset))
            }
            EventKind::BaselineStarted => "baseline started".to_string(),
            EventKind::BaselinePassed => "baseline passed".to_string(),
            EventKind::FinalChecksStarted => "final checks started".to_string(),
            EventKind::FinalChecksPassed => "final checks passed".to_string(),
            EventKind::SmokeStarted => "smoke test started".to_string(),
            EventKind::SmokeCreated { id } => format!("smoke test created {id}"),
            EventKind::SmokePassed => "smoke test passed".to_string(),
            EventKind::SmokeFailed { why } => format!("smoke test failed: {why}"),
            EventKind::RolloutAborted => "rollout aborted".to_string(),
            EventKind::RolloutCompleted => "rollout completed".to_string(),
            EventKind::EffectFailed { .. }
            | EventKind::EffectRetried
            | EventKind::Held { .. }
            | EventKind::Released { .. }
            | EventKind::RollbackStarted { .. }
            | EventKind::FlagsRestored { .. }
            | EventKind::RestoreLost { .. }
            | EventKind::RollbackFinished
            | EventKind::IncidentResolved { .. }
            | EventKind::AbortOrdered => self.trouble_line(),
            EventKind::DriftSeen { .. }
            | EventKind::DriftFound { .. }
            | EventKind::FlagRewritten { .. }
            | EventKind::DriftAdopted { .. }
            | EventKind::RevertStarted { .. }
            | EventKind::DriftReverted { .. } => self.drift_line(),
            EventKind::PhaseStarted { phase }
            | EventKind::CodePushed { phase, .. }
            | EventKind::WindowRestarted { phase }
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
            | EventKind::RetryOrdered { phase } => self.phase_line(*phase),
        }
    }

    /// What went wrong, what was stopped, and the way back.
    #[expect(clippy::wildcard_enum_match_arm, reason = "`line` tells all other kinds itself")]
    fn trouble_line(&self) -> String {
        let by = self.by();
        match &self.event.kind {
            EventKind::EffectFailed { fault, retry_at } => match retry_at {
                Some(at) => format!("failed: {fault}; next try {}", self.soon(*at)),
                None => format!("failed: {fault}; a person is needed"),
            },
            EventKind::EffectRetried => "trying again".to_string(),
            EventKind::Held { hold: HoldReason::Person } if !by.is_empty() => format!("held{by}"),
            EventKind::Held { hold } => format!("held: {}", hold.words()),
            EventKind::Released { hold: HoldReason::Person } => format!("hold ended{by}"),
            EventKind::Released { hold } => format!("hold ended{by}: {}", hold.words()),
            EventKind::IncidentResolved { incident } => format!("incident {incident} resolved{by}"),
            EventKind::AbortOrdered => format!("abort ordered{by}"),
            EventKind::RollbackStarted { phases, cause, .. } => self.rollback(phases, cause),
            EventKind::FlagsRestored { wrote, already } => {
                format!("safe values written: {}", written(wrote, already))
            }
            EventKind::RestoreLost { retry_at } => {
                format!(
                    "the safe values were not found on read-back; written again {}",
                    self.soon(*retry_at)
                )
            }
            EventKind::RollbackFinished => {
                "rollback finished: the safe values were read back".to_string()
            }
            _ => String::new(),
        }
    }

    /// What somebody else did to the flags, and what was done about it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "`line` tells all other kinds itself")]
    fn drift_line(&self) -> String {
        match &self.event.kind {
            EventKind::DriftSeen { flag, expected, found } => {
                format!(
                    "drift: {flag} is {}, expected {}",
                    value_words(found.as_deref()),
                    value_words(expected.as_deref())
                )
            }
            EventKind::DriftFound { flag, expected, found, written } => {
                let write = written.as_ref().map(write_words).unwrap_or_default();
                format!(
                    "drift: {flag} is {}, expected {}{write}",
                    value_words(found.as_deref()),
                    value_words(expected.as_deref())
                )
            }
            EventKind::FlagRewritten { flag, written } => {
                format!(
                    "{flag} has its value, but somebody wrote it{}; nobody knows what it was since the reading before",
                    write_words(written)
                )
            }
            EventKind::DriftAdopted { flag, value } => {
                format!("drift: {value:?} is taken for the right value of {flag}, as the plan says")
            }
            EventKind::RevertStarted { changes } => {
                format!("drift: {} set back, as the plan says", names(changes.keys()))
            }
            EventKind::DriftReverted { wrote, already } => {
                format!("drift: values are as they should be again: {}", written(wrote, already))
            }
            _ => String::new(),
        }
    }

    /// The course of one phase.
    #[expect(clippy::wildcard_enum_match_arm, reason = "`line` tells all other kinds itself")]
    fn phase_line(&self, phase: PhaseNumber) -> String {
        let by = self.by();
        let planned = self.plan.and_then(|plan| plan.phase(phase));
        let said = match &self.event.kind {
            EventKind::PhaseStarted { .. } => match planned {
                Some(planned) => format!(" started: {}", names(planned.flags.keys())),
                None => " started".to_string(),
            },
            EventKind::PreflightPassed { .. } => ": preflight passed".to_string(),
            EventKind::PreflightExpired { .. } => {
                ": the preflight is too old and is taken again".to_string()
            }
            EventKind::ItemTicked { item, .. } => {
                format!(": {} ticked{by}", self.item(phase, item))
            }
            EventKind::PhaseApproved { .. } => format!(" approved{by}"),
            EventKind::ChangeWindowFound { opens, closes, .. } => {
                format!(": change window from {} to {}", utc(*opens), utc(*closes))
            }
            EventKind::EnablingStarted { .. } => {
                ": all gates are open, the flags are written".to_string()
            }
            EventKind::FlagsSet { wrote, already, .. } => {
                format!(": flags set, {}", written(wrote, already))
            }
            EventKind::BakeStarted { .. } => match planned {
                Some(planned) => {
                    format!(": flags verified, bake window of {} started", words(planned.bake))
                }
                None => ": flags verified, bake window started".to_string(),
            },
            EventKind::CodePushed { pushed_at, .. } => {
                let then = self.plan.map(|plan| plan.code_push).map_or("", push_words);
                format!(": code was pushed at {}{then}", utc(*pushed_at))
            }
            EventKind::WindowRestarted { .. } => {
                ": verified again, then its window begins anew".to_string()
            }
            EventKind::BakeEnded { .. } => ": bake window ended".to_string(),
            EventKind::PhaseCompleted { coverage, how: HowCompleted::Kept, .. } => {
                format!(" completed, {coverage} of the window observed")
            }
            EventKind::PhaseCompleted { coverage, how: HowCompleted::Promoted, .. } => {
                format!(" promoted{by}, {coverage} of the window observed")
            }
            EventKind::PhaseSkipped { why, .. } => format!(" skipped{by}: {why}"),
            EventKind::RetryOrdered { .. } => format!(": retry ordered{by}"),
            _ => String::new(),
        };
        format!("phase {phase}{said}")
    }

    fn rollback(&self, phases: &[PhaseNumber], cause: &RollbackCause) -> String {
        let why = match (cause, person(self.event)) {
            (RollbackCause::Ordered, Some(name)) => format!("ordered by {name}"),
            (RollbackCause::Abort, Some(name)) => format!("aborted by {name}"),
            (cause, _) => cause_words(cause, self.plan),
        };
        format!("{} rolled back: {why}", phase_list(phases))
    }

    fn reading(&self, reading: &JudgedReading) -> String {
        let said = match reading.verdict {
            Verdict::Pass => None,
            Verdict::NoData if reading.judged.is_empty() && reading.flags.is_ok() => {
                return "the flags were read".to_string();
            }
            Verdict::NoData | Verdict::Error => reading.trouble(),
            verdict @ (Verdict::Warn | Verdict::Breach) => {
                let judged = reading.judged.iter().filter(|judged| judged.verdict == verdict);
                let shown = judged
                    .map(|judged| format!("{} is {}", judged.criterion, self.measured(judged)));
                Some(shown.collect::<Vec<_>>().join(", "))
            }
        };
        match said.filter(|said| !said.is_empty()) {
            Some(said) => format!("{}, {said}", reading.verdict),
            None => reading.verdict.to_string(),
        }
    }

    fn measured(&self, judged: &Judged) -> String {
        let unit = self.plan.map_or(Unit::Count, |plan| plan.unit_of(&judged.criterion));
        judged.measured.shown(unit)
    }

    /// The item as the guide words it, or its short name.
    fn item(&self, phase: PhaseNumber, name: &str) -> String {
        let text = self.plan.and_then(|plan| {
            let planned = plan.phase(phase)?;
            let mut items = plan.items_before(planned).chain(&planned.after);
            items.find(|item| item.name == name).map(|item| item.text.clone())
        });
        text.unwrap_or_else(|| name.to_string())
    }

    fn late(&self, due: Timestamp) -> String {
        let late = self.event.at.duration_since(due);
        match self.plan {
            Some(plan) if late > plan.grace => format!(", late by {}", words(late)),
            Some(_) | None => String::new(),
        }
    }

    /// What is near is told by how long it takes: a clock without seconds says nothing about it.
    fn soon(&self, at: Timestamp) -> String {
        match at.duration_since(self.event.at) {
            wait if wait < SOON => format!("{} later", words(wait)),
            _ => utc(at),
        }
    }

    fn by(&self) -> String {
        person(self.event).map(|name| format!(" by {name}")).unwrap_or_default()
    }
}

/// How the wall clock moved, in words.
pub(super) fn jump_words(by: SignedDuration) -> String {
    match by.is_negative() {
        true => format!(
            "the wall clock went backward by {}",
            words(SignedDuration::ZERO.saturating_sub(by))
        ),
        false => format!("the wall clock went forward by {}", words(by)),
    }
}

fn names<'f>(flags: impl Iterator<Item = &'f FlagName>) -> String {
    flags.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A flag's value: `"true"`, `not set`.
pub(crate) fn value_words(value: Option<&str>) -> String {
    value.map_or_else(|| "not set".to_string(), |value| format!("{value:?}"))
}

/// When a variable was written, and by whom: `; written 2026-11-22 08:00 UTC by bob`.
pub(crate) fn write_words(written: &Written) -> String {
    let by = written.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    format!("; written {}{by}", utc(written.at))
}

fn push_words(policy: PushPolicy) -> &'static str {
    match policy {
        PushPolicy::Hold | PushPolicy::Rebaseline => "",
        PushPolicy::Extend => {
            "; what was seen before counts no more, the window is as long again from here"
        }
    }
}

fn utc(at: Timestamp) -> String {
    Times::at(Offset::UTC).stamp(at)
}

/// A moment that is nearer than this is told by how far away it is.
const SOON: SignedDuration = SignedDuration::from_mins(2);
