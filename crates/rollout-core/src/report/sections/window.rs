//! Owns the bake window on the page: checkpoints, a count of the checks, and the gaps in words.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use super::super::Log;
use super::super::markdown::{Page, Table, inline};
use super::super::sentence::gap_words;
use super::super::story::{Attempt, Chapter, reading};
use super::super::time::words;
use super::health;
use crate::cadence::saturating_add;
use crate::criterion::Verdict;
use crate::event::{EventKind, GapCause, HowCompleted, RollbackCause};
use crate::measurement::{JudgedReading, Purpose};
use crate::rollout::offset_label;

pub(super) fn write(page: &mut Page, log: &Log<'_>, attempt: &Attempt<'_>) {
    if attempt.bake_at().is_none() {
        return;
    }
    let window = attempt.window();
    page.heading(3, "Monitoring Checkpoints");
    match attempt.planned.checkpoints.is_empty() {
        true => page.paragraph("None planned."),
        false => page.table(&checkpoints(log, attempt, &window)),
    }
    page.heading(3, "Checks");
    page.paragraph(&checks(log, attempt, &window));
    page.heading(3, "Gaps");
    let gaps = gaps(log, &window);
    match gaps.is_empty() {
        true => page.paragraph(no_gaps(attempt)),
        false => page.bullets(&gaps),
    }
}

/// What settled a checkpoint.
struct Settled<'a> {
    at: Timestamp,
    verdict: Verdict,
    reading: Option<&'a JudgedReading>,
    /// Whether the sources were asked about a moment that was missed.
    looked_back: bool,
}

fn checkpoints(log: &Log<'_>, attempt: &Attempt<'_>, window: &Chapter<'_>) -> Table {
    let counted = attempt.counted(log.story.plan.code_push);
    let (started, since) = counted.unwrap_or((Timestamp::MAX, Chapter::default()));
    let criteria = &log.story.plan.criteria;
    let labels: Vec<String> = criteria.iter().map(|criterion| inline(&criterion.label)).collect();
    let heads = ["Checkpoint", "Time"].into_iter().chain(labels.iter().map(String::as_str));
    let mut table = Table::new(heads.chain(["Status"]));
    for offset in &attempt.planned.checkpoints {
        let due = saturating_add(started, *offset);
        let settled = settled(attempt, &since, window, *offset, due);
        let reading = settled.as_ref().and_then(|settled| settled.reading);
        let values = criteria.iter().map(|criterion| {
            reading.map(|reading| health::marked(criterion, reading)).unwrap_or_default()
        });
        let (time, status) = match &settled {
            Some(settled) => (log.times.stamp(settled.at), judged_words(log, settled, due)),
            None => (String::new(), open_words(log, attempt, *offset, due)),
        };
        let cells = [offset_label(*offset), time].into_iter().chain(values);
        table.row(cells.chain([status]));
    }
    table
}

/// The verdict of a checkpoint with the reading that settled it; a breach that began the rollback settles what was due.
fn settled<'a>(
    attempt: &Attempt<'a>,
    since: &Chapter<'a>,
    window: &Chapter<'a>,
    offset: SignedDuration,
    due: Timestamp,
) -> Option<Settled<'a>> {
    let any = reading(|_| true);
    let (mut latest, mut at_breach, mut looked_back) = (None, None, false);
    for event in &since.0 {
        if let EventKind::ReadingTaken { purpose, .. } = &event.kind {
            looked_back = matches!(purpose, Purpose::Backfill(_));
        }
        if let Some(reading) = any(&event.kind) {
            latest = Some(reading);
        }
        if let EventKind::CheckpointJudged { offset: judged, verdict, .. } = &event.kind
            && *judged == offset
        {
            return Some(Settled { at: event.at, verdict: *verdict, reading: latest, looked_back });
        }
        if let EventKind::RollbackStarted { .. } = &event.kind
            && at_breach.is_none()
        {
            at_breach = Some((event.at, latest, looked_back));
        }
    }
    let (at, reading, looked_back) = at_breach?;
    let breached = reading.is_some_and(|reading| reading.verdict == Verdict::Breach);
    let in_window = window.0.last().is_some_and(|last| last.at == at) && is_open_ended(attempt);
    (breached && in_window && due <= at).then_some(Settled {
        at,
        verdict: Verdict::Breach,
        reading,
        looked_back,
    })
}

/// True when the window had neither ended nor been cut short.
fn is_open_ended(attempt: &Attempt<'_>) -> bool {
    let ends = |kind: &EventKind| {
        matches!(kind, EventKind::BakeEnded { .. } | EventKind::PhaseCompleted { .. })
    };
    attempt.chapter.time_of(ends).is_none()
}

fn judged_words(log: &Log<'_>, settled: &Settled<'_>, due: Timestamp) -> String {
    let late = settled.at.duration_since(due);
    let verdict = health::verdict(settled.verdict);
    match (settled.looked_back, late > log.story.plan.grace) {
        (true, _) => format!("{verdict}, told by the sources {} later", words(late)),
        (false, true) => format!("{verdict}, late by {}", words(late)),
        (false, false) => verdict,
    }
}

