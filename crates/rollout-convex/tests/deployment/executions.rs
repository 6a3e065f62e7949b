//! The stream of executions of an emulated deployment, over real sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use convex_emulator::{Config, Emulator, EmulatorClock, Fault, FaultKind, InjectedExecutions};
use jiff::{SignedDuration, Timestamp};
use rollout_convex::{Convex, Lack, Told};
use rollout_core::{Calls, Extent, Measured, Span, SpanEnd, Unit};
use tokio::task::JoinHandle;

use crate::raw::{RawServer, Reply, http};
use crate::support::{adapter, call, key};

const STREAM: &str = "stream_udf_execution";
const STAY: SignedDuration = SignedDuration::from_mins(2);

/// A deployment, an adapter for it, and the task that follows its stream.
struct Followed {
    emulator: Emulator,
    convex: Arc<Convex>,
    task: JoinHandle<()>,
    began: Timestamp,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn followed_in(clock: EmulatorClock) -> Followed {
    let emulator = Emulator::start(Config { clock, ..Config::default() }).await.unwrap();
    let convex = Arc::new(adapter(&emulator.url(), &emulator.admin_key()));
    let task = follow(&convex);
    // Nothing ran yet; what the tests make up began up to a second before it is logged.
    let began = EmulatorClock::real().now() - SignedDuration::from_secs(1);
    Followed { began, emulator, convex, task }
}

async fn followed() -> Followed {
    followed_in(EmulatorClock::real()).await
}

fn follow(convex: &Arc<Convex>) -> JoinHandle<()> {
    let convex = Arc::clone(convex);
    tokio::spawn(async move { convex.follow().await })
}

fn calls(functions: &[&str]) -> Calls {
    let functions = functions.iter().map(|name| (*name).to_owned()).collect();
    Calls { functions, callers: vec![], over: SignedDuration::from_mins(5), calls_min: 1 }
}

fn some(times: u32, took_ms: f64) -> InjectedExecutions {
    InjectedExecutions { times, took_ms, ..InjectedExecutions::default() }
}

impl Followed {
    async fn ask_since(&self, from: Timestamp, cursor: Option<&str>) -> Result<Told, Lack> {
        let span = Span { from, to: EmulatorClock::real().now(), end: SpanEnd::Now };
        self.convex.executions(&calls(&[]), span, STAY, cursor).await
    }

    async fn ask(&self) -> Result<Told, Lack> {
        self.ask_since(self.began, None).await
    }

    /// Asks until an answer is as wanted; bounded.
    async fn ask_until(&self, what: &str, wanted: impl Fn(&Result<Told, Lack>) -> bool) -> Told {
        for _ in 0..500 {
            let told = self.ask().await;
            if wanted(&told) {
                return told.unwrap();
            }
            drop(
                tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await,
            );
        }
        panic!("it was never told: {what}; last: {:?}", self.ask().await);
    }

