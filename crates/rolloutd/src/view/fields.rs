//! Owns an event's own fields as JSON, for scripts. The names are the core's; moments are RFC 3339, lengths of time are
//! whole seconds in fields that end in `_secs`. Values of variables that are not flags of the plan are never in them.

use std::collections::BTreeMap;

use rollout_core::{
    EventKind, Fault, FaultClass, FlagName, FlagValues, GapCause, HowCompleted, Judged,
    JudgedReading, Measured, Plan, ProbeAnswer, ProbeState, Purpose, Written,
};
use serde_json::{Map, Value, json};

use super::{moment, offset};

/// The fields of an event beyond its phase.
pub(super) fn fields(kind: &EventKind, plan: &Plan) -> Value {
    match kind {
        EventKind::RolloutCreated { id, digest, url, start_at, .. } => json!({
            "id": id.to_string(), "plan": plan.name, "deployment": plan.deployment,
            "digest": digest, "url": url, "start_at": moment(*start_at),
        }),
        EventKind::EngineResumed { last_seen } => json!({ "last_seen": moment(*last_seen) }),
        EventKind::ClockJumped { by } => json!({ "by_secs": by.as_secs() }),
        EventKind::ReadingStarted { purpose } => json!({ "purpose": purpose.words() }),
        EventKind::ReadingTaken { purpose, reading } => reading_taken(*purpose, reading),
        EventKind::GapRecorded { from, to, cause, .. }
        | EventKind::GapBackfilled { from, to, cause, .. } => {
            json!({ "from": moment(*from), "to": moment(*to), "cause": gap_cause(cause) })
        }
        EventKind::CheckpointJudged { offset: at, due, verdict, .. } => {
            json!({ "checkpoint": offset(*at), "due": moment(*due), "verdict": verdict.word() })
        }
        EventKind::ItemTicked { item, .. } => json!({ "item": item }),
        EventKind::ChangeWindowFound { opens, closes, .. } => {
            json!({ "opens": moment(*opens), "closes": moment(*closes) })
        }
        EventKind::EffectFailed { fault: failed, retry_at } => {
            json!({ "fault": fault(failed), "retry_at": retry_at.map(moment) })
        }
        EventKind::FlagsSet { wrote, already, .. }
        | EventKind::FlagsRestored { wrote, already } => {
            json!({ "wrote": names(wrote), "already": names(already) })
        }
        EventKind::PhaseCompleted { coverage, how, .. } => {
            json!({ "coverage_bp": coverage.basis_points(), "how": how_completed(*how) })
        }
        EventKind::PhaseSkipped { why, .. } | EventKind::SmokeFailed { why } => {
            json!({ "why": why })
        }
        EventKind::DriftSeen { .. }
        | EventKind::DriftFound { .. }
        | EventKind::FlagRewritten { .. }
        | EventKind::DriftAdopted { .. }
        | EventKind::RevertStarted { .. }
        | EventKind::DriftReverted { .. } => drift(kind),
        EventKind::CodePushed { pushed_at, .. } => json!({ "pushed_at": moment(*pushed_at) }),
        EventKind::Held { hold } | EventKind::Released { hold } => json!({ "hold": hold.words() }),
        EventKind::RollbackStarted { .. } => rollback_started(kind),
        EventKind::RestoreLost { retry_at } => json!({ "retry_at": moment(*retry_at) }),
        EventKind::IncidentResolved { incident } => json!({ "incident": incident.get() }),
        EventKind::SmokeCreated { id } => json!({ "id": id }),
        EventKind::BaselineStarted
        | EventKind::BaselinePassed
        | EventKind::PhaseStarted { .. }
        | EventKind::WindowRestarted { .. }
        | EventKind::PreflightPassed { .. }
        | EventKind::PreflightExpired { .. }
        | EventKind::PhaseApproved { .. }
        | EventKind::EnablingStarted { .. }
        | EventKind::EffectRetried
        | EventKind::BakeStarted { .. }
        | EventKind::BakeEnded { .. }
        | EventKind::RollbackFinished
        | EventKind::RetryOrdered { .. }
        | EventKind::AbortOrdered
        | EventKind::RolloutAborted
        | EventKind::FinalChecksStarted
        | EventKind::FinalChecksPassed
        | EventKind::SmokeStarted
        | EventKind::SmokePassed
        | EventKind::RolloutCompleted => json!({}),
    }
}

