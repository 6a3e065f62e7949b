//! Random scripts against the naive model: plans, commands, faults, restarts and clock jumps in any order. After every event
//! the model checks the design's invariants; at the end faults stop, and the rollout must come to rest.

use alloc::vec;
use alloc::vec::Vec;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::fixtures::{flag, hours, minutes, parts, ranged};
use super::world::{Link, World};
use crate::{
    Command, EventKind, HoldReason, IncidentNumber, Input, Measured, MissedPolicy, PhaseNumber,
    Plan, PlanParts, RollbackScope, Rollout, Stage, Status,
};

#[derive(Clone, Debug)]
enum Act {
    Step,
    Pass(i64),
    Order(Command),
    Down(i64),
    Jump(i64),
    Health(f64),
    Blind,
    Link(Link),
    Drift(usize),
    Mode(&'static str),
    Task(&'static str),
    RepeatEffect,
    LogProvider,
}

fn number() -> impl Strategy<Value = PhaseNumber> {
    (1u8..=4).prop_map(|number| PhaseNumber::new(number).unwrap())
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        1 => Just(Command::Hold),
        3 => Just(Command::Resume),
        2 => number().prop_map(Command::Approve),
        4 => (number(), prop_oneof![Just("drill"), Just("restart"), Just("nope")])
            .prop_map(|(phase, item)| Command::Check { phase, item: item.into() }),
        1 => Just(Command::Promote),
        1 => number().prop_map(Command::Skip),
        2 => Just(Command::Retry),
        1 => Just(Command::Abort),
        1 => Just(Command::Rollback(RollbackScope::Latest)),
        1 => Just(Command::Rollback(RollbackScope::All)),
        2 => (1u32..4).prop_map(|number| Command::ResolveIncident(IncidentNumber::new(number).unwrap())),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => Just(Act::Step),
        6 => (1i64..2_000).prop_map(Act::Pass),
        6 => command().prop_map(Act::Order),
        2 => (1i64..3_000).prop_map(Act::Down),
        1 => (-300i64..300).prop_map(Act::Jump),
        3 => prop_oneof![Just(0.1), Just(2.0), Just(7.0), Just(f64::NAN)].prop_map(Act::Health),
        1 => Just(Act::Blind),
        3 => prop_oneof![Just(Link::Up), Just(Link::Down), Just(Link::AnswersLost), Just(Link::Refused)]
            .prop_map(Act::Link),
        1 => (0usize..3).prop_map(Act::Drift),
        1 => prop_oneof![Just("workflow"), Just("direct")].prop_map(Act::Mode),
        1 => prop_oneof![Just("success"), Just("failed"), Just("pending")].prop_map(Act::Task),
        2 => Just(Act::RepeatEffect),
        1 => Just(Act::LogProvider),
    ]
}

impl World {
    fn act(&mut self, act: Act) {
        match act {
            Act::Step => drop(self.step()),
            Act::Pass(count) => self.pass(minutes(count)),
            Act::Order(command) => drop(self.order(command)),
            Act::Down(count) => self.down_for(minutes(count)),
            Act::Jump(count) => {
                self.now += minutes(count);
                self.input(Input::ClockJumped { by: minutes(count) }).unwrap();
            }
            Act::Health(value) => self.errors = Measured::Number(value),
            Act::Blind => self.errors = Measured::Failed("boom".into()),
            Act::Link(link) => self.link = link,
            Act::Drift(which) => {
                let name = flag(["RETRY", "LOGS", "WORKFLOW"][which]);
                let other = if self.env.get(&name).map(|value| value.as_str()) == Some("true") {
                    "false"
                } else {
                    "true"
                };
                self.env.insert(name, other.into());
            }
            Act::Mode(mode) => self.mode = mode.into(),
            Act::Task(task) => self.task = task.into(),
            // A crash between performing and recording: the effect happens, and is asked for again.
            Act::RepeatEffect => {
                if let Some(pending) = self.rollout.pending().first().cloned() {
                    let (before, journal) = (self.rollout.clone(), self.journal.len());
                    self.perform(&pending);
                    if self.rollout.pending().first() != Some(&pending)
                        && journal < self.journal.len()
                    {
                        assert_eq!(
                            before.pending().first(),
                            Some(&pending),
                            "pending is a function of the state"
                        );
                    }
                    self.perform(&pending);
                }
            }
            Act::LogProvider => {
                drop(self.env.insert(flag("LOG_PROVIDER_URL"), "https://logs".into()))
            }
        }
    }

