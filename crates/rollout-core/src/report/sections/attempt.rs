//! Owns one attempt at a phase up to its window: the checklist before it, enabling, verification, first health check.
//!
//! The middle number of a task is the attempt, so `Task 3.2.1` is the first task of the second attempt at phase 3.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::super::markdown::{Page, code, inline};
use super::super::sentence::written;
use super::super::story::{Attempt, Chapter, pick, reading};
use super::super::{Log, json, shell};
use super::{decisions, failures, health, rollback, shortened, who_when_why, window};
use crate::event::{Event, EventKind, HowCompleted, RollbackCause};
use crate::measurement::{JudgedReading, ProbeAnswer, ProbeState, Purpose};
use crate::plan::{ChecklistItem, Proof};
use crate::rollout::Stage;

pub(super) fn write(page: &mut Page, log: &Log<'_>, attempt: &Attempt<'_>) {
    let number = attempt.state.attempt;
    if number > 1 {
        page.heading(3, &format!("Attempt {number}"));
        if attempt.chapter.0.is_empty() {
            page.fields(&[("Status", "⬜ NOT STARTED".to_string())]);
        }
    }
    if attempt.chapter.0.is_empty() {
        return;
    }
    if attempt.started_at().is_some() || attempt.state.stage == Stage::Pending {
        pre_execution(page, log, attempt);
    }
    if let Some(begun) = attempt.enabling_at() {
        let task = format!("{}.{number}", attempt.phase);
        enable(page, log, attempt, &task, log.times.stamp(begun));
        verify(page, log, attempt, &task);
    }
    if attempt.bake_at().is_some() {
        window::write(page, log, attempt);
        after_items(page, log, attempt);
    }
    let decisions = decisions(log, &attempt.chapter);
    if attempt.started_at().is_some() || !decisions.is_empty() {
        page.heading(3, "Decisions");
        match decisions.is_empty() {
            true => page.paragraph("None."),
            false => page.bullets(&decisions),
        }
    }
    rollback::write(page, log, attempt);
}

/// A checkbox with what stands behind it.
fn tick(done: Option<String>, text: &str) -> String {
    match done {
        Some(by) => format!("[x] {text}: {by}"),
        None => format!("[ ] {text}"),
    }
}

fn pre_execution(page: &mut Page, log: &Log<'_>, attempt: &Attempt<'_>) {
    let mut lines = Vec::new();
    if let Some(started) = attempt.started_at() {
        let (name, done) = match crate::PhaseNumber::new(attempt.phase.get() - 1) {
            None => {
                let passed = log.story.baseline.time_of(|k| matches!(k, EventKind::BaselinePassed));
                ("Phase 0 baseline completed".to_string(), passed)
            }
            Some(before) => {
                let done = log.story.done_before(before, started);
                let word = match done.map(|event| &event.kind) {
                    Some(EventKind::PhaseSkipped { .. }) => "skipped",
                    Some(_) | None => "completed",
                };
                (format!("Phase {before} {word}"), done.map(|event| event.at))
            }
        };
        lines.push(tick(done.map(|at| log.times.stamp(at)), &name));
        lines.push(tick(Some(log.times.stamp(started)), "Current time recorded"));
    }
    let preflight = attempt.chapter.last(reading(|p| matches!(p, Purpose::Preflight(_))));
    lines.extend(precondition(log, attempt, preflight));
    let items = log.story.plan.items_before(attempt.planned);
    lines.extend(items.map(|item| before_item(log, attempt, preflight, item)));
    lines.extend(preflight_health(log, preflight));
    lines.extend(approvals(log, attempt));
    lines.extend(change_window(log, attempt));
    lines.push("[x] Rollback command ready: see below".to_string());
    page.heading(3, "Pre-Execution");
    page.bullets(&lines);
    let enabling = |kind: &EventKind| matches!(kind, EventKind::EnablingStarted { .. });
    let gates = attempt.chapter.0.iter().take_while(|event| !enabling(&event.kind));
    page.bullets(&failures(log, &Chapter(gates.copied().collect())));
}

fn precondition(
    log: &Log<'_>,
    attempt: &Attempt<'_>,
    preflight: Option<(&Event, &JudgedReading)>,
) -> Option<String> {
    let probe = &attempt.planned.only_when.as_ref()?.probe;
    let text = format!("Precondition {}", inline(&probe.name));
    let Some((event, answer)) = preflight.and_then(|(e, r)| Some((e, r.probes.first()?))) else {
        return Some(format!("[ ] {text}"));
    };
    Some(asked(log, event, answer, &text, health::probe_words(Some(probe), answer)))
}

