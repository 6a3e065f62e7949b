//! What is shown of a few states, reached by real decisions of a real rollout.

use rollout_api::{HoldKind, IncidentState, ItemWhen, RolloutStatus, StoreWord};
use rollout_core::{
    Actor, Command, Creation, Effect, EffectKey, FlagName, Input, Measured, Measurement, Order,
    Outcome, Plan, ProbeAnswer, ProbeState, Reading, Rollout, RolloutId,
};
use rollout_engine::{Entry, StoreState};

use super::*;

const PLAN: &str = r#"
name = "two"
deployment = "production"
[[criteria]]
name = "error_rate"
label = "Error Rate"
source = "health"
pointer = "/errorRate"
unit = "percent"
target = "< 1"
alert = "> 5"
[[checklist]]
name = "runbook"
text = "Runbook reviewed"
[[phases]]
name = "first"
flags = ["ENABLE_A"]
bake = "24h"
checkpoints = ["1h", "1h 30m", "24h"]
approvals = 2
[[phases]]
name = "second"
flags = ["ENABLE_B"]
bake = "24h"
"#;

/// A rollout, its journal, and the deployment's flags.
struct Story {
    rollout: Rollout,
    journal: Vec<Entry>,
    now: Timestamp,
    on: Vec<FlagName>,
    error_rate: f64,
}

impl Story {
    fn new() -> Self {
        let now: Timestamp = "2026-05-04T08:00:00Z".parse().unwrap();
        let plan: Plan = rollout_api::plan::parse(PLAN).unwrap();
        let creation = Creation {
            id: RolloutId::FIRST,
            plan,
            digest: "ab".repeat(32),
            url: "https://a".into(),
            start_at: now,
            actor: Actor::Person("alice".into()),
            reason: "as agreed".into(),
        };
        let event = Rollout::create(now, creation);
        let rollout = Rollout::replay([&event]).unwrap();
        let journal = vec![Entry { seq: rollout.seq(), event }];
        let mut story = Self { rollout, journal, now, on: Vec::new(), error_rate: 0.4 };
        story.input(Input::DeadlineReached);
        story.settle();
        story
    }

    fn input(&mut self, input: Input) {
        for event in self.rollout.decide(self.now, input).unwrap() {
            self.rollout.evolve(&event);
            self.journal.push(Entry { seq: self.rollout.seq(), event });
        }
    }

    /// Performs what is pending until nothing is.
    fn settle(&mut self) {
        for _ in 0..50 {
            let Some(pending) = self.rollout.pending().into_iter().next() else { return };
            let outcome = self.outcome(&pending.effect);
            self.ended(pending.key, outcome);
        }
        panic!("it never settles");
    }

    fn ended(&mut self, key: EffectKey, outcome: Outcome) {
        self.input(Input::EffectEnded { key, outcome });
    }

    fn outcome(&mut self, effect: &Effect) -> Outcome {
        match effect {
            Effect::Observe(asked) => {
                let value = |flag: &FlagName| {
                    let word = if self.on.contains(flag) { "true" } else { "false" };
                    (flag.clone(), Some(word.to_owned()))
                };
                let measurements = asked.sources.iter().flat_map(|source| &source.metrics);
                let measured =
                    |criterion: &str| Measurement::of(criterion, Measured::Number(self.error_rate));
                Outcome::Observed(Reading::of(
                    Ok(asked.flags.iter().map(value).collect()),
                    measurements.map(|metric| measured(&metric.criterion)).collect(),
                    asked
                        .probes
                        .iter()
                        .map(|probe| ProbeAnswer {
                            probe: probe.name.clone(),
                            state: ProbeState::Met,
                            found: "true".into(),
                        })
                        .collect(),
                ))
            }
            Effect::SetFlags { changes, .. } => {
                self.on = changes
                    .iter()
                    .filter(|(_, value)| *value == "true")
                    .map(|(flag, _)| flag.clone())
                    .collect();
                Outcome::FlagsSet { wrote: changes.keys().cloned().collect(), already: Vec::new() }
            }
            Effect::Invoke { .. } | Effect::FindChangeWindow { .. } => panic!("{effect:?}"),
        }
    }

    fn order(&mut self, actor: &str, command: Command) {
        let order = Order { command, actor: actor.to_owned(), reason: "because".to_owned() };
        self.input(Input::Ordered(order));
        self.settle();
    }

    /// Opens every gate of phase 1, so that it bakes.
    fn bake(&mut self) {
        let phase = self.rollout.current().unwrap();
        self.order("alice", Command::Approve(phase));
        self.order("bob", Command::Approve(phase));
        self.order("alice", Command::Check { phase, item: "runbook".to_owned() });
    }

    fn pass(&mut self, length: SignedDuration) {
        self.now = self.now.checked_add(length).unwrap();
        self.input(Input::DeadlineReached);
        self.settle();
    }

    fn headline(&self) -> String {
        short(&self.rollout, self.now).headline
    }
}

#[test]
fn a_gated_phase_says_whom_it_waits_for() {
    let mut story = Story::new();
    assert_eq!(story.headline(), "phase 1 of 2 waits for people: Runbook reviewed (and 1 more)");
    let phase = story.rollout.current().unwrap();
    story.order("alice", Command::Approve(phase));
    story.order("alice", Command::Check { phase, item: "runbook".to_owned() });
    assert_eq!(story.headline(), "phase 1 of 2 waits for a person: an approval");
    let detail = full(&story.rollout, story.now);
    let first = &detail.phases[0];
    assert_eq!((first.stage.as_str(), first.approvals_needed), ("gated", 2));
    assert_eq!(first.approved_by, ["alice"]);
    let item = &first.items[0];
    assert_eq!((item.when, item.done, item.by_machine), (ItemWhen::Before, true, false));
    assert_eq!(item.by.as_deref(), Some("alice"));
    let labels: Vec<_> = first.checkpoints.iter().map(|found| found.label.as_str()).collect();
    assert_eq!(labels, ["T+1h", "T+1h30m", "T+24h"]);
    assert!(first.checkpoints.iter().all(|found| found.due.is_none()));
}

