//! Owns the page of one rollout: where it is, its phases, what the current phase still needs, what was read last.

use std::fmt::Write;

use rollout_api::{
    BakeView, CheckpointView, FlagView, IncidentView, ItemView, ItemWhen, PhaseView, ReadingView,
    RolloutDetail,
};

use super::status::line;
use super::table::table;
use super::time::{length, local, local_with_offset, localized};
use super::wrap;
use crate::env::Env;

/// The whole page.
pub(crate) fn page(rollout: &RolloutDetail, env: &Env) -> String {
    let notice = rollout.notice.iter().map(|notice| format!("{notice}\n\n"));
    let mut page = format!("{}{}", notice.collect::<String>(), head(rollout, env));
    // Before the long tables: on a small terminal it is what people look for next.
    if !rollout.summary.is_ended() {
        let waits: Vec<_> = waits(rollout).iter().map(|wait| localized(wait, &env.zone)).collect();
        section(&mut page, "Waits for", &bullets(&waits, env));
    }
    section(&mut page, "Phases", &phases(&rollout.phases, env));
    if let Some(phase) = current(rollout) {
        section(
            &mut page,
            &format!("Phase {}: {}", phase.number, phase.name),
            &phase_page(
                phase,
                rollout.last_reading.as_ref().map(|reading| reading.at.as_str()),
                env,
            ),
        );
    }
    if let Some(reading) = &rollout.last_reading {
        let at = local(&reading.at, &env.zone);
        // Flags are not part of the verdict: it may be well while a hold says drift.
        let title = format!("Last reading, {at}, health: {}", reading.verdict);
        section(&mut page, &title, &reading_table(reading, env));
    }
    section(&mut page, "Incidents", &incidents(&rollout.incidents, env));
    section(&mut page, "Allowed now", &bullets(&[rollout.allowed.join(", ")], env));
    page
}

/// What it waits for, and what to do where the last reading could not see.
fn waits(rollout: &RolloutDetail) -> Vec<String> {
    let mut waits = rollout.waits.clone();
    let verdict = rollout.last_reading.as_ref().map(|reading| reading.verdict.as_str());
    if matches!(verdict, Some("error" | "no data")) {
        let id = &rollout.summary.id;
        waits.push(format!("health that can be read: `rolloutctl doctor {id}` says what to do"));
    }
    waits
}

/// Adds a section, unless there is nothing in it.
fn section(page: &mut String, title: &str, body: &str) {
    if !body.trim().is_empty() {
        // Writing into a text cannot fail.
        writeln!(page, "\n{title}\n{}", body.trim_end()).ok();
    }
}

fn bullets(lines: &[String], env: &Env) -> String {
    lines.iter().filter(|line| !line.is_empty()).map(|line| wrap::line(line, 2, env)).collect()
}

fn head(rollout: &RolloutDetail, env: &Env) -> String {
    let summary = &rollout.summary;
    let digest: String = rollout.digest.chars().take(12).collect();
    let mut rows = vec![
        ("plan", format!("{} (sha256 {digest}…)", summary.plan)),
        ("deployment", format!("{}, {}", summary.deployment, summary.url)),
        ("started", local_with_offset(&summary.created_at, &env.zone)),
    ];
    rows.extend(summary.next_check.as_ref().map(|at| ("next check", local(at, &env.zone))));
    let rows: String = rows.iter().map(|(name, value)| format!("  {name:<11} {value}\n")).collect();
    let state = wrap::line(&localized(&line(summary), &env.zone), 0, env);
    format!("{}\n{state}{rows}", summary.title)
}

fn phases(phases: &[PhaseView], env: &Env) -> String {
    let row = |phase: &PhaseView| {
        vec![
            phase.number.to_string(),
            phase.name.clone(),
            // In words, as everywhere: `rolled back`.
            phase.stage.replace('_', " "),
            phase.bake.as_ref().map(window).unwrap_or_default(),
            checkpoints_in_short(&phase.checkpoints),
        ]
    };
    let rows = phases.iter().map(row).collect();
    table(&["#", "PHASE", "STAGE", "OBSERVED", "CHECKPOINTS"], rows, 2, env)
}

/// Both clocks of a window: `6h of 24h, 98 %`.
fn window(bake: &BakeView) -> String {
    let share = match bake.coverage_bp % 100 {
        0 => (bake.coverage_bp / 100).to_string(),
        rest => format!("{}.{rest:02}", bake.coverage_bp / 100),
    };
    format!("{} of {}, {share} %", length(bake.observed_secs), length(bake.window_secs))
}

fn checkpoints_in_short(checkpoints: &[CheckpointView]) -> String {
    let judged = checkpoints.iter().filter(|checkpoint| checkpoint.verdict.is_some()).count();
    match checkpoints.len() {
        0 => String::new(),
        all => format!("{judged} of {all}"),
    }
}

