//! Owns the judgement: the design's invariants 1 to 9 and the five promises, each as one function over plain accounts
//! ([`crate::view`]) and what truly happened at the deployments.
//!
//! Refuses to ask the engine or the core how they see it.

#![expect(clippy::wildcard_enum_match_arm, reason = "each check is about a few of many kinds")]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rollout_core::{
    Actor, Coverage, Effect, Event, EventKind, FlagName, GapCause, HowCompleted, JudgedReading,
    Measured, MissedPolicy, PendingEffect, PhaseNumber, ProbeState, Proof, Purpose, RollbackCause,
    RolloutId, SmokeRepeat, Verdict, WritePurpose,
};

use crate::changes::change_checks;
use crate::counts::{Around, calls_are_what_happened, old_calls_roll_nothing_back};
use crate::net::Shown;
pub(crate) use crate::observer::Observer;
use crate::run::End;
use crate::view::{Says, Stand, View, as_number, says};

/// What is wrong, in words; the first part names the invariant.
pub(crate) type Check = Result<(), String>;

/// One event in its commit, before it is taken in.
pub(crate) struct Moment<'a> {
    pub(crate) view: &'a View,
    pub(crate) others: &'a BTreeMap<RolloutId, View>,
    pub(crate) event: &'a Event,
    /// The events of the same commit that come before this one.
    pub(crate) before: &'a [Event],
    /// And those that come after it.
    pub(crate) after: &'a [Event],
    /// What the deployment truly answered to the reading that this event records.
    pub(crate) shown: &'a [Shown],
    /// Writes of which the adapter was told, by rollout, flag and time.
    pub(crate) own_writes: &'a BTreeSet<(RolloutId, String, Timestamp)>,
    /// The true time, and what truly ran at the deployment.
    pub(crate) around: Around<'a>,
}

/// All checks of one event.
pub(crate) fn event_checks(moment: &Moment<'_>) -> Check {
    journal_runs_forward(moment)?;
    invariant_1_gates_were_open(moment)?;
    invariant_2_one_at_a_time(moment)?;
    invariant_3_a_phase_completes_by_the_plan(moment)?;
    invariant_4_a_breach_rolls_back_in_its_step(moment)?;
    invariant_4_a_rollback_ends_when_it_was_read_back(moment)?;
    invariant_7_failures_are_no_breach_and_silence_is_no_pass(moment)?;
    invariant_7_readings_are_what_was_answered(moment)?;
    calls_are_what_happened(moment)?;
    old_calls_roll_nothing_back(moment)?;
    promise_5_the_log_tells_the_gaps(moment)?;
    change_checks(moment)
}

pub(crate) fn fail<T>(
    invariant: &str,
    moment: &Moment<'_>,
    why: impl Into<String>,
) -> Result<T, String> {
    let (id, seq) = (moment.view.id, moment.view.seq() + 1);
    let why: String = why.into();
    Err(format!("{invariant}: {id} at seq {seq}: {why} ({:?})", moment.event.kind))
}

fn journal_runs_forward(moment: &Moment<'_>) -> Check {
    match moment.event.at >= moment.view.last_at {
        true => Ok(()),
        false => fail("journal", moment, "an event lies before the one before it"),
    }
}

