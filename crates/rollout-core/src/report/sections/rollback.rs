//! Owns rollbacks on the page: what went back, why, how long it took; and the incidents they opened.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::super::Log;
use super::super::json;
use super::super::markdown::{Page, Table, inline};
use super::super::sentence::{cause_words, phase_list, written};
use super::super::story::{Attempt, Chapter, person, pick, reading};
use super::super::time::words;
use super::{failures, health};
use crate::event::{Event, EventKind, RollbackCause};
use crate::id::IncidentNumber;
use crate::measurement::JudgedReading;
use crate::rollout::Incident;

/// The rollbacks that ended an attempt, one after the other.
pub(super) fn write(page: &mut Page, log: &Log<'_>, attempt: &Attempt<'_>) {
    for incident in log.story.rollout.incidents() {
        if attempt.opened(incident.number) {
            one(page, log, attempt, incident);
        }
    }
}

fn one(page: &mut Page, log: &Log<'_>, attempt: &Attempt<'_>, incident: &Incident) {
    let begins = |kind: &EventKind| opens(kind, incident.number);
    let course = attempt.chapter.stretch(begins, |kind| {
        matches!(kind, EventKind::RollbackStarted { .. } | EventKind::RollbackFinished)
    });
    page.heading(3, &format!("Rollback: Incident {}", incident.number));
    let mut fields = Vec::from([
        ("Why", why(log, incident)),
        ("Phases", phase_list(&incident.phases)),
        ("Begun", log.times.stamp(incident.opened_at)),
    ]);
    if let Some(event) = course.0.first() {
        fields.extend(ordered(event));
    }
    let flags = attempt.planned.flags.iter();
    let back = flags.map(|(flag, change)| {
        format!("{} to {}", inline(flag.as_str()), inline(&json::string(&change.safe)))
    });
    fields.push(("Flags Put Back", back.collect::<Vec<_>>().join(", ")));
    fields.push(("Written", writes(log, &course)));
    fields.extend([
        ("Read Back", restored(log, incident)),
        ("Took", took(incident)),
        ("Resolution", resolution(log, incident)),
    ]);
    page.fields(&fields);
    page.bullets(&failures(log, &course));
    if let Some((event, reading)) = breaching(attempt, incident) {
        page.paragraph(&format!("What was seen, {}:", log.times.stamp(event.at)));
        page.bullets(&health::off_target(log.story.plan, reading));
    }
}

/// The reading that a breach was judged by: the last one before the rollback it began.
fn breaching<'a>(
    attempt: &Attempt<'a>,
    incident: &Incident,
) -> Option<(&'a Event, &'a JudgedReading)> {
    if !matches!(incident.cause, RollbackCause::Breach { .. }) {
        return None;
    }
    let before = attempt.chapter.0.iter().take_while(|event| !opens(&event.kind, incident.number));
    Chapter(before.copied().collect()).last(reading(|_| true))
}

/// A table of all incidents.
pub(super) fn incidents(page: &mut Page, log: &Log<'_>) {
    page.heading(2, "Incidents");
    let heads = ["Incident", "Phases", "Why", "Opened", "Read Back", "Took", "Resolution"];
    let mut table = Table::new(heads);
    for incident in log.story.rollout.incidents() {
        let phases = incident.phases.iter().map(ToString::to_string).collect::<Vec<_>>();
        table.row([
            incident.number.to_string(),
            phases.join(", "),
            why(log, incident),
            log.times.stamp(incident.opened_at),
            restored(log, incident),
            took(incident),
            resolution(log, incident),
        ]);
    }
    page.table(&table);
}

fn opens(kind: &EventKind, number: IncidentNumber) -> bool {
    matches!(kind, EventKind::RollbackStarted { incident, .. } if *incident == number)
}

fn why(log: &Log<'_>, incident: &Incident) -> String {
    inline(&cause_words(&incident.cause, Some(log.story.plan)))
}

fn ordered(event: &Event) -> Option<(&'static str, String)> {
    let name = person(event)?;
    let note = event.note.as_deref().map(|note| format!(" - {}", inline(note)));
    Some(("Ordered By", format!("{}{}", inline(name), note.unwrap_or_default())))
}

fn writes(log: &Log<'_>, course: &Chapter<'_>) -> String {
    let restored =
        course.all(pick!(EventKind::FlagsRestored { wrote, already } => (wrote, already)));
    let told = restored.map(|(event, (wrote, already))| {
        format!("{} ({})", log.times.stamp(event.at), inline(&written(wrote, already)))
    });
    let told: Vec<String> = told.collect();
    match told.is_empty() {
        true => "⬜ not yet".to_string(),
        false => told.join("; "),
    }
}

fn restored(log: &Log<'_>, incident: &Incident) -> String {
    incident
        .restored_at
        .map_or_else(|| "⬜ not yet".to_string(), |at| format!("✅ {}", log.times.stamp(at)))
}

fn took(incident: &Incident) -> String {
    let lasted = incident.restored_at.map(|at| at.duration_since(incident.opened_at));
    lasted.map_or_else(|| "⬜ not over".to_string(), words)
}

fn resolution(log: &Log<'_>, incident: &Incident) -> String {
    match &incident.resolved {
        Some((at, by, note)) => {
            format!("✅ {}, {} - {}", inline(by), log.times.stamp(*at), inline(note))
        }
        None => "⬜ open".to_string(),
    }
}
