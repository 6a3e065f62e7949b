//! Owns the driver of the tests: a real rollout, a small world that answers its effects, and a clock that is a number.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use super::plans::off;
use crate::{
    Actor, Command, Creation, Effect, Event, Fault, FaultClass, FlagName, Input, Measured,
    Measurement, Observation, Order, Outcome, Plan, Probe, ProbeAnswer, ProbeKind, ProbeState,
    Proof, Reading, Rollout, RolloutId,
};

/// More steps than any script here takes.
const STEPS_MAX: usize = 5_000;

pub(super) fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

pub(super) fn mins(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

pub(super) fn fault(reason: &str) -> Fault {
    Fault::new(FaultClass::Transient, Some("ServiceUnavailable".to_string()), reason)
}

/// A rollout on its way, with everything that happened to it.
pub(super) struct Script {
    pub(super) rollout: Rollout,
    pub(super) events: Vec<Event>,
    pub(super) world: World,
    now: Timestamp,
}

/// What the deployment would answer.
pub(super) struct World {
    pub(super) flags: BTreeMap<FlagName, String>,
    values: BTreeMap<&'static str, Measured>,
    pub(super) mode: &'static str,
    pub(super) smoke_state: &'static str,
    pub(super) down: Option<Fault>,
    pub(super) failing_writes: u32,
    /// Stands after every text the deployment says.
    pub(super) mean: String,
}

impl Script {
    pub(super) fn new(plan: Plan) -> Self {
        Self::with(plan, "")
    }

    /// A script in whose world every text has `mean` at its end.
    pub(super) fn with(plan: Plan, mean: &str) -> Self {
        let now: Timestamp = "2025-12-16T12:52:00Z".parse().unwrap();
        let creation = Creation {
            id: RolloutId::FIRST,
            plan,
            digest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_string(),
            url: format!("https://veracious-alligator-638.convex.cloud{mean}"),
            start_at: now,
            actor: Actor::Person(format!("alice{mean}")),
            reason: format!("weekly rollout{mean}"),
        };
        let created = Rollout::create(now, creation);
        let rollout = Rollout::replay([&created]).unwrap();
        let values = BTreeMap::from([
            ("status", Measured::Text(format!("healthy{mean}"))),
            ("alerts", Measured::Number(0.0)),
            ("error_rate", Measured::Number(0.4)),
            ("version", Measured::Text(format!("1.31.0{mean}"))),
        ]);
        let flags = BTreeMap::from([(super::plans::flag("ENABLE_WORKFLOW"), off(mean))]);
        let mean = mean.to_string();
        let (mode, smoke_state) = ("workflow", "completed");
        let world = World { flags, values, mode, smoke_state, down: None, failing_writes: 0, mean };
        Self { rollout, events: Vec::from([created]), world, now }
    }

    pub(super) fn input(&mut self, input: Input) {
        for event in self.rollout.decide(self.now, input).unwrap() {
            self.rollout.evolve(&event);
            self.events.push(event);
        }
    }

    pub(super) fn order(&mut self, actor: &str, command: Command, reason: &str) {
        let mean = &self.world.mean;
        let (actor, reason) = (format!("{actor}{mean}"), format!("{reason}{mean}"));
        self.input(Input::Ordered(Order { command, actor, reason }));
    }

    /// Ticks every item before every phase that a person can tick now.
    pub(super) fn tick_everything(&mut self) {
        let plan = self.rollout.plan().clone();
        for (number, phase) in plan.numbered() {
            let open = self.rollout.phases()[number.index()].stage.is_before_enabling();
            for item in plan.items_before(phase).filter(|item| open && item.proof == Proof::Person)
            {
                let command = Command::Check { phase: number, item: item.name.clone() };
                self.order("alice", command, "read it twice");
            }
        }
    }

    /// Answers effects and keeps deadlines for so long; every answer takes a second.
    pub(super) fn run_for(&mut self, span: SignedDuration) {
        let end = self.now + span;
        for _ in 0..STEPS_MAX {
            if let Some(pending) = self.rollout.pending().into_iter().next() {
                self.now += SignedDuration::from_secs(1);
                let outcome = self.world.perform(&pending.effect);
                self.input(Input::EffectEnded { key: pending.key, outcome });
                continue;
            }
            match self.rollout.next_deadline().filter(|at| *at <= end) {
                Some(at) => {
                    self.now = self.now.max(at);
                    self.input(Input::DeadlineReached);
                }
                None => {
                    self.now = self.now.max(end);
                    return;
                }
            }
        }
        panic!("the script takes more than {STEPS_MAX} steps");
    }

    pub(super) fn engine_down_for(&mut self, span: SignedDuration) {
        let last_seen = self.now;
        self.now += span;
        self.input(Input::EngineResumed { last_seen });
    }
}

impl World {
    pub(super) fn set(&mut self, criterion: &'static str, measured: Measured) {
        self.values.insert(criterion, measured);
    }

    fn perform(&mut self, effect: &Effect) -> Outcome {
        match effect {
            Effect::Observe(observation) => match &self.down {
                Some(fault) => Outcome::failed(fault.clone()),
                None => Outcome::Observed(self.observe(observation)),
            },
            Effect::SetFlags { .. } if self.failing_writes > 0 => {
                self.failing_writes -= 1;
                let reason = format!("the deployment is overloaded{}", self.mean);
                Outcome::failed(fault(&reason))
            }
            Effect::SetFlags { changes, .. } => {
                let is_same = |flag: &FlagName, value: &String| self.flags.get(flag) == Some(value);
                let (already, wrote): (Vec<_>, Vec<_>) =
                    changes.iter().partition(|(flag, value)| is_same(flag, value));
                let names =
                    |part: Vec<(&FlagName, _)>| part.into_iter().map(|(f, _)| f.clone()).collect();
                let outcome = Outcome::FlagsSet { wrote: names(wrote), already: names(already) };
                self.flags.extend(changes.clone());
                outcome
            }
            Effect::Invoke { .. } => {
                Outcome::Invoked { value: format!("k576r5cybnqcrr6ffbf131bdad7xd7sx{}", self.mean) }
            }
            Effect::FindChangeWindow { from, .. } => {
                let opens = *from + mins(20);
                Outcome::ChangeWindowFound { opens, closes: opens + hours(8) }
            }
        }
    }

    fn observe(&self, observation: &Observation) -> Reading {
        let flags = observation.flags.iter();
        let wanted = observation.sources.iter().flat_map(|source| &source.metrics);
        let measured = |name: &str| self.values.get(name).cloned();
        let missing = || Measured::Missing("null".to_string());
        Reading::of(
            Ok(flags.map(|flag| (flag.clone(), self.flags.get(flag).cloned())).collect()),
            wanted
                .map(|metric| {
                    let found = measured(&metric.criterion).unwrap_or_else(missing);
                    Measurement::of(&metric.criterion, found)
                })
                .collect(),
            observation.probes.iter().map(|probe| self.answer(probe)).collect(),
        )
    }

    fn answer(&self, probe: &Probe) -> ProbeAnswer {
        let (met, found) = match &probe.kind {
            ProbeKind::VariableSet(flag) => {
                // An adapter that tells too much: the log must not pass it on.
                let value = self.flags.get(flag);
                (value.is_some(), value.cloned().unwrap_or_else(|| "null".to_string()))
            }
            ProbeKind::Function { pointer, .. } => match pointer.as_str() {
                "/mode" => (self.mode == "workflow", format!("\"{}\"{}", self.mode, self.mean)),
                "/status" if probe.name.starts_with("final") => {
                    let state = format!("{}{}", self.smoke_state, self.mean);
                    (self.smoke_state == "completed", format!("{state:?}"))
                }
                _ => (true, format!("healthy{}", self.mean)),
            },
        };
        let state = if met { ProbeState::Met } else { ProbeState::NotMet };
        ProbeAnswer { probe: probe.name.clone(), state, found }
    }
}
