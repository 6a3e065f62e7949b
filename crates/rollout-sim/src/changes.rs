//! Owns the judgement of what others change while a rollout is live: foreign values, rewrites, pushes of code.
//!
//! Judges events against what the deployment truly answered and what truly was written there; refuses to ask the core what
//! it expected.

#![expect(clippy::wildcard_enum_match_arm, reason = "each check is about a few of many kinds")]

use jiff::Timestamp;
use rollout_core::{
    Actor, DriftPolicy, Event, EventKind, FlagName, HoldReason, JudgedReading, PhaseNumber,
    PushPolicy, WritePurpose,
};

use crate::invariants::{Check, Moment, fail, reading_of};
use crate::net::Shown;
use crate::view::{View, Wanted};

/// All checks of one event.
pub(crate) fn change_checks(moment: &Moment<'_>) -> Check {
    readings_tell_what_the_deployment_told(moment)?;
    rewrites_are_told(moment)?;
    drift_is_told_and_answered(moment)?;
    told_drift_is_true(moment)?;
    only_third_values_are_adopted(moment)?;
    reverts_are_few_and_turn_nothing_on(moment)?;
    pushes_are_told(moment)?;
    pushes_are_answered(moment)?;
    only_a_person_goes_on(moment)
}

/// What a deployment told of writes and pushes is in the reading's record, where it is news, and nothing else is.
fn readings_tell_what_the_deployment_told(moment: &Moment<'_>) -> Check {
    const NAME: &str = "changes (readings)";
    let EventKind::ReadingTaken { reading, .. } = &moment.event.kind else { return Ok(()) };
    let view = moment.view;
    let pushes = || {
        moment.shown.iter().filter_map(|shown| match shown {
            Shown::Push(at) => Some(*at),
            _ => None,
        })
    };
    let news = pushes().count() > 0 && pushes().all(|at| view.pushed != Some(at));
    match reading.push {
        None if news => return fail(NAME, moment, "a push that was told is not recorded"),
        Some(at) if view.pushed == Some(at) || !pushes().any(|told| told == at) => {
            return fail(NAME, moment, format!("a push at {at} is no news"));
        }
        _ => {}
    }
    for (flag, written) in &reading.writes {
        let told = rows(moment, flag).any(|(_, at)| at == written.at);
        if !told || view.written.get(flag) == Some(&written.at) {
            return fail(NAME, moment, format!("a write of {flag} that is no news"));
        }
    }
    // Where the list was not answered, the rows may have been asked for their values alone.
    let listed = moment.shown.iter().any(|shown| matches!(shown, Shown::Variables(_)));
    let Some(found) = reading.flags.as_ref().ok().filter(|_| listed) else { return Ok(()) };
    for (flag, value) in found {
        let told = || rows(moment, flag);
        let same = told().all(|(row, _)| Some(row) == value.as_deref());
        let news =
            told().all(|(_, at)| view.written.get(flag) != Some(&at)) && !view.forgot_midway(flag);
        if told().count() > 0 && same && news && !reading.writes.contains_key(flag) {
            return fail(NAME, moment, format!("the write of {flag} is not recorded"));
        }
    }
    Ok(())
}

/// The values and times of a flag's row, as the deployment told them for this reading.
fn rows<'a>(
    moment: &'a Moment<'_>,
    flag: &'a FlagName,
) -> impl Iterator<Item = (&'a str, Timestamp)> {
    moment.shown.iter().filter_map(|shown| match shown {
        Shown::Rows(rows) => rows.get(flag.as_str()).map(|(value, at)| (value.as_str(), *at)),
        _ => None,
    })
}

/// A flag that was written by somebody else and has its value all the same is told, and no write of this rollout is.
fn rewrites_are_told(moment: &Moment<'_>) -> Check {
    const NAME: &str = "changes (rewrites)";
    let view = moment.view;
    match &moment.event.kind {
        EventKind::ReadingTaken { reading, .. } => {
            let untold = reading.writes.iter().find(|(flag, written)| {
                let told = moment.before.iter().any(|event| match &event.kind {
                    EventKind::FlagRewritten { flag: of, written: by } => {
                        of == *flag && by == *written
                    }
                    _ => false,
                });
                view.written.contains_key(*flag) && as_wanted(view, flag, reading) && !told
            });
            match untold {
                None => Ok(()),
                Some((flag, _)) => fail(NAME, moment, format!("nothing tells that of {flag}")),
            }
        }
        EventKind::FlagRewritten { flag, written } => {
            let reading = reading_of(moment.after).map(|(_, reading)| reading);
            let read = reading.is_some_and(|reading| {
                reading.writes.get(flag) == Some(written) && as_wanted(view, flag, reading)
            });
            if !read || !view.written.contains_key(flag) {
                return fail(NAME, moment, "no reading shows it");
            }
            // Another rollout is somebody else.
            let of = (view.id, flag.to_string(), written.at);
            match moment.own_writes.contains(&of) {
                false => Ok(()),
                true => fail(NAME, moment, "it was a write of ours"),
            }
        }
        _ => Ok(()),
    }
}

