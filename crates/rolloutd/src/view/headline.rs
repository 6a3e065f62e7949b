//! Owns the one short phrase that says how a rollout stands.
//!
//! What needs a person comes before what goes on by itself: a rollback under way, then holds, then gates, then time left.

use jiff::{SignedDuration, SignedDurationRound, Timestamp, Unit};
use rollout_core::{HoldReason, Phase, PhaseState, Proof, Rollout, Smoke, Stage, Status};

/// How `rollout` stands at `now`: `phase 3 of 5 baking, 7h 12m left`.
pub(super) fn headline(rollout: &Rollout, now: Timestamp) -> String {
    if let Some(rollback) = rollout.rollback() {
        let phases: Vec<String> = rollback.phases.iter().map(ToString::to_string).collect();
        let failing = rollout.trouble().map(|why| format!(", failing: {why}")).unwrap_or_default();
        return format!("rolling back phase {}{failing}", phases.join(", "));
    }
    match rollout.status() {
        Status::Completed => ended("completed", rollout),
        Status::Aborted => ended("aborted", rollout),
        Status::Scheduled | Status::Baseline | Status::Running | Status::FinalChecks
            if rollout.is_held() =>
        {
            held(rollout)
        }
        Status::Scheduled => scheduled(rollout.next_deadline(), now),
        Status::Baseline => "taking the baseline".to_owned(),
        Status::Running => running(rollout, now),
        Status::FinalChecks => asking(final_checks(rollout.smoke()), &rollout.unmet()),
    }
}

fn ended(word: &str, rollout: &Rollout) -> String {
    let open = rollout.incidents().iter().filter(|incident| incident.resolved.is_none());
    let open: Vec<String> = open.map(|incident| incident.number.to_string()).collect();
    let back = rollout.phases().iter().any(|phase| phase.stage == Stage::RolledBack);
    let back = if back { ", flags rolled back" } else { "" };
    match open.as_slice() {
        [] => format!("{word}{back}"),
        open => format!("{word}{back}; incident {} not resolved", open.join(", ")),
    }
}

fn held(rollout: &Rollout) -> String {
    let holds = rollout.holds();
    let resolved = |number| {
        let incident = rollout.incidents().iter().find(|incident| incident.number == number);
        incident.is_some_and(|incident| incident.resolved.is_some())
    };
    let first = holds.first().map(|hold| match (&hold.reason, rollout.hold_words(hold)) {
        (HoldReason::RolledBack { incident }, words) if resolved(*incident) => {
            format!("held: {words} is resolved; retry, skip or abort")
        }
        (_, words) if words.starts_with("held") => words,
        (_, words) => format!("held: {words}"),
    });
    let first = first.unwrap_or_else(|| "held".to_owned());
    match holds.len() {
        0 | 1 => first,
        count => format!("{first} (and {} more)", count - 1),
    }
}

fn running(rollout: &Rollout, now: Timestamp) -> String {
    let current = rollout.current();
    let planned = current.and_then(|number| rollout.plan().phase(number));
    let state = current.and_then(|number| rollout.phases().get(number.index()));
    let (Some(number), Some(phase), Some(state)) = (current, planned, state) else {
        return "all phases are done".to_owned();
    };
    let place = format!("phase {number} of {}", rollout.phases().len());
    match state.stage {
        Stage::Gated => gated(&place, &open_before(rollout, phase, state), state),
        Stage::Concluding => waiting_for_people(&place, &open_after(phase, state)),
        Stage::Baking => {
            let left = state.bake.as_ref().map(|bake| bake.ends_at().duration_since(now));
            format!("{place} baking, {}", left.map_or_else(String::new, left_words))
        }
        Stage::Enabling => match rollout.trouble() {
            Some(why) => format!("{}, failing: {why}", turning_on(&place, phase)),
            None => turning_on(&place, phase),
        },
        Stage::Preflight => asking(&format!("{place}: preflight"), &rollout.unmet()),
        Stage::Pending
        | Stage::Verifying
        | Stage::Completed
        | Stage::Skipped
        | Stage::RollingBack
        | Stage::Recovering
        | Stage::RolledBack => format!("{place}: {}", state.stage.word().replace('_', " ")),
    }
}

