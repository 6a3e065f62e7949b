//! Owns the demo's verdict on itself: did the rollout go as the scenario says? Judged by what the deployment saw and by what
//! the engine's API shows, not by the story that was printed.

use std::collections::BTreeMap;

use convex_emulator::{Emulator, Write, WriteOrigin};
use rollout_api::{HoldKind, IncidentState, RolloutDetail, RolloutStatus};

/// What is wrong with the end of the healthy scenario; empty = nothing.
pub(super) fn faults_of_healthy(detail: &RolloutDetail, emulator: &Emulator) -> Vec<String> {
    let mut faults = Vec::new();
    if detail.summary.status != RolloutStatus::Completed {
        faults.push(format!("the rollout is {}", detail.summary.status.words()));
    }
    if !detail.incidents.is_empty() {
        faults.push(format!("{} incident(s)", detail.incidents.len()));
    }
    let (filled, all) = checkpoints(detail);
    if filled != all || all == 0 {
        faults.push(format!("{filled} of {all} checkpoints have a verdict"));
    }
    let completed = detail.phases.iter().filter(|phase| phase.stage == "completed");
    let wanted: BTreeMap<&str, &str> = completed
        .flat_map(|phase| &phase.flags)
        .map(|flag| (flag.name.as_str(), flag.on.as_str()))
        .collect();
    let env = emulator.env();
    for (name, on) in &wanted {
        if env.get(*name).map(String::as_str) != Some(*on) {
            faults.push(format!("{name} is not {on}"));
        }
    }
    let times = writes_per_flag(&emulator.writes());
    if wanted.keys().any(|name| times.get(*name) != Some(&1)) || times.len() != wanted.len() {
        faults.push(format!("flags were not written once each: {times:?}"));
    }
    faults
}

/// What is wrong with the end of the breach scenario; empty = nothing.
pub(super) fn faults_of_breach(detail: &RolloutDetail, emulator: &Emulator) -> Vec<String> {
    let mut faults = Vec::new();
    let rolled_back = detail.phases.iter().find(|phase| phase.stage == "rolled_back");
    let Some(phase) = rolled_back else {
        return vec!["no phase is rolled back".to_string()];
    };
    if phase.number != BREACH_PHASE {
        faults.push(format!("phase {} was rolled back, not {BREACH_PHASE}", phase.number));
    }
    if !detail.summary.holds.iter().any(|hold| hold.kind == HoldKind::RolledBack) {
        faults.push("the rollout is not held".to_string());
    }
    if !matches!(detail.incidents.as_slice(), [only] if only.state == IncidentState::Open) {
        faults.push("there is not exactly one open incident".to_string());
    }
    let env = emulator.env();
    let value = |name: &str| env.get(name).map(String::as_str);
    for flag in detail
        .phases
        .iter()
        .filter(|other| other.number <= phase.number)
        .flat_map(|phase| &phase.flags)
    {
        let wanted = match phase.flags.contains(flag) {
            true => &flag.safe,
            false => &flag.on,
        };
        if value(&flag.name) != Some(wanted) {
            faults.push(format!("{} is not {wanted}", flag.name));
        }
    }
    faults
}

/// The phase whose flag the emulator's `breach` scenario reacts to.
const BREACH_PHASE: u8 = 3;

/// How many checkpoints have a verdict, and how many there are, without phases that were left out.
pub(super) fn checkpoints(detail: &RolloutDetail) -> (usize, usize) {
    let kept = detail.phases.iter().filter(|phase| phase.stage != "skipped");
    let all: Vec<_> = kept.flat_map(|phase| &phase.checkpoints).collect();
    (all.iter().filter(|checkpoint| checkpoint.verdict.is_some()).count(), all.len())
}

/// How often each variable was really written by a client.
pub(super) fn writes_per_flag(writes: &[Write]) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    let applied =
        writes.iter().filter(|write| write.applied && write.origin == WriteOrigin::Client);
    for (name, _) in applied.flat_map(|write| &write.changes) {
        *times.entry(name.clone()).or_insert(0) += 1;
    }
    times
}
