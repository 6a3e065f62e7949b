//! Readings of deployments that hang: each ends in its own time and keeps what was answered.

use std::time::{Duration, Instant};

use convex_emulator::{Fault, FaultKind};
use jiff::{SignedDuration, Timestamp};
use rollout_core::{
    Calls, FaultClass, Known, Measured, MetricQuery, Observation, Outcome, Source, SourceQuery,
    Span, SpanEnd, Unit,
};
use serde_json::json;

use crate::slow::{Fate, Slow};
use crate::support::{TIMEOUT, call, deployment, flag, key};

const HALF_AN_HOUR: SignedDuration = SignedDuration::from_mins(30);

fn at(time: &str) -> Timestamp {
    format!("2026-11-22T{time}Z").parse().unwrap()
}

/// Many questions to the deployment's metrics: two for each of 16 functions.
fn metrics() -> SourceQuery {
    let functions = (0..16).map(|n| format!("m{n}:f")).collect();
    let calls = Calls { functions, callers: vec![], over: HALF_AN_HOUR, calls_min: 1 };
    let span = Span { from: at("10:00:00"), to: at("10:30:00"), end: SpanEnd::Now };
    let metric = MetricQuery::of("p95".to_owned(), "/p95".to_owned(), Unit::Milliseconds);
    let mut source = SourceQuery::once("metrics", call("x", "{}"), span, vec![metric]);
    source.ask = Source::AppMetrics(calls);
    source
}

/// Twenty functions, the source `metrics`, and a flag that somebody else wrote since the last reading.
fn observation() -> Observation {
    let function = |n: usize| {
        let metric = MetricQuery::of(format!("x{n}"), "/x".to_owned(), Unit::Count);
        let span = Span::at(at("10:30:00"));
        SourceQuery::once(format!("f{n}"), call(&format!("h:f{n}"), "{}"), span, vec![metric])
    };
    let mut sources: Vec<_> = (0..20).map(function).collect();
    sources.push(metrics());
    let writes = [(flag("A"), at("09:00:00"))].into();
    Observation {
        flags: vec![flag("A")],
        sources,
        known: Known { writes, push: None },
        ..Observation::default()
    }
}

fn variables(asked: &str) -> Fate {
    let ms = at("10:15:00").as_millisecond() as f64;
    let row = json!({"name": "A", "value": "true", "_creationTime": ms});
    match asked {
        _ if asked.contains("list_environment") => {
            Some((200, json!({"environmentVariables": {"A": "true"}})))
        }
        _ if asked.contains("queryEnvironmentVariables") => {
            Some((200, json!({"status": "success", "value": [row]})))
        }
        _ => None,
    }
}

#[tokio::test]
async fn a_reading_ends_in_a_minute_and_keeps_what_was_answered() {
    for (timeout, bound) in [(55, 60), (20, 60), (2, 6)] {
        let (timeout, bound) = (Duration::from_secs(timeout), Duration::from_secs(bound));
        let slow = Slow::new(timeout);
        slow.answer(variables);
        let (reading, took) = slow.read(&slow.convex(), observation()).await;
        let aside = timeout.min(Duration::from_secs(5));
        assert!(took >= bound && took <= bound + aside * 2, "{timeout:?}: {took:?}");
        assert_eq!(reading.flags.unwrap().get(&flag("A")), Some(&Some("true".into())));
        // The rewrite is news, though nobody says who that was.
        assert_eq!(reading.writes[&flag("A")].at, at("10:15:00"));
        assert_eq!(reading.writes[&flag("A")].by, None);
        let words = format!(
            "not asked in time: deployment prod did not answer all of this reading within {} s",
            bound.as_secs()
        );
        let last = reading.measurements.last().unwrap();
        assert_eq!(last.measured, Measured::Failed(words));
        assert_eq!(reading.measurements.len(), 21);
        for one in &reading.measurements {
            assert!(matches!(one.measured, Measured::Failed(_)), "{one:?}");
        }
    }
}

#[tokio::test]
async fn flags_are_asked_first_and_fail_alone_in_words() {
    let slow = Slow::new(Duration::from_secs(20));
    let convex = slow.convex();
    slow.read(&convex, observation()).await;
    assert!(slow.asked()[0].contains("list_environment_variables"));
    // Flags that hang take nothing from what is answered.
    slow.answer(|asked| match asked {
        _ if asked.contains("h:f") => Some((200, json!({"status": "success", "value": {"x": 1}}))),
        _ => None,
    });
    let (reading, _) = slow.read(&convex, observation()).await;
    assert_eq!(reading.flags.unwrap_err().class, FaultClass::Transient);
    assert_eq!(reading.measurements[19].measured, Measured::Number(1.0));
}

#[tokio::test]
async fn what_is_beside_a_reading_costs_it_five_seconds() {
    let slow = Slow::new(Duration::from_secs(55));
    slow.answer(|asked| if asked.contains("list_environment") { variables(asked) } else { None });
    let convex = slow.convex();
    let flags = || Observation { flags: vec![flag("A")], ..Observation::default() };
    let (reading, took) = slow.read(&convex, flags()).await;
    assert!(reading.flags.is_ok() && reading.writes.is_empty() && reading.push.is_none());
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(6), "{took:?}");
    let unwatched = convex.unwatched();
    let told: Vec<_> =
        unwatched.iter().map(|one| (one.what, one.why.contains("within 5"))).collect();
    assert_eq!(told, [("code pushes", true), ("rewrites of flags", true)], "{unwatched:?}");
}

#[tokio::test]
async fn metrics_that_hang_leave_the_flags_their_time() {
    let (emulator, convex) = deployment("", &[("A", "true")]).await;
    emulator.inject(Fault::always("/api/app_metrics", FaultKind::SlowDrop { ms: 20_000 }));
    let observation = Observation { sources: vec![metrics()], ..observation() };
    let begun = Instant::now();
    let effect = rollout_core::Effect::Observe(observation);
    let Outcome::Observed(reading) = convex.perform(key(1), &effect).await else {
        panic!("no reading")
    };
    assert!(begun.elapsed() < TIMEOUT * 6, "took {:?}", begun.elapsed());
    assert_eq!(reading.flags.unwrap().get(&flag("A")), Some(&Some("true".into())));
    let Measured::Failed(words) = &reading.measurements[0].measured else { panic!("measured") };
    assert!(words.starts_with("not asked in time: "), "{words}");
}
