//! Owns a rollout in full: its phases, incidents and last reading.

use jiff::Timestamp;
use rollout_api::{IncidentState, IncidentView, ReadingView, RolloutDetail, StoreWord, ValueView};
use rollout_core::{
    Criterion, Incident, Judged, JudgedReading, Measured, Plan, Purpose, Rollout, Unit,
};

use super::phase::phase;
use super::{moment, short};

/// A rollout in full, as it stands at `now`.
pub(crate) fn full(rollout: &Rollout, now: Timestamp) -> RolloutDetail {
    let last = rollout.watch().last.as_ref();
    RolloutDetail {
        summary: short(rollout, now),
        digest: rollout.digest().to_owned(),
        phases: rollout.plan().numbered().map(|(number, _)| phase(rollout, number)).collect(),
        incidents: rollout.incidents().iter().map(incident).collect(),
        last_reading: last
            .map(|(at, purpose, taken)| reading(rollout.plan(), *at, *purpose, taken)),
        waits: rollout.waits().iter().map(ToString::to_string).collect(),
        allowed: rollout.allowed().iter().map(ToString::to_string).collect(),
        notice: None,
        store: StoreWord::Ok,
    }
}

fn incident(incident: &Incident) -> IncidentView {
    let (state, by, note) = match (&incident.resolved, incident.restored_at) {
        (Some((_, by, note)), _) => (IncidentState::Resolved, Some(by), Some(note)),
        (None, Some(_)) => (IncidentState::Open, None, None),
        (None, None) => (IncidentState::RollingBack, None, None),
    };
    IncidentView {
        number: incident.number.get(),
        opened_at: moment(incident.opened_at),
        phases: incident.phases.iter().map(|number| number.get()).collect(),
        cause: incident.cause.to_string(),
        state,
        note: note.cloned(),
        resolved_by: by.cloned(),
    }
}

fn reading(plan: &Plan, at: Timestamp, purpose: Purpose, taken: &JudgedReading) -> ReadingView {
    let value = |criterion: &Criterion| Some(value(criterion, taken.of(&criterion.name)?));
    ReadingView {
        at: moment(at),
        purpose: purpose.words(),
        verdict: taken.verdict.word().to_owned(),
        values: plan.criteria.iter().filter_map(value).collect(),
    }
}

fn value(criterion: &Criterion, judged: &Judged) -> ValueView {
    ValueView {
        criterion: criterion.name.clone(),
        label: criterion.label.clone(),
        shown: shown(criterion.unit, &judged.measured),
        verdict: judged.verdict.word().to_owned(),
        reason: judged.reason.clone(),
        target: criterion.target_words(),
        alert: criterion.alert_words(),
    }
}

fn shown(unit: Unit, measured: &Measured) -> String {
    match measured {
        Measured::Number(number) => unit.show(*number),
        Measured::Text(text) => text.clone(),
        Measured::Missing(_) | Measured::Failed(_) => "—".to_owned(),
    }
}
