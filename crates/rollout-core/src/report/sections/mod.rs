//! Owns the order of the page. Each section reads the story and writes its part; none reads another section.

mod attempt;
mod baseline;
mod closing;
mod head;
mod health;
mod phase;
mod rollback;
mod window;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::Timestamp;

use super::Log;
use super::markdown::{Page, inline};
use super::sentence::sentence;
use super::story::Chapter;
use super::time::words;
use crate::event::{Event, EventKind, HowCompleted};

/// Writes the whole page.
pub(super) fn write(page: &mut Page, log: &Log<'_>) {
    head::write(page, log);
    page.rule();
    baseline::write(page, log);
    for (number, planned) in log.story.plan.numbered() {
        page.rule();
        phase::write(page, log, number, planned);
    }
    page.rule();
    closing::verification(page, log);
    if !log.story.rollout.incidents().is_empty() {
        page.rule();
        rollback::incidents(page, log);
    }
    page.rule();
    closing::engine(page, log);
    page.rule();
    closing::reference(page, log);
}

/// Holds, releases, drift, promotions, skips, retries: by whom, when, why. Nothing when there were none.
fn decisions(log: &Log<'_>, chapter: &Chapter<'_>) -> Vec<String> {
    let is_decision = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::Held { .. }
                | EventKind::Released { .. }
                | EventKind::DriftSeen { .. }
                | EventKind::DriftFound { .. }
                | EventKind::FlagRewritten { .. }
                | EventKind::DriftAdopted { .. }
                | EventKind::RevertStarted { .. }
                | EventKind::DriftReverted { .. }
                | EventKind::CodePushed { .. }
                | EventKind::WindowRestarted { .. }
                | EventKind::PreflightExpired { .. }
                | EventKind::PhaseCompleted { how: HowCompleted::Promoted, .. }
                | EventKind::PhaseSkipped { .. }
                | EventKind::RetryOrdered { .. }
                | EventKind::AbortOrdered
                | EventKind::RolloutAborted
        )
    };
    let told = |event: &&Event| {
        let said = inline(&sentence(event, Some(log.story.plan)));
        // A skip's reason is in its sentence already.
        let note = event.note.as_deref().filter(|_| !is_skip(&event.kind));
        format!("{}: {said}{}", log.times.stamp(event.at), noted(note))
    };
    chapter.0.iter().filter(|event| is_decision(&event.kind)).map(told).collect()
}

fn is_skip(kind: &EventKind) -> bool {
    matches!(kind, EventKind::PhaseSkipped { .. })
}

/// Who did something, when, and what they said: `alice, 2025-12-16 06:54 UTC - read it twice`.
fn who_when_why(log: &Log<'_>, event: &Event) -> String {
    let who = inline(&event.actor.to_string());
    format!("{who}, {}{}", log.times.stamp(event.at), noted(event.note.as_deref()))
}

fn noted(note: Option<&str>) -> String {
    note.map(|note| format!(" - {}", inline(note))).unwrap_or_default()
}

/// Failed tries of writes and of looks at the calendar.
fn failures(log: &Log<'_>, chapter: &Chapter<'_>) -> Vec<String> {
    let told = |event: &&Event| {
        let at = log.times.stamp(event.at);
        let later = |next: Timestamp| words(next.duration_since(event.at));
        if let EventKind::RestoreLost { retry_at } = &event.kind {
            let lost = "the safe values were not found on read-back; written again";
            return Some(format!("⚠️ {at}: {lost} {} later", later(*retry_at)));
        }
        let EventKind::EffectFailed { fault, retry_at } = &event.kind else { return None };
        let code = fault.code.as_deref().map(|code| format!(" ({})", inline(code)));
        let next = match retry_at {
            Some(next) => format!("next try {} later", later(*next)),
            None => "a person is needed".to_string(),
        };
        let reason = inline(&fault.reason);
        Some(format!("⚠️ {at}: failed{}: {reason}; {next}", code.unwrap_or_default()))
    };
    shortened(chapter.0.iter().filter_map(told).collect())
}

/// A long list by its beginning and its end: an outage of days must not bury the page.
fn shortened(lines: Vec<String>) -> Vec<String> {
    if lines.len() <= 2 * LINES_SHOWN + 1 {
        return lines;
    }
    let left_out = format!("… and {} more in between", lines.len() - 2 * LINES_SHOWN);
    let (first, last) = (&lines[..LINES_SHOWN], &lines[lines.len() - LINES_SHOWN..]);
    first.iter().cloned().chain([left_out]).chain(last.iter().cloned()).collect()
}

/// Lines shown of each end of a long list.
const LINES_SHOWN: usize = 5;
