//! Outcomes that nobody knows: performed again as the core does, they end as wanted, and the deployment has seen one write.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use convex_emulator::{Emulator, Fault, FaultKind, WriteOrigin};
use rollout_convex::Convex;
use rollout_core::{Effect, FaultClass, FlagValues, Observation, Outcome, WritePurpose};

use crate::support::{TIMEOUT, call, deployment, fault, flag, flags_set, key};

const UPDATE: &str = "update_environment";
const LIST: &str = "list_environment";

fn set(value: &str, purpose: WritePurpose) -> Effect {
    Effect::SetFlags { changes: BTreeMap::from([(flag("A"), value.into())]), purpose }
}

/// The values that reached the variable through the wire, in order.
fn written(emulator: &Emulator) -> Vec<String> {
    let writes = emulator.writes();
    let ours = writes.iter().filter(|write| write.applied && write.origin == WriteOrigin::Client);
    ours.flat_map(|write| &write.changes).filter_map(|(_, value)| value.clone()).collect()
}

/// Performs an effect again and again, as the core does after a failure of any class; says what the failures were.
async fn settle(convex: &Convex, effect: &Effect) -> Vec<FaultClass> {
    let mut classes = Vec::new();
    loop {
        match convex.perform(key(7), effect).await {
            Outcome::FlagsSet { .. } => return classes,
            Outcome::Failed { fault, .. } => classes.push(fault.class),
            other => panic!("{other:?}"),
        }
        assert!(classes.len() < 5, "it never ends: {classes:?}");
    }
}

