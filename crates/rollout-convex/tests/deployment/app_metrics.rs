//! The deployment's own metrics, asked of the emulator without sockets and in its own time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use convex_emulator::delivery::{self, Delivery};
use convex_emulator::{Deployment, DeploymentSettings, InjectedExecutions, RunState, Scenario};
use jiff::{SignedDuration, Timestamp};
use rollout_convex::wire::{Method, Request, Response};
use rollout_convex::{Convex, Lack, Told, Transport, TransportError};
use rollout_core::{
    Calls, Effect, Extent, Measured, MetricQuery, Observation, Outcome, Source, SourceQuery, Span,
    SpanEnd, Unit,
};

use crate::support::key;

const KEY: &str = "otter|010123456789abcdef";
const ALL: [&str; 3] = ["/errorRate", "/p95", "/cacheHitPercentage"];

#[derive(Clone)]
struct World(Arc<Mutex<(Deployment, Timestamp)>>);

impl Transport for World {
    fn own_elapsed(&self) -> Duration {
        let now = self.0.lock().unwrap().1;
        Duration::try_from(now.duration_since(Timestamp::UNIX_EPOCH)).unwrap()
    }

    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let headers = request.headers.into_iter().map(|(name, value)| (name.to_owned(), value));
        let mut headers: BTreeMap<_, _> = headers.collect();
        headers.insert("authorization".into(), format!("Convex {KEY}"));
        let url =
            reqwest::Url::parse(&format!("http://x{}?{}", request.path, request.query)).unwrap();
        let request = convex_emulator::wire::Request {
            method: if request.method == Method::Get { "GET" } else { "POST" }.into(),
            path: request.path.into(),
            query: url.query_pairs().into_owned().collect(),
            headers,
            body: request.body.into_bytes(),
        };
        let (deployment, now) = &mut *self.0.lock().unwrap();
        match delivery::deliver(deployment, *now, &request) {
            Delivery::Respond { response, .. } => {
                Ok(Response { status: response.status, body: response.body, date: None })
            }
            _ => Err(TransportError::Lost { cause: "cut".into() }),
        }
    }
}

/// A deployment that began 23 seconds before its first whole minute, so that no bucket begins with one.
struct Bench {
    world: World,
    convex: Convex<World>,
    began: Timestamp,
}

impl Bench {
    fn new() -> Self {
        let settings = DeploymentSettings {
            name: "otter".into(),
            admin_key: KEY.into(),
            read_only_key: "otter|020123456789abcdef".into(),
            env: BTreeMap::new(),
            scenario: Scenario::default(),
        };
        let began: Timestamp = "2026-11-22T10:00:37Z".parse().unwrap();
        let deployment = Deployment::new(settings, began).unwrap();
        let world = World(Arc::new(Mutex::new((deployment, began))));
        let convex = Convex::over("prod".into(), KEY.into(), world.clone());
        Self { world, convex, began }
    }

    fn at(&self, secs: i64) -> Timestamp {
        self.began + SignedDuration::from_secs(secs)
    }

    fn runs(&self, secs: i64, executions: &[InjectedExecutions]) {
        let now = self.at(secs);
        let (deployment, clock) = &mut *self.world.0.lock().unwrap();
        *clock = now;
        deployment.inject_executions(now, executions);
    }

    /// Every ten seconds, `times` good calls and perhaps bad ones.
    fn traffic(&self, from: i64, to: i64, good: u32, bad: u32) {
        for secs in (from..to).step_by(10) {
            self.runs(secs, &[some("messages:send", good), failed("messages:send", bad)]);
        }
    }

    async fn ask(&self, functions: &[&str], from: i64, to: i64) -> Result<Told, Lack> {
        self.world.0.lock().unwrap().1 = self.at(to);
        self.ask_then(functions, from, to, SpanEnd::Now).await
    }

    async fn ask_then(
        &self,
        functions: &[&str],
        from: i64,
        to: i64,
        end: SpanEnd,
    ) -> Result<Told, Lack> {
        let span = Span { from: self.at(from), to: self.at(to), end };
        self.convex.app_metrics(&calls(functions), span, &ALL).await
    }
}

fn some(function: &str, times: u32) -> InjectedExecutions {
    InjectedExecutions { times, function: function.into(), ..InjectedExecutions::default() }
}

fn failed(function: &str, times: u32) -> InjectedExecutions {
    InjectedExecutions { error: Some("boom".into()), ..some(function, times) }
}

fn calls(functions: &[&str]) -> Calls {
    let functions = functions.iter().map(|name| (*name).to_owned()).collect();
    Calls { functions, callers: vec![], over: SignedDuration::from_mins(10), calls_min: 20 }
}

fn number(told: &Told, pointer: &str) -> f64 {
    match told.measured(pointer, Unit::Count) {
        Measured::Number(number) => number,
        other => panic!("{pointer}: {other:?}"),
    }
}

