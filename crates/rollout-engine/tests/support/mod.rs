//! Owns journals as a real rollout writes them: a plan run by the core against a deployment that is always well, without
//! an engine, a clock or chance. The same arguments give the same bytes.
//!
//! Shared by tests and examples of this crate; whoever includes it uses all of it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rollout_core::{
    Actor, Bound, Cadence, CadenceStep, Comparison, Coverage, Creation, Criterion, Effect, Event,
    FlagChange, FlagName, FunctionCall, Input, Limit, Measured, Measurement, MissedPolicy, Outcome,
    Phase, Plan, PlanParts, Reading, Risk, Rollout, RolloutId, Unit,
};
use rollout_engine::store::record::encode_event;
use rollout_engine::store::{Append, IdempotencyRow, Standing, Store, StoreError};

/// One rollout's journal, ready for a store.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    /// Whose.
    pub(crate) rollout: RolloutId,
    /// The encoded events, in order.
    pub(crate) entries: Vec<Vec<u8>>,
    /// How the rollout stands after the last of them.
    pub(crate) standing: Standing,
}

/// The journal of rollout `number`: at most `entries_max` entries, fewer when the rollout ends before. Every third one
/// carries a text that makes its first entry too large for one row.
pub(crate) fn journal(number: u64, entries_max: usize) -> Journal {
    let rollout = RolloutId::new(number).expect("rollouts are numbered from 1");
    let start: Timestamp = "2026-11-22T06:00:00Z".parse().expect("the text is a time");
    let creation = Creation {
        id: rollout,
        plan: plan(number),
        digest: format!("{number:064x}"),
        url: format!("https://deployment-{number}.convex.cloud"),
        start_at: start,
        actor: Actor::Person("ada".into()),
        reason: "a journal for a test".into(),
    };
    let created = Rollout::create(start, creation);
    let mut state = Rollout::replay([&created]).expect("a creation begins a journal");
    let mut entries = vec![bytes_of(&created)];
    let (mut now, mut env) = (start, BTreeMap::new());
    while entries.len() < entries_max && !state.is_over() {
        let input = match state.pending().into_iter().next() {
            Some(pending) => {
                let outcome = answer(&mut env, pending.effect);
                Input::EffectEnded { key: pending.key, outcome }
            }
            None => {
                now = state.next_deadline().unwrap_or(now).max(now);
                Input::DeadlineReached
            }
        };
        let events = state.decide(now, input).expect("what the core asks for is accepted");
        assert!(!events.is_empty(), "r{number} waits for nobody");
        for event in events {
            state.evolve(&event);
            entries.push(bytes_of(&event));
        }
    }
    let standing = if state.is_over() { Standing::Ended } else { Standing::Live };
    Journal { rollout, entries, standing }
}

/// Writes journals as an engine would: the first entry with its idempotency key, then one commit per entry, the rollouts
/// taking turns.
pub(crate) fn write(store: &mut dyn Store, journals: &[Journal]) -> Result<(), StoreError> {
    let longest = journals.iter().map(|journal| journal.entries.len()).max().unwrap_or(0);
    for at in 0..longest {
        for journal in journals.iter().filter(|journal| at < journal.entries.len()) {
            let is_last = at + 1 == journal.entries.len();
            let key = IdempotencyRow {
                key: format!("key-of-{}", journal.rollout),
                rollout: journal.rollout,
                request_digest: [journal.rollout.get() as u8; 32],
            };
            store.commit(&[Append {
                rollout: journal.rollout,
                after: at as u64,
                entries: vec![journal.entries[at].clone()],
                standing: if is_last { journal.standing } else { Standing::Live },
                idempotency: (at == 0).then_some(key),
            }])?;
        }
    }
    Ok(())
}

fn bytes_of(event: &Event) -> Vec<u8> {
    encode_event(event).expect("an event of a small plan fits its limit")
}

fn answer(env: &mut BTreeMap<FlagName, String>, effect: Effect) -> Outcome {
    match effect {
        Effect::SetFlags { changes, .. } => {
            let wrote = changes.keys().cloned().collect();
            env.extend(changes);
            Outcome::FlagsSet { wrote, already: vec![] }
        }
        Effect::Observe(wanted) => {
            let flags = wanted.flags.iter().map(|flag| (flag.clone(), env.get(flag).cloned()));
            let metrics = wanted.sources.iter().flat_map(|source| &source.metrics);
            let measurements = metrics
                .map(|metric| Measurement::of(&metric.criterion, Measured::Number(0.25)))
                .collect();
            Outcome::Observed(Reading::of(Ok(flags.collect()), measurements, vec![]))
        }
        Effect::Invoke { .. } | Effect::FindChangeWindow { .. } => {
            panic!("these plans ask for none")
        }
    }
}

fn plan(number: u64) -> Plan {
    let number_bound = |comparison, limit| Some(Bound { comparison, limit: Limit::Number(limit) });
    let criterion = Criterion {
        name: "error_rate".into(),
        label: "Error Rate".into(),
        source: "health".into(),
        pointer: "/errorRate".into(),
        unit: Unit::Percent,
        target: number_bound(Comparison::Less, 1.0),
        alert: number_bound(Comparison::Greater, 5.0),
    };
    let health = FunctionCall { path: "monitoring:health".into(), args: "{}".into() };
    let every = SignedDuration::from_mins(30);
    let parts = PlanParts {
        name: format!("plan-{number}"),
        title: format!("Plan {number}"),
        deployment: format!("deployment-{number}"),
        sources: BTreeMap::from([("health".to_string(), health.into())]),
        criteria: vec![criterion],
        cadence: Cadence::new(vec![CadenceStep { until: None, every }]).expect("one step"),
        coverage_min: Coverage::FULL,
        grace: SignedDuration::from_mins(5),
        missed: MissedPolicy::Extend,
        drift: rollout_core::DriftPolicy::Hold,
        code_push: rollout_core::PushPolicy::Hold,
        checklist: vec![],
        phases: (1..=2).map(|phase| planned_phase(number, phase)).collect(),
        smoke: None,
        reference: vec![],
    };
    Plan::try_new(parts).expect("the plan keeps the rules")
}

fn planned_phase(number: u64, phase: u64) -> Phase {
    let flag = FlagName::new(&format!("ENABLE_{number}_{phase}")).expect("a good name");
    let change = FlagChange { on: "true".into(), safe: "false".into() };
    let repeated = if number.is_multiple_of(3) { 12_000 / 32 } else { 1 };
    Phase {
        name: format!("phase-{phase}"),
        group: String::new(),
        purpose: "what this flag is good for.     ".repeat(repeated),
        risk: Risk::Low,
        rollback_impact: String::new(),
        flags: BTreeMap::from([(flag, change)]),
        bake: SignedDuration::from_hours(24),
        checkpoints: vec![SignedDuration::from_hours(1), SignedDuration::from_hours(24)],
        only_when: None,
        verify: vec![],
        before: vec![],
        after: vec![],
        approvals: 0,
        change_window: None,
    }
}