fn rollback_started(kind: &EventKind) -> Value {
    let EventKind::RollbackStarted { phases, restore, cause, incident } = kind else {
        return json!({});
    };
    let phases: Vec<u8> = phases.iter().map(|number| number.get()).collect();
    let restore: Map<String, Value> =
        restore.iter().map(|(flag, value)| (flag.to_string(), json!(value))).collect();
    json!({
        "phases": phases, "restore": restore, "cause": cause.to_string(),
        "incident": incident.get(),
    })
}

fn reading_taken(purpose: Purpose, reading: &JudgedReading) -> Value {
    let (flags, flags_fault) = match &reading.flags {
        Ok(values) => (flag_values(values), Value::Null),
        Err(failed) => (Value::Null, fault(failed)),
    };
    json!({
        "purpose": purpose.words(),
        "verdict": reading.verdict.word(),
        "flags": flags,
        "flags_fault": flags_fault,
        "values": reading.judged.iter().map(judged_value).collect::<Vec<_>>(),
        "probes": reading.probes.iter().map(probe_answer).collect::<Vec<_>>(),
    })
}

fn judged_value(judged: &Judged) -> Value {
    let value = match &judged.measured {
        // JSON has no word for a number that is none; the verdict and its reason say it.
        Measured::Number(number) => json!(number),
        Measured::Text(text) => json!(text),
        Measured::Missing(_) | Measured::Failed(_) => Value::Null,
    };
    json!({
        "criterion": judged.criterion, "value": value, "verdict": judged.verdict.word(),
        "reason": judged.reason,
    })
}

fn probe_answer(answer: &ProbeAnswer) -> Value {
    let state = match answer.state {
        ProbeState::Met => "met",
        ProbeState::NotMet => "not met",
        ProbeState::Failed => "failed",
    };
    json!({ "probe": answer.probe, "state": state, "found": answer.found })
}

fn flag_values(values: &FlagValues) -> Value {
    let values = values.iter().map(|(flag, value)| (flag.to_string(), json!(value)));
    Value::Object(values.collect())
}

fn fault(fault: &Fault) -> Value {
    let class = match fault.class {
        FaultClass::Transient => "transient",
        FaultClass::Permanent => "permanent",
        FaultClass::Unknown => "unknown",
    };
    json!({ "class": class, "code": fault.code, "reason": fault.reason })
}

/// What others did to flags, and what was done about it.
#[expect(clippy::wildcard_enum_match_arm, reason = "`fields` sends only these kinds here")]
fn drift(kind: &EventKind) -> Value {
    match kind {
        EventKind::DriftSeen { flag, expected, found } => {
            json!({ "flag": flag.as_str(), "expected": expected, "found": found })
        }
        EventKind::DriftFound { flag, expected, found, written } => {
            let written = written.as_ref().map(write);
            json!({ "flag": flag.as_str(), "expected": expected, "found": found, "written": written })
        }
        EventKind::FlagRewritten { flag, written } => {
            json!({ "flag": flag.as_str(), "written": write(written) })
        }
        EventKind::DriftAdopted { flag, value } => {
            json!({ "flag": flag.as_str(), "value": value })
        }
        EventKind::RevertStarted { changes } => {
            let changes = changes.iter().map(|(flag, value)| (flag.as_str(), value));
            json!({ "changes": changes.collect::<BTreeMap<_, _>>() })
        }
        EventKind::DriftReverted { wrote, already } => {
            json!({ "wrote": names(wrote), "already": names(already) })
        }
        _ => Value::Null,
    }
}

fn write(written: &Written) -> Value {
    json!({ "at": moment(written.at), "by": written.by })
}

fn gap_cause(cause: &GapCause) -> Value {
    match cause {
        GapCause::EngineDown => json!({ "kind": "engine_down" }),
        GapCause::Unreadable(reason) => json!({ "kind": "unreadable", "reason": reason }),
        GapCause::Drift => json!({ "kind": "drift" }),
        GapCause::Asleep => json!({ "kind": "asleep" }),
        GapCause::ClockJump => json!({ "kind": "clock_jump" }),
    }
}

fn how_completed(how: HowCompleted) -> &'static str {
    match how {
        HowCompleted::Kept => "kept",
        HowCompleted::Promoted => "promoted",
    }
}

fn names(flags: &[FlagName]) -> Vec<&str> {
    flags.iter().map(FlagName::as_str).collect()
}