fn missing(told: &Told, pointer: &str) -> String {
    match told.measured(pointer, Unit::Count) {
        Measured::Missing(words) => words,
        other => panic!("{pointer}: {other:?}"),
    }
}

#[tokio::test]
async fn the_flip_is_sharp_and_the_filling_minute_is_left_out() {
    let bench = Bench::new();
    bench.traffic(0, 400, 0, 5);
    bench.traffic(400, 1_000, 5, 0);
    let told = bench.ask(&["messages:send"], 400, 1_000).await.unwrap();
    assert_eq!((number(&told, "/errors"), number(&told, "/errorRate")), (0.0, 0.0));
    assert_eq!(number(&told, "/calls"), 9.0 * 30.0, "nine whole minutes of thirty calls");
    assert_eq!(told.basis.samples, Some(270));
    assert_eq!((told.basis.from, told.basis.to), (bench.at(400), bench.at(940)));
    assert_eq!(told.basis.extent, Extent::Whole);
    let before = bench.ask_then(&["messages:send"], 0, 300, SpanEnd::Past).await.unwrap();
    assert_eq!(number(&before, "/errorRate"), 100.0);
    let p95 = number(&told, "/p95");
    assert!((19.0..=22.0).contains(&p95), "{p95}");
}

#[tokio::test]
async fn silence_is_no_pass() {
    let bench = Bench::new();
    let Err(Lack::Missing(_)) = bench.ask(&["messages:send"], 0, 119).await else { panic!("told") };
    let Err(Lack::Missing(words)) = bench.ask(&["messages:send"], 0, 600).await else {
        panic!("it told of a deployment on which nothing ran")
    };
    assert!(words.contains("no metrics of that time"), "{words}");
    // Others run, this one does not: zero calls.
    bench.traffic(600, 1_300, 5, 0);
    let told = bench.ask(&["files:list"], 650, 1_300).await.unwrap();
    assert_eq!(number(&told, "/calls"), 0.0);
    assert_eq!(missing(&told, "/errorRate"), "0 calls, at least 20 wanted");
    // After a restart of the server only a part is known.
    bench.world.0.lock().unwrap().0.restart(bench.at(1_300), 0.0);
    bench.traffic(1_300, 1_600, 5, 0);
    let part = bench.ask(&["messages:send"], 1_000, 1_600).await.unwrap();
    assert_eq!(part.basis.extent, Extent::Part);
    assert!(missing(&part, "/calls").contains("lost"));
    assert_eq!(number(&part, "/errorRate"), 0.0);
    let Err(Lack::Missing(_)) = bench.ask(&["messages:send"], 9_000, 9_600).await else {
        panic!("it told of a time long after")
    };
}

#[tokio::test]
async fn an_overflown_histogram_is_unknown_and_never_fast() {
    for (per_ten_seconds, is_known) in [(40, true), (43, false), (200, false), (2_000, false)] {
        let bench = Bench::new();
        bench.traffic(0, 400, per_ten_seconds, 0);
        let told = bench.ask(&["messages:send"], 60, 400).await.unwrap();
        assert_eq!(number(&told, "/errorRate"), 0.0);
        let p95 = told.measured("/p95", Unit::Milliseconds);
        assert_eq!(matches!(p95, Measured::Number(_)), is_known, "{per_ten_seconds}: {p95:?}");
        if !is_known {
            assert!(missing(&told, "/p95").contains("use the source executions"));
        }
    }
}

#[tokio::test]
async fn all_functions_together_are_counted_without_mixing_the_rests() {
    let bench = Bench::new();
    for secs in (0..600).step_by(10) {
        let mut executions: Vec<_> =
            (0..40).map(|index| some(&format!("many:f{index}"), 10 - index / 8)).collect();
        executions.extend([failed("many:f39", 1), failed("rare:f", 1), failed("many:f0", 2)]);
        bench.runs(secs, &executions);
    }
    let told = bench.ask(&[], 60, 600).await.unwrap();
    let per_ten_seconds = (0..40).map(|index| 10 - index / 8).sum::<u32>() + 4;
    assert_eq!(number(&told, "/calls"), f64::from(per_ten_seconds) * 6.0 * 8.0);
    assert_eq!(number(&told, "/errors"), 4.0 * 6.0 * 8.0);
    assert_eq!(number(&told, "/functions/many:f0/errors"), 2.0 * 6.0 * 8.0);
    assert!(missing(&told, "/p95").contains("per function"));
}

#[tokio::test]
async fn more_failing_functions_than_are_named_are_unknown() {
    let bench = Bench::new();
    let executions: Vec<_> = (0..30).map(|index| failed(&format!("many:f{index}"), 1)).collect();
    for secs in (0..600).step_by(30) {
        bench.runs(secs, &executions);
    }
    let Err(Lack::Missing(words)) = bench.ask(&[], 60, 600).await else { panic!("it was told") };
    assert!(words.contains("name those that matter"), "{words}");
}

