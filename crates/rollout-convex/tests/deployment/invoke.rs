//! Running a user's function: bound arguments, one request, and honest endings.

use std::collections::BTreeMap;

use convex_emulator::{Fault, FaultKind};
use rollout_core::{
    Effect, Expectation, FaultClass, Observation, Outcome, Probe, ProbeKind, ProbeState, Scalar,
};

use crate::support::{call, deployment, fault, key};

fn create(pointer: &str) -> Effect {
    create_under("r42-s9-1795500000123456789", pointer)
}

fn create_under(run: &str, pointer: &str) -> Effect {
    Effect::Invoke {
        call: call("tasks:create", r#"{"name":"final-verification-test","requestKey":"$key"}"#),
        pointer: pointer.into(),
        bindings: BTreeMap::from([("$key".into(), run.into())]),
    }
}

fn id(outcome: Outcome) -> String {
    match outcome {
        Outcome::Invoked { value } => value,
        other => panic!("it did not run: {other:?}"),
    }
}

#[tokio::test]
async fn the_key_is_bound_and_the_id_can_be_polled() {
    let (emulator, convex) = deployment("", &[]).await;
    let task = id(convex.perform(key(9), &create("")).await);
    assert_eq!(id(convex.perform(key(9), &create("")).await), task, "the key was not bound");
    assert_eq!(emulator.tasks().len(), 1);
    // The same place in another store's journal is another run, and runs.
    let other = create_under("r42-s9-1795500300123456789", "");
    assert_ne!(id(convex.perform(key(9), &other).await), task);
    assert_eq!(emulator.tasks().len(), 2);
    let expect = Expectation::Equals(Scalar::Text("pending".into()));
    let kind = ProbeKind::Function {
        call: call("tasks:get", r#"{"id":"$id"}"#),
        pointer: "/status".into(),
        expect,
    };
    let poll = Effect::Observe(Observation {
        flags: vec![],
        sources: vec![],
        probes: vec![Probe { name: "smoke".into(), kind }],
        bindings: BTreeMap::from([("$id".into(), task)]),
        ..Observation::default()
    });
    let Outcome::Observed(reading) = convex.perform(key(10), &poll).await else {
        panic!("no reading")
    };
    assert_eq!(
        (reading.probes[0].state, reading.probes[0].found.as_str()),
        (ProbeState::Met, "\"pending\"")
    );
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_nothing_is_repeated() {
    let (emulator, convex) = deployment("", &[]).await;
    for kind in [
        FaultKind::CutBeforeCommit,
        FaultKind::CutAfterCommit,
        FaultKind::status(503, "ExpiredInQueue"),
        FaultKind::status(429, "TooManyConcurrentRequests"),
        FaultKind::Html { status: 500 },
    ] {
        let before = emulator.requests().len();
        emulator.inject(Fault::once("/api/function", kind.clone()));
        let lost = fault(convex.perform(key(9), &create("")).await);
        assert_eq!(lost.class, FaultClass::Unknown, "{kind:?}: {}", lost.reason);
        assert_eq!(emulator.requests().len(), before + 1, "{kind:?}");
    }
}

#[tokio::test]
async fn refusals_are_permanent_and_say_why() {
    let (_emulator, convex) = deployment("", &[]).await;
    let unusable = fault(convex.perform(key(9), &create("/id")).await);
    assert_eq!(unusable.class, FaultClass::Permanent);
    assert!(
        unusable.reason.starts_with("tasks:create ran, but its result cannot be used: "),
        "{}",
        unusable.reason
    );
    let invoke = |path: &str, args: &str| Effect::Invoke {
        call: call(path, args),
        pointer: String::new(),
        bindings: BTreeMap::new(),
    };
    let missing = fault(convex.perform(key(9), &invoke("tasks:nope", "{}")).await);
    assert_eq!(missing.class, FaultClass::Permanent);
    assert!(missing.reason.contains("Could not find function"), "{}", missing.reason);
    let wrong = fault(convex.perform(key(9), &invoke("tasks:create", "[]")).await);
    assert_eq!(
        (wrong.class, wrong.reason.as_str()),
        (FaultClass::Permanent, "the arguments of tasks:create are not one JSON object")
    );
}
