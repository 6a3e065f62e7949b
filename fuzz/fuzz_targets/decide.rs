//! A script over one rollout, driven by bytes: orders, outcomes of every kind, time, crashes, clock jumps, foreign edits.
//!
//! After each step: times do not run backward, nothing is stuck, effects have names of their own, a flag is written on only
//! while its phase is enabled or on, and every event survives its encoding. At the end, the journal replays to the same
//! state and can be told.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use rollout_core::{
    Actor, Command, Creation, Effect, Event, Fault, FaultClass, FlagName, IncidentNumber, Input,
    LogOptions, Measured, Measurement, Observation, Order, Outcome, PendingEffect, PhaseNumber,
    Plan, ProbeAnswer, ProbeState, Reading, RollbackScope, Rollout, RolloutId, Stage, WritePurpose,
    Written, log, sentence,
};
use rollout_engine::store::record::{decode_event, encode_event};

const GUIDE: &str = include_str!("../../examples/guide.toml");
/// Every kind of gate in two short phases; `MISSED` is replaced.
const GATES: &str = r#"
name = "gates"
deployment = "production"
[watch]
checks = [{ every = "30m" }]
missed = "MISSED"
drift = "DRIFT"
code_push = "PUSH"
[sources]
health = { function = "a:health", args = { from = "$from", to = "$to" } }
[[criteria]]
name = "errors"
source = "health"
pointer = "/errors"
unit = "percent"
target = "< 1"
alert = "> 5"
[[checklist]]
name = "runbook"
text = "Runbook reviewed"
[[phases]]
name = "first"
flags = ["ONE", "TWO"]
bake = "6h"
checkpoints = ["1h", "6h"]
approvals = 1
after = [{ name = "restart", text = "Restarted" }]
[[phases]]
name = "second"
flags = { THREE = { on = "on", safe = "off" } }
bake = "2h"
checkpoints = ["1h"]
change_window = { cron = "0 9 * * 1-5", lasts = "8h", zone = "America/Chicago" }
[smoke]
create = "tasks:create"
poll = "tasks:get"
"#;

struct Script<'a> {
    bytes: &'a [u8],
    now: Timestamp,
    rollout: Rollout,
    journal: Vec<Event>,
    env: BTreeMap<FlagName, String>,
    late: Option<(PendingEffect, u8)>,
}

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    let missed = ["extend", "hold", "backfill", "fail"][usize::from(first / 2) % 4];
    let drift = ["hold", "revert", "adopt"][usize::from(first / 8) % 3];
    let push = ["hold", "extend", "rebaseline"][usize::from(first / 24) % 3];
    let gates = GATES.replace("MISSED", missed).replace("DRIFT", drift).replace("PUSH", push);
    let text = if first % 2 == 0 { GUIDE.to_owned() } else { gates };
    let plan = rollout_api::plan::parse(&text).expect("the plans of this target are good");
    Script::new(plan, bytes).run();
});

impl<'a> Script<'a> {
    fn new(plan: Plan, bytes: &'a [u8]) -> Self {
        let now: Timestamp = "2026-11-22T06:00:00Z".parse().expect("a moment");
        let creation = Creation {
            id: RolloutId::FIRST,
            plan,
            digest: "d".to_owned(),
            url: "http://localhost".to_owned(),
            start_at: now,
            actor: Actor::Person("ada".to_owned()),
            reason: "start".to_owned(),
        };
        let event = Rollout::create(now, creation);
        let rollout = Rollout::replay([&event]).expect("it begins with its creation");
        Self { bytes, now, rollout, journal: vec![event], env: BTreeMap::new(), late: None }
    }