/// 1. No flag is turned on unless every gate of its phase was open and every earlier phase was completed or skipped.
fn invariant_1_gates_were_open(moment: &Moment<'_>) -> Check {
    const NAME: &str = "invariant 1 (gates)";
    let (view, wall) = (moment.view, moment.around.wall);
    if matches!(moment.event.kind, EventKind::BaselineStarted) && wall < view.start_at {
        return fail(NAME, moment, format!("it begins at {wall}, not at {}", view.start_at));
    }
    let EventKind::EnablingStarted { phase } = &moment.event.kind else { return Ok(()) };
    let Some(planned) = view.plan.phase(*phase) else {
        return fail(NAME, moment, "no such phase");
    };
    let state = view.phase(*phase);
    let earlier = view.phases.iter().take(phase.index());
    if !earlier.clone().all(|earlier| matches!(earlier.stand, Stand::Completed | Stand::Skipped)) {
        return fail(NAME, moment, "an earlier phase is neither completed nor skipped");
    }
    if state.stand != Stand::Off {
        return fail(NAME, moment, format!("the phase is {:?}", state.stand));
    }
    if !view.holds.is_empty() {
        return fail(NAME, moment, format!("held: {:?}", view.holds));
    }
    let items = view.plan.checklist.iter().chain(&planned.before);
    let mut people = items.filter(|item| item.proof == Proof::Person);
    if let Some(open) = people.find(|item| !state.ticked.contains(&item.name)) {
        return fail(NAME, moment, format!("nobody ticked {}", open.name));
    }
    if state.approvals.len() < usize::from(planned.approvals) {
        return fail(NAME, moment, format!("approved by {:?} only", state.approvals));
    }
    if state.preflight != Some(true) {
        return fail(NAME, moment, "no preflight of this attempt was good");
    }
    if let Some(window) = &planned.change_window
        && !is_open(&window.cron, window.lasts, wall)
    {
        return fail(NAME, moment, format!("the change window is closed at {wall}"));
    }
    Ok(())
}

/// Whether a daily window on the hour, in UTC, is open: by arithmetic, not by a calendar.
fn is_open(cron: &str, lasts: SignedDuration, at: Timestamp) -> bool {
    let hour = cron.split(' ').nth(1).and_then(|hour| hour.parse::<i64>().ok()).unwrap_or(0);
    let since_opening = (at.as_second() - hour * 3_600).rem_euclid(86_400);
    since_opening < lasts.as_secs()
}

/// True for a write that replaces foreign values: the one that the journal names, on only where the phase is on.
fn sets_back(view: &View, changes: &BTreeMap<FlagName, String>) -> bool {
    let fits = |(flag, value): (&FlagName, &String)| {
        let phases = view.plan.phases.iter().zip(&view.phases);
        let mut owners = phases.filter_map(|(planned, now)| Some((planned.flags.get(flag)?, now)));
        owners.next().is_some_and(|(change, now)| {
            let is_on = matches!(now.stand, Stand::Baking | Stand::Concluding | Stand::Completed);
            *value == change.safe || *value == change.on && is_on
        })
    };
    !changes.is_empty() && view.reverting == *changes && changes.iter().all(fits)
}

/// 1, on the wire: what is written is what the journal says, and nothing is begun before it is on disk.
pub(crate) fn invariant_1_writes_follow_the_journal(
    view: Option<&View>,
    seq: u64,
    changes: &BTreeMap<FlagName, String>,
    purpose: WritePurpose,
) -> Check {
    const NAME: &str = "invariant 1 (writes follow the journal)";
    let Some(view) = view.filter(|view| seq <= view.on_disk) else {
        return Err(format!("{NAME}: {changes:?} is written for what is not on disk"));
    };
    let id = view.id;
    let fits = match purpose {
        WritePurpose::RestoreSafe => {
            view.rolling.as_ref().is_some_and(|rolling| rolling.restore == *changes)
        }
        WritePurpose::Enable => {
            let place = view.phases.iter().position(|phase| phase.stand == Stand::Enabling);
            let planned = place.and_then(|place| view.plan.phases.get(place));
            planned.is_some_and(|planned| {
                let on = planned.flags.iter();
                on.map(|(flag, change)| (flag, &change.on)).eq(changes.iter())
            }) || sets_back(view, changes)
        }
    };
    match fits {
        true => Ok(()),
        false => Err(format!("{NAME}: {id} writes {changes:?} ({purpose:?}) unasked")),
    }
}