/// Every flag that has a foreign value is told of once, and what the plan says is done about it in the same step.
fn drift_is_told_and_answered(moment: &Moment<'_>) -> Check {
    const NAME: &str = "changes (drift)";
    let EventKind::ReadingTaken { reading, .. } = &moment.event.kind else { return Ok(()) };
    let (view, Ok(found)) = (moment.view, &reading.flags) else { return Ok(()) };
    let rolls_back = |event: &Event| matches!(event.kind, EventKind::RollbackStarted { .. });
    if moment.after.iter().any(rolls_back) {
        return Ok(());
    }
    for (flag, value) in found {
        let held = HoldReason::Drift { flag: flag.clone() };
        if !is_foreign(view, flag, value.as_deref()) || view.holds.contains(&held) {
            continue;
        }
        let told = moment.after.iter().any(|event| match &event.kind {
            EventKind::DriftFound { flag: of, found, .. } => of == flag && found == value,
            _ => false,
        });
        if !told {
            return fail(NAME, moment, format!("nothing tells that {flag} is {value:?}"));
        }
        let adopts = view.plan.drift == DriftPolicy::Adopt && is_third(view, flag, value);
        let answered = moment.after.iter().any(|event| match &event.kind {
            EventKind::DriftAdopted { flag: of, value: by } => {
                adopts && of == flag && Some(by) == value.as_ref()
            }
            EventKind::Held { hold } => !adopts && *hold == held,
            EventKind::RevertStarted { changes } => changes.contains_key(flag),
            _ => false,
        });
        if !answered {
            return fail(NAME, moment, format!("nothing is done about {flag}, {value:?}"));
        }
    }
    Ok(())
}

/// What is told as drift was read, and is foreign.
fn told_drift_is_true(moment: &Moment<'_>) -> Check {
    const NAME: &str = "changes (drift)";
    let EventKind::DriftFound { flag, found, .. } = &moment.event.kind else { return Ok(()) };
    let foreign = is_foreign(moment.view, flag, found.as_deref());
    match foreign && read_as(moment, flag) == Some(found.as_deref()) {
        true => Ok(()),
        false => fail(NAME, moment, "it was not read, or is as it should be"),
    }
}

/// Adopted is what the plan wants adopted: a third value of a flag that is on.
fn only_third_values_are_adopted(moment: &Moment<'_>) -> Check {
    const NAME: &str = "changes (adopt)";
    let EventKind::DriftAdopted { flag, value } = &moment.event.kind else { return Ok(()) };
    let view = moment.view;
    let third = is_third(view, flag, &Some(value.clone()));
    let read = read_as(moment, flag) == Some(Some(value.as_str()));
    match third && read && view.plan.drift == DriftPolicy::Adopt {
        true => Ok(()),
        false => fail(NAME, moment, format!("wanted {:?}", view.wanted(flag))),
    }
}

/// Setting back is begun a few times, while nothing holds, and turns on nothing that somebody turned off.
fn reverts_are_few_and_turn_nothing_on(moment: &Moment<'_>) -> Check {
    const NAME: &str = "changes (revert)";
    let EventKind::RevertStarted { changes } = &moment.event.kind else { return Ok(()) };
    let view = moment.view;
    if view.plan.drift != DriftPolicy::Revert || changes.is_empty() {
        return fail(NAME, moment, "nobody asked for it");
    }
    if !view.holds.is_empty() || view.rolling.is_some() {
        return fail(NAME, moment, format!("held by {:?}", view.holds));
    }
    if view.reverts >= REVERTS_MAX {
        return fail(NAME, moment, format!("it was begun {} times before", view.reverts));
    }
    for (flag, value) in changes {
        let Some(found) = read_as(moment, flag) else {
            return fail(NAME, moment, format!("nobody read {flag}"));
        };
        let was_off = found.is_none() || found == view.safe_value(flag);
        let right = match view.wanted(flag) {
            Wanted::On(on) => value == on && !was_off,
            Wanted::Off(safe) => value == safe && !was_off,
            Wanted::Any => false,
        };
        if !right {
            return fail(NAME, moment, format!("{flag} was {found:?}, and becomes {value}"));
        }
    }
    Ok(())
}

/// On the wire: a write that sets back is not begun while anything holds.
pub(crate) fn no_revert_while_held(view: Option<&View>, by: WritePurpose, anew: bool) -> Check {
    let reverts = |view: &&View| by == WritePurpose::Enable && !view.reverting.is_empty();
    match view.filter(reverts).filter(|view| anew && !view.holds.is_empty()) {
        None => Ok(()),
        Some(view) => Err(format!(
            "changes (revert): {} sets {:?} back while held by {:?}",
            view.id, view.reverting, view.holds
        )),
    }
}

