//! Owns the frame of one phase: its heading, what it is for, its attempts, and the way back.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::super::Log;
use super::super::markdown::{Page, inline};
use super::super::shell;
use super::super::story::{Attempt, person, pick};
use super::super::time::words;
use super::attempt;
use crate::event::{EventKind, HowCompleted};
use crate::id::PhaseNumber;
use crate::plan::Phase;
use crate::rollout::{Stage, Status, offset_label};

pub(super) fn write(page: &mut Page, log: &Log<'_>, number: PhaseNumber, planned: &Phase) {
    let attempts = log.story.phases.get(number.index()).map(Vec::as_slice).unwrap_or_default();
    let flags = planned.flags.keys().map(|flag| inline(flag.as_str())).collect::<Vec<_>>();
    let standing = attempts.last().map(|last| standing(log, last)).unwrap_or_default();
    page.heading(2, &format!("Phase {number}: {} ({standing})", flags.join(", ")));
    page.paragraph(&format!(
        "**Purpose:** {} · **Risk:** {} · **Rollback Impact:** {}",
        or_dash(&planned.purpose),
        planned.risk.word(),
        or_dash(&planned.rollback_impact),
    ));
    if let Some(last) = attempts.last() {
        skipped(page, log, last);
        if last.state.stage == Stage::Pending && attempts.len() == 1 {
            let status = ("Status", "⬜ NOT STARTED".to_string());
            page.fields(&[status, ("Planned", planned_words(planned))]);
        }
    }
    for attempt in attempts {
        attempt::write(page, log, attempt);
    }
    page.heading(3, "Rollback Command");
    page.fence("bash", &shell::restore(planned));
}

fn or_dash(text: &str) -> String {
    if text.trim().is_empty() { "-".to_string() } else { inline(text) }
}

fn planned_words(planned: &Phase) -> String {
    let labels: Vec<String> = planned.checkpoints.iter().map(|at| offset_label(*at)).collect();
    match (planned.bake.is_zero(), labels.is_empty()) {
        (true, _) => "verified, not watched".to_string(),
        (false, true) => format!("watched for {}", words(planned.bake)),
        (false, false) => {
            format!("watched for {}, checkpoints {}", words(planned.bake), labels.join(", "))
        }
    }
}

/// How the phase stands, as its heading says it.
fn standing(log: &Log<'_>, last: &Attempt<'_>) -> String {
    let rollout = &log.story.rollout;
    let word = match last.state.stage {
        Stage::Completed => match last.state.completed {
            Some((_, HowCompleted::Promoted)) => "COMPLETED BY PROMOTION",
            Some((_, HowCompleted::Kept)) | None => "COMPLETED",
        },
        Stage::Skipped => "SKIPPED",
        Stage::RolledBack => "ROLLED BACK",
        Stage::RollingBack | Stage::Recovering => "ROLLING BACK",
        Stage::Pending if last.started_at().is_none() => "NOT STARTED",
        _ if rollout.status() == Status::Aborted => "ABORTED",
        Stage::Gated => "WAITING FOR GATES",
        Stage::Pending
        | Stage::Preflight
        | Stage::Enabling
        | Stage::Verifying
        | Stage::Baking
        | Stage::Concluding => "IN PROGRESS",
    };
    let is_current = rollout.status() == Status::Running && rollout.current() == Some(last.phase);
    let told_already = last.state.stage == Stage::RolledBack || last.state.stage.is_rolling_back();
    match is_current && rollout.is_held() && !told_already {
        true => format!("{word}, HELD"),
        false => word.to_string(),
    }
}

fn skipped(page: &mut Page, log: &Log<'_>, last: &Attempt<'_>) {
    let skip = last.chapter.last(pick!(EventKind::PhaseSkipped { why, .. } => why));
    if let Some((event, why)) = skip {
        let by = person(event).map_or_else(|| "the plan's precondition".to_string(), inline);
        page.fields(&[
            ("Timestamp", log.times.stamp(event.at)),
            ("Status", format!("⏭️ SKIPPED - {}", inline(why))),
            ("Decided By", by),
        ]);
    }
}
