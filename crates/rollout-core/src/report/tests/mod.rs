//! Owns the proof that the log tells what happened: whole rollouts driven through `decide` and `evolve`, and their pages.
//!
//! The pages are files under `snapshots/`; read those to see what a log looks like.

mod plans;
mod script;
mod structure;

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use jiff::tz::Offset;

use super::{LogOptions, event_name, log, sentence};
use crate::measurement::Measured;
use crate::{Command, EventKind, IncidentNumber, Input, PhaseNumber, RollbackScope};
use plans::{flag, guide};
use script::{Script, fault, hours, mins};

fn phase(number: u8) -> PhaseNumber {
    PhaseNumber::new(number).unwrap()
}

fn render(script: &Script) -> String {
    log(&script.events, LogOptions::default())
}

/// Everything goes well; phase 2 is left out by its precondition.
fn happy() -> Script {
    let mut script = Script::new(guide());
    script.tick_everything();
    script.run_for(hours(1));
    script.run_for(hours(24));
    script.order("bob", Command::Approve(phase(3)), "looked at the dashboard");
    script.run_for(hours(49));
    let item = String::from("restart");
    script.order("carol", Command::Check { phase: phase(3), item }, "killed a worker, it resumed");
    script.run_for(hours(1));
    script
}

/// The error rate rises just before T+6h of phase 1; the first writes of the safe values fail.
fn breach() -> Script {
    let mut script = Script::new(guide());
    script.tick_everything();
    script.run_for(hours(5) + mins(45));
    script.world.set("error_rate", Measured::Number(7.0));
    script.world.failing_writes = 2;
    script.run_for(hours(3));
    script
}

/// The breach, resolved and tried again with success.
fn retried() -> Script {
    let mut script = breach();
    script.world.set("error_rate", Measured::Number(0.4));
    script.run_for(hours(1));
    let incident = IncidentNumber::new(1).unwrap();
    script.order("alice", Command::ResolveIncident(incident), "bad index; rebuilt");
    script.order("alice", Command::Retry, "index is there");
    script.run_for(mins(1));
    script.tick_everything();
    script.run_for(hours(25));
    script
}

/// The machine is down over T+6h, and later the deployment answers nothing for a while.
fn outage() -> Script {
    let mut script = Script::new(guide());
    script.tick_everything();
    script.run_for(hours(5));
    script.engine_down_for(hours(3));
    script.run_for(hours(6));
    script.world.down = Some(fault("the deployment did not answer within 10 s"));
    script.run_for(hours(2));
    script.world.down = None;
    script.run_for(hours(24));
    script
}

/// Drift, a backward clock jump, a promotion, a skip by a person, an abort.
fn ordered() -> Script {
    let mut script = Script::new(guide());
    script.tick_everything();
    script.run_for(hours(2));
    script.world.flags.insert(flag("ENABLE_RETRY"), String::from("false"));
    script.run_for(hours(1));
    script.world.flags.insert(flag("ENABLE_RETRY"), String::from("true"));
    script.order("alice", Command::Resume, "set it back myself");
    script.input(Input::ClockJumped { by: -mins(5) });
    script.order("alice", Command::Resume, "ntp was wrong");
    script.order("alice", Command::Skip(phase(2)), "no provider this quarter");
    script.order("bob", Command::Hold, "release call");
    script.run_for(hours(1));
    script.order("bob", Command::Resume, "call is over");
    script.order("alice", Command::Promote, "hotfix must go out");
    script.run_for(hours(2));
    script.order("alice", Command::Approve(phase(3)), "fine");
    script.run_for(hours(2));
    script.order("alice", Command::Abort, "customer asked for a freeze");
    script.run_for(hours(1));
    script
}

/// The smoke test fails once and succeeds when it is run again.
fn smoke() -> Script {
    let mut script = happy_until_smoke();
    script.world.smoke_state = "failed";
    script.run_for(hours(1));
    script.world.smoke_state = "completed";
    script.order("alice", Command::Resume, "the queue was paused");
    script.run_for(hours(1));
    script
}