/// The phase that the summary names, while the rollout lives.
fn current(rollout: &RolloutDetail) -> Option<&PhaseView> {
    let number = rollout.summary.phase.as_ref().filter(|_| !rollout.summary.is_ended())?.number;
    rollout.phases.iter().find(|phase| phase.number == number)
}

/// What is known of a flag. A value from before the last reading is not called its value now.
fn flag_words(flag: &FlagView, read_at: Option<&str>, env: &Env) -> String {
    let value = flag.seen.as_deref().unwrap_or("not set");
    match flag.seen_at.as_deref() {
        None => "is unknown, it was not read yet".to_string(),
        Some(at) if read_at.is_some_and(|read| at < read) => {
            format!("was {value} at {}, and could not be read since", local(at, &env.zone))
        }
        Some(_) => format!("is {value}"),
    }
}

fn phase_page(phase: &PhaseView, read_at: Option<&str>, env: &Env) -> String {
    let mut page = String::new();
    for flag in &phase.flags {
        let seen = flag_words(flag, read_at, env);
        page.push_str(&format!("  {} {seen} (on {}, safe {})\n", flag.name, flag.on, flag.safe));
    }
    if phase.attempt > 1 {
        page.push_str(&format!("  attempt {}\n", phase.attempt));
    }
    if phase.approvals_needed > 0 {
        let by = if phase.approved_by.is_empty() {
            "nobody yet".to_string()
        } else {
            phase.approved_by.join(", ")
        };
        page.push_str(&format!(
            "  approvals {} of {}: {by}\n",
            phase.approved_by.len(),
            phase.approvals_needed
        ));
    }
    page.push_str(&items(&phase.items, env));
    let rows = phase
        .checkpoints
        .iter()
        .map(|checkpoint| checkpoint_row(checkpoint, env))
        .collect::<Vec<_>>();
    if !rows.is_empty() && phase.checkpoints.iter().all(|checkpoint| checkpoint.due.is_none()) {
        let labels: Vec<_> =
            phase.checkpoints.iter().map(|checkpoint| checkpoint.label.as_str()).collect();
        page.push_str(&wrap::line(&format!("checkpoints {}", labels.join(", ")), 2, env));
    } else if !rows.is_empty() {
        page.push_str(&table(&["CHECKPOINT", "DUE", "JUDGED", "VERDICT"], rows, 2, env));
    }
    page
}

fn items(items: &[ItemView], env: &Env) -> String {
    let line = |item: &ItemView| {
        let mark = if item.done { 'x' } else { ' ' };
        let when = match item.when {
            ItemWhen::Before => "",
            ItemWhen::After => ", after enabling",
        };
        let by = match (&item.by, &item.at) {
            (Some(by), Some(at)) => format!(" — {by}, {}", local(at, &env.zone)),
            (Some(by), None) => format!(" — {by}"),
            (None, _) => String::new(),
        };
        format!("  [{mark}] {} ({}{when}){by}\n", item.text, item.name)
    };
    items.iter().map(line).collect()
}

fn checkpoint_row(checkpoint: &CheckpointView, env: &Env) -> Vec<String> {
    let moment =
        |at: &Option<String>| at.as_ref().map(|at| local(at, &env.zone)).unwrap_or_default();
    let late =
        checkpoint.late_secs.map(|secs| format!(", {} late", length(secs))).unwrap_or_default();
    vec![
        checkpoint.label.clone(),
        moment(&checkpoint.due),
        moment(&checkpoint.judged_at),
        checkpoint.verdict.as_ref().map(|verdict| format!("{verdict}{late}")).unwrap_or_default(),
    ]
}

fn reading_table(reading: &ReadingView, env: &Env) -> String {
    // A reason that several criteria share, a paused deployment above all, is said once, below.
    let reasons = || reading.values.iter().filter_map(|value| value.reason.as_ref());
    let mut shared: Vec<&String> = Vec::new();
    for reason in reasons() {
        if !shared.contains(&reason) && reasons().filter(|other| *other == reason).count() > 1 {
            shared.push(reason);
        }
    }
    let note = |reason: &String| shared.iter().position(|other| *other == reason);
    let row = |value: &rollout_api::ValueView| {
        vec![
            value.label.clone(),
            value.shown.clone(),
            value.target.clone().unwrap_or_default(),
            value.alert.clone().unwrap_or_default(),
            match &value.reason {
                Some(reason) => match note(reason) {
                    Some(number) => format!("{} [{}]", value.verdict, number + 1),
                    None => format!("{}: {reason}", value.verdict),
                },
                None => value.verdict.clone(),
            },
        ]
    };
    let rows = reading.values.iter().map(row).collect();
    let table = table(&["CRITERION", "VALUE", "TARGET", "ALERT", "VERDICT"], rows, 2, env);
    let notes = shared.iter().enumerate();
    let notes =
        notes.map(|(number, reason)| wrap::line(&format!("[{}] {reason}", number + 1), 2, env));
    table + &notes.collect::<String>()
}

