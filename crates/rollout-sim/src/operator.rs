//! Owns the people: one who starts rollouts, one who orders at random, and a diligent one who looks after everything.
//!
//! They see what people see (the answers to their requests), and what they are told is remembered by the outsider.

#![expect(clippy::wildcard_enum_match_arm, reason = "all other holds are waved on alike")]

use std::collections::BTreeMap;

use rollout_core::{
    Command, HoldReason, IncidentNumber, Order, PhaseNumber, ProbeState, Proof, Purpose,
    RollbackScope, Rollout, RolloutId, Stage,
};
use rollout_engine::{Created, EngineError, Handle, NewRollout};

use crate::dice::Dice;
use crate::world::{Shared, World};

/// What became of a request to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Start {
    /// Not asked for yet, or nobody answered, or it has to wait for another rollout.
    #[default]
    Open,
    /// It was started, and a person knows its id.
    Told(RolloutId),
    /// It can never be started.
    Refused,
}

/// What the diligent one remembers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// How often the same trouble was waved on, per rollout.
    waved: BTreeMap<RolloutId, u32>,
}

/// Starts the rollout with this place in the script, or finds out that it was started before.
pub(crate) async fn start(world: Shared, handle: Handle, place: usize, new: NewRollout) {
    let key = new.idempotency_key.clone();
    let answer = handle.create(new).await;
    let mut world = world.lock();
    world.note(|| format!("start {place}: {}", told(&answer)));
    match answer {
        Ok(created) => {
            let id = created.rollout().id();
            world.observer.acknowledged(id, 1, "the start");
            if let (Start::Told(before), Some(key)) = (world.starts[place], key)
                && before != id
            {
                let why = format!("idempotency: {key} gave {before}, and now {id}");
                world.observer.require(Err(why));
            }
            world.starts[place] = Start::Told(id);
        }
        Err(EngineError::KeyReused(_) | EngineError::ChangeWindow { .. }) => {
            world.starts[place] = Start::Refused;
        }
        Err(_) => {}
    }
}

fn told(answer: &Result<Created, EngineError>) -> String {
    match answer {
        Ok(Created::New(rollout)) => format!("{} is new", rollout.id()),
        Ok(Created::Before(rollout)) => format!("{} was there", rollout.id()),
        Err(error) => error.to_string(),
    }
}

/// Gives one order and remembers what was answered.
pub(crate) async fn order(world: &Shared, handle: &Handle, id: RolloutId, order: Order) {
    let what = format!("{:?}", order.command);
    let answer = handle.order(id, order).await;
    let mut world = world.lock();
    match answer {
        Ok(obeyed) => {
            let last = obeyed.entries.last().map(|entry| entry.seq.get());
            world.note(|| format!("{id} {what}: obeyed up to {last:?}"));
            if let Some(seq) = last {
                world.observer.acknowledged(id, seq, &what);
            }
        }
        Err(error) => world.note(|| format!("{id} {what}: {error}")),
    }
}

/// An order at random.
pub(crate) fn random_order(world: &mut World) -> Option<(RolloutId, Order)> {
    let ids: Vec<RolloutId> = world.observer.views.keys().copied().collect();
    if ids.is_empty() {
        return None;
    }
    let id = world.dice.pick(&ids);
    let dice = &mut world.dice;
    let phase = PhaseNumber::new(u8::try_from(dice.number(1, 4)).unwrap_or(1))?;
    let command = match dice.number(0, 15) {
        0 | 1 => Command::Hold,
        2 | 3 => Command::Resume,
        4 => Command::Approve(phase),
        5 => {
            let item = dice.pick(&["drill", "runbook", "restart", "alerts", "nope"]);
            Command::Check { phase, item: item.to_owned() }
        }
        6 | 7 => Command::Promote,
        8 => Command::Skip(phase),
        9 | 10 => Command::Retry,
        11 => Command::Abort,
        12 | 13 => Command::Rollback(RollbackScope::Latest),
        14 => Command::Rollback(RollbackScope::All),
        _ => {
            let number = u32::try_from(dice.number(1, 3)).unwrap_or(1);
            Command::ResolveIncident(IncidentNumber::new(number)?)
        }
    };
    let actor = dice.pick(&["ada", "bob", "cyd"]).to_owned();
    Some((id, Order { command, actor, reason: "at random".into() }))
}

/// What a person orders who wants a phase back at once.
pub(crate) fn regret(world: &mut World, id: RolloutId) -> (RolloutId, Order) {
    let command = world.dice.pick(&[
        Command::Rollback(RollbackScope::Latest),
        Command::Rollback(RollbackScope::All),
        Command::Abort,
    ]);
    (id, Order { command, actor: "bob".into(), reason: "not now".into() })
}

/// The diligent one looks at everything and does what is asked of people.
pub(crate) async fn visit(world: Shared, handle: Handle) {
    if let Ok(status) = handle.status().await
        && !status.stuck.is_empty()
    {
        let why = format!("invariant 9: the engine itself calls {:?} stuck", status.stuck);
        world.lock().observer.require(Err(why));
    }
    let Ok(all) = handle.list().await else { return };
    for rollout in all {
        let orders = {
            let mut world = world.lock();
            set_back(&mut world, &rollout);
            wishes(&mut world, &rollout)
        };
        for (actor, command) in orders {
            let given = Order { command, actor: actor.into(), reason: "looked after".into() };
            order(&world, &handle, rollout.id(), given).await;
        }
    }
}