fn happy_until_smoke() -> Script {
    let mut script = Script::new(guide());
    script.tick_everything();
    script.order("bob", Command::Approve(phase(3)), "ok");
    script.run_for(hours(25));
    script.run_for(hours(48));
    let item = String::from("restart");
    script.order("carol", Command::Check { phase: phase(3), item }, "done");
    script
}

/// Phase 3 answers with another mode; then everything is rolled back.
fn contradicted() -> Script {
    let mut script = Script::new(guide());
    script.tick_everything();
    script.order("bob", Command::Approve(phase(3)), "ok");
    script.world.mode = "direct";
    script.run_for(hours(26));
    script.order("alice", Command::Rollback(RollbackScope::All), "start over next week");
    script.run_for(hours(1));
    script
}

/// The baseline is off its target and accepted; the deployment refuses writes; a breach during the final checks.
fn stubborn() -> Script {
    let mut script = Script::new(guide());
    script.world.set("alerts", Measured::Number(2.0));
    script.run_for(mins(20));
    script.order("alice", Command::Resume, "two known alerts");
    script.run_for(mins(20));
    script.world.set("alerts", Measured::Number(0.0));
    script.world.failing_writes = 2;
    script.tick_everything();
    script.run_for(hours(1));
    script.order("alice", Command::Promote, "low risk");
    script.run_for(mins(5));
    script.order("alice", Command::Approve(phase(3)), "low risk");
    script.run_for(hours(1));
    script.order("alice", Command::Promote, "low risk");
    script.world.smoke_state = "queued";
    script.run_for(mins(3));
    script.world.set("error_rate", Measured::Number(50.0));
    script.run_for(mins(3));
    script
}