#[tokio::test]
async fn a_clock_that_is_ahead_is_named() {
    let bench = Bench::new();
    bench.traffic(0, 2_000, 5, 0);
    let span = Span { from: bench.at(300), to: bench.at(900), end: SpanEnd::Now };
    let told = bench.convex.app_metrics(&calls(&["messages:send"]), span, &ALL).await;
    let Err(Lack::Failed(words)) = told else { panic!("{told:?}") };
    assert!(words.contains("ahead of ours"), "{words}");
}

#[tokio::test]
async fn what_else_the_deployment_knows_is_asked_where_it_is_wanted() {
    let bench = Bench::new();
    for secs in (0..600).step_by(10) {
        let query = InjectedExecutions {
            udf_type: convex_emulator::completion::UdfType::Query,
            ..some("messages:list", 3)
        };
        bench.runs(secs, &[InjectedExecutions { cached: true, ..query.clone() }, query]);
    }
    let told = bench.ask(&["messages:list"], 60, 600).await.unwrap();
    assert_eq!(number(&told, "/cacheHitPercentage"), 50.0);
    let span = Span { from: bench.at(60), to: bench.at(600), end: SpanEnd::Now };
    let asked = ["/queued", "/scheduledJobLag"];
    let told = bench.convex.app_metrics(&calls(&["messages:list"]), span, &asked).await.unwrap();
    assert_eq!(number(&told, "/queued"), 0.0);
    assert_eq!(number(&told, "/scheduledJobLag"), 0.0);
    let callers = Calls { callers: vec!["Cron".into()], ..calls(&[]) };
    let refused = bench.convex.app_metrics(&callers, span, &[]).await;
    assert!(matches!(refused, Err(Lack::Failed(words)) if words.contains("do not know callers")));
}

/// The error rate as a reading tells it at `secs`, about the last ten minutes.
async fn rate(bench: &Bench, convex: &Convex<World>, secs: i64) -> Measured {
    bench.world.0.lock().unwrap().1 = bench.at(secs);
    let span = Span { from: bench.at(0), to: bench.at(secs), end: SpanEnd::Now };
    let metric = MetricQuery {
        criterion: "error_rate".into(),
        pointer: "/errorRate".into(),
        unit: Unit::Percent,
        alert: None,
    };
    let ask = Source::AppMetrics(calls(&["messages:send"]));
    let sources = vec![SourceQuery::once("app", ask, span, vec![metric])];
    let effect = Effect::Observe(Observation { sources, ..Observation::default() });
    match convex.perform(key(1), &effect).await {
        Outcome::Observed(mut reading) => reading.measurements.remove(0).measured,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn calls_that_a_paused_deployment_refused_are_no_failures_of_the_app() {
    let bench = Bench::new();
    let seen = &bench.convex;
    let stop = |state| bench.world.0.lock().unwrap().0.set_run_state(state);
    bench.traffic(0, 600, 5, 0);
    assert_eq!(rate(&bench, seen, 600).await, Measured::Number(0.0));
    stop(RunState::Paused);
    bench.traffic(600, 900, 0, 5);
    let Measured::Failed(words) = rate(&bench, seen, 900).await else { panic!("it was told") };
    assert!(words.contains("is paused and runs no functions"), "{words}");
    stop(RunState::Running);
    bench.traffic(900, 930, 5, 0);

    // The reading that finds it running again, and those for as long as the source looks back.
    let first = rate(&bench, seen, 930).await;
    let Measured::Missing(words) = first else { panic!("{first:?}") };
    assert!(words.starts_with("unknown: the deployment was paused"), "{words}");
    // What is kept from being judged: an adapter that has not seen the pause takes them for failures.
    let unaware = Convex::over("prod".into(), KEY.into(), bench.world.clone());
    let told = rate(&bench, &unaware, 930).await;
    assert!(matches!(told, Measured::Number(rate) if rate > 20.0), "{told:?}");
    for (from, secs) in [(930, 1_000), (1_000, 1_300), (1_300, 1_640)] {
        bench.traffic(from, secs, 5, 0);
        let told = rate(&bench, seen, secs).await;
        let Measured::Missing(words) = told else { panic!("{secs}: {told:?}") };
        let expected = "unknown: the deployment was paused until about 10:16 UTC; its metrics hold the calls that it \
                        refused, as failures, until 10:28 UTC";
        assert_eq!(words, expected, "{secs}");
    }
    bench.traffic(1_640, 1_660, 5, 0);
    assert_eq!(rate(&bench, seen, 1_660).await, Measured::Number(0.0));
}