#[test]
fn a_window_shows_what_is_left_and_what_was_judged() {
    let mut story = Story::new();
    story.bake();
    assert_eq!(story.headline(), "phase 1 of 2 baking, 24h left");
    for _ in 0..4 {
        story.pass(SignedDuration::from_mins(15));
    }
    let detail = full(&story.rollout, story.now);
    assert_eq!(detail.summary.headline, "phase 1 of 2 baking, 23h left");
    assert_eq!(detail.summary.status, RolloutStatus::Running);
    let brief = detail.summary.phase.unwrap();
    assert_eq!((brief.number, brief.of, brief.stage.as_str()), (1, 2, "baking"));
    let first = &detail.phases[0].checkpoints[0];
    assert_eq!((first.verdict.as_deref(), first.late_secs), (Some("pass"), None));
    assert_eq!(first.due.as_deref(), Some("2026-05-04T09:00:00Z"));
    let bake = detail.phases[0].bake.as_ref().unwrap();
    assert_eq!((bake.observed_secs, bake.unobserved_secs), (3_600, 0));
    let value = &detail.last_reading.unwrap().values[0];
    assert_eq!((value.shown.as_str(), value.alert.as_deref()), ("0.4 %", Some("> 5 %")));
}

#[test]
fn a_breach_shows_its_incident_and_its_hold() {
    let mut story = Story::new();
    story.bake();
    story.error_rate = 7.0;
    story.pass(SignedDuration::from_mins(15));
    let detail = full(&story.rollout, story.now);
    assert_eq!(detail.summary.headline, "held: rolled back: incident 1");
    assert!(detail.summary.rolled_back && !detail.summary.rolling_back);
    assert_eq!(detail.summary.holds[0].kind, HoldKind::RolledBack);
    let incident = &detail.incidents[0];
    assert_eq!((incident.state, incident.phases.as_slice()), (IncidentState::Open, [1].as_slice()));
    assert!(incident.cause.contains("error_rate is 7 %"), "{}", incident.cause);
    assert_eq!(detail.phases[0].flags[0].seen.as_deref(), Some("false"));
    assert!(detail.allowed.contains(&"incident resolve".to_owned()), "{:?}", detail.allowed);
}

#[test]
fn entries_carry_their_fields_and_a_sentence() {
    let mut story = Story::new();
    story.bake();
    story.error_rate = f64::NAN;
    story.pass(SignedDuration::from_mins(15));
    let plan = story.rollout.plan();
    let entries: Vec<_> = story.journal.iter().map(|found| entry(found, plan)).collect();
    assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq));
    assert!(entries.iter().all(|entry| !entry.text.is_empty() && entry.details.is_object()));
    let of = |kind: &str| entries.iter().rfind(|entry| entry.kind == kind).unwrap();
    assert_eq!(of("rollout_created").details["plan"], "two");
    assert_eq!(of("rollout_created").note.as_deref(), Some("as agreed"));
    assert_eq!(of("flags_set").details["wrote"], serde_json::json!(["ENABLE_A"]));
    assert_eq!(
        (of("bake_started").phase, of("bake_started").actor.as_str()),
        (Some(1), "rolloutd")
    );
    let reading = &of("reading_taken").details;
    assert_eq!((&reading["verdict"], &reading["purpose"]), (&"no data".into(), &"check".into()));
    assert_eq!(reading["values"][0]["value"], serde_json::Value::Null, "NaN is no JSON");
    assert_eq!(reading["flags"]["ENABLE_A"], "true");
}

#[test]
fn what_the_store_refuses_is_not_offered_and_where_a_way_out_names_it_that_is_said() {
    let mut story = Story::new();
    story.bake();
    story.order("alice", Command::Hold);
    let shown = || full(&story.rollout, story.now);
    let seen = |state| as_the_store_does(shown(), state, &story.rollout);
    assert_eq!(seen(StoreState::Well), shown());
    assert!(shown().allowed.contains(&"resume".to_owned()));
    for (state, word, code, refused) in [
        (
            StoreState::Reserve,
            StoreWord::Reserve,
            "RO0211",
            "(refused while the disk is full: `resume`)",
        ),
        (
            StoreState::Failing,
            StoreWord::Failing,
            "RO0210",
            "(refused while nothing can be recorded: `resume`)",
        ),
    ] {
        let detail = seen(state);
        assert_eq!(detail.store, word);
        assert!(!detail.allowed.contains(&"resume".to_owned()), "{:?}", detail.allowed);
        assert!(detail.waits[0].contains(code), "{:?}", detail.waits);
        let way_out = detail.summary.holds[0].way_out.clone().unwrap();
        assert!(way_out.ends_with(refused), "{way_out}");
        assert!(detail.waits[1].ends_with(refused), "{:?}", detail.waits);
    }
    assert_eq!(seen(StoreState::Failing).allowed, ["abort", "rollback"]);
}

#[test]
fn a_start_time_that_has_come_is_not_waited_for() {
    let story = Story::new();
    let created = &story.journal[0].event;
    let rollout = Rollout::replay([created]).unwrap();
    assert_eq!(short(&rollout, created.at).headline, "about to take the baseline");
    let before = created.at - SignedDuration::from_hours(1);
    assert_eq!(
        short(&rollout, before).headline,
        "waiting for its start time, 2026-05-04T08:00:00Z"
    );
}