fn incidents(incidents: &[IncidentView], env: &Env) -> String {
    let line = |incident: &IncidentView| {
        let phases: Vec<String> = incident.phases.iter().map(ToString::to_string).collect();
        let end = match (&incident.resolved_by, &incident.note) {
            (Some(by), Some(note)) => format!(" — {by}: {note}"),
            (Some(by), None) => format!(" — {by}"),
            (None, _) => String::new(),
        };
        let (number, state) = (incident.number, incident.state.words());
        let opened = local(&incident.opened_at, &env.zone);
        let phases = phases.join(", ");
        let words = format!("{number}  {opened}  {state}, phase {phases}: {}{end}", incident.cause);
        wrap::line(&words, 2, env)
    };
    incidents.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use rollout_api::{IncidentState, RolloutStatus};

    use super::*;
    use crate::render::samples;

    #[test]
    fn a_flag_that_could_not_be_read_is_not_called_off() {
        let mut rollout = samples::rollout();
        let flag = &mut rollout.phases[1].flags[0];
        flag.seen_at = Some("2025-12-17T17:00:00Z".into());
        let old = page(&rollout, &samples::env());
        let words = "was true at 2025-12-17 11:00, and could not be read since";
        assert!(old.contains(words), "{old}");
        let flag = &mut rollout.phases[1].flags[0];
        (flag.seen, flag.seen_at) = (None, None);
        let never = page(&rollout, &samples::env());
        assert!(never.contains("is unknown, it was not read yet"), "{never}");
    }

    #[test]
    fn the_page_of_a_rollout_in_its_second_window() {
        let page = page(&samples::rollout(), &samples::env());
        assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
        insta::assert_snapshot!(page, @r"
        Production Feature Rollout Log
        r1 running, phase 2/5 prompt-message-id: watching, next checkpoint T+6h
          plan        agent-flags (sha256 5891b5b522d5…)
          deployment  production, https://veracious-alligator-638.convex.cloud
          started     2025-12-16 06:52 (UTC-06:00)
          next check  2025-12-17 12:30

        Waits for
          the check at 2025-12-17 12:30:00
          health that can be read: `rolloutctl doctor r1` says what to do

        Phases
          #  PHASE               STAGE      OBSERVED                CHECKPOINTS
          1  retry-with-backoff  completed  24h of 24h, 100 %       1 of 1
          2  prompt-message-id   baking     5h 30m of 24h, 98.33 %  1 of 2

        Phase 2: prompt-message-id
          ENABLE_PROMPT_MESSAGE_ID is true (on true, safe false)
          approvals 1 of 1: ben
          [ ] Monitoring dashboard working (dashboard)
          [ ] Runbook reviewed (runbook)
          CHECKPOINT  DUE               JUDGED            VERDICT
          T+1h        2025-12-17 07:57  2025-12-17 07:57  warn, 7m late
          T+6h        2025-12-17 12:57

        Last reading, 2025-12-17 12:00, health: no data
          CRITERION      VALUE    TARGET     ALERT    VERDICT
          Health Status  healthy  = healthy           pass
          Error Rate     0.4 %    < 1        > 5      pass
          Response Time  —        < 5000     > 10000  no data: null

        Allowed now
          check, hold, promote, abort, rollback
        ");
    }

    #[test]
    fn an_ended_rollout_waits_for_nothing_and_keeps_its_incidents() {
        let mut rollout = samples::rollout();
        rollout.summary.status = RolloutStatus::Aborted;
        rollout.incidents.push(IncidentView {
            number: 1,
            opened_at: "2025-12-16T18:52:00Z".into(),
            phases: vec![2],
            cause: "error_rate is 7 %, alert threshold > 5".into(),
            state: IncidentState::Resolved,
            note: Some("bad index, fixed".into()),
            resolved_by: Some("ana".into()),
        });
        let page = page(&rollout, &samples::env());
        let incident = "  1  2025-12-16 12:52  resolved, phase 2: error_rate is 7 %, alert threshold > 5 — ana: bad index, fixed";
        assert!(page.contains(incident), "{page}");
        assert!(!page.contains("Waits for"), "{page}");
    }

    #[test]
    fn a_reason_that_all_criteria_share_is_said_once() {
        let mut rollout = samples::rollout();
        let paused = "deployment production is paused and runs no functions";
        let reading = rollout.last_reading.as_mut().unwrap();
        reading.verdict = "error".into();
        for value in &mut reading.values {
            (value.verdict, value.reason) = ("error".into(), Some(paused.into()));
        }
        rollout.phases[0].stage = "rolled_back".into();
        rollout.phases[1].checkpoints.iter_mut().for_each(|checkpoint| checkpoint.due = None);
        let page = page(&rollout, &samples::env());
        assert_eq!(page.matches(paused).count(), 1, "{page}");
        for part in [
            "error [1]\n",
            "  [1] deployment production is paused",
            ", health: error\n",
            "`rolloutctl doctor r1` says what to do",
            "  rolled back  ",
            "  checkpoints T+1h, T+6h\n",
        ] {
            assert!(page.contains(part), "no {part:?} in\n{page}");
        }
    }
}
