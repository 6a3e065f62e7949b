//! Owns the top of the page: what was rolled out where, since when, and how it stands.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::super::Log;
use super::super::markdown::{Page, inline};
use super::who_when_why;
use crate::event::EventKind;
use crate::rollout::{Stage, Status};

/// Hex digits of the plan's digest that are shown.
const DIGEST_SHOWN: usize = 12;

pub(super) fn write(page: &mut Page, log: &Log<'_>) {
    let story = &log.story;
    let (rollout, plan) = (&story.rollout, story.plan);
    let begun = story.baseline.time_of(|kind| matches!(kind, EventKind::BaselineStarted));
    let started = match (begun, &story.created.kind) {
        (Some(at), _) => log.times.stamp(at),
        (None, EventKind::RolloutCreated { start_at, .. }) => {
            format!("not yet; may start {}", log.times.stamp(*start_at))
        }
        (None, _) => "not yet".to_string(),
    };
    let digest: String = rollout.digest().chars().take(DIGEST_SHOWN).collect();
    page.heading(1, &inline(&plan.title));
    page.fields(&[
        ("Deployment URL", inline(rollout.url())),
        ("Started", started),
        ("Total Phases", plan.phases.len().to_string()),
        ("Rollout", rollout.id().to_string()),
        ("Plan", format!("{} ({})", inline(&plan.name), inline(&digest))),
        ("Ordered By", who_when_why(log, story.created)),
        ("Status", status(log)),
    ]);
}

fn status(log: &Log<'_>) -> String {
    let rollout = &log.story.rollout;
    let as_of = log.times.stamp(rollout.last_at());
    let stands = match rollout.status() {
        Status::Completed => return format!("✅ COMPLETED {}; {}", ended_at(log), counts(log)),
        Status::Aborted => return format!("🛑 ABORTED {}; {}", ended_at(log), counts(log)),
        Status::Scheduled => "⬜ SCHEDULED".to_string(),
        Status::Baseline => "⏳ IN PROGRESS, baseline".to_string(),
        Status::FinalChecks => "⏳ IN PROGRESS, final checks".to_string(),
        Status::Running => match rollout.current() {
            Some(number) => {
                let stage = rollout.phases()[number.index()].stage;
                let stage = stage.word().replace('_', " ");
                format!("⏳ IN PROGRESS, phase {number} of {} ({stage})", rollout.phases().len())
            }
            None => "⏳ IN PROGRESS".to_string(),
        },
    };
    let holds: Vec<String> =
        rollout.holds().iter().map(|hold| inline(&rollout.hold_words(hold))).collect();
    let held = match holds.is_empty() {
        true => String::new(),
        false => format!("; HELD: {}", holds.join("; ")),
    };
    format!("{stands}{held}; as of {as_of}")
}

fn ended_at(log: &Log<'_>) -> String {
    let rollout = &log.story.rollout;
    log.times.stamp(rollout.ended_at().unwrap_or(rollout.last_at()))
}

/// How the phases ended: `4 completed, 1 skipped`.
fn counts(log: &Log<'_>) -> String {
    let phases = log.story.rollout.phases();
    let count = |stage| phases.iter().filter(|state| state.stage == stage).count();
    let ended =
        [Stage::Completed, Stage::Skipped, Stage::RolledBack].map(|stage| (count(stage), stage));
    let other = phases.len() - ended.iter().map(|(count, _)| count).sum::<usize>();
    let named = ended.iter().map(|(count, stage)| (*count, stage.word().replace('_', " ")));
    let all = named.chain([(other, "not done".to_string())]).filter(|(count, _)| *count > 0);
    all.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}
