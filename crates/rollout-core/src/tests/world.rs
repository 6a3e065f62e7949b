//! A small world for tests: one deployment, a clock, and the shell's loop around one rollout.
//!
//! Every event goes through the naive model as well, so each scenario checks the invariants on its way.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use super::fixtures::flag;
use super::model::Model;
use crate::{
    Actor, Basis, Command, Creation, Effect, Event, EventKind, Extent, Fault, FaultClass, FlagName,
    Input, Measured, Measurement, Observation, Order, Outcome, PendingEffect, Plan, ProbeAnswer,
    ProbeKind, ProbeState, Reading, Rejection, Rollout, RolloutId, Source, Written,
};

/// How the deployment behaves.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Link {
    Up,
    /// Reads and writes fail; nothing happens.
    Down,
    /// Writes land, but the answer is lost.
    AnswersLost,
    /// The key was revoked.
    Refused,
}

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) rollout: Rollout,
    pub(super) journal: Vec<Event>,
    pub(super) env: BTreeMap<FlagName, String>,
    pub(super) errors: Measured,
    /// Error rates of stretches of time, for sources that are asked about a range: the worst one that the range touches.
    pub(super) history: Vec<(Timestamp, Timestamp, Measured)>,
    pub(super) mode: String,
    pub(super) task: String,
    pub(super) link: Link,
    /// Flags cannot be read, all else can.
    pub(super) flags_hidden: bool,
    /// Functions that probes ask are not there.
    pub(super) unanswered: bool,
    /// Every write that changed something, with its time.
    pub(super) writes: Vec<(Timestamp, FlagName, String)>,
    /// The last write of each variable, as the deployment tells; empty = it does not.
    pub(super) written: BTreeMap<FlagName, Written>,
    /// The last push of code.
    pub(super) pushed_at: Option<Timestamp>,
    /// Batches sent, whatever they changed.
    pub(super) batches: usize,
    pub(super) invocations: usize,
    model: Model,
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        let now: Timestamp = "2026-11-22T06:00:00Z".parse().unwrap();
        let creation = Creation {
            id: RolloutId::FIRST,
            plan,
            digest: "d".into(),
            url: "http://localhost".into(),
            start_at: now,
            actor: Actor::Person("ada".into()),
            reason: "start".into(),
        };
        let event = Rollout::create(now, creation);
        let rollout = Rollout::replay([&event]).unwrap();
        let model = Model::new(&event);
        Self {
            now,
            rollout,
            journal: vec![event],
            env: BTreeMap::new(),
            errors: Measured::Number(0.4),
            history: Vec::new(),
            mode: "workflow".into(),
            task: "success".into(),
            link: Link::Up,
            flags_hidden: false,
            unanswered: false,
            writes: Vec::new(),
            written: BTreeMap::new(),
            pushed_at: None,
            batches: 0,
            invocations: 0,
            model,
        }
    }

    /// Judges one input the way the engine does, and checks every event against the model.
    pub(super) fn input(&mut self, input: Input) -> Result<Vec<Event>, Rejection> {
        let events = self.rollout.decide(self.now, input)?;
        for event in &events {
            self.rollout.evolve(event);
            self.model.follow(event, &self.rollout);
            self.journal.push(event.clone());
        }
        self.model.settle(&self.rollout);
        Ok(events)
    }

    pub(super) fn order(&mut self, command: Command) -> Result<Vec<Event>, Rejection> {
        let order = Order { command, actor: "ada".into(), reason: "because".into() };
        self.input(Input::Ordered(order))
    }

    /// Somebody else sets a flag.
    pub(super) fn foreign_edit(&mut self, name: &str, value: &str) {
        self.env.insert(flag(name), value.into());
        self.written.insert(flag(name), Written { at: self.now, by: Some("bob".into()) });
    }

    /// Performs everything pending and lets the next deadline come; false when there is neither.
    pub(super) fn step(&mut self) -> bool {
        if let Some(pending) = self.rollout.pending().into_iter().next() {
            self.perform(&pending);
            return true;
        }
        let Some(deadline) = self.rollout.next_deadline() else { return false };
        self.now = self.now.max(deadline);
        let events = self.input(Input::DeadlineReached).unwrap();
        assert!(!events.is_empty(), "the deadline {deadline} came and nothing followed");
        true
    }

    /// Performs one effect and takes its outcome in.
    pub(super) fn perform(&mut self, pending: &PendingEffect) {
        let outcome = self.outcome(&pending.effect);
        self.input(Input::EffectEnded { key: pending.key, outcome }).unwrap();
    }

    /// Steps until `done` holds. Fails when it never does.
    pub(super) fn until(&mut self, what: &str, done: impl Fn(&Rollout) -> bool) {
        for _ in 0..20_000 {
            if done(&self.rollout) {
                return;
            }
            assert!(self.step(), "nothing more happens, and still not: {what}");
        }
        panic!("not within 20,000 steps: {what}; waits: {:?}", self.rollout.waits());
    }

    /// Steps until the clock shows `by` later, and no step is due before.
    pub(super) fn pass(&mut self, by: SignedDuration) {
        let end = self.now + by;
        for _ in 0..100_000 {
            let idle = self.rollout.pending().is_empty();
            if idle && self.rollout.next_deadline().is_none_or(|at| at > end) {
                break;
            }
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// Waits as `pass`, with the engine down: nothing is asked, nothing performed.
    pub(super) fn down_for(&mut self, by: SignedDuration) {
        let last_seen = self.now;
        self.now += by;
        self.input(Input::EngineResumed { last_seen }).unwrap();
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.env.get(&flag(name)).map(String::as_str)
    }

    /// The kinds of events that `pick` wants, in order.
    pub(super) fn events<T>(&self, pick: impl Fn(&Event) -> Option<T>) -> Vec<T> {
        self.journal.iter().filter_map(pick).collect()
    }

    pub(super) fn count(&self, wanted: impl Fn(&EventKind) -> bool) -> usize {
        self.journal.iter().filter(|event| wanted(&event.kind)).count()
    }

    fn outcome(&mut self, effect: &Effect) -> Outcome {
        let fault = |class, reason: &str| Outcome::failed(Fault::new(class, None, reason));
        match effect {
            Effect::Observe(wanted) => Outcome::Observed(self.read(wanted)),
            Effect::SetFlags { changes, .. } => match self.link {
                Link::Down => fault(FaultClass::Transient, "connection refused"),
                Link::Refused => fault(FaultClass::Permanent, "BadAdminKey"),
                Link::Up | Link::AnswersLost => {
                    let (wrote, already) = self.write(changes);
                    match self.link {
                        Link::AnswersLost => fault(FaultClass::Unknown, "connection lost"),
                        Link::Up | Link::Down | Link::Refused => {
                            Outcome::FlagsSet { wrote, already }
                        }
                    }
                }
            },
            Effect::Invoke { .. } => match self.link {
                Link::Down => fault(FaultClass::Transient, "connection refused"),
                Link::Refused => fault(FaultClass::Permanent, "BadAdminKey"),
                Link::AnswersLost => {
                    self.invocations += 1;
                    fault(FaultClass::Unknown, "connection lost")
                }
                Link::Up => {
                    self.invocations += 1;
                    Outcome::Invoked { value: "task-1".into() }
                }
            },
            Effect::FindChangeWindow { .. } => {
                let opens = self.now + SignedDuration::from_hours(3);
                Outcome::ChangeWindowFound { opens, closes: opens + SignedDuration::from_hours(2) }
            }
        }
    }

    fn write(&mut self, changes: &BTreeMap<FlagName, String>) -> (Vec<FlagName>, Vec<FlagName>) {
        let (already, wrote): (Vec<_>, Vec<_>) =
            changes.keys().cloned().partition(|flag| self.env.get(flag) == changes.get(flag));
        self.batches += usize::from(!wrote.is_empty());
        for flag in &wrote {
            self.env.insert(flag.clone(), changes[flag].clone());
            self.written
                .insert(flag.clone(), Written { at: self.now, by: Some("rolloutd".into()) });
            self.writes.push((self.now, flag.clone(), changes[flag].clone()));
        }
        (wrote, already)
    }

    /// The error rate, of the range that the arguments name where they do: `{"from":1,"to":2}`.
    fn errors_of(&self, args: &str) -> Measured {
        let numbers: Vec<i64> = args
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|part| part.parse().ok())
            .collect();
        let [from, to] = numbers[..] else { return self.errors.clone() };
        let [from, to] = [from, to].map(|ms| Timestamp::from_millisecond(ms).unwrap());
        let now = self.now.max(self.rollout.last_at());
        assert!(from < to && to <= now, "asked about {from} to {to} at {now}");
        let touched = self.history.iter().filter(|(begin, end, _)| *begin < to && from < *end);
        touched.map(|(_, _, errors)| errors.clone()).next().unwrap_or_else(|| self.errors.clone())
    }

    fn read(&self, wanted: &Observation) -> Reading {
        let failure = match self.link {
            Link::Up | Link::AnswersLost => None,
            Link::Down => Some(Fault::new(FaultClass::Transient, None, "connection refused")),
            Link::Refused => Some(Fault::new(FaultClass::Permanent, None, "BadAdminKey")),
        };
        let flags = wanted.flags.iter().map(|flag| (flag.clone(), self.env.get(flag).cloned()));
        let metrics = wanted
            .sources
            .iter()
            .flat_map(|source| source.metrics.iter().map(move |metric| (source, metric)));
        let measurements = metrics.map(|(source, metric)| {
            let measured = match (&failure, metric.criterion.as_str(), &source.ask) {
                (Some(fault), ..) => Measured::Failed(fault.reason.clone()),
                (None, "errors", Source::Function(call)) => self.errors_of(&call.args),
                (None, "errors", _) => self.errors.clone(),
                (None, ..) => Measured::Number(0.0),
            };
            let basis = source.ask.calls().map(|calls| {
                let (from, to) =
                    (source.span.from.max(source.span.to - calls.over), source.span.to);
                // As the adapter: whole minutes, without the one that is still filling.
                let whole = SignedDuration::from_mins(to.duration_since(from).as_mins() - 1);
                let to = match &source.ask {
                    Source::AppMetrics(_) => from + whole.max(SignedDuration::ZERO),
                    _ => to,
                };
                Basis { from, to, samples: None, extent: Extent::Whole }
            });
            Measurement { criterion: metric.criterion.clone(), measured, basis }
        });
        let probes = wanted.probes.iter().map(|probe| {
            let found = match &probe.kind {
                ProbeKind::VariableSet(name) => {
                    self.env.get(name).map_or("not set", |_| "set").to_string()
                }
                ProbeKind::Function { call, .. } if call.path == "tasks:get" => {
                    alloc::format!("{:?}", self.task)
                }
                ProbeKind::Function { .. } if self.unanswered => "no such function".to_string(),
                ProbeKind::Function { .. } => alloc::format!("{:?}", self.mode),
            };
            let state = match &failure {
                Some(_) => ProbeState::Failed,
                None if found == "no such function" => ProbeState::Failed,
                None if ["set", "\"workflow\"", "\"success\""].contains(&found.as_str()) => {
                    ProbeState::Met
                }
                None => ProbeState::NotMet,
            };
            ProbeAnswer { probe: probe.name.clone(), state, found }
        });
        let measurements = measurements.collect();
        let probes = probes.collect();
        let flags = match failure {
            None if self.flags_hidden => {
                Err(Fault::new(FaultClass::Transient, None, "flags could not be read"))
            }
            None => Ok(flags.collect()),
            Some(fault) => Err(fault),
        };
        let (writes, push) = match &flags {
            Ok(_) => (self.written.clone(), self.pushed_at),
            Err(_) => (BTreeMap::new(), None),
        };
        Reading { writes, push, ..Reading::of(flags, measurements, probes) }
    }
}