/// 2. On one deployment a flag belongs to at most one live rollout, and at most one phase is enabling or baking.
fn invariant_2_one_at_a_time(moment: &Moment<'_>) -> Check {
    const NAME: &str = "invariant 2 (one at a time)";
    let same = |other: &&View| {
        other.id != moment.view.id && other.plan.deployment == moment.view.plan.deployment
    };
    if let EventKind::EnablingStarted { .. } = &moment.event.kind {
        let exposed = moment.others.values().filter(same).find(|other| other.exposed().is_some());
        if let Some(other) = exposed {
            return fail(NAME, moment, format!("{} is exposed as well", other.id));
        }
        if moment.view.exposed().is_some() {
            return fail(NAME, moment, "two phases of one rollout");
        }
    }
    let EventKind::RolloutCreated { plan, .. } = &moment.event.kind else { return Ok(()) };
    for other in moment.others.values().filter(same) {
        if other.ended.is_none() {
            return fail(NAME, moment, format!("{} is live on the deployment", other.id));
        }
        let open = other.incidents.values().filter(|incident| !incident.resolved);
        let phases = open.flat_map(|incident| &incident.phases);
        let mut locked = phases.filter_map(|phase| other.plan.phase(*phase));
        let wanted = plan.flags();
        if locked.any(|phase| phase.flags.keys().any(|flag| wanted.contains(flag))) {
            return fail(NAME, moment, format!("a flag is locked by an incident of {}", other.id));
        }
    }
    Ok(())
}

/// 3. A phase completes by window, coverage, checkpoints and items, or by a person's recorded waiver.
fn invariant_3_a_phase_completes_by_the_plan(moment: &Moment<'_>) -> Check {
    const NAME: &str = "invariant 3 (completion)";
    if let EventKind::PhaseSkipped { phase, .. } = &moment.event.kind {
        let stand = moment.view.phase(*phase).stand;
        return match stand {
            Stand::Off | Stand::RolledBack => Ok(()),
            _ => fail(NAME, moment, format!("skipped while {stand:?}")),
        };
    }
    invariant_3_a_missed_checkpoint_fails(moment)?;
    let EventKind::PhaseCompleted { phase, coverage, how } = &moment.event.kind else {
        return Ok(());
    };
    let view = moment.view;
    let state = view.phase(*phase);
    let (Some(planned), Some(bake)) = (view.plan.phase(*phase), &state.bake) else {
        return fail(NAME, moment, "completed without a window");
    };
    let seen = Coverage::of(bake.observed, planned.bake);
    if seen != *coverage {
        return fail(NAME, moment, format!("the readings cover {seen}"));
    }
    if *how == HowCompleted::Promoted {
        let person = matches!(moment.event.actor, Actor::Person(_));
        let said = moment.event.note.as_ref().is_some_and(|note| !note.is_empty());
        return match person && said {
            true => Ok(()),
            false => fail(NAME, moment, "waived by nobody"),
        };
    }
    let grown = match view.plan.missed {
        MissedPolicy::Extend | MissedPolicy::Backfill => bake.unobserved,
        MissedPolicy::Hold | MissedPolicy::Fail => SignedDuration::ZERO,
    };
    if bake.covered < bake.counts_from + planned.bake + grown {
        return fail(NAME, moment, format!("the window was watched up to {} only", bake.covered));
    }
    if seen < view.plan.coverage_min {
        return fail(NAME, moment, format!("the readings cover {seen} only"));
    }
    let verdict = |offset: &SignedDuration| bake.verdicts.get(offset).copied();
    let well =
        |offset: &&SignedDuration| !matches!(verdict(offset), Some(Verdict::Pass | Verdict::Warn));
    if let Some(open) = planned.checkpoints.iter().find(well) {
        return fail(NAME, moment, format!("checkpoint {open} is {:?}", verdict(open)));
    }
    if let Some(open) = planned.after.iter().find(|item| !state.ticked.contains(&item.name)) {
        return fail(NAME, moment, format!("nobody ticked {}", open.name));
    }
    match view.holds.is_empty() {
        true => Ok(()),
        false => fail(NAME, moment, format!("held: {:?}", view.holds)),
    }
}

