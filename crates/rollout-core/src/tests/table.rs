//! The whole state × input table. It is generated, compared with `docs/state-machine.md`, and that page is what people read.
//!
//! `BLESS=1 cargo test -p rollout-core` writes the page anew.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use std::fs;
use std::path::Path;

use jiff::SignedDuration;

use super::fixtures::{hours, parts};
use super::world::{Link, World};
use crate::{
    Command, Event, EventKind, Fault, FaultClass, HoldReason, IncidentNumber, Input, Measured,
    Order, Outcome, PhaseNumber, Plan, Reading, Rejection, RollbackScope, Rollout, Stage, Status,
};

/// A state with its name in the table.
type Sample = (&'static str, World);

fn three() -> PhaseNumber {
    PhaseNumber::new(3).unwrap()
}

fn world() -> World {
    World::new(Plan::try_new(parts()).unwrap())
}

fn ticked() -> World {
    let mut world = world();
    world.order(Command::Check { phase: three(), item: "drill".into() }).unwrap();
    world.order(Command::Approve(three())).unwrap();
    world
}

fn reached(mut world: World, stage: Stage) -> World {
    world.until(stage.word(), |rollout| rollout.phases()[2].stage == stage);
    world
}

fn rolled_back() -> World {
    let mut world = reached(ticked(), Stage::Baking);
    world.errors = Measured::Number(7.0);
    let mut world = reached(world, Stage::RolledBack);
    world.errors = Measured::Number(0.1);
    world
}

/// One sample of every status and stage, and of every kind of hold that changes what is allowed.
fn samples() -> Vec<Sample> {
    let mut held = reached(ticked(), Stage::Baking);
    held.order(Command::Hold).unwrap();
    let mut drifted = reached(ticked(), Stage::Baking);
    drifted.env.insert(super::fixtures::flag("RETRY"), "false".into());
    drifted.until("held", Rollout::is_held);
    let mut refused = reached(ticked(), Stage::Enabling);
    refused.link = Link::Refused;
    refused.until("held", Rollout::is_held);
    refused.link = Link::Up;
    let mut rolling = reached(ticked(), Stage::Baking);
    rolling.order(Command::Rollback(RollbackScope::Latest)).unwrap();
    let mut resolved = rolled_back();
    resolved.order(Command::ResolveIncident(IncidentNumber::new(1).unwrap())).unwrap();
    let finish = |status: Status| {
        let mut world = reached(ticked(), Stage::Concluding);
        world.order(Command::Check { phase: three(), item: "restart".into() }).unwrap();
        world.until(status.word(), |rollout| rollout.status() == status);
        world
    };
    let mut aborted = world();
    aborted.order(Command::Abort).unwrap();
    let mut baseline = world();
    baseline.step();
    vec![
        ("scheduled", world()),
        ("baseline", baseline),
        ("preflight", reached(ticked(), Stage::Preflight)),
        ("gated", reached(world(), Stage::Gated)),
        ("enabling", reached(ticked(), Stage::Enabling)),
        ("enabling, held: key refused", refused),
        ("verifying", reached(ticked(), Stage::Verifying)),
        ("baking", reached(ticked(), Stage::Baking)),
        ("baking, held by a person", held),
        ("baking, held: drift", drifted),
        ("concluding", reached(ticked(), Stage::Concluding)),
        ("rolling back", rolling),
        ("recovering", {
            let mut world = reached(ticked(), Stage::Baking);
            world.order(Command::Rollback(RollbackScope::Latest)).unwrap();
            reached(world, Stage::Recovering)
        }),
        ("rolled back", rolled_back()),
        ("rolled back, incident resolved", resolved),
        ("final checks", finish(Status::FinalChecks)),
        ("completed", finish(Status::Completed)),
        ("aborted", aborted),
    ]
}

/// One input of every kind. Outcomes answer the first pending effect, and where there is none, one that nobody waits for.
fn inputs(world: &World) -> Vec<(&'static str, Input)> {
    let order =
        |command| Input::Ordered(Order { command, actor: "eve".into(), reason: "because".into() });
    let pending = world.rollout.pending();
    let late = crate::EffectKey { rollout: world.rollout.id(), seq: crate::Seq::FIRST };
    let key = pending.first().map_or(late, |pending| pending.key);
    let ended = |outcome| Input::EffectEnded { key, outcome };
    let fault = |class| Outcome::failed(Fault::new(class, None, "no"));
    let fault_of_all = Fault::new(FaultClass::Transient, None, "no");
    let blank = Reading::of(Err(fault_of_all), vec![], vec![]);
    vec![
        ("approve 3", order(Command::Approve(three()))),
        ("check 3 drill", order(Command::Check { phase: three(), item: "drill".into() })),
        ("check 3 restart", order(Command::Check { phase: three(), item: "restart".into() })),
        ("hold", order(Command::Hold)),
        ("resume", order(Command::Resume)),
        ("promote", order(Command::Promote)),
        ("skip 3", order(Command::Skip(three()))),
        ("retry", order(Command::Retry)),
        ("abort", order(Command::Abort)),
        ("rollback", order(Command::Rollback(RollbackScope::Latest))),
        ("rollback --all", order(Command::Rollback(RollbackScope::All))),
        ("incident resolve 1", order(Command::ResolveIncident(IncidentNumber::new(1).unwrap()))),
        ("deadline reached", Input::DeadlineReached),
        ("flags set", ended(Outcome::FlagsSet { wrote: vec![], already: vec![] })),
        ("reading without answers", ended(Outcome::Observed(blank))),
        ("function ran", ended(Outcome::Invoked { value: "task-1".into() })),
        (
            "window found",
            ended(Outcome::ChangeWindowFound { opens: world.now, closes: world.now + hours(1) }),
        ),
        ("failed: transient", ended(fault(FaultClass::Transient))),
        ("failed: permanent", ended(fault(FaultClass::Permanent))),
        ("failed: unknown", ended(fault(FaultClass::Unknown))),
        ("engine resumed", Input::EngineResumed { last_seen: world.now }),
        ("clock forward", Input::ClockJumped { by: hours(3) }),
        ("clock backward", Input::ClockJumped { by: -hours(3) }),
        ("breach seen between readings", Input::Stirred),
    ]
}

fn answer(decided: Result<Vec<Event>, Rejection>) -> String {
    match decided {
        Ok(events) if events.is_empty() => "—".to_string(),
        Ok(events) => events.iter().map(|event| name(&event.kind)).collect::<Vec<_>>().join(", "),
        Err(Rejection::NotNow { why, .. }) => format!("*refused*: {why}"),
        Err(other) => format!("*refused*: {other}"),
    }
}

fn name(kind: &EventKind) -> String {
    let debug = format!("{kind:?}");
    let name: String = debug.chars().take_while(|letter| letter.is_alphanumeric()).collect();
    match kind {
        EventKind::Held { hold } | EventKind::Released { hold } => {
            let reason: String =
                format!("{hold:?}").chars().take_while(|letter| letter.is_alphanumeric()).collect();
            format!("{name}({reason})")
        }
        EventKind::ReadingStarted { purpose } => {
            let purpose: String = format!("{purpose:?}")
                .chars()
                .take_while(|letter| letter.is_alphanumeric())
                .collect();
            format!("{name}({purpose})")
        }
        _ => name,
    }
}

fn page() -> String {
    let mut page = String::from(HEAD);
    for (state, world) in samples() {
        let allowed: Vec<_> =
            world.rollout.allowed().iter().map(|verb| format!("`{verb}`")).collect();
        page += &format!("\n## {state}\n\n");
        page += &format!(
            "Allowed: {}\n\n| input | events, or why not |\n| --- | --- |\n",
            allowed.join(" ")
        );
        for (input_name, input) in inputs(&world) {
            // A decision a little later than the last event, so that equal times hide nothing.
            let now = world.now + SignedDuration::from_millis(1);
            page += &format!("| {input_name} | {} |\n", answer(world.rollout.decide(now, input)));
        }
    }
    page
}

#[test]
fn the_page_is_the_machine() {
    let page = page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/state-machine.md");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(page.lines()).find(|(kept, page)| kept != page);
    assert!(
        kept == page,
        "docs/state-machine.md is not what the machine does; run BLESS=1. First difference: {differs:#?}"
    );
}

#[test]
fn every_stage_and_every_status_is_in_the_table() {
    let samples = samples();
    for stage in Stage::ALL {
        let seen = samples
            .iter()
            .any(|(_, world)| world.rollout.phases().iter().any(|state| state.stage == stage));
        assert!(seen, "no sample shows {}", stage.word());
    }
    for status in [
        Status::Scheduled,
        Status::Baseline,
        Status::Running,
        Status::FinalChecks,
        Status::Completed,
        Status::Aborted,
    ] {
        assert!(
            samples.iter().any(|(_, world)| world.rollout.status() == status),
            "no sample is {}",
            status.word()
        );
    }
    let drifted = samples.iter().flat_map(|(_, world)| world.rollout.holds());
    assert!(drifted.into_iter().any(|hold| matches!(hold.reason, HoldReason::Drift { .. })));
}

/// The beginning of the page.
const HEAD: &str = "# The state machine

Generated from the code by `BLESS=1 cargo test -p rollout-core`; a test compares it. One rollout of a plan with three phases:
phase 1 is plain, phase 2 is skipped for want of its precondition, phase 3 has an item to tick before (`drill`), an item after
(`restart`), an approval and a verification. Each section is a state; each row is an input and the events it is decided into.
`—` means that the input is accepted and changes nothing. Outcomes answer the first effect that the state waits for; where it
waits for none, they are late, and late outcomes are data.

Words: [glossary](glossary.md). How a decision becomes durable: [ARCHITECTURE](ARCHITECTURE.md).
";
