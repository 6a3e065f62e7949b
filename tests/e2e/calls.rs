//! Health without any code of the app: a plan that only counts executions runs to its end, by the stream and by the
//! deployment's own metrics; failing executions are rolled back in seconds, long before the next planned check.

use std::time::{Duration, Instant};

use convex_emulator::{Config, Emulator, Fault, FaultKind, InjectedExecutions, Scenario};
use jiff::SignedDuration;
use rollout_api::JournalEntry;
use rollout_e2e::{Setting, World, moment_of, say, settled_rows, verdict_of};

use crate::PROGRAMS;

/// Calls of users every few seconds, none of which fails.
const TRAFFIC: &str = r#"
[[traffic]]
function = "messages:send"
type = "Mutation"
perMinute = 60
latencyMs = { p50 = 35, p95 = 180, p99 = 600 }
"#;

/// What the promise allows a busy machine; the goal is 2 s.
const REACTION_MAX: Duration = Duration::from_secs(10);

/// A plan that asks nothing of the app: one source, which counts the calls of one function.
fn plan(source: &str, watch: &str, bake: &str) -> String {
    format!(
        "name = \"calls\"\ndeployment = \"production\"\n\n[watch]\n{watch}\n\n[sources]\n\
         sends = {{ {source} = [\"messages:send\"], over = \"15m\", calls_min = 20 }}\n\n\
         [[criteria]]\nname = \"error_rate\"\nsource = \"sends\"\npointer = \"/errorRate\"\nunit = \"percent\"\n\
         target = \"< 1%\"\nalert = \"> 5%\"\n\n\
         [[criteria]]\nname = \"p95\"\nsource = \"sends\"\npointer = \"/p95\"\nunit = \"ms\"\n\
         target = \"< 1s\"\nalert = \"> 5s\"\n\n\
         [[phases]]\nname = \"one\"\nflags = [\"ENABLE_ONE\"]\nbake = \"{bake}\"\ncheckpoints = [\"30m\", \"1h\"]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_completes_by_its_executions_alone() {
    completes_by("executions", 600).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_completes_by_the_metrics_of_its_deployment_alone() {
    // Slower: the metrics take a clock for wrong that seems two minutes off, and so may seem one on a busy machine.
    completes_by("app_metrics", 150).await;
}

async fn completes_by(source: &str, scale: u32) {
    let scenario = Scenario::parse(TRAFFIC).unwrap();
    let mut world = World::start(PROGRAMS, Setting { scenario, scale, ..Setting::default() }).await;
    let watch = "checks = [{ every = \"5m\" }]";
    let mut run = world.begin(&plan(source, watch, "1h")).await;
    let started = moment_of(&run.until("bake_started").await);
    let middle = started + SignedDuration::from_mins(25);
    run.until_that("the middle of the window", |entry| moment_of(entry) >= middle).await;
    world.restart().await;
    run.until("rollout_completed").await;

    assert_eq!(run.count("rollback_started"), 0, "{}", run.last_entries());
    assert_eq!(world.emulator.env()["ENABLE_ONE"], "true");
    assert_eq!(settled_rows(&run.log().await).len(), 2);
    for judged in run.of_kind("checkpoint_judged") {
        assert_eq!(verdict_of(judged), "pass", "{}", judged.text);
    }
    // What was judged are numbers of the traffic, not the silence of a source that found nothing.
    let checks: Vec<_> = run.of_kind("reading_taken").filter(|one| is_check(one)).collect();
    assert!(checks.len() >= 10, "{}", run.last_entries());
    let told: Vec<_> = checks.iter().filter(|check| verdict_of(check) == "pass").collect();
    assert!(told.len() * 10 >= checks.len() * 9, "{checks:?}");
    for check in told {
        assert_eq!(value_of(check, "error_rate"), Some(0.0), "{}", check.details);
        let p95 = value_of(check, "p95").unwrap();
        assert!((35.0..=900.0).contains(&p95), "{}", check.details);
    }
    // No function of the app was run for it.
    let asked = world.emulator.requests();
    assert!(!asked.iter().any(|request| request.path.contains("/api/function")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_executions_are_rolled_back_long_before_the_next_check() {
    let scenario = Scenario::parse(TRAFFIC).unwrap();
    let world = World::start(PROGRAMS, Setting { scenario, ..Setting::default() }).await;
    // Traffic of a call a second would keep the baseline waiting for twenty.
    world.emulator.inject_executions(&[calls(60, None)]);
    let watch = "checks = [{ every = \"15m\" }]";
    let mut run = world.begin(&plan("executions", watch, "2h")).await;
    run.until("flags_set").await;
    // Only what runs after the flip counts, so there is too little yet.
    let first = run.until("reading_taken").await;
    assert_eq!(verdict_of(&first), "no data", "{}", first.text);
    world.emulator.inject_executions(&[calls(60, None)]);
    let started = run.until("bake_started").await;
    run.catch_up().await;
    let last = run.of_kind("reading_taken").last().unwrap();
    assert_eq!(verdict_of(last), "pass", "{}", last.text);
    assert_eq!(world.emulator.env()["ENABLE_ONE"], "true");

    world.emulator.inject_executions(&[calls(60, Some("the recipient is gone"))]);
    let injected = Instant::now();
    let off = off_after(&world, injected).await;
    run.until("rollback_finished").await;
    let proven = injected.elapsed();
    say(&format!(
        "reaction to failing executions: {:.2} s until the flag was off at the deployment, {:.2} s until read back",
        off.as_secs_f64(),
        proven.as_secs_f64()
    ));
    assert!(off < REACTION_MAX, "the flag was on for {off:?} after it failed");

    let rollback = run.of_kind("rollback_started").next().unwrap();
    assert!(rollback.text.contains("error_rate is "), "{}", rollback.text);
    // The planned check would have come a quarter of an hour after the window began.
    let at = moment_of(rollback).duration_since(moment_of(&started));
    assert!(at < SignedDuration::from_mins(10), "{at:?} after the window began");
    assert_eq!(run.detail().await.incidents.len(), 1);
}

/// Between the end of the slow reading and the proof that the flag is off. Without a memory for alarms the next look comes
/// seven seconds later; the goal is 2 s.
const REMEMBERED_MAX: SignedDuration = SignedDuration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_in_the_middle_of_a_slow_reading_is_not_forgotten() {
    // A page of another server, which answers one question late.
    let page = Emulator::start(Config::default()).await.unwrap();
    let config = format!("[endpoints.page]\nurl = \"{}\"\n", page.url());
    let scenario = Scenario::parse(TRAFFIC).unwrap();
    let world = World::start(PROGRAMS, Setting { scenario, config, ..Setting::default() }).await;
    world.emulator.inject_executions(&[calls(60, None)]);
    let source = "[sources]\npage = { http = \"page\", path = \"/api/query?path=tasks:get&args=%7B%22id%22:%22x%22%7D\" }\n";
    let criterion = "[[criteria]]\nname = \"page\"\nsource = \"page\"\npointer = \"/status\"\n\
                     unit = \"text\"\ntarget = \"= success\"\n\n[[phases]]";
    let plan = plan("executions", "checks = [{ every = \"15m\" }]", "2h");
    let plan = plan.replace("[sources]\n", source).replace("[[phases]]", criterion);
    let mut run = world.begin(&plan).await;
    run.until("flags_set").await;
    run.until("reading_taken").await;
    // The next one is taken by itself, asks the stream at once, and waits for the page.
    world.emulator.inject_executions(&[calls(60, None)]);
    let (asked, counted) = (page.requests().len(), state_questions(&world.emulator));
    page.inject(Fault::once("/api/query", FaultKind::Slow { ms: 8_000 }));
    run.until("reading_started").await;
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let since = Instant::now();
    // The stream is asked before the deployment's state is, so what fails from now on comes too late for this reading.
    while page.requests().len() == asked || state_questions(&world.emulator) == counted {
        assert!(since.elapsed() < Duration::from_secs(60), "the sources are not asked");
        ticks.tick().await;
    }
    world.emulator.inject_executions(&[calls(60, Some("the recipient is gone"))]);
    let slow = run.until("reading_taken").await;
    assert_eq!(verdict_of(&slow), "pass", "it has seen the burst itself: {}", slow.text);
    let proven = run.until("rollback_finished").await;
    let took = moment_of(&proven).duration_since(moment_of(&slow));
    say(&format!("an alarm in a slow reading: read back {took:#} after that reading's end"));
    assert!(took < REMEMBERED_MAX, "{took:#}: {}", run.last_entries());
    assert_eq!(world.emulator.env()["ENABLE_ONE"], "false");
}

/// How often the deployment was asked whether it runs, as it is with every source that counts calls.
fn state_questions(deployment: &Emulator) -> usize {
    deployment.with(|deployment, _| {
        let paths =
            deployment.sent().iter().filter_map(|sent| sent.body.as_ref()?["path"].as_str());
        paths.filter(|path| path.ends_with(":deploymentState")).count()
    })
}

/// How long it took until the deployment had the flag's safe value; the deployment itself is asked, not the daemon.
async fn off_after(world: &World, since: Instant) -> Duration {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while world.emulator.env()["ENABLE_ONE"] != "false" {
        assert!(since.elapsed() < Duration::from_secs(60), "the flag stays on");
        ticks.tick().await;
    }
    since.elapsed()
}

/// Short ones, so that none of them began before the flip.
fn calls(times: u32, error: Option<&str>) -> InjectedExecutions {
    let error = error.map(str::to_owned);
    InjectedExecutions { times, took_ms: 1.0, error, ..InjectedExecutions::default() }
}

fn is_check(entry: &JournalEntry) -> bool {
    entry.details["purpose"] == "check"
}

fn value_of(reading: &JournalEntry, criterion: &str) -> Option<f64> {
    let values = reading.details["values"].as_array()?;
    values.iter().find(|value| value["criterion"] == criterion)?["value"].as_f64()
}