fn all() -> [(&'static str, Script); 8] {
    [
        ("happy", happy()),
        ("breach", breach()),
        ("retried", retried()),
        ("outage", outage()),
        ("ordered", ordered()),
        ("smoke", smoke()),
        ("contradicted", contradicted()),
        ("stubborn", stubborn()),
    ]
}

#[test]
fn whole_rollouts_have_these_logs() {
    for (name, script) in all() {
        insta::assert_snapshot!(name, render(&script));
    }
}

#[test]
fn what_went_wrong_stands_where_people_look_for_it() {
    let late = render(&outage());
    assert!(late.contains("✅ pass, late by 1h 59m"), "{late}");
    assert!(late.contains("(3h 29m): the engine was not running for all or part of it"), "{late}");
    let broken = render(&breach());
    let row = broken.lines().find(|line| line.starts_with("| T+6h")).unwrap();
    assert!(row.contains("7 % 🔴") && row.ends_with("🔴 breach |"), "{row}");
    assert!(broken.contains("## Phase 1: ENABLE_PROMPT_ID, ENABLE_RETRY (ROLLED BACK)"));
    let again = render(&retried());
    assert!(again.contains("### Attempt 2") && again.contains("### Task 1.2.1"), "{again}");
    assert!(!again.contains("### Attempt 1"), "{again}");
    let orders = render(&ordered());
    assert!(orders.contains("⏭️ waived") && orders.contains("hotfix must go out"), "{orders}");
    assert!(render(&smoke()).contains("🔴 FAILED"));
    let set_aside = render(&stubborn());
    assert!(
        set_aside.contains("- Error Rate: 50 %, target < 1 %, alert threshold > 5 % 🔴 breach")
    );
    assert!(set_aside.contains("set aside by a rollback"), "{set_aside}");
    assert!(set_aside.contains("accepted (see Decisions)"), "{set_aside}");
}

#[test]
fn a_long_row_of_failures_is_cut_in_the_middle() {
    let mut script = Script::new(guide());
    script.tick_everything();
    script.world.failing_writes = 40;
    script.run_for(hours(3));
    let page = render(&script);
    assert_eq!(page.matches("the deployment is overloaded").count(), 10, "{page}");
    assert!(page.contains("- … and 30 more in between"), "{page}");
}

#[test]
fn an_unfinished_rollout_shows_what_is_still_open() {
    let mut script = Script::new(guide());
    insta::assert_snapshot!("unfinished_created", render(&script));
    script.run_for(mins(30));
    insta::assert_snapshot!("unfinished_gated", render(&script));
    script.tick_everything();
    script.run_for(hours(2));
    let page = render(&script);
    assert!(page.contains("⬜ not yet due"), "no open row:\n{page}");
    insta::assert_snapshot!("unfinished_baking", page);
}

#[test]
fn times_are_shown_at_the_offset_asked_for() {
    let script = breach();
    let offset = Offset::from_hours(-6).unwrap();
    let page = log(&script.events, LogOptions { offset });
    assert!(page.contains("**Started:** 2025-12-16 06:52 UTC-06:00"), "{page}");
    let (all, asked) = (page.matches("UTC").count(), page.matches("UTC-06:00").count());
    assert_eq!(all, asked, "a time in another offset:\n{page}");
}

#[test]
fn same_chain_same_bytes_and_every_beginning_of_a_chain_has_a_page() {
    for (name, script) in all() {
        assert_eq!(render(&script), render(&script), "{name}");
        for length in (1..script.events.len()).step_by(11) {
            let page = log(&script.events[..length], LogOptions::default());
            assert!(page.contains("## Quick Reference"), "{name}, {length} events");
            structure::skeleton(&page);
        }
    }
}

#[test]
fn a_list_that_is_no_journal_is_said_to_be_none() {
    let script = breach();
    let page = log(&script.events[1..], LogOptions::default());
    assert_eq!(page, log(&[], LogOptions::default()));
    assert!(page.contains("does not begin with the creation"));
}

#[test]
fn every_event_has_a_name_and_one_line() {
    let mut names = BTreeSet::new();
    for (_, script) in all() {
        for event in &script.events {
            let name = event_name(&event.kind);
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            names.insert(name);
            for plan in [None, Some(script.rollout.plan())] {
                let said = sentence(event, plan);
                assert!(!said.is_empty() && !said.contains('\n'), "{name}: {said:?}");
            }
        }
    }
    assert!(names.len() >= 37, "the scripts show only {}: {names:?}", names.len());
}

#[test]
fn sentences_read_like_this() {
    let telling = |script: &Script| {
        let quiet = |kind: &EventKind| {
            matches!(kind, EventKind::ReadingStarted { .. })
                || matches!(kind, EventKind::ReadingTaken { reading, .. } if reading.verdict == crate::Verdict::Pass)
        };
        let loud = script.events.iter().filter(|event| !quiet(&event.kind));
        let lines = loud.map(|event| sentence(event, Some(script.rollout.plan())));
        lines.collect::<Vec<_>>().join("\n")
    };
    let pages = all().map(|(name, script)| alloc::format!("== {name}\n{}", telling(&script)));
    insta::assert_snapshot!("sentences", pages.join("\n\n"));
}

#[test]
fn hostile_texts_keep_the_structure() {
    let calm = structure::troubled(plans::guide_with(""), "");
    let mean = "x|y `z`\n```\n\n# head\n| a | b |\n- [ ] <b>\u{1b}[2J & \\";
    let hostile = structure::troubled(plans::guide_with(mean), mean);
    let (calm, hostile) = (render(&calm), render(&hostile));
    assert_eq!(structure::skeleton(&calm), structure::skeleton(&hostile), "{hostile}");
    assert!(!hostile.contains('\u{1b}'), "a control character came through");
    for line in ["# head", "```\n\n# head"] {
        assert!(!hostile.lines().any(|seen| seen == line), "{line:?} came through:\n{hostile}");
    }
}

#[test]
fn only_flags_of_the_plan_are_shown_with_their_values() {
    let mut script = Script::new(guide());
    script.world.flags.insert(flag("LOG_PROVIDER_URL"), String::from("https://secret.example"));
    script.tick_everything();
    script.run_for(hours(30));
    let page = render(&script);
    assert!(page.contains("the variable is set"), "{page}");
    assert!(!page.contains("secret.example"), "a foreign value came through:\n{page}");
    for event in &script.events {
        assert!(!sentence(event, Some(script.rollout.plan())).contains("secret.example"));
    }
}