/// 3, under `missed = "fail"`: a checkpoint later than the grace rolls the phase back, and nothing else does under that name.
fn invariant_3_a_missed_checkpoint_fails(moment: &Moment<'_>) -> Check {
    const NAME: &str = "invariant 3 (missed)";
    let view = moment.view;
    let fails = view.plan.missed == MissedPolicy::Fail;
    match &moment.event.kind {
        EventKind::RollbackStarted { cause: RollbackCause::Missed { offset, due }, .. } => {
            let Some((_, bake)) = view.baking() else {
                return fail(NAME, moment, "no window is running");
            };
            let open = !bake.verdicts.contains_key(offset) && *due == bake.counts_from + *offset;
            match fails && open && moment.event.at >= *due + view.plan.grace {
                true => Ok(()),
                false => fail(NAME, moment, "it was not missed"),
            }
        }
        EventKind::CheckpointJudged { due, .. } if fails => {
            match moment.event.at <= *due + view.plan.grace {
                true => Ok(()),
                false => fail(NAME, moment, "judged later than the grace"),
            }
        }
        _ => Ok(()),
    }
}

/// 4. A breach starts the rollback in the same step that judges it.
fn invariant_4_a_breach_rolls_back_in_its_step(moment: &Moment<'_>) -> Check {
    const NAME: &str = "invariant 4 (breach)";
    let EventKind::ReadingTaken { reading, .. } = &moment.event.kind else { return Ok(()) };
    let view = moment.view;
    if view.says(reading) != Says::Breach || view.ended.is_some() || view.rolling.is_some() {
        return Ok(());
    }
    let Some(hit) = view.breach_hits().filter(|_| !view.is_echo(moment.event.at)) else {
        return Ok(());
    };
    let answered = moment.after.iter().any(|event| {
        matches!(&event.kind, EventKind::RollbackStarted { phases, .. } if phases.contains(&hit))
    });
    match answered {
        true => Ok(()),
        false => fail(NAME, moment, format!("nothing rolls phase {hit} back")),
    }
}

/// 4. It goes on until the safe values were read back, and a rollout does not end before.
fn invariant_4_a_rollback_ends_when_it_was_read_back(moment: &Moment<'_>) -> Check {
    const NAME: &str = "invariant 4 (rollback)";
    let view = moment.view;
    match &moment.event.kind {
        EventKind::RollbackStarted { phases, restore, .. } => {
            let planned = phases.iter().filter_map(|phase| view.plan.phase(*phase));
            let safe: BTreeMap<_, _> = planned
                .flat_map(|phase| &phase.flags)
                .map(|(flag, change)| (flag.clone(), change.safe.clone()))
                .collect();
            match safe == *restore && !safe.is_empty() {
                true => Ok(()),
                false => fail(NAME, moment, "it restores other flags than its phases'"),
            }
        }
        EventKind::RollbackFinished => {
            let Some(rolling) = &view.rolling else {
                return fail(NAME, moment, "no rollback was under way");
            };
            let found =
                reading_of(moment.before).and_then(|(_, reading)| reading.flags.as_ref().ok());
            let back = |(flag, safe): (&FlagName, &String)| {
                found.is_some_and(|found| found.get(flag) == Some(&Some(safe.clone())))
            };
            match rolling.restore.iter().all(back) {
                true => Ok(()),
                false => fail(NAME, moment, format!("read back: {found:?}")),
            }
        }
        EventKind::RolloutCompleted | EventKind::RolloutAborted => {
            match view.rolling.is_none() && view.exposed().is_none() {
                true => Ok(()),
                false => fail(NAME, moment, "ended with a phase half done"),
            }
        }
        _ => Ok(()),
    }
}

/// 4, over time: a rollback is tried again and again while the engine runs.
pub(crate) fn invariant_4_a_rollback_goes_on(view: &View, uptime: SignedDuration) -> Check {
    let idle = uptime - view.tried_at_uptime;
    match view.rolling.is_none() || idle <= ROLLBACK_IDLE_MAX {
        true => Ok(()),
        false => Err(format!(
            "invariant 4 (rollback goes on): {} has tried nothing for {idle:#}",
            view.id
        )),
    }
}

