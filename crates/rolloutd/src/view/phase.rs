//! Owns one phase: as planned, and how its attempt stands.

use jiff::SignedDuration;
use rollout_api::{BakeView, CheckpointView, FlagView, ItemView, ItemWhen, PhaseView};
use rollout_core::{
    Bake, ChecklistItem, Checkpoint, Phase, PhaseNumber, PhaseState, Plan, Proof, Rollout, Stage,
};

use super::{moment, offset, secs};

/// The phase with this number; it must be one of the plan's.
pub(super) fn phase(rollout: &Rollout, number: PhaseNumber) -> PhaseView {
    let plan = rollout.plan();
    let (phase, state) = (&plan.phases[number.index()], &rollout.phases()[number.index()]);
    PhaseView {
        number: number.get(),
        name: phase.name.clone(),
        group: phase.group.clone(),
        purpose: phase.purpose.clone(),
        risk: phase.risk.word().to_owned(),
        flags: flags(rollout, phase),
        stage: state.stage.word().to_owned(),
        attempt: state.attempt,
        bake: state.bake.as_ref().map(bake),
        checkpoints: checkpoints(plan, phase, state),
        items: items(plan, phase, state),
        approvals_needed: phase.approvals,
        approved_by: state.approved_by.iter().cloned().collect(),
        skipped_why: state.skipped_why.clone(),
    }
}

fn flags(rollout: &Rollout, phase: &Phase) -> Vec<FlagView> {
    let read = rollout.watch().flags.as_ref();
    let view = |(name, change): (&rollout_core::FlagName, &rollout_core::FlagChange)| FlagView {
        name: name.to_string(),
        on: change.on.clone(),
        safe: change.safe.clone(),
        seen: read.and_then(|(_, values)| values.get(name).cloned().flatten()),
        seen_at: read.map(|(at, _)| moment(*at)),
    };
    phase.flags.iter().map(view).collect()
}

fn bake(bake: &Bake) -> BakeView {
    BakeView {
        started_at: moment(bake.started_at),
        window_secs: secs(bake.window),
        ends_at: moment(bake.ends_at()),
        observed_secs: secs(bake.observed),
        unobserved_secs: secs(bake.unobserved),
        coverage_bp: bake.coverage().basis_points(),
    }
}

/// The checkpoints of the window; before it began, those of the plan.
fn checkpoints(plan: &Plan, phase: &Phase, state: &PhaseState) -> Vec<CheckpointView> {
    let due = |checkpoint: &Checkpoint| checkpoint_view(checkpoint, plan.grace);
    let planned = |at: &SignedDuration| CheckpointView {
        label: offset(*at),
        due: None,
        verdict: None,
        judged_at: None,
        late_secs: None,
    };
    match &state.bake {
        Some(bake) => bake.checkpoints.iter().map(due).collect(),
        None => phase.checkpoints.iter().map(planned).collect(),
    }
}

fn checkpoint_view(checkpoint: &Checkpoint, grace: SignedDuration) -> CheckpointView {
    let late = checkpoint.judged.map(|(at, _)| at.duration_since(checkpoint.due));
    CheckpointView {
        label: offset(checkpoint.offset),
        due: Some(moment(checkpoint.due)),
        verdict: checkpoint.judged.map(|(_, verdict)| verdict.word().to_owned()),
        judged_at: checkpoint.judged.map(|(at, _)| moment(at)),
        late_secs: late.filter(|late| *late > grace).map(secs),
    }
}

fn items(plan: &Plan, phase: &Phase, state: &PhaseState) -> Vec<ItemView> {
    let before = plan.items_before(phase).map(|item| (item, ItemWhen::Before));
    let after = phase.after.iter().map(|item| (item, ItemWhen::After));
    before.chain(after).map(|(item, when)| item_view(plan, item, when, state)).collect()
}

fn item_view(plan: &Plan, item: &ChecklistItem, when: ItemWhen, state: &PhaseState) -> ItemView {
    let by = state.ticked.get(&item.name);
    let done = match item.proof {
        Proof::Person => by.is_some(),
        Proof::Machine(_) => state.preflight_at.is_some() && state.stage != Stage::Preflight,
        Proof::ThresholdsSet => plan.thresholds_are_set(),
    };
    ItemView {
        name: item.name.clone(),
        text: item.text.clone(),
        when,
        by_machine: item.proof != Proof::Person,
        done,
        by: by.cloned(),
        at: None,
    }
}
