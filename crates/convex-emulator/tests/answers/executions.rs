//! The execution streams and the app's own traffic, against the core without sockets.

use crate::bench::{Bench, check_error, json_of};
use convex_emulator::RunState;
use convex_emulator::streams;
use convex_emulator::wire::Request;
use serde_json::{Value as Json, json};

const STREAM: &str = "/api/stream_udf_execution";
const LOGS: &str = "/api/stream_function_logs";

fn poll(bench: &mut Bench, cursor: f64) -> (Vec<Json>, f64) {
    let answer = json_of(&bench.get(STREAM, &[("cursor", &cursor.to_string())]));
    let entries = answer["entries"].as_array().unwrap().clone();
    (entries, answer["newCursor"].as_f64().unwrap())
}

fn run(bench: &mut Bench, endpoint: &str, path: &str) {
    let body = json!({ "path": path, "args": {}, "format": "convex_encoded_json" });
    assert_eq!(bench.post(endpoint, &body).status, 200);
}

#[test]
fn every_run_becomes_one_completion_with_all_fields() {
    let mut bench = Bench::new("");
    run(&mut bench, "/api/function", "monitoring/dashboard:getSystemHealth");
    let (entries, cursor) = poll(&mut bench, 0.0);
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    let mut fields: Vec<&str> = entry.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let expected = [
        "cachedResult",
        "caller",
        "componentPath",
        "environment",
        "error",
        "executionId",
        "executionTime",
        "executionTimestamp",
        "identifier",
        "identityType",
        "kind",
        "logLines",
        "occInfo",
        "parentExecutionId",
        "requestId",
        "returnBytes",
        "success",
        "timestamp",
        "udfType",
        "usageStats",
        "userExecutionTime",
        "willRetry",
    ];
    assert_eq!(fields, expected);
    assert_eq!(entry["identifier"], "monitoring/dashboard:getSystemHealth");
    assert_eq!((&entry["udfType"], &entry["caller"]), (&json!("Query"), &json!("HttpApi")));
    assert_eq!((&entry["error"], &entry["success"]), (&Json::Null, &Json::Null));
    let seconds = |name: &str| entry[name].as_f64().unwrap();
    assert_eq!(seconds("executionTimestamp"), 1_787_306_417.5);
    let took = seconds("timestamp") - seconds("executionTimestamp");
    assert!((took - seconds("executionTime")).abs() < 1e-5 && took > 0.0, "{took}");
    assert_eq!(poll(&mut bench, cursor), (vec![], cursor));
}

