//! Health from places that are not the deployment: a page of JSON whose outage is never a breach, and a real Prometheus
//! server, which tells afterwards about the checkpoints that nobody saw.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rollout_api::JournalEntry;
use rollout_e2e::{
    PrometheusProcess, Run, Setting, Tool, World, has_all, moment_of, settled_rows, text_of,
    verdict_of,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use crate::PROGRAMS;

/// One second of the tests is ten minutes.
const SCALE: u32 = 600;
const EVERY: SignedDuration = SignedDuration::from_mins(10);
/// What a busy machine may add (2 s).
const SLACK: SignedDuration = SignedDuration::from_mins(20);
/// Longest real time that a test lets pass while the daemon is down.
const AWAY_MAX: Duration = Duration::from_secs(60);

fn plan(watch: &str, sources: &str, criteria: &[(&str, &str, &str)], phase: &str) -> String {
    let criteria = criteria.iter().map(|(name, source, pointer)| {
        format!(
            "[[criteria]]\nname = \"{name}\"\nsource = \"{source}\"\npointer = \"{pointer}\"\nunit = \"percent\"\n\
             target = \"< 1%\"\nalert = \"> 5%\"\n\n"
        )
    });
    format!(
        "name = \"endpoints\"\ndeployment = \"production\"\n\n[watch]\nchecks = [{{ every = \"10m\" }}]\n{watch}\n\n\
         [sources]\n{sources}\n\n{}[[phases]]\nname = \"one\"\nflags = [\"ENABLE_ONE\"]\n{phase}\n",
        criteria.collect::<String>()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_a_page_is_an_error_and_never_a_breach() {
    let page = Page::start().await;
    let config = format!("[endpoints.status]\nurl = \"{}\"\ntimeout = \"5s\"\n", page.url);
    let world =
        World::start(PROGRAMS, Setting { scale: SCALE, config, ..Setting::default() }).await;
    let source = "page = { http = \"status\", path = \"/health?full=1\" }";
    let phase = "bake = \"700h\"\ncheckpoints = [\"700h\"]";
    let criteria = [("error_rate", "page", "/errorRate")];
    let mut run = world.begin(&plan("", source, &criteria, phase)).await;
    run.until("bake_started").await;
    assert_eq!(page.paths(), ["/health?full=1"], "the plan's own path, whole");

    // What it says while its status is a failure is no value, however bad.
    let failures = [
        (Says::Nothing, "status"),
        (Says::Status(503, r#"{"errorRate": 50}"#), "503"),
        (Says::Status(200, "<html>maintenance</html>"), "JSON"),
    ];
    for (says, part) in failures {
        page.say(says);
        let reading = next_reading(&world, &mut run).await;
        assert_eq!(verdict_of(&reading), "error", "{says:?}: {}", reading.text);
        assert!(reading.text.contains(part), "no `{part}`: {}", reading.text);
        page.say(HEALTHY);
        let reading = next_reading(&world, &mut run).await;
        assert_eq!(verdict_of(&reading), "pass", "after {says:?}: {}", reading.text);
    }

    // An outage that is too long for the watch holds, and nothing else; it ends by itself.
    page.say(Says::Nothing);
    run.until("held").await;
    page.say(HEALTHY);
    run.until("released").await;
    assert_eq!(run.count("rollback_started"), 0, "{}", run.last_entries());
    assert_eq!(world.emulator.env()["ENABLE_ONE"], "true");
    assert!(run.of_kind("reading_taken").all(|entry| verdict_of(entry) != "breach"));

    // A value is one.
    page.say(Says::Status(200, r#"{"errorRate": 7}"#));
    let rollback = run.until("rollback_started").await;
    assert!(rollback.text.contains("error_rate is 7 %"), "{}", rollback.text);
    run.until("rollback_finished").await;
    assert_eq!(world.emulator.env()["ENABLE_ONE"], "false");
}

const SERIES: [&str; 2] = ["app_errors", "app_night"];
const SOURCES: &str = "errors = { prometheus = \"metrics\", query = \"app_errors\" }\n\
    worst = { prometheus = \"metrics\", query = \"app_night\", range = \"20m\", step = \"1m\", reduce = \"max\" }";
const CRITERIA: [(&str, &str, &str); 2] = [("errors", "errors", ""), ("worst", "worst", "")];

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_of_a_daemon_that_was_killed_are_judged_by_a_look_back() {
    let test = "checkpoints_of_a_daemon_that_was_killed_are_judged_by_a_look_back";
    if !has_all(test, &[Tool::Prometheus]) {
        return;
    }
    let (_prometheus, mut world) = watched_by_prometheus(|_, _| 0.4).await;
    let phase = "bake = \"5h\"\ncheckpoints = [\"1h\", \"2h\", \"5h\"]";
    let mut run = world.begin(&plan("missed = \"backfill\"", SOURCES, &CRITERIA, phase)).await;
    let started = moment_of(&run.until("bake_started").await);
    run.until_that("a check", |entry| text_of(entry, "purpose") == "check").await;
    let back = started + SignedDuration::from_mins(160);
    away_until(&mut world, back).await;
    run.until("rollout_completed").await;

    assert_eq!(run.count("checkpoint_judged"), 3, "{}", run.last_entries());
    for hours in [1, 2] {
        let due = started + SignedDuration::from_hours(hours);
        assert_looked_back(&run, due, back, "pass");
    }
    let told = run.of_kind("gap_backfilled").next().unwrap();
    assert_eq!(told.details["cause"]["kind"], "engine_down");
    let time = |field| text_of(told, field).parse::<Timestamp>().unwrap();
    assert!(time("from") <= started + EVERY + SLACK && time("to") >= back, "{}", told.text);
    // What was told afterwards is no reason to watch for longer.
    let ended = moment_of(run.of_kind("bake_ended").next().unwrap());
    let lasted = ended.duration_since(started);
    assert!(lasted <= SignedDuration::from_hours(5) + EVERY + SLACK, "{lasted:?}");

    let log = run.log().await;
    let rows = settled_rows(&log);
    for (row, hours) in rows.iter().zip(["T+1h", "T+2h"]) {
        assert!(row.contains(hours) && row.contains("told by the sources"), "{log}");
    }
    assert_eq!(rows.len(), 3, "{log}");
    assert!(log.contains("the sources told about it afterwards"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_that_nobody_saw_is_rolled_back_by_a_look_back() {
    let test = "a_breach_that_nobody_saw_is_rolled_back_by_a_look_back";
    if !has_all(test, &[Tool::Prometheus]) {
        return;
    }
    // The window begins within half an hour after 9; from 11:00 to 11:40 something was wrong, and is well again since.
    let bad = |text: &str| format!("2026-01-05T{text}:00Z").parse::<Timestamp>().unwrap();
    let (from, to) = (bad("11:00"), bad("11:40"));
    let night = move |name: &str, at: Timestamp| match name {
        "app_night" if (from..=to).contains(&at) => 7.0,
        _ => 0.4,
    };
    let (_prometheus, mut world) = watched_by_prometheus(night).await;
    let hours = (1..=12).map(|half| format!("\"{}m\"", half * 30)).collect::<Vec<_>>().join(", ");
    let phase = format!("bake = \"6h\"\ncheckpoints = [{hours}]");
    let mut run = world.begin(&plan("missed = \"backfill\"", SOURCES, &CRITERIA, &phase)).await;
    let started = moment_of(&run.until("bake_started").await);
    assert!(started < bad("10:30"), "this machine is too slow for the test: {started}");
    let back = bad("12:10");
    away_until(&mut world, back).await;
    let rollback = run.until("rollback_started").await;
    assert!(rollback.text.contains("worst is 7 %"), "{}", rollback.text);
    let reading = run.of_kind("reading_taken").last().unwrap();
    assert!(text_of(reading, "purpose").starts_with("look back to "), "{}", reading.text);
    assert_eq!(verdict_of(reading), "breach");
    run.until("rollback_finished").await;
    assert_eq!(world.emulator.env()["ENABLE_ONE"], "false");
}

/// A world whose daemon may ask a Prometheus server that knows two days of the clock of the tests.
async fn watched_by_prometheus(
    value: impl Fn(&str, Timestamp) -> f64,
) -> (PrometheusProcess, World) {
    let from: Timestamp = "2026-01-05T06:00:00Z".parse().unwrap();
    let prometheus = PrometheusProcess::start(&SERIES, from, 2 * 24 * 60, value).await;
    let config = format!("[endpoints.metrics]\nurl = \"{}\"\n", prometheus.url);
    let setting = Setting { scale: SCALE, config, ..Setting::default() };
    (prometheus, World::start(PROGRAMS, setting).await)
}

/// Kills the daemon and starts it again at `back`.
async fn away_until(world: &mut World, back: Timestamp) {
    world.kill().await;
    let (end, mut ticks) = (Instant::now() + AWAY_MAX, interval(Duration::from_millis(20)));
    while world.emulator.now() < back {
        assert!(Instant::now() < end, "the time of the test does not pass");
        ticks.tick().await;
    }
    world.restart().await;
}

/// The checkpoint that was due then was judged after `back`, by a reading about that very moment.
fn assert_looked_back(run: &Run, due: Timestamp, back: Timestamp, verdict: &str) {
    let is_due = |entry: &&JournalEntry| {
        text_of(entry, "due").parse::<Timestamp>().is_ok_and(|at| at == due)
    };
    let judged = run.of_kind("checkpoint_judged").find(is_due).unwrap();
    assert_eq!(verdict_of(judged), verdict, "{}", judged.text);
    assert!(moment_of(judged) >= back, "{}", judged.text);
    let mut before = run.entries.iter().filter(|entry| entry.seq < judged.seq);
    let reading = before.rfind(|entry| entry.kind == "reading_taken").unwrap();
    let purpose = text_of(reading, "purpose");
    assert_eq!(purpose, format!("look back to {due:.0}"), "{}", reading.text);
}

/// The next reading that was asked for after this moment.
async fn next_reading(world: &World, run: &mut Run) -> JournalEntry {
    let now = world.emulator.now();
    run.until_that("the next reading", |entry| {
        entry.kind == "reading_started" && moment_of(entry) > now
    })
    .await;
    run.until("reading_taken").await
}

/// What the page answers.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// The connection ends without a word.
    Nothing,
    /// A status and a body.
    Status(u16, &'static str),
}

const HEALTHY: Says = Says::Status(200, r#"{"errorRate": 0.4}"#);

/// A small web server; gone with the value.
struct Page {
    url: String,
    state: Arc<Mutex<(Says, Vec<String>)>>,
    server: JoinHandle<()>,
}

impl Page {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new((HEALTHY, Vec::new())));
        let served = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(answer(connection, Arc::clone(&served)));
            }
        });
        Self { url, state, server }
    }

    fn say(&self, says: Says) {
        self.state.lock().unwrap().0 = says;
    }

    /// Everything that was asked for, each once.
    fn paths(&self) -> Vec<String> {
        let mut paths = self.state.lock().unwrap().1.clone();
        paths.sort();
        paths.dedup();
        paths
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Answers one request and closes the connection.
async fn answer(mut connection: TcpStream, state: Arc<Mutex<(Says, Vec<String>)>>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match connection.read_buf(&mut request).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
    let says = {
        let mut state = state.lock().unwrap();
        let line = String::from_utf8_lossy(&request).into_owned();
        state.1.push(line.split(' ').nth(1).unwrap_or_default().to_owned());
        state.0
    };
    if let Says::Status(status, body) = says {
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(answer.as_bytes()).await.ok();
    }
}