fn open_words(
    log: &Log<'_>,
    attempt: &Attempt<'_>,
    offset: SignedDuration,
    due: Timestamp,
) -> String {
    let at = log.times.stamp(due);
    let missed = |kind: &EventKind| {
        let EventKind::RollbackStarted { cause, .. } = kind else { return None };
        let RollbackCause::Missed { offset: missed, .. } = cause else { return None };
        (*missed == offset).then_some(())
    };
    if attempt.chapter.first(missed).is_some() {
        return format!("❌ missed (due {at})");
    }
    let promoted = attempt.chapter.first(promoted).is_some();
    let over = attempt.rollback_at().is_some();
    match (promoted, over) {
        (true, _) => format!("⏭️ waived (due {at})"),
        (false, true) => format!("⬜ not reached (due {at})"),
        (false, false) if due <= log.story.rollout.last_at() => format!("⬜ overdue (due {at})"),
        (false, false) => format!("⬜ not yet due ({at})"),
    }
}

fn promoted(kind: &EventKind) -> Option<()> {
    let promoted = matches!(kind, EventKind::PhaseCompleted { how: HowCompleted::Promoted, .. });
    promoted.then_some(())
}

fn checks(log: &Log<'_>, attempt: &Attempt<'_>, window: &Chapter<'_>) -> String {
    let any = reading(|_| true);
    let verdicts: Vec<Verdict> = window.all(any).map(|(_, reading)| reading.verdict).collect();
    let count = |verdict| verdicts.iter().filter(|seen| **seen == verdict).count();
    let all = [Verdict::Pass, Verdict::Warn, Verdict::NoData, Verdict::Error, Verdict::Breach];
    let counts = all.map(|verdict| format!("{} {verdict}", count(verdict))).join(", ");
    let readings = match verdicts.len() {
        1 => "1 reading".to_string(),
        count => format!("{count} readings"),
    };
    let Some(bake) = &attempt.state.bake else { return format!("{readings}: {counts}.") };
    let coverage = match attempt.state.completed {
        Some((coverage, _)) => coverage,
        None => bake.coverage(),
    };
    let extension = match bake.extension.is_zero() {
        true => "not extended".to_string(),
        false => format!("extended by {}", words(bake.extension)),
    };
    format!(
        "{readings}: {counts}. Coverage {coverage} of {}. Window from {} {}, {extension}.",
        words(bake.window),
        log.times.stamp(bake.started_at),
        window_end(log, attempt, bake.ends_at()),
    )
}

fn window_end(log: &Log<'_>, attempt: &Attempt<'_>, planned: Timestamp) -> String {
    let planned = log.times.stamp(planned);
    let ended = attempt.chapter.time_of(|kind| matches!(kind, EventKind::BakeEnded { .. }));
    let promoted = attempt.chapter.first(promoted).map(|(event, ())| event.at);
    match (ended, promoted, attempt.rollback_at()) {
        (Some(at), _, _) => format!("to {}", log.times.stamp(at)),
        (None, Some(at), _) => {
            format!("to {} by promotion (planned until {planned})", log.times.stamp(at))
        }
        (None, None, Some(at)) => {
            format!("to {} by rollback (planned until {planned})", log.times.stamp(at))
        }
        (None, None, None) => format!("until {planned}"),
    }
}

fn gaps(log: &Log<'_>, window: &Chapter<'_>) -> Vec<String> {
    let line = |from: &Timestamp, to: &Timestamp, cause: &GapCause, afterwards: &str| {
        let (begin, end) = (log.times.stamp(*from), log.times.stamp(*to));
        let lasted = words(to.duration_since(*from));
        format!("From {begin} to {end} ({lasted}): {}{afterwards}", inline(&gap_words(cause)))
    };
    let lines = window.0.iter().filter_map(|event| {
        if let EventKind::GapRecorded { from, to, cause, .. } = &event.kind {
            return Some(line(from, to, cause, ""));
        }
        let EventKind::GapBackfilled { from, to, cause, .. } = &event.kind else { return None };
        Some(line(from, to, cause, "; the sources told about it afterwards"))
    });
    lines.collect()
}

fn no_gaps(attempt: &Attempt<'_>) -> &'static str {
    let ended = attempt.chapter.time_of(|kind| matches!(kind, EventKind::BakeEnded { .. }));
    match (ended, attempt.chapter.first(promoted), attempt.rollback_at()) {
        (Some(_), _, _) => {
            "None: the window was observed without a gap of more than two check intervals."
        }
        (None, Some(_), _) => "None of more than two check intervals until the promotion.",
        (None, None, Some(_)) => "None of more than two check intervals until the rollback.",
        (None, None, None) => "None so far.",
    }
}