async fn values(convex: &Convex) -> FlagValues {
    let look = Observation {
        flags: vec![flag("A")],
        sources: vec![],
        probes: vec![],
        ..Observation::default()
    };
    match convex.perform(key(8), &Effect::Observe(look)).await {
        Outcome::Observed(reading) => reading.flags.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Looks until the flag has a value. Fails when it never does.
async fn until(convex: &Convex, value: &str) {
    let from = Instant::now();
    while values(convex).await[&flag("A")].as_deref() != Some(value) {
        assert!(from.elapsed() < Duration::from_secs(30), "the flag never was {value}");
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_written_once() {
    let longer = u64::try_from(TIMEOUT.as_millis()).unwrap() * 2;
    // With the classes of the failures when the flags can be read back, and when that fails as well.
    use FaultClass::{Transient, Unknown};
    let cases = [
        (FaultKind::CutAfterCommit, vec![], vec![Unknown]),
        (FaultKind::Slow { ms: longer }, vec![], vec![Unknown]),
        (FaultKind::CutBeforeCommit, vec![Unknown], vec![Unknown]),
        (FaultKind::SlowDrop { ms: longer }, vec![Unknown], vec![Unknown]),
        (FaultKind::Html { status: 500 }, vec![Unknown], vec![Unknown]),
        (FaultKind::empty(503), vec![Unknown], vec![Unknown]),
        (FaultKind::status(503, "CommitterFullError"), vec![Transient], vec![Transient]),
    ];
    for (kind, read, unread) in cases {
        for (purpose, wanted, before) in
            [(WritePurpose::Enable, "true", "false"), (WritePurpose::RestoreSafe, "false", "true")]
        {
            for blind in [false, true] {
                let (emulator, convex) = deployment("", &[("A", before)]).await;
                emulator.inject(Fault::once(UPDATE, kind.clone()));
                if blind {
                    // The first reading is answered, the one after the write is not.
                    emulator.inject(Fault::once(LIST, FaultKind::Slow { ms: 0 }));
                    let is_read_back = unread == [Unknown];
                    if is_read_back {
                        emulator.inject(Fault::once(LIST, FaultKind::CutBeforeCommit));
                    }
                }
                let classes = settle(&convex, &set(wanted, purpose)).await;
                let expected = if blind { &unread } else { &read };
                assert_eq!(&classes, expected, "{kind:?} {purpose:?} blind: {blind}");
                assert_eq!(written(&emulator), [wanted], "{kind:?} {purpose:?} blind: {blind}");
                let again = convex.perform(key(7), &set(wanted, purpose)).await;
                assert_eq!(again, flags_set(&[], &["A"]));
                assert_eq!(written(&emulator), [wanted]);
            }
        }
    }
}

#[tokio::test]
async fn a_write_that_lands_after_the_next_one_was_decided_changes_nothing() {
    let (emulator, convex) = deployment("", &[("A", "false")]).await;
    let late = u64::try_from(TIMEOUT.as_millis()).unwrap() + 1_000;
    emulator.inject(Fault::once(UPDATE, FaultKind::SlowApply { ms: late }));
    let effect = set("true", WritePurpose::Enable);
    assert_eq!(settle(&convex, &effect).await, [FaultClass::Unknown]);
    // The second write came before the first one. Both name the same absolute value, so their order does not matter.
    let from = Instant::now();
    while written(&emulator).len() < 2 {
        assert_eq!(values(&convex).await[&flag("A")].as_deref(), Some("true"));
        assert!(from.elapsed() < Duration::from_secs(30), "the late write never came");
    }
    assert_eq!(written(&emulator), ["true", "true"]);
    assert_eq!(convex.perform(key(7), &effect).await, flags_set(&[], &["A"]));
    assert_eq!(written(&emulator).len(), 2);
}

#[tokio::test]
async fn an_enabling_that_lands_after_its_rollback_is_seen_and_rolled_back_again() {
    let (emulator, convex) = deployment("", &[("A", "false")]).await;
    let late = u64::try_from(TIMEOUT.as_millis()).unwrap() + 2_000;
    emulator.inject(Fault::once(UPDATE, FaultKind::SlowApply { ms: late }));
    let enabling = convex.perform(key(7), &set("true", WritePurpose::Enable)).await;
    assert_eq!(fault(enabling).class, FaultClass::Unknown);
    // The rollback finds the safe value: there is nothing to write, and nothing to prove but that (ADR 0005).
    let restore = set("false", WritePurpose::RestoreSafe);
    assert_eq!(convex.perform(key(8), &restore).await, flags_set(&[], &["A"]));
    until(&convex, "true").await;
    assert_eq!(convex.perform(key(9), &restore).await, flags_set(&["A"], &[]));
    assert_eq!(written(&emulator), ["true", "false"]);
    assert_eq!(emulator.env()["A"], "false");
}

#[tokio::test]
async fn overlapping_tries_of_one_effect_write_one_value() {
    let (emulator, convex) = deployment("", &[("A", "false")]).await;
    let effect = set("true", WritePurpose::Enable);
    let (one, other) =
        tokio::join!(convex.perform(key(7), &effect), convex.perform(key(7), &effect));
    for outcome in [one, other] {
        assert!(matches!(outcome, Outcome::FlagsSet { .. }), "{outcome:?}");
    }
    let values = written(&emulator);
    assert!(!values.is_empty() && values.iter().all(|value| value == "true"), "{values:?}");
    assert_eq!(convex.perform(key(7), &effect).await, flags_set(&[], &["A"]));
    assert_eq!(written(&emulator).len(), values.len());
    let ids: Vec<_> = emulator.writes().into_iter().map(|write| write.request_id).collect();
    assert!(ids.iter().all(|id| id.as_deref() == Some("r42-s7")), "{ids:?}");
}

fn create() -> Effect {
    Effect::Invoke {
        call: call("tasks:create", r#"{"name":"x","requestKey":"$key"}"#),
        pointer: String::new(),
        bindings: BTreeMap::from([("$key".into(), "r42-s9-1795500000123456789".into())]),
    }
}

#[tokio::test]
async fn a_users_function_is_sent_once_whatever_comes_back() {
    let longer = u64::try_from(TIMEOUT.as_millis()).unwrap() * 2;
    for (kind, ran) in [
        (FaultKind::CutAfterCommit, 1),
        (FaultKind::Slow { ms: longer }, 1),
        (FaultKind::CutBeforeCommit, 0),
        (FaultKind::SlowDrop { ms: longer }, 0),
        (FaultKind::Html { status: 500 }, 0),
        (FaultKind::empty(503), 0),
        (FaultKind::status(503, "WorkerOverloaded"), 0),
        (FaultKind::status(429, "TooManyConcurrentRequests"), 0),
    ] {
        let (emulator, convex) = deployment("", &[]).await;
        emulator.inject(Fault::once("/api/function", kind.clone()));
        let lost = fault(convex.perform(key(9), &create()).await);
        // Never transient: the core would repeat that even where the plan forbids it.
        assert_eq!(lost.class, FaultClass::Unknown, "{kind:?}: {}", lost.reason);
        assert_eq!((emulator.tasks().len(), emulator.requests().len()), (ran, 1), "{kind:?}");
        // Where the plan allows a repetition, the bound key lets the function see that it is one.
        let Outcome::Invoked { value } = convex.perform(key(9), &create()).await else {
            panic!("{kind:?}: the repetition failed")
        };
        assert_eq!(emulator.tasks().iter().map(|task| &task.id).collect::<Vec<_>>(), [&value]);
    }
}