fn asked(log: &Log<'_>, at: &Event, answer: &ProbeAnswer, text: &str, words: String) -> String {
    let mark = if answer.state == ProbeState::Met { "x" } else { " " };
    format!("[{mark}] {text}: rolloutd, {} - {words}", log.times.stamp(at.at))
}

fn before_item(
    log: &Log<'_>,
    attempt: &Attempt<'_>,
    preflight: Option<(&Event, &JudgedReading)>,
    item: &ChecklistItem,
) -> String {
    let text = inline(&item.text);
    match &item.proof {
        Proof::Person => tick(ticked(log, attempt, item), &text),
        Proof::ThresholdsSet => {
            let criteria = &log.story.plan.criteria;
            let both = criteria.iter().filter(|c| c.target.is_some() && c.alert.is_some()).count();
            let found = format!("the plan - {both} of {} criteria have both", criteria.len());
            tick((both > 0).then_some(found), &text)
        }
        Proof::Machine(probe) => {
            let skip = usize::from(attempt.planned.only_when.is_some());
            let answer = preflight.and_then(|(event, reading)| {
                let mut answers = reading.probes.iter().skip(skip);
                Some((event, answers.find(|answer| answer.probe == item.name)?))
            });
            match answer {
                Some((event, answer)) => {
                    let words = health::probe_words(Some(probe), answer);
                    asked(log, event, answer, &text, words)
                }
                None => tick(None, &text),
            }
        }
    }
}

/// Who ticked an item in this attempt.
fn ticked(log: &Log<'_>, attempt: &Attempt<'_>, item: &ChecklistItem) -> Option<String> {
    let tick = attempt
        .chapter
        .first(pick!(EventKind::ItemTicked { item: name, .. } if *name == item.name => ()));
    tick.map(|(event, ())| who_when_why(log, event))
}

fn preflight_health(log: &Log<'_>, preflight: Option<(&Event, &JudgedReading)>) -> Option<String> {
    let (event, reading) = preflight?;
    let well = reading.verdict.is_well();
    let mark = if well { "x" } else { " " };
    let trouble = reading.trouble().map(|why| format!(" ({})", inline(&why))).unwrap_or_default();
    let verdict = health::verdict(reading.verdict);
    let at = log.times.stamp(event.at);
    Some(format!("[{mark}] System health: rolloutd, {at} - {verdict}{trouble}"))
}

fn approvals(log: &Log<'_>, attempt: &Attempt<'_>) -> Vec<String> {
    let needed = usize::from(attempt.planned.approvals);
    let approved = |kind: &EventKind| matches!(kind, EventKind::PhaseApproved { .. }).then_some(());
    let given: Vec<String> =
        attempt.chapter.all(approved).map(|(event, ())| who_when_why(log, event)).collect();
    let line = |index: usize| {
        let text = match needed {
            1 => "Approval".to_string(),
            needed => format!("Approval {} of {needed}", index + 1),
        };
        tick(given.get(index).cloned(), &text)
    };
    (0..needed.max(given.len())).map(line).collect()
}

fn change_window(log: &Log<'_>, attempt: &Attempt<'_>) -> Option<String> {
    let window = attempt.planned.change_window.as_ref()?;
    let cron = format!("{} for {}", code(&window.cron), super::super::time::words(window.lasts));
    let text = format!("Change window ({cron}, {})", inline(&window.zone));
    let found = attempt
        .chapter
        .last(pick!(EventKind::ChangeWindowFound { opens, closes, .. } => (*opens, *closes)));
    let Some((_, (opens, closes))) = found else { return Some(format!("[ ] {text}")) };
    let mark = if attempt.enabling_at().is_some() { "x" } else { " " };
    let (opens, closes) = (log.times.stamp(opens), log.times.stamp(closes));
    Some(format!("[{mark}] {text}: from {opens} to {closes}"))
}

fn enable(page: &mut Page, log: &Log<'_>, attempt: &Attempt<'_>, task: &str, begun: String) {
    page.heading(3, &format!("Task {task}.1: Enable Feature Flag"));
    let set = attempt
        .chapter
        .first(pick!(EventKind::FlagsSet { wrote, already, .. } => (wrote, already)));
    let commands = shell::enable(attempt.planned);
    let mut fields: Vec<(&str, String)> =
        commands.iter().map(|command| ("Command", code(command))).collect();
    let (timestamp, status) = match set {
        Some((event, (wrote, already))) => {
            let done = format!("✅ DONE - {}", inline(&written(wrote, already)));
            (log.times.stamp(event.at), done)
        }
        None => (begun, not_done(attempt).to_string()),
    };
    fields.extend([("Timestamp", timestamp), ("Status", status)]);
    page.fields(&fields);
    let enabling = attempt.chapter.stretch(
        |kind| matches!(kind, EventKind::EnablingStarted { .. }),
        |kind| matches!(kind, EventKind::FlagsSet { .. } | EventKind::RollbackStarted { .. }),
    );
    page.bullets(&failures(log, &enabling));
}