/// 6. Crash anywhere + resume = the same final state, flag values and set of effects as without the crash.
pub(crate) fn invariant_6_crashes_change_nothing(quiet: &End, crashed: &End) -> Check {
    match quiet == crashed {
        true => Ok(()),
        false => Err(format!(
            "invariant 6 (crashes change nothing): without crashes {quiet:?}; with them {crashed:?}"
        )),
    }
}

/// 7. A provider's failure is never a breach. Silence is never a pass.
fn invariant_7_failures_are_no_breach_and_silence_is_no_pass(moment: &Moment<'_>) -> Check {
    const NAME: &str = "invariant 7 (silence)";
    let view = moment.view;
    let last = reading_of(moment.before);
    let says = last.map_or(Says::Nothing, |(_, reading)| view.says(reading));
    let at_least = |worst: Says, what: &str| match says <= worst && last.is_some() {
        true => Ok(()),
        false => fail(NAME, moment, format!("{what} on a reading that says {says:?}")),
    };
    match &moment.event.kind {
        EventKind::RollbackStarted { cause: RollbackCause::Breach { .. }, .. } => {
            match says == Says::Breach {
                true => Ok(()),
                false => fail(NAME, moment, format!("a breach on a reading that says {says:?}")),
            }
        }
        EventKind::RollbackStarted {
            cause: RollbackCause::Verification { .. }, phases, ..
        } => {
            let denied = last.is_some_and(|(_, reading)| denies(view, phases, reading));
            match denied {
                true => Ok(()),
                false => fail(NAME, moment, "nothing denied the verification"),
            }
        }
        EventKind::BaselinePassed | EventKind::BakeStarted { .. } => {
            at_least(Says::Warns, "it goes on")
        }
        EventKind::PreflightPassed { .. } | EventKind::FinalChecksPassed => {
            at_least(Says::Warns, "it goes on")
        }
        EventKind::CheckpointJudged { phase, due, verdict, .. } => {
            let on = last.is_some_and(|(_, reading)| view.found_on(*phase, reading));
            let same = match says {
                Says::Well => *verdict == Verdict::Pass,
                Says::Warns => *verdict == Verdict::Warn,
                Says::Nothing | Says::Breach => false,
            };
            // The very first reading of a window judges before the event that begins it is taken in.
            match on && same && moment.event.at >= *due {
                true => Ok(()),
                false => fail(NAME, moment, format!("judged by one that says {says:?}, on: {on}")),
            }
        }
        _ => Ok(()),
    }
}

/// True when a reading says no: a flag that is not as it should be, or a probe that found something else.
fn denies(view: &View, phases: &[PhaseNumber], reading: &JudgedReading) -> bool {
    let stands = |phase: &PhaseNumber| view.phase(*phase).stand;
    let flags = reading.flags.is_ok()
        && phases.iter().any(|phase| match stands(phase) {
            // A late write is one even where somebody put a part of it back.
            Stand::RolledBack => one_found_on(view, *phase, reading),
            _ => !view.found_on(*phase, reading),
        });
    flags || reading.probes.iter().any(|answer| answer.state == ProbeState::NotMet)
}

/// Whether a flag of this phase was read with its on value.
fn one_found_on(view: &View, phase: PhaseNumber, reading: &JudgedReading) -> bool {
    let (Ok(found), Some(planned)) = (&reading.flags, view.plan.phase(phase)) else { return false };
    let mut flags = planned.flags.iter();
    flags.any(|(flag, change)| found.get(flag).cloned().flatten().as_ref() == Some(&change.on))
}

