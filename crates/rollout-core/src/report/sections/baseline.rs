//! Owns phase 0: flags off, metrics there, no alerts, as the last baseline reading found them.

use alloc::format;
use alloc::string::{String, ToString};

use super::super::Log;
use super::super::json;
use super::super::markdown::{Page, inline};
use super::super::story::reading;
use super::{decisions, health};
use crate::criterion::Verdict;
use crate::event::{Event, EventKind};
use crate::measurement::{JudgedReading, Purpose};
use crate::rollout::Status;

pub(super) fn write(page: &mut Page, log: &Log<'_>) {
    page.heading(2, &format!("Phase 0: Baseline ({})", standing(log)));
    let taken = reading(|purpose| purpose == Purpose::Baseline);
    match log.story.baseline.last(&taken) {
        Some((event, reading)) => tasks(page, log, event, reading),
        None => page.fields(&[("Status", "⬜ no reading yet".to_string())]),
    }
    let decisions = decisions(log, &log.story.baseline);
    if !decisions.is_empty() {
        page.heading(3, "Decisions");
        page.bullets(&decisions);
    }
}

fn standing(log: &Log<'_>) -> &'static str {
    let rollout = &log.story.rollout;
    match rollout.status() {
        _ if has_passed(log) => "COMPLETED",
        Status::Aborted => "ABORTED",
        Status::Scheduled => "SCHEDULED",
        _ if rollout.is_held() => "HELD",
        Status::Baseline | Status::Running | Status::FinalChecks | Status::Completed => {
            "IN PROGRESS"
        }
    }
}

fn has_passed(log: &Log<'_>) -> bool {
    log.story.baseline.time_of(|kind| matches!(kind, EventKind::BaselinePassed)).is_some()
}

fn tasks(page: &mut Page, log: &Log<'_>, event: &Event, found: &JudgedReading) {
    let plan = log.story.plan;
    let stamp = log.times.stamp(event.at);
    let count = log.story.baseline.all(reading(|purpose| purpose == Purpose::Baseline)).count();
    page.heading(3, "Task 0.1.1: Verify All Flags OFF");
    let timestamp = match count {
        1 => stamp.clone(),
        count => format!("{stamp} (reading {count}; the ones before did not pass)"),
    };
    page.fields(&[("Timestamp", timestamp), ("Status", flags_status(log, found))]);
    if let Ok(values) = &found.flags {
        let flags = plan.flags();
        page.fence("json", &json::object(&health::flag_entries(&flags, values)));
        if let Some(absent) = health::not_set(&flags, values) {
            page.paragraph(&absent);
        }
    }
    page.heading(3, "Task 0.1.2: Baseline Health Metrics");
    let status = match (found.verdict == Verdict::Pass, has_passed(log)) {
        (true, _) => "✅ DONE".to_string(),
        (false, true) => format!("{}, accepted (see Decisions)", health::verdict(found.verdict)),
        (false, false) => health::verdict(found.verdict),
    };
    page.fields(&[("Timestamp", stamp), ("Status", status)]);
    page.table(&health::baseline_table(plan, found));
    page.heading(3, "Task 0.1.3: Baseline Alerts");
    let off_target = health::off_target(plan, found);
    let status = match off_target.is_empty() {
        true => "✅ DONE - no criterion is off its target",
        false => "⚠️ off target:",
    };
    page.fields(&[("Status", status.to_string())]);
    page.bullets(&off_target);
}

fn flags_status(log: &Log<'_>, found: &JudgedReading) -> String {
    let values = match &found.flags {
        Ok(values) => values,
        Err(fault) => return format!("❌ could not be read: {}", inline(&fault.reason)),
    };
    let mut changes = log.story.plan.phases.iter().flat_map(|phase| &phase.flags);
    let off = changes.all(|(flag, change)| {
        let value = values.get(flag).and_then(|value| value.as_deref());
        value.is_none_or(|value| value == change.safe)
    });
    if off { "✅ DONE" } else { "🔴 NOT OFF" }.to_string()
}
