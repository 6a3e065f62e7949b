//! How many TCP connections a deployment sees, counted by the emulator where it accepts them.

use std::sync::Arc;
use std::time::Duration;

use convex_emulator::{EmulatorClock, Fault, FaultKind};
use jiff::SignedDuration;
use rollout_convex::{Convex, Target};
use rollout_core::{
    Calls, Effect, Measured, MetricQuery, Observation, Outcome, Reading, Source, SourceQuery, Span,
    Unit,
};

use crate::raw::{RawServer, http};
use crate::support::{adapter, call, deployment, flag, flags_set, key, set};

const HEALTH: &str = "monitoring/dashboard:getSystemHealth";

fn error_rate(source: &str, ask: impl Into<Source>) -> SourceQuery {
    let metric = MetricQuery::of(source, "/errorRate", Unit::Percent);
    SourceQuery::once(source, ask, Span::at(EmulatorClock::real().now()), vec![metric])
}

/// What asks most: flags with the times of their writing, two functions, and the stream.
fn observation() -> Observation {
    let calls = Calls {
        functions: vec![],
        callers: vec![],
        over: SignedDuration::from_mins(5),
        calls_min: 1,
    };
    let mut stream = error_rate("calls", Source::Executions(calls));
    stream.stay = SignedDuration::from_mins(2);
    let alerts = call("monitoring/dashboard:checkAlerts", "{}");
    let sources =
        vec![error_rate("health", call(HEALTH, "{}")), error_rate("alerts", alerts), stream];
    Observation { flags: vec![flag("FLAG")], sources, ..Observation::default() }
}

async fn read(convex: &Convex, observation: Observation) -> Reading {
    match convex.perform(key(1), &Effect::Observe(observation)).await {
        Outcome::Observed(reading) => reading,
        other => panic!("no reading: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_and_writes_share_one_connection_and_the_stream_has_another() {
    let (emulator, convex) = deployment("", &[("FLAG", "false")]).await;
    let convex = Arc::new(convex);
    let follower = Arc::clone(&convex);
    let following = tokio::spawn(async move { follower.follow().await });
    for value in ["true", "false", "true", "false", "true"] {
        let reading = read(&convex, observation()).await;
        assert!(reading.flags.is_ok(), "{reading:?}");
        let wrote = convex.perform(key(2), &set(&[("FLAG", value)])).await;
        assert_eq!(wrote, flags_set(&["FLAG"], &[]));
    }
    following.abort();
    let asked = emulator.requests().iter().filter(|one| !one.path.contains("stream_udf")).count();
    assert!(asked >= 5 * (5 + 3), "{asked} requests");
    assert_eq!(emulator.connections().accepted, 2, "one for {asked} requests, one for the stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_does_not_wait_for_a_slow_function() {
    let (emulator, convex) = deployment("", &[("FLAG", "true")]).await;
    let slow = FaultKind::Slow { ms: 60_000 };
    emulator.inject(Fault { path_part: "/api/function".into(), times: None, kind: slow });
    let convex = Arc::new(convex);
    let health = error_rate("health", call(HEALTH, "{}"));
    let only = Observation { sources: vec![health], ..Observation::default() };
    let reader = Arc::clone(&convex);
    let reading = tokio::spawn(async move { read(&reader, only).await });
    while emulator.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let wrote = convex.perform(key(2), &set(&[("FLAG", "false")])).await;
    assert_eq!(wrote, flags_set(&["FLAG"], &[]));
    assert!(!reading.is_finished(), "the write came after the slow answer");
    assert_eq!(emulator.connections().accepted, 2);
    reading.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_no_connection_is_asked_all_the_same() {
    let server =
        RawServer::start(|_, _| http(200, r#"{"status":"success","value":{"errorRate":0.5}}"#))
            .await;
    let convex = adapter(&server.url, "otter|0123456789abcdef");
    let names = ["a", "b", "c", "d", "e", "f"];
    let sources = names.map(|name| error_rate(name, call(&format!("m:{name}"), "{}"))).to_vec();
    let reading = read(&convex, Observation { sources, ..Observation::default() }).await;
    let answered =
        reading.measurements.iter().filter(|one| one.measured == Measured::Number(0.5)).count();
    assert_eq!((answered, server.requests().len()), (6, 6), "{reading:?}");
}

/// Each answer makes a connection idle soon, and whoever waited longest takes it: a write must not stand in that line.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_does_not_queue_behind_a_long_reading() {
    let (emulator, convex) = deployment("", &[("FLAG", "true")]).await;
    let slow = FaultKind::Slow { ms: 100 };
    emulator.inject(Fault { path_part: "/api/".into(), times: None, kind: slow });
    let names: Vec<_> = (0..30).map(|number| format!("health{number}")).collect();
    let source =
        |name: &String| error_rate(name, call(&format!("monitoring/dashboard:{name}"), "{}"));
    let many =
        Observation { sources: names.iter().map(source).collect(), ..Observation::default() };
    let convex = Arc::new(convex);
    let reader = Arc::clone(&convex);
    let reading = tokio::spawn(async move { read(&reader, many).await });
    while emulator.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let wrote = convex.perform(key(2), &set(&[("FLAG", "false")])).await;
    assert_eq!(wrote, flags_set(&["FLAG"], &[]));
    let asked = emulator.requests().iter().filter(|one| one.path == "/api/function").count();
    assert!(asked < 25, "the write came after {asked} of 30 functions");
    reading.await.unwrap();
}

/// Waiting for a connection is a part of a request's time.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_timeout_is_not_spent_on_waiting() {
    let (emulator, _) = deployment("", &[]).await;
    let convex = Convex::connect(Target {
        name: "prod".into(),
        url: emulator.url(),
        key: emulator.admin_key().into(),
        timeout: Duration::from_millis(1_000),
    });
    let convex = convex.unwrap();
    emulator.inject(Fault {
        path_part: "/api/".into(),
        times: None,
        kind: FaultKind::Slow { ms: 400 },
    });
    let sources =
        (0..6).map(|number| error_rate("health", call(HEALTH, &format!("{{\"n\":{number}}}"))));
    let reading =
        read(&convex, Observation { sources: sources.collect(), ..Observation::default() }).await;
    let late = reading.measurements.iter().filter(|one| match &one.measured {
        Measured::Failed(why) => why.contains("did not answer"),
        _ => false,
    });
    assert_eq!(late.count(), 0, "{reading:?}");
}