    fn polls(&self) -> usize {
        self.emulator.requests().iter().filter(|request| request.path.contains(STREAM)).count()
    }
}

fn counts(told: &Result<Told, Lack>, wanted: u64) -> bool {
    told.as_ref().is_ok_and(|told| told.basis.samples == Some(wanted))
}

fn number(told: &Told, pointer: &str) -> f64 {
    match told.measured(pointer, Unit::Count) {
        Measured::Number(number) => number,
        other => panic!("{pointer}: {other:?}"),
    }
}

#[tokio::test]
async fn rates_and_exact_latencies_come_from_what_ran() {
    let followed = followed().await;
    let failed = InjectedExecutions { error: Some("boom".into()), ..some(5, 2_000.0) };
    let other = InjectedExecutions { function: "files:list.js".into(), ..some(10, 1.0) };
    followed.emulator.inject_executions(&[some(90, 20.0), failed, other]);
    // What took two seconds began before the span, so that it must not count; the span is made longer for it.
    let from = followed.began - SignedDuration::from_secs(10);
    followed.ask().await.unwrap();
    let told = followed.ask_since(from, None).await.unwrap();
    assert_eq!(told.basis.samples, Some(105));
    let level = "/functions/messages:send";
    let rate = number(&told, &format!("{level}/errorRate"));
    assert!((rate - 5.0 / 95.0 * 100.0).abs() < 1e-9, "{rate}");
    assert_eq!(number(&told, &format!("{level}/p50")), 20.0);
    assert_eq!(number(&told, &format!("{level}/p99")), 2_000.0);
    assert!(told.measured("/callers/SyncWorker/errorRate", Unit::Percent) != Measured::Number(0.0));
    let short = followed.ask().await.unwrap();
    assert_eq!(short.basis.samples, Some(100), "what ran before the flip was counted");
}

#[tokio::test]
async fn a_failing_execution_stirs_within_a_second() {
    let followed = followed().await;
    followed.emulator.inject_executions(&[some(50, 20.0)]);
    followed.ask_until("the first calls", |told| counts(told, 50)).await;
    let mut stirred = followed.convex.stirred();
    let (before, mid) = (Instant::now(), EmulatorClock::real().now());
    let failed = InjectedExecutions { error: Some("boom".into()), ..some(1, 0.0) };
    followed.emulator.inject_executions(&[failed]);
    tokio::time::timeout(Duration::from_secs(5), stirred.changed()).await.unwrap().unwrap();
    let took = before.elapsed();
    println!("from a failing execution to the news of it: {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let told = followed.ask_since(mid, None).await.unwrap();
    assert_eq!((number(&told, "/errors"), told.basis.extent), (1.0, Extent::Whole));
}

#[tokio::test]
async fn our_own_calls_are_none() {
    let followed = followed().await;
    followed.emulator.inject_executions(&[some(3, 20.0)]);
    followed.ask_until("the first calls", |told| counts(told, 3)).await;
    let invoke = rollout_core::Effect::Invoke {
        call: call("monitoring/dashboard:getSystemHealth", "{}"),
        pointer: "/status".into(),
        bindings: std::collections::BTreeMap::new(),
    };
    followed.convex.perform(key(1), &invoke).await;
    followed.emulator.inject_executions(&[some(1, 20.0)]);
    let told = followed.ask_until("one more call", |told| counts(told, 4)).await;
    let health = "/functions/monitoring~1dashboard:getSystemHealth/calls";
    assert!(matches!(told.measured(health, Unit::Count), Measured::Missing(_)));
}

#[tokio::test]
async fn a_burst_beyond_the_buffer_is_a_part() {
    let mut followed = followed().await;
    followed.emulator.inject_executions(&[some(1, 1.0)]);
    followed.ask_until("the first call", |told| counts(told, 1)).await;
    followed.began = EmulatorClock::real().now();
    assert_eq!(followed.ask().await.unwrap().basis.extent, Extent::Whole);
    let failed = InjectedExecutions { error: Some("boom".into()), ..some(1_200, 0.0) };
    followed.emulator.inject_executions(&[some(1_200, 0.0), failed]);
    let told = followed
        .ask_until("the burst", |told| {
            told.as_ref().is_ok_and(|told| told.basis.samples >= Some(1_000))
        })
        .await;
    assert_eq!(told.basis.extent, Extent::Part);
    assert!(number(&told, "/errorRate") > 90.0);
    assert!(matches!(told.measured("/errors", Unit::Count), Measured::Missing(_)));
}

#[tokio::test]
async fn a_restarted_server_is_a_part_and_a_restarted_daemon_is_not() {
    let mut followed = followed().await;
    followed.emulator.inject_executions(&[some(20, 1.0)]);
    let told = followed.ask_until("the first calls", |told| counts(told, 20)).await;
    assert_eq!(told.basis.extent, Extent::Part, "what was before the buffer is not known");
    let cursor = told.cursor.unwrap();

    // A new process finds the same in the buffer.
    followed.task.abort();
    let (url, admin) = (followed.emulator.url(), followed.emulator.admin_key());
    followed.convex = Arc::new(adapter(&url, &admin));
    followed.task = follow(&followed.convex);
    let mid = EmulatorClock::real().now();
    followed.emulator.inject_executions(&[some(5, 0.0)]);
    let again = followed.ask_since(followed.began, Some(&cursor)).await.unwrap();
    assert_eq!(again.basis.samples, Some(25));
    let again = followed.ask_since(mid, None).await.unwrap();
    assert_eq!((again.basis.samples, again.basis.extent), (Some(5), Extent::Whole));

    followed.emulator.restart(60_000.0);
    followed.emulator.inject_executions(&[some(7, 0.0)]);
    let told = followed.ask_until("the new life", |told| counts(told, 32)).await;
    assert_eq!(told.basis.extent, Extent::Part);
}

#[tokio::test]
async fn an_hour_of_skew_is_noticed() {
    let real = EmulatorClock::real().now();
    for minutes in [61, -61] {
        let origin = real + SignedDuration::from_mins(minutes);
        let followed = followed_in(EmulatorClock::scaled(real, origin, 1.0)).await;
        followed.emulator.inject_executions(&[some(20, 0.0)]);
        followed.ask().await.ok();
        followed.emulator.inject_executions(&[some(30, 0.0)]);
        let told = followed
            .ask_until("the new calls", |told| {
                told.as_ref().is_ok_and(|told| told.basis.samples >= Some(30))
            })
            .await;
        assert!(told.basis.samples <= Some(50), "{minutes}: {:?}", told.basis);
    }
}

#[tokio::test]
async fn a_key_that_may_not_read_logs_and_other_failures_are_named() {
    let followed = followed().await;
    let fault = FaultKind::status(403, "OperationNotPermitted");
    followed.emulator.inject(Fault::once(STREAM, fault));
    let Err(Lack::Failed(words)) = followed.ask().await else { panic!("it was told") };
    assert!(words.ends_with("reading executions needs ViewLogs"), "{words}");
    followed.emulator.inject_executions(&[some(2, 0.0)]);
    followed.ask_until("after the failure", |told| counts(told, 2)).await;

    let server = RawServer::start(|_, _| http(200, r#"{"entries":7}"#)).await;
    let convex = Arc::new(adapter(&server.url, "otter|0123456789abcdef"));
    let task = follow(&convex);
    let span = Span { from: followed.began, to: followed.began, end: SpanEnd::Now };
    let told = convex.executions(&calls(&[]), span, STAY, None).await;
    assert!(matches!(&told, Err(Lack::Failed(words)) if words.contains("unexpected")), "{told:?}");
    task.abort();
}

#[tokio::test]
async fn one_poll_is_open_at_most_and_none_while_nobody_asks() {
    let followed = followed().await;
    followed.emulator.inject_executions(&[some(2, 0.0)]);
    let nobody = followed.polls();
    assert_eq!(nobody, 0, "it was followed before anybody asked");
    for _ in 0..20 {
        followed.ask().await.unwrap();
    }
    assert!(followed.polls() <= 2, "{} polls", followed.polls());
    // A second follower has nothing to do.
    tokio::time::timeout(Duration::from_secs(5), followed.convex.follow()).await.unwrap();
}

#[tokio::test]
async fn without_a_follower_nothing_is_told() {
    let server = RawServer::start(|_, _| Reply::Hang).await;
    let convex = adapter(&server.url, "otter|0123456789abcdef");
    let now = EmulatorClock::real().now();
    let span = Span { from: now, to: now, end: SpanEnd::Now };
    let told = convex.executions(&calls(&[]), span, STAY, None).await;
    assert!(
        matches!(&told, Err(Lack::Failed(words)) if words.contains("does not follow")),
        "{told:?}"
    );
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn the_long_poll_outlives_the_time_out_of_other_requests() {
    let followed = followed().await;
    followed.emulator.inject_executions(&[some(2, 0.0)]);
    followed.ask_until("the first calls", |told| counts(told, 2)).await;
    // The adapter of these tests gives other requests 1.5 s.
    drop(tokio::time::timeout(Duration::from_millis(2_200), std::future::pending::<()>()).await);
    let polls = followed.polls();
    followed.emulator.inject_executions(&[some(1, 0.0)]);
    followed.ask_until("the call after a pause", |told| counts(told, 3)).await;
    assert!(polls <= 2, "the poll was given up and repeated: {polls}");
}

/// A demonstration's day takes minutes: spans and executions are by its clock, requests and silence by the real one.
#[tokio::test]
async fn a_clock_that_is_faster_than_time_places_every_call() {
    let clock = EmulatorClock::accelerated(3_600.0);
    let emulator = Emulator::start(Config { clock, ..Config::default() }).await.unwrap();
    let own = move || Duration::try_from(clock.now().duration_since(clock.origin())).unwrap();
    let convex = adapter(&emulator.url(), &emulator.admin_key()).in_time_of(own);
    let convex = Arc::new(convex);
    let task = follow(&convex);
    let about = Calls { over: SignedDuration::from_hours(48), ..calls(&[]) };
    let mut heard = 0;
    for round in 1..=5 {
        emulator.inject_executions(&[some(10, 0.0)]);
        let from = clock.origin() - SignedDuration::from_mins(1);
        for _ in 0..200 {
            let span = Span { from, to: clock.now(), end: SpanEnd::Now };
            let told = convex.executions(&about, span, STAY, None).await.unwrap();
            heard = told.basis.samples.unwrap();
            if heard == round * 10 {
                break;
            }
            drop(
                tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await,
            );
        }
        assert_eq!(heard, round * 10);
        let flip = clock.now();
        let span = Span { from: flip, to: flip, end: SpanEnd::Now };
        let told = convex.executions(&about, span, STAY, None).await.unwrap();
        assert_eq!(told.basis.samples, Some(0), "calls from before the flip were counted");
    }
    task.abort();
}