/// A push that a reading shows in the middle of a window is recorded in the same step; the first one that is known is no news.
fn pushes_are_told(moment: &Moment<'_>) -> Check {
    const NAME: &str = "changes (push)";
    let EventKind::ReadingTaken { reading, .. } = &moment.event.kind else { return Ok(()) };
    let (view, Some(pushed)) = (moment.view, reading.push) else { return Ok(()) };
    let told = moment.after.iter().find_map(|event| match &event.kind {
        EventKind::CodePushed { phase, pushed_at } => Some((*phase, *pushed_at)),
        _ => None,
    });
    let rolls_back =
        moment.after.iter().any(|event| matches!(event.kind, EventKind::RollbackStarted { .. }));
    let baking = view.baking().map(|(phase, _)| phase);
    let wanted = baking.filter(|_| view.pushed.is_some()).map(|phase| (phase, pushed));
    match told == wanted || (rolls_back && told.is_none()) {
        true => Ok(()),
        false => fail(NAME, moment, format!("told is {told:?} and not {wanted:?}")),
    }
}

/// What the plan says about a push is done in the same step.
fn pushes_are_answered(moment: &Moment<'_>) -> Check {
    const NAME: &str = "changes (push)";
    let view = moment.view;
    match &moment.event.kind {
        EventKind::CodePushed { phase, pushed_at } => {
            let reading = reading_of(moment.before).map(|(_, reading)| reading);
            let Some(reading) = reading.filter(|reading| reading.push == Some(*pushed_at)) else {
                return fail(NAME, moment, "no reading shows it");
            };
            let is_on = view.found_on(*phase, reading);
            let done = match view.plan.code_push {
                PushPolicy::Extend => true,
                PushPolicy::Rebaseline if is_on => restarts(moment.after, *phase),
                PushPolicy::Hold | PushPolicy::Rebaseline => is_held_by_push(moment),
            };
            match done {
                true => Ok(()),
                false => fail(NAME, moment, format!("{:?} is not done", view.plan.code_push)),
            }
        }
        EventKind::WindowRestarted { phase } => {
            let pushed = moment.before.iter().any(|event| match &event.kind {
                EventKind::CodePushed { phase: of, .. } => of == phase,
                _ => false,
            });
            match pushed && view.plan.code_push == PushPolicy::Rebaseline {
                true => Ok(()),
                false => fail(NAME, moment, "nothing was pushed"),
            }
        }
        _ => Ok(()),
    }
}

fn restarts(events: &[Event], phase: PhaseNumber) -> bool {
    events.iter().any(|event| match &event.kind {
        EventKind::WindowRestarted { phase: of } => *of == phase,
        _ => false,
    })
}

/// One hold is enough for several pushes.
fn is_held_by_push(moment: &Moment<'_>) -> bool {
    let is_push = |hold: &HoldReason| matches!(hold, HoldReason::CodePush { .. });
    let begins = moment.after.iter().any(|event| match &event.kind {
        EventKind::Held { hold } => is_push(hold),
        _ => false,
    });
    begins || moment.view.holds.iter().any(is_push)
}

/// What was held because of others goes on when a person says so.
fn only_a_person_goes_on(moment: &Moment<'_>) -> Check {
    let EventKind::Released { hold } = &moment.event.kind else { return Ok(()) };
    let others = matches!(hold, HoldReason::CodePush { .. } | HoldReason::Drift { .. });
    match !others || matches!(moment.event.actor, Actor::Person(_)) {
        true => Ok(()),
        false => fail("changes (hold)", moment, "nobody released it"),
    }
}

/// True when a value is not what the flag should have.
fn is_foreign(view: &View, flag: &FlagName, value: Option<&str>) -> bool {
    match view.wanted(flag) {
        Wanted::On(on) => value != Some(on),
        Wanted::Off(safe) => value.is_some_and(|value| value != safe),
        Wanted::Any => false,
    }
}

/// True for a foreign value of a flag that is on which does not turn it off.
fn is_third(view: &View, flag: &FlagName, value: &Option<String>) -> bool {
    let Some(value) = value.as_deref() else { return false };
    let safe = view.safe_value(flag);
    matches!(view.wanted(flag), Wanted::On(on) if value != on && Some(value) != safe)
}

/// True when a reading shows the value that the flag should have.
fn as_wanted(view: &View, flag: &FlagName, reading: &JudgedReading) -> bool {
    let Some(value) = reading.flags.as_ref().ok().and_then(|found| found.get(flag)) else {
        return false;
    };
    view.wanted(flag) != Wanted::Any && !is_foreign(view, flag, value.as_deref())
}

/// How the reading of this commit found a flag; outside `None` = it did not.
fn read_as<'a>(moment: &'a Moment<'_>, flag: &FlagName) -> Option<Option<&'a str>> {
    let (_, reading) = reading_of(moment.before)?;
    Some(reading.flags.as_ref().ok()?.get(flag)?.as_deref())
}

/// How often foreign values are replaced, by the decision record on what others change.
const REVERTS_MAX: u32 = 3;