    /// Ends all faults and answers whatever a person is asked for, until the rollout rests.
    fn come_to_rest(&mut self) {
        self.link = Link::Up;
        self.errors = Measured::Number(0.1);
        self.mode = "workflow".into();
        self.task = "success".into();
        for _ in 0..400 {
            if self.rollout.status().is_terminal() && self.rollout.rollback().is_none() {
                return;
            }
            self.heal_drift();
            for incident in
                self.rollout.incidents().iter().map(|incident| incident.number).collect::<Vec<_>>()
            {
                let _ = self.order(Command::ResolveIncident(incident));
            }
            for act in
                [Command::Resume, Command::Retry, Command::Approve(PhaseNumber::new(3).unwrap())]
            {
                let _ = self.order(act);
            }
            for item in ["drill", "restart"] {
                let _ = self.order(Command::Check {
                    phase: PhaseNumber::new(3).unwrap(),
                    item: item.into(),
                });
            }
            if self
                .rollout
                .holds()
                .iter()
                .any(|hold| matches!(hold.reason, HoldReason::CoverageShort { .. }))
            {
                let _ = self.order(Command::Promote);
            }
            self.pass(hours(4));
        }
        panic!("does not come to rest: {:?} {:?}", self.rollout.waits(), self.rollout.holds());
    }

    /// A person puts back what a person changed.
    fn heal_drift(&mut self) {
        let plan = self.rollout.plan().clone();
        for (number, phase) in plan.numbered() {
            let stage = self.rollout.phases()[number.index()].stage;
            for (name, change) in &phase.flags {
                let wanted = match stage {
                    Stage::Baking | Stage::Concluding | Stage::Completed => &change.on,
                    _ if stage.is_exposed() || stage.is_rolling_back() => continue,
                    _ => &change.safe,
                };
                if self.env.get(name).is_some_and(|value| value != wanted) || wanted == &change.on {
                    self.env.insert(name.clone(), wanted.clone());
                }
            }
        }
    }
}

fn missed() -> impl Strategy<Value = MissedPolicy> {
    prop::sample::select(vec![
        MissedPolicy::Extend,
        MissedPolicy::Hold,
        MissedPolicy::Backfill,
        MissedPolicy::Fail,
    ])
}

fn final_flags_fit(world: &World) {
    for (number, phase) in world.rollout.plan().numbered() {
        let stage = world.rollout.phases()[number.index()].stage;
        for (name, change) in &phase.flags {
            let on = world.env.get(name) == Some(&change.on);
            assert_eq!(on, stage == Stage::Completed, "{name} at the end, phase {}", stage.word());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_in_any_script(acts in prop::collection::vec(act(), 1..80), missed in missed()) {
        let mut drawn = PlanParts { missed, ..parts() };
        if missed == MissedPolicy::Backfill {
            ranged(&mut drawn);
        }
        let mut world = World::new(Plan::try_new(drawn).unwrap());
        // What somebody else changes after the last look is nobody's promise.
        let drifts = acts.iter().any(|act| matches!(act, Act::Drift(_)));
        for act in acts {
            world.act(act);
        }
        prop_assert_eq!(alloc::format!("{:?}", Rollout::replay(&world.journal).unwrap()), alloc::format!("{:?}", &world.rollout));
        world.come_to_rest();
        if world.rollout.status() == Status::Completed && !drifts {
            final_flags_fit(&world);
        }
        let asked = world.count(|kind| matches!(kind, EventKind::RollbackStarted { .. }));
        let finished = world.count(|kind| matches!(kind, EventKind::RollbackFinished));
        prop_assert!(finished <= asked && (asked == 0 || finished > 0));
    }

    #[test]
    fn a_restart_after_every_event_changes_nothing(cut in 1usize..400, down in 0i64..3) {
        let run = |cut: Option<usize>| {
            let mut world = World::new(Plan::try_new(parts()).unwrap());
            let _ = world.order(Command::Check { phase: PhaseNumber::new(3).unwrap(), item: "drill".into() });
            let _ = world.order(Command::Approve(PhaseNumber::new(3).unwrap()));
            let mut steps = 0;
            while !world.rollout.status().is_terminal() {
                let _ = world.order(Command::Check { phase: PhaseNumber::new(3).unwrap(), item: "restart".into() });
                assert!(world.step());
                steps += 1;
                if Some(steps) == cut {
                    world.rollout = Rollout::replay(&world.journal).unwrap();
                    world.down_for(SignedDuration::from_mins(down));
                }
            }
            let values: Vec<_> = world.writes.iter().map(|(_, flag, value)| (flag.clone(), value.clone())).collect();
            let stages: Vec<_> = world.rollout.phases().iter().map(|phase| phase.stage).collect();
            let judged = world.count(|kind| matches!(kind, EventKind::CheckpointJudged { .. }));
            (values, stages, judged, world.env)
        };
        prop_assert_eq!(run(Some(cut)), run(None));
    }
}
