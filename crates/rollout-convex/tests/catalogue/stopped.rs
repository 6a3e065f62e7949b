//! Deployments that run no functions, over sockets: named by what stopped them, and rolled back all the same.

use std::collections::BTreeMap;

use convex_emulator::{Fault, FaultKind, RunState, WriteOrigin};
use jiff::{SignedDuration, Timestamp};
use rollout_core::{
    Calls, Effect, FaultClass, Measured, MetricQuery, Observation, Outcome, Source, SourceQuery,
    Span, SpanEnd, Unit, WritePurpose,
};

use crate::support::{call, deployment, fault, flag, flags_set, key};

fn restore() -> Effect {
    let changes = BTreeMap::from([(flag("A"), "false".into()), (flag("B"), "false".into())]);
    Effect::SetFlags { changes, purpose: WritePurpose::RestoreSafe }
}

fn health() -> Effect {
    let metric = MetricQuery::of("rate", "/errorRate", Unit::Percent);
    let call = call("monitoring/dashboard:getSystemHealth", "{}");
    let source = SourceQuery::once("health", call, Span::at(Timestamp::UNIX_EPOCH), vec![metric]);
    Effect::Observe(Observation {
        flags: vec![flag("A")],
        sources: vec![source],
        probes: vec![],
        ..Observation::default()
    })
}

/// Both sources that count executions.
fn executions(now: Timestamp) -> Effect {
    let calls = Calls {
        functions: vec!["messages:send".into()],
        callers: vec![],
        over: SignedDuration::from_mins(15),
        calls_min: 1,
    };
    let span = Span { from: now - SignedDuration::from_mins(5), to: now, end: SpanEnd::Now };
    let source = |ask| {
        let metric = MetricQuery::of("rate", "/errorRate", Unit::Percent);
        SourceQuery::once("calls", ask, span, vec![metric])
    };
    Effect::Observe(Observation {
        sources: vec![source(Source::Executions(calls.clone())), source(Source::AppMetrics(calls))],
        ..Observation::default()
    })
}

#[tokio::test]
async fn calls_that_a_stopped_deployment_refused_are_no_errors_of_the_app() {
    let traffic =
        "[[traffic]]\nfunction = \"messages:send\"\ntype = \"Mutation\"\nperMinute = 600\n";
    let (emulator, convex) = deployment(traffic, &[]).await;
    emulator.set_run_state(RunState::Paused);
    let Outcome::Observed(reading) = convex.perform(key(1), &executions(emulator.now())).await
    else {
        panic!("no reading")
    };
    assert_eq!(reading.measurements.len(), 2);
    for one in reading.measurements {
        let Measured::Failed(reason) = &one.measured else { panic!("{one:?}") };
        assert!(reason.starts_with("deployment prod is paused and runs no functions"), "{reason}");
    }
}

#[tokio::test]
async fn flags_are_rolled_back_on_every_stopped_deployment() {
    for (state, words) in [
        (RunState::Paused, "is paused and runs no functions until a person resumes it"),
        (RunState::Disabled, "is disabled and runs no functions until a person raises or removes"),
        (RunState::Suspended, "is suspended and runs no functions until Convex lifts that"),
    ] {
        let (emulator, convex) = deployment("", &[("A", "true"), ("B", "true")]).await;
        emulator.set_run_state(state);
        // Its functions fail, with the state and who can change it; that is no value, so no breach.
        let Outcome::Observed(reading) = convex.perform(key(1), &health()).await else {
            panic!("no reading")
        };
        assert_eq!(reading.flags.unwrap()[&flag("A")], Some("true".into()));
        let Measured::Failed(reason) = &reading.measurements[0].measured else {
            panic!("{state:?}: {:?}", reading.measurements)
        };
        assert!(reason.contains(words), "{reason}");
        // A smoke function surely did not run, and a person is told.
        let smoke = Effect::Invoke {
            call: call("tasks:create", r#"{"name":"x"}"#),
            pointer: String::new(),
            bindings: BTreeMap::new(),
        };
        let refused = fault(convex.perform(key(2), &smoke).await);
        assert_eq!(refused.class, FaultClass::Permanent);
        assert!(refused.reason.contains(words), "{}", refused.reason);
        assert_eq!(emulator.tasks().len(), 0);
        // The rollback goes through, also when the answer to its write is lost on the way.
        emulator.inject(Fault::once("update_environment", FaultKind::CutAfterCommit));
        assert_eq!(convex.perform(key(3), &restore()).await, flags_set(&["A", "B"], &[]));
        assert_eq!(convex.perform(key(3), &restore()).await, flags_set(&[], &["A", "B"]));
        let ours = emulator.writes();
        let ours = ours.iter().filter(|write| write.origin == WriteOrigin::Client);
        assert_eq!(ours.count(), 1, "{state:?}");
        assert_eq!(emulator.env()["A"], "false");
    }
}