/// Puts right what somebody else has changed.
fn set_back(world: &mut World, rollout: &Rollout) {
    let held = |reason: &HoldReason| rollout.holds().iter().any(|hold| hold.reason == *reason);
    let baseline =
        rollout.holds().iter().any(|hold| matches!(hold.reason, HoldReason::Baseline { .. }));
    // An adopted value may not be what the app itself understands.
    let denied = rollout.watch().last.as_ref().is_some_and(|(_, purpose, reading)| {
        let mut answers = reading.probes.iter();
        *purpose == Purpose::Final && answers.any(|answer| answer.state == ProbeState::NotMet)
    });
    let plan = rollout.plan();
    for (number, phase) in plan.numbered() {
        let stage = rollout.phases()[number.index()].stage;
        for (flag, change) in &phase.flags {
            let drifted = held(&HoldReason::Drift { flag: flag.clone() });
            if !drifted && !baseline && !denied {
                continue;
            }
            let on = matches!(stage, Stage::Baking | Stage::Concluding | Stage::Completed);
            let value = if on { &change.on } else { &change.safe };
            world.edit(&plan.deployment, flag.as_str(), Some(value.clone()));
        }
    }
}

/// What a person would now order.
fn wishes(world: &mut World, rollout: &Rollout) -> Vec<(&'static str, Command)> {
    let mut orders = Vec::new();
    let open = rollout.incidents().iter().filter(|incident| incident.resolved.is_none());
    for incident in open.filter(|incident| incident.restored_at.is_some()) {
        orders.push(("ada", Command::ResolveIncident(incident.number)));
    }
    if rollout.status().is_terminal() {
        return orders;
    }
    hold_wishes(world, rollout, &mut orders);
    let last = rollout.watch().last.as_ref();
    let unwell = last.is_some_and(|(_, _, reading)| !reading.verdict.is_well());
    if unwell && world.trouble_over {
        // Something that is not this rollout's may be ill for good.
        let waved = world.memory.waved.entry(rollout.id()).or_default();
        *waved += 1;
        if *waved > UNWELL_MAX {
            orders.push(("ada", Command::Abort));
        }
    }
    let Some(number) = rollout.current() else { return orders };
    let (Some(planned), state) = (rollout.plan().phase(number), &rollout.phases()[number.index()])
    else {
        return orders;
    };
    let before = rollout.plan().items_before(planned).filter(|_| state.stage.is_before_enabling());
    let after = planned.after.iter().filter(|_| state.stage.is_exposed());
    for item in before.chain(after).filter(|item| item.proof == Proof::Person) {
        if !state.ticked.contains_key(&item.name) {
            orders.push(("bob", Command::Check { phase: number, item: item.name.clone() }));
        }
    }
    if state.stage.is_before_enabling() {
        let missing = usize::from(planned.approvals).saturating_sub(state.approved_by.len());
        let people = ["ada", "bob", "cyd"].into_iter();
        let people = people.filter(|actor| !state.approved_by.contains(*actor)).take(missing);
        orders.extend(people.map(|actor| (actor, Command::Approve(number))));
    }
    orders
}

fn hold_wishes(world: &mut World, rollout: &Rollout, orders: &mut Vec<(&'static str, Command)>) {
    let rolled_back =
        |number: &PhaseNumber| rollout.phases()[number.index()].stage == Stage::RolledBack;
    for hold in rollout.holds() {
        match &hold.reason {
            HoldReason::RolledBack { .. } if rollout.rollback().is_none() => {
                let numbers = rollout.plan().numbered().map(|(number, _)| number);
                let phases: Vec<_> = numbers.filter(rolled_back).collect();
                let attempts = phases.iter().map(|phase| rollout.phases()[phase.index()].attempt);
                match attempts.max().unwrap_or(0) < ATTEMPTS_MAX {
                    true => orders.push(("ada", Command::Retry)),
                    false => {
                        orders.extend(phases.into_iter().map(|p| ("ada", Command::Skip(p))));
                    }
                }
            }
            HoldReason::RolledBack { .. } | HoldReason::Blind { .. } => {}
            HoldReason::CoverageShort { .. } => orders.push(("ada", Command::Promote)),
            // One for each late checkpoint, so there are few; whoever lost patience over them would not do so without a crash.
            HoldReason::Missed { .. } => orders.push(("ada", Command::Resume)),
            _ => {
                let waved = world.memory.waved.entry(rollout.id()).or_default();
                *waved += 1;
                let gives_up = *waved % UNWELL_MAX > WAVED_MAX;
                let command = if gives_up { Command::Abort } else { Command::Resume };
                orders.push(("ada", command));
            }
        }
    }
}

/// Seed-independent limits of a person's patience: attempts at a phase, and how often the same rollout is waved on.
const ATTEMPTS_MAX: u32 = 3;
const WAVED_MAX: u32 = 12;
const UNWELL_MAX: u32 = 300;

/// When the people come, drawn before the run.
pub(crate) fn visits_every(dice: &mut Dice) -> i64 {
    dice.pick(&[13, 47, 95])
}