/// 7. What a reading records is what the deployment truly answered to it.
fn invariant_7_readings_are_what_was_answered(moment: &Moment<'_>) -> Check {
    const NAME: &str = "invariant 7 (readings are answers)";
    let EventKind::ReadingTaken { reading, .. } = &moment.event.kind else { return Ok(()) };
    if let Ok(flags) = &reading.flags {
        let listed = moment.shown.iter().any(|shown| matches!(shown, Shown::Variables(_)));
        let value = |shown: &Shown, flag: &FlagName| match shown {
            Shown::Variables(found) => Some(found.get(flag.as_str()).cloned()),
            // Where the list was never answered, the adapter asks the system query for the values as well.
            Shown::Rows(rows) if !listed => {
                Some(rows.get(flag.as_str()).map(|(value, _)| value.clone()))
            }
            Shown::Rows(_) | Shown::Health(_) | Shown::Push(_) => None,
        };
        let same = |shown: &Shown| {
            flags.iter().all(|(flag, found)| value(shown, flag).as_ref() == Some(found))
        };
        if !moment.shown.iter().any(same) {
            return fail(NAME, moment, format!("flags nobody answered with: {:?}", moment.shown));
        }
    }
    for judged in &reading.judged {
        let Measured::Number(value) = judged.measured else { continue };
        if moment.view.counts_calls(&judged.criterion) {
            continue;
        }
        let unit = moment.view.plan.unit_of(&judged.criterion);
        let same = |shown: &Shown| match shown {
            Shown::Health(fields) => {
                let found = fields.get(&judged.criterion).and_then(|found| as_number(found, unit));
                found.is_some_and(|found| found == value || found.is_nan() && value.is_nan())
            }
            Shown::Variables(_) | Shown::Rows(_) | Shown::Push(_) => false,
        };
        if !moment.shown.iter().any(same) {
            return fail(NAME, moment, format!("{} was never {value}", judged.criterion));
        }
    }
    Ok(())
}

/// 8. While a flag is on and its phase not completed, a next check is always scheduled (promise 4: watching never stops).
pub(crate) fn invariant_8_watching_never_stops(
    view: &View,
    on: bool,
    uptime: SignedDuration,
) -> Check {
    let unwatched = uptime - view.read_at_uptime;
    let exposed = view.exposed().is_some() && on;
    match !exposed || view.ended.is_some() || unwatched <= patience(view) {
        true => Ok(()),
        false => Err(format!(
            "invariant 8 (watching never stops): {} has a flag on and took no reading for {unwatched:#}",
            view.id
        )),
    }
}

/// 9. Every live rollout waits for something that will come: the watch alone gives each an event within every interval.
pub(crate) fn invariant_9_something_will_wake_it(view: &View, uptime: SignedDuration) -> Check {
    let silent = uptime - view.wrote_at_uptime;
    match view.ended.is_some() || !view.begun || silent <= patience(view) {
        true => Ok(()),
        false => Err(format!(
            "invariant 9 (something will wake it): {} is live, and its journal says nothing for {silent:#}",
            view.id
        )),
    }
}

/// Promise 2, while nothing can be recorded: nothing is written but safe values.
pub(crate) fn promise_2_in_the_dark_only_safe_values_are_written(
    view: Option<&View>,
    effect: &PendingEffect,
) -> Check {
    const NAME: &str = "promise 2 (in the dark)";
    let key = effect.key;
    match &effect.effect {
        Effect::Observe(_) => Ok(()),
        Effect::SetFlags { changes, purpose: WritePurpose::RestoreSafe } => {
            let safe = |(flag, value): (&FlagName, &String)| {
                let phases = view.into_iter().flat_map(|view| &view.plan.phases);
                let mut planned = phases.filter_map(|phase| phase.flags.get(flag));
                planned.any(|change| change.safe == *value)
            };
            match changes.iter().all(safe) {
                true => Ok(()),
                false => Err(format!("{NAME}: {key} writes {changes:?}, which is not safe")),
            }
        }
        risky => Err(format!("{NAME}: {key} performs {risky:?}, and nobody can record it")),
    }
}

/// Promise 2: a breach is rolled back, whatever else is broken.
pub(crate) fn promise_2_a_breach_in_the_dark_is_rolled_back(
    id: RolloutId,
    since: SignedDuration,
) -> Check {
    match since <= ROLLBACK_IDLE_MAX {
        true => Ok(()),
        false => Err(format!(
            "promise 2 (in the dark): {id} was shown a breach {since:#} ago, and writes no safe values"
        )),
    }
}

