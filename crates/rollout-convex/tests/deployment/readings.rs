//! Readings: each part on its own, each question once, and every odd answer of a health function.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use convex_emulator::{Fault, FaultKind};
use jiff::Timestamp;
use rollout_convex::Convex;
use rollout_core::{
    Effect, Expectation, FaultClass, FunctionCall, Measured, MetricQuery, Observation, Outcome,
    Probe, ProbeKind, ProbeState, Reading, Scalar, SourceQuery, Span, Unit,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Barrier;

use crate::support::{adapter, call, deployment, flag, key};

const HEALTH: &str = "monitoring/dashboard:getSystemHealth";
const ALERTS: &str = "monitoring/dashboard:checkAlerts";

fn source(call: FunctionCall, metrics: &[(&str, Unit)]) -> SourceQuery {
    let metric = |(pointer, unit): &(&str, Unit)| {
        MetricQuery::of(pointer.trim_start_matches('/').to_owned(), (*pointer).to_owned(), *unit)
    };
    SourceQuery::once(
        call.path.clone(),
        call,
        Span::at(Timestamp::UNIX_EPOCH),
        metrics.iter().map(metric).collect(),
    )
}

fn function_probe(name: &str, call: FunctionCall, pointer: &str, expect: Expectation) -> Probe {
    Probe { name: name.into(), kind: ProbeKind::Function { call, pointer: pointer.into(), expect } }
}

fn observation(sources: Vec<SourceQuery>, probes: Vec<Probe>) -> Observation {
    Observation {
        flags: vec![flag("ENABLE_WORKFLOW"), flag("NOT_SET")],
        sources,
        probes,
        ..Observation::default()
    }
}

async fn read(convex: &Convex, observation: Observation) -> Reading {
    match convex.perform(key(3), &Effect::Observe(observation)).await {
        Outcome::Observed(reading) => reading,
        other => panic!("no reading: {other:?}"),
    }
}

/// What one health source measures under a scenario.
async fn measured(scenario: &str, metrics: &[(&str, Unit)]) -> Vec<Measured> {
    let (_emulator, convex) = deployment(scenario, &[]).await;
    let reading =
        read(&convex, observation(vec![source(call(HEALTH, "{}"), metrics)], vec![])).await;
    assert!(reading.flags.is_ok(), "a health function hid the flags: {:?}", reading.flags);
    reading.measurements.into_iter().map(|measurement| measurement.measured).collect()
}

fn failed(measured: &[Measured]) -> &str {
    match measured {
        [Measured::Failed(reason)] => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_reading_has_flags_measurements_and_probes_and_asks_each_thing_once() {
    let env = [("ENABLE_WORKFLOW", "true"), ("API_KEY", "hunter2hunter2"), ("EMPTY", "")];
    let (emulator, convex) = deployment("[base]\nerrorRate = 0.4\n", &env).await;
    let health = || call(HEALTH, "{}");
    let metrics =
        [("/errorRate", Unit::Percent), ("/status", Unit::Text), ("/alertCount", Unit::Count)];
    let set = |name: &str| Probe { name: name.into(), kind: ProbeKind::VariableSet(flag(name)) };
    let equals = |text: &str| Expectation::Equals(Scalar::Text(text.into()));
    let sources =
        vec![source(health(), &metrics), source(call(ALERTS, "{}"), &[("/alerts", Unit::Count)])];
    let probes = vec![
        function_probe("mode", health(), "/mode", equals("workflow")),
        function_probe("direct", health(), "/mode", equals("direct")),
        function_probe("answers", call(HEALTH, "{ }"), "", Expectation::Answers),
        set("API_KEY"),
        set("EMPTY"),
        set("NOT_SET"),
    ];
    let reading = read(&convex, observation(sources, probes)).await;

    let flags = reading.flags.as_ref().unwrap();
    assert_eq!(flags.get(&flag("ENABLE_WORKFLOW")), Some(&Some("true".into())));
    assert_eq!(flags.get(&flag("NOT_SET")), Some(&None));
    assert_eq!(flags.len(), 2);
    let values: Vec<_> =
        reading.measurements.iter().map(|one| (one.criterion.as_str(), &one.measured)).collect();
    let (rate, healthy, none) =
        (Measured::Number(0.4), Measured::Text("healthy".into()), Measured::Number(0.0));
    assert_eq!(
        values,
        [("errorRate", &rate), ("status", &healthy), ("alertCount", &none), ("alerts", &none)]
    );
    let states: Vec<_> = reading.probes.iter().map(|probe| probe.state).collect();
    use ProbeState::{Met, NotMet};
    assert_eq!(states, [Met, NotMet, Met, Met, NotMet, NotMet]);
    assert_eq!(reading.probes[1].found, "\"workflow\"");
    assert_eq!(reading.probes[3].found, "API_KEY is set");
    assert!(!format!("{reading:?}").contains("hunter2"), "the value of a variable was shown");
    // Variables, two functions, when variables were written, when code was pushed.
    assert_eq!(emulator.requests().len(), 5, "{:?}", emulator.requests());
}

#[tokio::test]
async fn odd_values_are_never_numbers() {
    let odd = r#"
        [[change]]
        set = { errorRate = nan, responseTimeMs = inf, alertCount = "0.4", stuckWorkflows = false }
        null = ["completionRate"]
        unset = ["stuckMessages"]
    "#;
    let metrics = [
        ("/errorRate", Unit::Percent),
        ("/responseTimeMs", Unit::Milliseconds),
        ("/alertCount", Unit::Count),
        ("/stuckWorkflows", Unit::Count),
        ("/completionRate", Unit::Percent),
        ("/stuckMessages", Unit::Count),
    ];
    let found = measured(odd, &metrics).await;
    assert!(matches!(found[0], Measured::Number(nan) if nan.is_nan()), "{:?}", found[0]);
    assert_eq!(found[1], Measured::Number(f64::INFINITY));
    let failed = |reason: &str| Measured::Failed(reason.into());
    assert_eq!(found[2], failed("expected a number at /alertCount, got the text \"0.4\""));
    assert_eq!(found[3], failed("expected a number at /stuckWorkflows, got false"));
    assert_eq!(found[4], Measured::Missing("null at /completionRate".into()));
    let Measured::Missing(nothing) = &found[5] else { panic!("{:?}", found[5]) };
    assert!(
        nothing.starts_with("nothing at /stuckMessages; the result has alertCount, "),
        "{nothing}"
    );
}

#[tokio::test]
async fn a_function_that_throws_fails_alone_with_its_own_words() {
    let boom = format!("[[change]]\nthrow = {{ function = \"{HEALTH}\", message = \"boom\" }}\n");
    let reason = measured(&boom, &[("/errorRate", Unit::Percent)]).await;
    assert_eq!(failed(&reason), format!("{HEALTH} failed: Uncaught Error: boom"));

    let data = boom.replace("\"boom\"", "\"boom\", data = { code = \"NO_DATA\" }");
    let reason = measured(&data, &[("/errorRate", Unit::Percent)]).await;
    assert_eq!(failed(&reason), format!("{HEALTH} threw a ConvexError: {{\"code\":\"NO_DATA\"}}"));
}

#[tokio::test]
async fn a_missing_function_does_not_hide_the_others() {
    let (_emulator, convex) = deployment("", &[]).await;
    let missing = source(call("monitoring:nope", "{}"), &[("/x", Unit::Count)]);
    let alerts = source(call(ALERTS, "{}"), &[("/alerts", Unit::Count)]);
    let probe = function_probe("nope", call("monitoring:nope", "{}"), "", Expectation::Answers);
    let reading = read(&convex, observation(vec![missing, alerts], vec![probe])).await;
    let found = &reading.measurements;
    let reason = failed(std::slice::from_ref(&found[0].measured));
    assert!(
        reason.starts_with("monitoring:nope failed: Could not find function for 'monitoring:nope'"),
        "{reason}"
    );
    assert_eq!(found[1].measured, Measured::Number(0.0));
    assert_eq!(
        (reading.probes[0].state, reading.probes[0].found.as_str()),
        (ProbeState::Failed, reason)
    );
}

#[tokio::test]
async fn a_function_that_hangs_costs_one_timeout_and_only_its_own_part() {
    let (emulator, convex) = deployment("", &[("ENABLE_WORKFLOW", "true")]).await;
    emulator.inject(Fault::once("/api/function", FaultKind::SlowDrop { ms: 20_000 }));
    let health =
        source(call(HEALTH, "{}"), &[("/errorRate", Unit::Percent), ("/status", Unit::Text)]);
    let reading = read(&convex, observation(vec![health], vec![])).await;
    assert!(reading.flags.is_ok());
    let expected = format!("could not ask {HEALTH}: deployment prod did not answer within 1500 ms");
    for one in reading.measurements {
        assert_eq!(one.measured, Measured::Failed(expected.clone()));
    }
    // Variables, the function, when variables were written, when code was pushed.
    assert_eq!(emulator.requests().len(), 4);
}

#[tokio::test]
async fn flags_that_cannot_be_read_do_not_hide_health() {
    let (emulator, convex) = deployment("", &[]).await;
    emulator.inject(Fault::always("list_environment", FaultKind::status(503, "ExpiredInQueue")));
    let health = source(call(HEALTH, "{}"), &[("/status", Unit::Text)]);
    let probe = Probe { name: "key".into(), kind: ProbeKind::VariableSet(flag("API_KEY")) };
    let reading = read(&convex, observation(vec![health], vec![probe])).await;
    let fault = reading.flags.unwrap_err();
    assert_eq!(
        (fault.class, fault.code.as_deref()),
        (FaultClass::Transient, Some("ExpiredInQueue"))
    );
    assert_eq!(reading.measurements[0].measured, Measured::Text("healthy".into()));
    assert_eq!(
        (reading.probes[0].state, &reading.probes[0].found),
        (ProbeState::Failed, &fault.reason)
    );
}

#[tokio::test]
async fn a_revoked_key_fails_every_part_with_the_same_advice() {
    let (emulator, convex) = deployment("", &[]).await;
    emulator.inject(Fault::once("/api", FaultKind::RevokeKey));
    let health = source(call(HEALTH, "{}"), &[("/status", Unit::Text)]);
    let reading = read(&convex, observation(vec![health], vec![])).await;
    assert_eq!(reading.flags.unwrap_err().class, FaultClass::Permanent);
    let reason = failed(std::slice::from_ref(&reading.measurements[0].measured));
    assert!(
        reason.ends_with("put a valid deploy key into the credential file of deployment prod"),
        "{reason}"
    );
}

#[tokio::test]
async fn nothing_is_asked_for_nothing() {
    let (emulator, convex) = deployment("", &[]).await;
    let nothing =
        Observation { flags: vec![], sources: vec![], probes: vec![], ..Observation::default() };
    let reading = read(&convex, nothing).await;
    assert_eq!(reading, Reading::of(Ok(BTreeMap::new()), vec![], vec![]));
    assert_eq!(emulator.requests().len(), 0);
}

/// The server answers only when four requests wait, so fewer at a time would fail; more are counted.
#[tokio::test]
async fn functions_are_asked_four_at_a_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (four, waiting) = (Arc::new(Barrier::new(4)), Arc::new(AtomicUsize::new(0)));
    let most = Arc::new(AtomicUsize::new(0));
    let seen = most.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (four, waiting, most) = (four.clone(), waiting.clone(), most.clone());
            tokio::spawn(async move {
                let answer = "{\"status\":\"success\",\"value\":{\"x\":1.0}}";
                let answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
                while stream.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {
                    most.fetch_max(waiting.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    four.wait().await;
                    waiting.fetch_sub(1, Ordering::SeqCst);
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let path = |number: usize| source(call(&format!("m:f{number}"), "{}"), &[("/x", Unit::Count)]);
    let sources = (0..8).map(path).collect();
    let observation =
        Observation { flags: vec![], sources, probes: vec![], ..Observation::default() };
    let reading = read(&adapter(&url, "otter|0123456789abcdef"), observation).await;
    assert!(
        reading.measurements.iter().all(|one| one.measured == Measured::Number(1.0)),
        "{reading:?}"
    );
    assert_eq!((reading.measurements.len(), seen.load(Ordering::SeqCst)), (8, 4));
}
