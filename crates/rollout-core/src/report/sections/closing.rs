//! Owns the end of the page: verification after the last phase, the engine's own story, commands to have at hand.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::super::markdown::{Page, Table, code, inline};
use super::super::sentence::jump_words;
use super::super::story::{Chapter, pick, reading};
use super::super::time::words;
use super::super::{Log, json, shell};
use super::{decisions, failures, health};
use crate::event::{Event, EventKind};
use crate::measurement::{JudgedReading, Probe, Purpose};
use crate::plan::SmokeTest;
use crate::rollout::Status;

pub(super) fn verification(page: &mut Page, log: &Log<'_>) {
    let is_running = matches!(
        log.story.rollout.status(),
        Status::Scheduled | Status::Baseline | Status::Running
    );
    let chapter = last_run(&log.story.closing);
    let standing = match log.story.rollout.status() {
        Status::Completed => "COMPLETED",
        Status::Aborted => "ABORTED",
        Status::FinalChecks if log.story.rollout.is_held() => "HELD",
        Status::FinalChecks => "IN PROGRESS",
        Status::Scheduled | Status::Baseline | Status::Running => "NOT STARTED",
    };
    page.heading(2, &format!("Post-Rollout Verification ({standing})"));
    let decisions = decisions(log, &log.story.closing);
    match (chapter.0.first(), is_running) {
        (Some(begun), true) => page.paragraph(&format!(
            "Begun {}, and set aside by a rollback; they are begun anew after the last phase.",
            log.times.stamp(begun.at)
        )),
        (None, _) => page.fields(&[("Status", "⬜ NOT REACHED".to_string())]),
        (Some(_), false) => {
            final_reading(page, log, &chapter);
            if let Some(test) = &log.story.plan.smoke {
                smoke(page, log, &chapter, test);
            }
        }
    }
    if !decisions.is_empty() {
        page.heading(3, "Decisions");
        page.bullets(&decisions);
    }
}

/// The final checks that count: from their last beginning on.
fn last_run<'a>(closing: &Chapter<'a>) -> Chapter<'a> {
    let begins = |event: &&Event| matches!(event.kind, EventKind::FinalChecksStarted);
    let from = closing.0.iter().rposition(begins);
    Chapter(from.map(|from| closing.0[from..].to_vec()).unwrap_or_default())
}

fn final_reading(page: &mut Page, log: &Log<'_>, chapter: &Chapter<'_>) {
    let last = chapter.last(reading(|purpose| purpose == Purpose::Final));
    let Some((event, reading)) = last else {
        page.fields(&[("Status", "⬜ no reading yet".to_string())]);
        return;
    };
    let passed = chapter.time_of(|kind| matches!(kind, EventKind::FinalChecksPassed));
    let status = if passed.is_some() { "✅ DONE" } else { "⬜ not passed yet" };
    let stamp = log.times.stamp(event.at);
    page.fields(&[("Timestamp", stamp), ("Status", status.to_string())]);
    page.heading(3, "Final Flag Status");
    let flags = log.story.plan.flags();
    match &reading.flags {
        Ok(found) => {
            page.fence("json", &json::object(&health::flag_entries(&flags, found)));
            if let Some(absent) = health::not_set(&flags, found) {
                page.paragraph(&absent);
            }
        }
        Err(fault) => page.paragraph(&format!("❌ could not be read: {}", inline(&fault.reason))),
    }
    page.heading(3, "Final Health Check");
    page.table(&with_probes(log, reading));
}

/// The health table with the answers of all verification probes under it.
fn with_probes(log: &Log<'_>, reading: &JudgedReading) -> Table {
    let mut table = health::table(log.story.plan, reading);
    for answer in &reading.probes {
        let mut probes = log.story.plan.phases.iter().flat_map(|phase| &phase.verify);
        let probe: Option<&Probe> = probes.find(|probe| probe.name == answer.probe);
        let found = inline(&health::probe_json(probe, answer));
        table.row([inline(&answer.probe), found, health::probe_sign(answer.state).to_string()]);
    }
    table
}

fn smoke(page: &mut Page, log: &Log<'_>, chapter: &Chapter<'_>, test: &SmokeTest) {
    page.heading(3, "Smoke Test");
    let begins = |event: &Event| matches!(event.kind, EventKind::SmokeStarted);
    let starts: Vec<usize> = (0..chapter.0.len()).filter(|at| begins(chapter.0[*at])).collect();
    if starts.is_empty() {
        let created = format!("Task created: {}", code(&test.name));
        page.bullets(&[created, "Status: ⬜ NOT STARTED".to_string()]);
    }
    for (run, from) in starts.iter().enumerate() {
        let to = starts.get(run + 1).copied().unwrap_or(chapter.0.len());
        let course = Chapter(chapter.0[*from..to].to_vec());
        if starts.len() > 1 {
            page.paragraph(&format!("**Run {}:**", run + 1));
        }
        page.bullets(&smoke_run(log, &course, test));
        page.bullets(&failures(log, &course));
    }
}

fn smoke_run(log: &Log<'_>, course: &Chapter<'_>, test: &SmokeTest) -> Vec<String> {
    let created = course.first(pick!(EventKind::SmokeCreated { id } => id));
    let failed = course.first(pick!(EventKind::SmokeFailed { why } => why));
    let passed = course.time_of(|kind| matches!(kind, EventKind::SmokePassed));
    let id = created.map_or_else(|| "⬜ none yet".to_string(), |(_, id)| code(id));
    let status = match (passed, failed) {
        (Some(at), _) => format!("✅ SUCCESS, {}", log.times.stamp(at)),
        (None, Some((event, why))) => {
            format!("🔴 FAILED, {} - {}", log.times.stamp(event.at), inline(why))
        }
        (None, None) => "⬜ waiting".to_string(),
    };
    [
        format!("Task created: {}", code(&test.name)),
        format!("Task ID: {id}"),
        format!("Status: {status}"),
    ]
    .into()
}

pub(super) fn engine(page: &mut Page, log: &Log<'_>) {
    page.heading(2, "Engine");
    let told = |event: &&Event| {
        let at = log.times.stamp(event.at);
        if let EventKind::EngineResumed { last_seen } = &event.kind {
            let (seen, away) = (log.times.stamp(*last_seen), event.at.duration_since(*last_seen));
            return Some(format!(
                "{at}: rolloutd records again; last entry {seen}, {} before",
                words(away)
            ));
        }
        let EventKind::ClockJumped { by } = &event.kind else { return None };
        Some(format!("{at}: {}", jump_words(*by)))
    };
    let lines: Vec<String> = log.story.engine.0.iter().filter_map(told).collect();
    match lines.is_empty() {
        true => page.paragraph("No restarts, no clock jumps."),
        false => page.bullets(&lines),
    }
}

pub(super) fn reference(page: &mut Page, log: &Log<'_>) {
    let plan = log.story.plan;
    page.heading(2, "Quick Reference");
    for (title, function) in &plan.reference {
        page.heading(3, &inline(title));
        page.fence("bash", &[shell::run(function)]);
    }
    page.heading(3, "Emergency Rollback (All)");
    let id = log.story.rollout.id();
    page.fence("bash", &[format!("rolloutctl rollback {id} --all --reason \"…\"")]);
    page.paragraph(
        "Without rolloutd, phases in reverse order. For production say `--prod` behind `set`: without it this is your own \
         development deployment.",
    );
    let commands: Vec<String> = plan.phases.iter().rev().flat_map(shell::restore).collect();
    page.fence("bash", &commands);
}