/// True when a health answer lies beyond an alert threshold of a plan, while a breach there means something.
pub(crate) fn shows_breach(
    view: &View,
    fields: &BTreeMap<String, convex_emulator::value::Value>,
) -> bool {
    let mut criteria = view.plan.criteria.iter();
    let beyond = criteria.any(|criterion| {
        let found = fields.get(&criterion.name);
        let number = found.and_then(|found| as_number(found, criterion.unit));
        number.is_some_and(|number| says(criterion, &Measured::Number(number)) == Says::Breach)
    });
    beyond && view.ended.is_none() && view.exposed().is_some() && !view.is_echo(view.last_at)
}

/// The smoke test's function runs once where the plan says that it must not be repeated.
pub(crate) fn promise_smoke_runs_once(view: &View) -> Check {
    let once = view.plan.smoke.as_ref().is_some_and(|smoke| smoke.repeat == SmokeRepeat::Never);
    match !once || view.creates_landed <= view.smokes_started {
        true => Ok(()),
        false => Err(format!(
            "smoke: {} called its function {} times in {} runs",
            view.id, view.creates_landed, view.smokes_started
        )),
    }
}

/// Promise 5. The log tells the truth about gaps: a stretch without a reading that shows the phase is told before the next.
fn promise_5_the_log_tells_the_gaps(moment: &Moment<'_>) -> Check {
    const NAME: &str = "promise 5 (gaps)";
    let view = moment.view;
    let Some((phase, bake)) = view.baking() else { return Ok(()) };
    match &moment.event.kind {
        EventKind::GapRecorded { phase: of, from, to, cause } => {
            let begins = match cause {
                // Only the part that the wall clock skipped was not seen.
                GapCause::ClockJump => {
                    *from >= bake.covered && to.duration_since(*from) <= bake.jumped
                }
                _ => *from == bake.covered,
            };
            match *of == phase && begins && from < to && *to <= moment.event.at {
                true => Ok(()),
                false => fail(NAME, moment, format!("a gap that is none; {bake:?}")),
            }
        }
        EventKind::GapBackfilled { phase: of, from, to, .. } => {
            let policy = view.plan.missed == MissedPolicy::Backfill;
            match policy && *of == phase && *from == bake.covered && from < to && !bake.seen_off {
                true => Ok(()),
                false => fail(NAME, moment, format!("nobody could tell; {bake:?}")),
            }
        }
        EventKind::ReadingTaken { reading, purpose } => {
            let shows = view.says(reading) != Says::Nothing && view.found_on(phase, reading);
            let until = view.speaks_for(moment.event.at, *purpose);
            let blind = until.duration_since(bake.covered).max(SignedDuration::ZERO);
            let elapsed = bake.covered.duration_since(bake.started);
            let passed = blind - bake.jumped.min(blind);
            let long = passed > view.plan.cadence.interval_at(elapsed) * 2;
            let untold = long || bake.seen_off || bake.jumped > SignedDuration::ZERO;
            let told = bake.told_until == Some(until);
            match shows && blind > SignedDuration::ZERO && untold && !told {
                false => Ok(()),
                true => fail(NAME, moment, format!("nothing tells of {blind:#} unseen; {bake:?}")),
            }
        }
        _ => Ok(()),
    }
}

/// The last reading among these events.
pub(crate) fn reading_of(events: &[Event]) -> Option<(Purpose, &JudgedReading)> {
    events.iter().rev().find_map(|event| match &event.kind {
        EventKind::ReadingTaken { purpose, reading } => Some((*purpose, &**reading)),
        _ => None,
    })
}

/// How long a reading may take to come: the plan's longest interval on a clock that is a sixteenth slow, and what the
/// requests of two readings may take.
pub(crate) fn patience(view: &View) -> SignedDuration {
    let interval = view.interval_max();
    interval + interval / 8 + SignedDuration::from_mins(15)
}

/// Longest time without a try while a rollback is under way: a whole effect of requests that are not answered, another one
/// before it in its lane, and the wait between two tries.
const ROLLBACK_IDLE_MAX: SignedDuration = SignedDuration::from_mins(8);