/// The status of a task that was not finished.
fn not_done(attempt: &Attempt<'_>) -> &'static str {
    let rollback = attempt.chapter.first(pick!(EventKind::RollbackStarted { cause, .. } => cause));
    match rollback {
        Some((_, RollbackCause::Verification { .. })) => "🔴 FAILED - rolled back",
        Some(_) => "❌ NOT DONE - rolled back first",
        None => "⬜ IN PROGRESS",
    }
}

fn verify(page: &mut Page, log: &Log<'_>, attempt: &Attempt<'_>, task: &str) {
    let wanted = reading(|purpose| matches!(purpose, Purpose::Verification(_)));
    let readings: Vec<_> = attempt.chapter.all(&wanted).collect();
    let Some(((event, last), earlier)) = readings.split_last() else { return };
    page.heading(3, &format!("Task {task}.2: Verify Flag Active"));
    page.paragraph("**Result:**");
    page.fence("json", &result(attempt, last));
    let status = match attempt.bake_at() {
        Some(_) => "✅ DONE",
        None => not_done(attempt),
    };
    page.fields(&[("Timestamp", log.times.stamp(event.at)), ("Status", status.to_string())]);
    let shown = match attempt.bake_at() {
        Some(_) => earlier,
        None => &readings,
    };
    let told = |(event, reading): &(&Event, &JudgedReading)| {
        format!("⚠️ {}: not verified: {}", log.times.stamp(event.at), lacking(attempt, reading))
    };
    page.bullets(&shortened(shown.iter().map(told).collect()));
    page.heading(3, &format!("Task {task}.3: Immediate Health Check"));
    page.fields(&[("Timestamp", log.times.stamp(event.at))]);
    page.table(&health::table(log.story.plan, last));
}

/// The phase's flags and the answers of its probes, as one JSON object.
fn result(attempt: &Attempt<'_>, reading: &JudgedReading) -> Vec<String> {
    let mut entries = match &reading.flags {
        Ok(found) => health::flag_entries(attempt.planned.flags.keys(), found),
        Err(_) => Vec::new(),
    };
    let probes = reading.probes.iter().map(|answer| {
        let probe = attempt.planned.verify.iter().find(|probe| probe.name == answer.probe);
        (answer.probe.clone(), health::probe_json(probe, answer))
    });
    entries.extend(probes);
    json::object(&entries)
}

/// What a verification still lacked, in words.
fn lacking(attempt: &Attempt<'_>, reading: &JudgedReading) -> String {
    let mut lacks = Vec::new();
    match &reading.flags {
        Err(fault) => lacks.push(format!("flags could not be read: {}", inline(&fault.reason))),
        Ok(found) => {
            let off = attempt.planned.flags.iter().filter(|(flag, change)| {
                found.get(*flag).and_then(|value| value.as_deref()) != Some(change.on.as_str())
            });
            lacks.extend(off.map(|(flag, change)| {
                format!("{} is not {}", inline(flag.as_str()), inline(&json::string(&change.on)))
            }));
        }
    }
    for answer in reading.probes.iter().filter(|answer| answer.state != ProbeState::Met) {
        let probe = attempt.planned.verify.iter().find(|probe| probe.name == answer.probe);
        lacks.push(format!("{}: {}", inline(&answer.probe), health::probe_words(probe, answer)));
    }
    if !reading.verdict.is_observed() {
        lacks.extend(reading.trouble().map(|why| inline(&why)));
    }
    match lacks.is_empty() {
        true => format!("health is {}", health::verdict(reading.verdict)),
        false => lacks.join("; "),
    }
}

fn after_items(page: &mut Page, log: &Log<'_>, attempt: &Attempt<'_>) {
    let waived = match attempt.state.completed {
        Some((_, HowCompleted::Promoted)) => " (waived by promotion)",
        Some((_, HowCompleted::Kept)) | None => "",
    };
    let line = |item: &ChecklistItem| match ticked(log, attempt, item) {
        Some(by) => tick(Some(by), &inline(&item.text)),
        None => tick(None, &format!("{}{waived}", inline(&item.text))),
    };
    let lines: Vec<String> = attempt.planned.after.iter().map(line).collect();
    if !lines.is_empty() {
        page.heading(3, "After Enabling");
        page.bullets(&lines);
    }
}
