//! Owns a rollout in short.

use jiff::Timestamp;
use rollout_api::{DriftView, HoldKind, HoldView, PhaseBrief, RolloutStatus, RolloutSummary};
use rollout_core::{ForeignValue, Hold, HoldReason, PhaseNumber, Rollout, Stage, Status};

use super::headline::headline;
use super::moment;

/// A rollout in short, as it stands at `now`.
pub(crate) fn short(rollout: &Rollout, now: Timestamp) -> RolloutSummary {
    let plan = rollout.plan();
    let unresolved = rollout.incidents().iter().filter(|incident| incident.resolved.is_none());
    RolloutSummary {
        id: rollout.id().to_string(),
        plan: plan.name.clone(),
        title: plan.title.clone(),
        deployment: plan.deployment.clone(),
        url: rollout.url().to_owned(),
        status: status(rollout.status()),
        headline: headline(rollout, now),
        phase: rollout.current().and_then(|number| brief(rollout, number)),
        holds: rollout.holds().iter().map(|found| hold(rollout, found)).collect(),
        open_incidents: unresolved.map(|incident| incident.number.get()).collect(),
        created_at: moment(rollout.created_at()),
        next_check: rollout.watch().next_at.map(moment),
        next_deadline: rollout.next_deadline().map(moment),
        seq: rollout.seq().get(),
        rolled_back: rollout.phases().iter().any(|phase| phase.stage == Stage::RolledBack),
        rolling_back: rollout.rollback().is_some(),
    }
}

fn status(status: Status) -> RolloutStatus {
    match status {
        Status::Scheduled => RolloutStatus::Scheduled,
        Status::Baseline => RolloutStatus::Baseline,
        Status::Running => RolloutStatus::Running,
        Status::FinalChecks => RolloutStatus::FinalChecks,
        Status::Completed => RolloutStatus::Completed,
        Status::Aborted => RolloutStatus::Aborted,
    }
}

fn brief(rollout: &Rollout, number: PhaseNumber) -> Option<PhaseBrief> {
    let state = rollout.phases().get(number.index())?;
    Some(PhaseBrief {
        number: number.get(),
        name: rollout.plan().phase(number)?.name.clone(),
        stage: state.stage.word().to_owned(),
        of: u8::try_from(rollout.phases().len()).unwrap_or(u8::MAX),
    })
}

fn hold(rollout: &Rollout, hold: &Hold) -> HoldView {
    let kind = match &hold.reason {
        HoldReason::Person => HoldKind::Person,
        HoldReason::Baseline { .. } => HoldKind::Baseline,
        HoldReason::Drift { .. } => HoldKind::Drift,
        HoldReason::RolledBack { .. } => HoldKind::RolledBack,
        HoldReason::EffectFailed { .. } => HoldKind::EffectFailed,
        HoldReason::Blind { .. } => HoldKind::Blind,
        HoldReason::Missed { .. } => HoldKind::Missed,
        HoldReason::CoverageShort { .. } => HoldKind::CoverageShort,
        HoldReason::ClockJump => HoldKind::ClockJump,
        HoldReason::CodePush { .. } => HoldKind::CodePush,
        HoldReason::Smoke { .. } => HoldKind::Smoke,
    };
    HoldView {
        kind,
        words: rollout.hold_words(hold),
        since: moment(hold.since),
        way_out: rollout.way_out(hold),
        drift: drift(rollout, &hold.reason),
    }
}

/// The flag that holds, as it was read last, where it still has another value than it should have.
fn drift(rollout: &Rollout, reason: &HoldReason) -> Option<DriftView> {
    let HoldReason::Drift { flag } = reason else { return None };
    let ForeignValue { flag, expected, found, read_at, written, .. } =
        rollout.foreign_value(flag)?;
    let (written_at, written_by) = written.map(|it| (moment(it.at), it.by)).unzip();
    Some(DriftView {
        flag: flag.to_string(),
        expected,
        found,
        read_at: moment(read_at),
        written_at,
        written_by: written_by.flatten(),
    })
}