    fn run(mut self) {
        for _ in 0..400 {
            let Some(op) = self.byte() else { break };
            let how = self.byte().unwrap_or(0);
            self.act(op % 16, how);
        }
        let again = Rollout::replay(&self.journal).expect("it begins with its creation");
        assert_eq!(format!("{again:?}"), format!("{:?}", self.rollout), "replayed otherwise");
        let page = log(&self.journal, LogOptions::default());
        assert_eq!(page, log(&self.journal, LogOptions::default()));
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn act(&mut self, op: u8, how: u8) {
        match op {
            0..=4 => self.perform(how),
            5 => self.input(Input::Stirred),
            6..=8 => {
                if let Some(at) = self.rollout.next_deadline() {
                    self.now = self.now.max(at);
                }
                self.input(Input::DeadlineReached);
            }
            9 => {
                self.now += SignedDuration::from_mins(i64::from(how) * 7);
                self.input(Input::DeadlineReached);
            }
            10 | 11 => self.order(how),
            12 => {
                let last_seen = self.now;
                self.now += SignedDuration::from_mins(i64::from(how) * 11);
                self.rollout = Rollout::replay(&self.journal).expect("it begins with its creation");
                self.input(Input::EngineResumed { last_seen });
            }
            13 => {
                let by = SignedDuration::from_mins(i64::from(how) * 3 - 380);
                self.now = self.now.checked_add(by).unwrap_or(self.now);
                self.input(Input::ClockJumped { by });
            }
            14 => {
                let flags = self.rollout.plan().flags();
                let flag = flags[usize::from(how) % flags.len()].clone();
                let value = ["true", "false", "on", "off", "?"][usize::from(how / 8) % 5];
                self.env.insert(flag, value.to_owned());
            }
            _ => {
                if let Some((pending, how)) = self.late.take() {
                    let outcome = self.outcome(&pending.effect, how);
                    self.input(Input::EffectEnded { key: pending.key, outcome });
                }
            }
        }
    }

    fn input(&mut self, input: Input) {
        let Ok(events) = self.rollout.decide(self.now, input) else { return };
        for event in events {
            assert!(event.at >= self.rollout.last_at(), "time ran backward: {event:?}");
            let bytes = encode_event(&event).expect("events of a checked plan fit");
            let read = decode_event(&bytes).expect("what was written can be read");
            assert_eq!(format!("{read:?}"), format!("{event:?}"));
            assert!(!sentence(&event, Some(self.rollout.plan())).is_empty());
            self.rollout.evolve(&event);
            self.journal.push(event);
        }
        self.check();
    }

    fn check(&self) {
        assert!(!self.rollout.is_stuck(), "nothing will wake it: {:?}", self.rollout);
        let pending = self.rollout.pending();
        let keys: BTreeSet<_> = pending.iter().map(|pending| pending.key).collect();
        assert_eq!(keys.len(), pending.len(), "two effects of one name");
        let stages: Vec<Stage> = self.rollout.phases().iter().map(|phase| phase.stage).collect();
        for pending in &pending {
            if let Effect::SetFlags { purpose: WritePurpose::Enable, changes } = &pending.effect {
                assert!(self.rollout.rollback().is_none());
                for (flag, value) in changes {
                    self.may_write(flag, value, &stages);
                }
            }
        }
        assert!(stages.iter().filter(|stage| stage.is_exposed()).count() <= 1, "{stages:?}");
        if !self.rollout.status().is_terminal() {
            assert!(!self.rollout.waits().is_empty(), "waits for nothing");
        }
    }

    /// A flag gets its on value only while its phase is enabled or on, by the plan or by setting it back.
    fn may_write(&self, flag: &FlagName, value: &str, stages: &[Stage]) {
        let phases = self.rollout.plan().phases.iter().zip(stages);
        let mut owners = phases.filter_map(|(phase, stage)| Some((phase.flags.get(flag)?, stage)));
        let (change, stage) = owners.next().expect("only flags of the plan are written");
        let on = [Stage::Enabling, Stage::Baking, Stage::Concluding, Stage::Completed];
        assert!(
            value == change.safe || value == change.on && on.contains(stage),
            "{flag} {stage:?}"
        );
    }

    fn perform(&mut self, how: u8) {
        let pending = self.rollout.pending();
        let Some(pending) = pending.get(usize::from(how) % pending.len().max(1)).cloned() else {
            return;
        };
        let outcome = self.outcome(&pending.effect, how);
        let key = pending.key;
        self.late = Some((pending, how));
        self.input(Input::EffectEnded { key, outcome });
    }

    fn outcome(&mut self, effect: &Effect, how: u8) -> Outcome {
        let fault = |class| Outcome::failed(Fault::new(class, None, "because"));
        match (how % 16, effect) {
            (13, _) => fault(FaultClass::Transient),
            (14, _) => fault(FaultClass::Permanent),
            (15, _) => fault(FaultClass::Unknown),
            (_, Effect::Observe(observation)) => Outcome::Observed(self.reading(observation, how)),
            (_, Effect::SetFlags { changes, .. }) => {
                let changes = changes.iter().map(|(flag, value)| (flag.clone(), value.clone()));
                let (wrote, already) = changes
                    .clone()
                    .partition::<Vec<_>, _>(|(flag, value)| self.env.get(flag) != Some(value));
                self.env.extend(changes);
                let names =
                    |flags: Vec<(FlagName, String)>| flags.into_iter().map(|(flag, _)| flag);
                Outcome::FlagsSet {
                    wrote: names(wrote).collect(),
                    already: names(already).collect(),
                }
            }
            (_, Effect::Invoke { .. }) => Outcome::Invoked { value: "task".to_owned() },
            (_, Effect::FindChangeWindow { from, .. }) => {
                let opens = *from + SignedDuration::from_mins(i64::from(how) * 5);
                let closes = opens + SignedDuration::from_hours(8);
                Outcome::ChangeWindowFound { opens, closes }
            }
        }
    }

    fn reading(&self, asked: &Observation, how: u8) -> Reading {
        let measured = match how / 16 {
            0..=7 => Measured::Number(0.4),
            8 | 9 => Measured::Number(2.0),
            10 => Measured::Number(9.0),
            11 => Measured::Number(f64::NAN),
            12 => Measured::Missing("null".to_owned()),
            13 => Measured::Failed("threw".to_owned()),
            14 => Measured::Text("healthy".to_owned()),
            _ => Measured::Number(0.0),
        };
        let metrics = asked.sources.iter().flat_map(|source| &source.metrics);
        let probe = |name: &str| ProbeAnswer {
            probe: name.to_owned(),
            state: match how % 7 {
                0 => ProbeState::NotMet,
                1 => ProbeState::Failed,
                _ => ProbeState::Met,
            },
            found: "\"success\"".to_owned(),
        };
        let values = asked.flags.iter().map(|flag| (flag.clone(), self.env.get(flag).cloned()));
        let flags = match how % 11 {
            0 => Err(Fault::new(FaultClass::Transient, None, "503")),
            _ => Ok(values.collect()),
        };
        let measured = metrics.map(|metric| Measurement::of(&metric.criterion, measured.clone()));
        let probes = asked.probes.iter().map(|asked| probe(&asked.name)).collect();
        // Writes and pushes of five moments: known ones, and news.
        let moment = |from: u8| Timestamp::from_second(1_700_000_000 + i64::from(from % 5)).ok();
        let written =
            |flag: &FlagName| Some((flag.clone(), Written { at: moment(how / 3)?, by: None }));
        Reading {
            writes: asked.flags.iter().filter_map(written).collect(),
            push: moment(how / 7),
            ..Reading::of(flags, measured.collect(), probes)
        }
    }

    fn order(&mut self, how: u8) {
        let number = |from: u8| PhaseNumber::new(from % 5 + 1).expect("from 1 on");
        let items = ["runbook", "restart", "drill", "nope"];
        let incident = |from: u8| IncidentNumber::new(u32::from(from % 3) + 1).expect("from 1 on");
        let more = how / 16;
        let command = match how % 16 {
            0 => Command::Hold,
            1 | 2 => Command::Resume,
            3 | 4 => Command::Approve(number(more)),
            5..=7 => Command::Check {
                phase: number(more),
                item: items[usize::from(more) % items.len()].to_owned(),
            },
            8 => Command::Promote,
            9 => Command::Skip(number(more)),
            10 => Command::Retry,
            11 => Command::Abort,
            12 => Command::Rollback(RollbackScope::Latest),
            13 => Command::Rollback(RollbackScope::All),
            _ => Command::ResolveIncident(incident(more)),
        };
        let order = Order { command, actor: "ada".to_owned(), reason: "because".to_owned() };
        self.input(Input::Ordered(order));
    }
}