#[test]
fn refusals_are_noted_under_the_name_asked_for_but_not_by_the_untyped_endpoint() {
    let mut bench = Bench::new("");
    run(&mut bench, "/api/function", "no:where");
    run(&mut bench, "/api/query", "_system/cli/queryEnvironmentVariables");
    run(&mut bench, "/api/query", "_system/no:where");
    assert_eq!(poll(&mut bench, 0.0).0, Vec::<Json>::new());
    run(&mut bench, "/api/mutation", "no:where");
    run(&mut bench, "/api/mutation", "tasks:get");
    bench.deployment.set_run_state(RunState::Paused);
    run(&mut bench, "/api/function", "monitoring/dashboard:checkAlerts");
    let (entries, _) = poll(&mut bench, 0.0);
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap().to_owned();
            (text("identifier"), text("udfType"), text("error").chars().take(12).collect())
        })
        .collect();
    let row =
        |name: &str, kind: &str, error: &str| (name.to_owned(), kind.to_owned(), error.to_owned());
    let expected = [
        row("no:where", "Mutation", "Could not fi"),
        row("tasks:get", "Mutation", "Trying to ex"),
        row("monitoring/dashboard:checkAlerts", "Query", "Cannot run f"),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn only_the_newest_thousand_are_kept_and_nothing_marks_the_gap() {
    let mut bench = Bench::new("");
    bench.inject(&json!({ "times": 999, "function": "a:b" }));
    let (_, cursor) = poll(&mut bench, 0.0);
    bench.inject(&json!({ "times": 500, "function": "c:d" }));
    let (entries, newest) = poll(&mut bench, cursor);
    assert_eq!(entries.len(), 500);
    bench.inject(&json!({ "times": 1200, "function": "e:f" }));
    let (entries, _) = poll(&mut bench, newest);
    assert_eq!(entries.len(), 1000);
    assert!(entries.iter().all(|entry| entry["identifier"] == "e:f"));
}

#[test]
fn a_poll_waits_until_there_is_something_and_checks_the_key_first() {
    let mut bench = Bench::new("");
    let request = |cursor: &str| {
        let mut request = Request::new("GET", STREAM).header("Authorization", crate::bench::READER);
        request.query.insert("cursor".to_owned(), cursor.to_owned());
        request
    };
    assert!(streams::waits(&bench.deployment, bench.now, &request("0")));
    assert!(!streams::waits(&bench.deployment, bench.now, &request("soon")));
    let stranger = Request { headers: Default::default(), ..request("0") };
    assert!(!streams::waits(&bench.deployment, bench.now, &stranger));
    check_error(&bench.send(&stranger), 403, "BadDeployKey");
    check_error(&bench.get(STREAM, &[]), 400, "BadQueryArgs");
    check_error(&bench.get("/api/app_metrics/stream_udf_execution", &[]), 400, "BadQueryArgs");
    bench.inject(&json!({}));
    assert!(!streams::waits(&bench.deployment, bench.now, &request("0")));
}

#[test]
fn progress_is_in_the_function_logs_only() {
    let mut bench = Bench::new("");
    let lines = json!(["half way"]);
    bench.inject(
        &json!({ "kind": "Progress", "type": "Action", "function": "a:b", "logLines": lines }),
    );
    let expected = Vec::<Json>::new();
    assert_eq!(poll(&mut bench, 0.0).0, expected);
    let logs = json_of(&bench.get(LOGS, &[("cursor", "0")]));
    let entry = &logs["entries"][0];
    assert_eq!(
        (&entry["kind"], &entry["logLines"][0]),
        (&json!("Progress"), &json!("[LOG] 'half way'"))
    );
    let mut request = Request::new("GET", LOGS)
        .header("Authorization", crate::bench::READER)
        .header("Convex-Client", "npm-cli-1.48.0");
    request.query.insert("cursor".to_owned(), "0".to_owned());
    let logs = json_of(&bench.send(&request));
    let line = &logs["entries"][0]["logLines"][0];
    assert_eq!((&line["messages"][0], &line["level"]), (&json!("'half way'"), &json!("LOG")));
}

#[test]
fn after_a_restart_the_log_is_empty_and_the_cursor_may_lie_behind() {
    let mut bench = Bench::new("");
    bench.inject(&json!({ "times": 3 }));
    let (_, cursor) = poll(&mut bench, 0.0);
    bench.wait(1);
    bench.deployment.restart(bench.now, 0.0);
    assert_eq!(poll(&mut bench, cursor), (vec![], cursor));
    bench.inject(&json!({ "times": 1 }));
    let (entries, cursor) = poll(&mut bench, cursor);
    assert_eq!(entries.len(), 1);
    bench.deployment.restart(bench.now, 60_000.0);
    bench.inject(&json!({ "times": 2 }));
    let (entries, back) = poll(&mut bench, cursor);
    assert_eq!(entries.len(), 2);
    assert!(back < cursor, "{back} {cursor}");
    assert_eq!(poll(&mut bench, back), (vec![], back));
}

const TRAFFIC: &str = r#"
[base]
seed = 7
[[traffic]]
function = "messages:send"
type = "Mutation"
perMinute = 120
errorPercent = 2.0
latencyMs = { p50 = 20, p95 = 200, p99 = 900 }
[[traffic]]
function = "POST /hook"
type = "HttpAction"
perMinute = 6
[[change]]
when = { ENABLE_X = "true" }
traffic = [{ function = "messages:send", errorPercent = 50, message = "too big" }]
"#;

/// Everything in the stream up to now, polled every `step` seconds for `seconds`.
fn watch(bench: &mut Bench, seconds: i64, step: i64) -> Vec<Json> {
    let (mut all, mut cursor) = (Vec::new(), 0.0);
    for _ in 0..seconds / step {
        bench.wait(step);
        let (entries, next) = poll(bench, cursor);
        all.extend(entries);
        cursor = next;
    }
    all
}

#[test]
fn traffic_is_the_same_however_often_somebody_looks() {
    let seldom = watch(&mut Bench::new(TRAFFIC), 240, 240);
    let often = watch(&mut Bench::new(TRAFFIC), 240, 1);
    assert_eq!(seldom, often);
    let other = Bench::new(&TRAFFIC.replace("seed = 7", "seed = 8"));
    assert_ne!(watch(&mut { other }, 240, 240), often);
    let of = |name: &str| often.iter().filter(|e| e["identifier"] == name).collect::<Vec<_>>();
    assert!((478..=480).contains(&of("messages:send").len()), "{}", of("messages:send").len());
    let hook = of("POST /hook");
    assert!((23..=24).contains(&hook.len()), "{}", hook.len());
    assert_eq!(
        (&hook[0]["success"]["status"], &hook[0]["caller"]),
        (&json!("200"), &json!("HttpEndpoint"))
    );
    let times: Vec<f64> = often.iter().map(|e| e["timestamp"].as_f64().unwrap()).collect();
    assert!(times.is_sorted());
}

#[test]
fn latencies_and_errors_are_as_the_scenario_says() {
    let entries = watch(&mut Bench::new(TRAFFIC), 1800, 300);
    let sent: Vec<&Json> = entries.iter().filter(|e| e["identifier"] == "messages:send").collect();
    let failed = sent.iter().filter(|e| !e["error"].is_null()).count();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let percent = failed as f64 / sent.len() as f64 * 100.0;
    assert!((1.0..3.0).contains(&percent), "{percent}");
    let mut took: Vec<f64> = sent.iter().map(|e| e["executionTime"].as_f64().unwrap()).collect();
    took.sort_by(f64::total_cmp);
    let at = |percent: usize| took[took.len() * percent / 100] * 1000.0;
    assert!((17.0..23.0).contains(&at(50)), "{}", at(50));
    assert!((150.0..350.0).contains(&at(95)), "{}", at(95));
    assert!((600.0..1150.0).contains(&at(99)), "{}", at(99));
}

#[test]
fn a_flag_changes_the_traffic_from_its_write_on() {
    let mut bench = Bench::new(TRAFFIC);
    let before = watch(&mut bench, 120, 120);
    let (_, cursor) = poll(&mut bench, 0.0);
    let flipped = bench.now.as_millisecond();
    // Time passes before anybody looks: what happened before the write is not of the new rule.
    bench.wait(60);
    bench.set("ENABLE_X", Some("true"));
    let written = bench.now.as_millisecond();
    bench.wait(60);
    let (entries, _) = poll(&mut bench, cursor);
    let failed = |from: i64, to: i64| {
        let within = |entry: &&Json| {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of today fit")]
            let (from, to) = (from as f64 / 1000.0, to as f64 / 1000.0);
            let at = entry["timestamp"].as_f64().unwrap();
            at > from && at <= to && entry["identifier"] == "messages:send"
        };
        entries.iter().filter(within).filter(|entry| !entry["error"].is_null()).count()
    };
    let (early, late) = (failed(flipped, written), failed(written, written + 60_000));
    assert!(early <= 8, "{early}");
    assert!((45..=75).contains(&late), "{late}");
    assert!(before.len() > 200);
    assert!(entries.iter().any(|entry| entry["error"] == "Uncaught Error: too big"));
}

#[test]
fn while_paused_clients_are_refused() {
    let mut bench = Bench::new(TRAFFIC);
    bench.wait(60);
    bench.deployment.catch_up(bench.now);
    bench.deployment.set_run_state(RunState::Paused);
    let (_, cursor) = poll(&mut bench, 0.0);
    bench.wait(60);
    let (entries, _) = poll(&mut bench, cursor);
    assert!(entries.len() > 100);
    let refused =
        |entry: &Json| entry["error"].as_str().unwrap().starts_with("Cannot run functions");
    assert!(entries.iter().all(refused));
}

#[test]
fn functions_of_the_traffic_are_in_the_spec_and_can_be_called() {
    let mut bench = Bench::new(TRAFFIC);
    let body = json!({ "path": "_system/cli/modules:apiSpec", "args": {}, "format": "json" });
    let specs = json_of(&bench.post("/api/query", &body))["value"].clone();
    let specs = specs.as_array().unwrap();
    let is = |spec: &&Json| spec["identifier"] == "messages.js:send";
    assert_eq!(specs.iter().find(is).unwrap()["functionType"], "Mutation");
    let hook = specs.last().unwrap();
    assert_eq!(hook, &json!({ "functionType": "HttpAction", "method": "POST", "path": "/hook" }));
    let call = json!({ "path": "messages:send", "args": {}, "format": "json" });
    assert_eq!(json_of(&bench.post("/api/function", &call))["status"], "success");
    assert_eq!(json_of(&bench.post("/api/query", &call))["status"], "error");
}