/// One that may begin at once does so within a moment.
fn scheduled(start: Option<Timestamp>, now: Timestamp) -> String {
    match start.filter(|start| *start > now) {
        Some(start) => format!("waiting for its start time, {start:.0}"),
        None => "about to take the baseline".to_owned(),
    }
}

/// What is asked again and again because it is not as it should be.
fn asking(what: &str, unmet: &[String]) -> String {
    match unmet {
        [] => what.to_owned(),
        [only] => format!("{what}: waits for {only}"),
        [first, rest @ ..] => format!("{what}: waits for {first} (and {} more)", rest.len()),
    }
}

fn turning_on(place: &str, phase: &Phase) -> String {
    let flags: Vec<&str> = phase.flags.keys().map(|flag| flag.as_str()).collect();
    format!("{place}: turning on {}", flags.join(", "))
}

fn gated(place: &str, open: &[String], state: &PhaseState) -> String {
    match (open, state.window) {
        ([], Some((opens, _))) => format!("{place} waits for its change window, opens {opens}"),
        ([], None) => format!("{place} is about to be enabled"),
        (open, _) => waiting_for_people(place, open),
    }
}

fn waiting_for_people(place: &str, open: &[String]) -> String {
    match open {
        [] => format!("{place} is about to be completed"),
        [only] => format!("{place} waits for a person: {only}"),
        [first, rest @ ..] => {
            format!("{place} waits for people: {first} (and {} more)", rest.len())
        }
    }
}

/// What people have yet to do before the phase.
fn open_before(rollout: &Rollout, phase: &Phase, state: &PhaseState) -> Vec<String> {
    let items = rollout.plan().items_before(phase).filter(|item| item.proof == Proof::Person);
    let unticked = items.filter(|item| !state.ticked.contains_key(&item.name));
    let mut open: Vec<String> = unticked.map(|item| item.text.clone()).collect();
    match usize::from(phase.approvals).saturating_sub(state.approved_by.len()) {
        0 => {}
        1 => open.push("an approval".to_owned()),
        missing => open.push(format!("{missing} approvals")),
    }
    open
}

/// What people have yet to do once the flags are on.
fn open_after(phase: &Phase, state: &PhaseState) -> Vec<String> {
    let unticked = phase.after.iter().filter(|item| !state.ticked.contains_key(&item.name));
    unticked.map(|item| item.text.clone()).collect()
}

fn final_checks(smoke: &Smoke) -> &'static str {
    match smoke {
        Smoke::NotStarted | Smoke::Passed => "final checks",
        Smoke::Creating { .. } | Smoke::Waiting { .. } => "final checks: smoke test is running",
        Smoke::Failed => "final checks: smoke test failed",
    }
}

/// `7h 12m left`; a window that is over waits for its last reading.
fn left_words(left: SignedDuration) -> String {
    let minutes = SignedDurationRound::new().smallest(Unit::Minute);
    match left.round(minutes) {
        _ if left <= SignedDuration::ZERO => "waiting for its last reading".to_owned(),
        Ok(rounded) if !rounded.is_zero() => format!("{rounded:#} left"),
        Ok(_) | Err(_) => "less than a minute left".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_read_in_minutes() {
        let words = |secs| left_words(SignedDuration::from_secs(secs));
        assert_eq!(words(7 * 3_600 + 12 * 60 + 20), "7h 12m left");
        assert_eq!(words(48 * 3_600), "48h left");
        assert_eq!(words(20), "less than a minute left");
        assert_eq!(words(0), "waiting for its last reading");
        assert_eq!(words(-90), "waiting for its last reading");
    }
}
