//! `app_metrics` with every trap of the contract, against the core without sockets.

use crate::bench::{Bench, check_error, json_of};
use serde_json::{Value as Json, json};

/// Start of the process, in seconds since the epoch: `Bench` starts half a second after it.
const START: i64 = 1_787_306_417;

fn window(from: i64, to: i64, buckets: u32) -> String {
    let time = |at: i64| json!({ "secs_since_epoch": START + at, "nanos_since_epoch": 0 });
    json!({ "start": time(from), "end": time(to), "num_buckets": buckets }).to_string()
}

fn ask(bench: &mut Bench, route: &str, window: &str, query: &[(&str, &str)]) -> Json {
    let query = [&[("window", window)], query].concat();
    json_of(&bench.get(&format!("/api/app_metrics/{route}"), &query))
}

/// The values of a series, without their times.
fn values(series: &Json) -> Vec<Option<f64>> {
    series.as_array().unwrap().iter().map(|pair| pair[1].as_f64()).collect()
}

fn rate(bench: &mut Bench, window: &str, metric: &str) -> Vec<Option<f64>> {
    let query = [("path", "messages:send"), ("udfType", "Mutation"), ("metric", metric)];
    values(&ask(bench, "udf_rate", window, &query))
}

#[test]
fn minutes_begin_with_the_process_and_go_whole_into_the_bucket_of_their_start() {
    let mut bench = Bench::new("");
    // Second 45 after the start of the process: in the first minute, whatever the wall clock says.
    bench.wait(45);
    bench.inject(&json!({ "times": 30 }));
    bench.wait(30);
    bench.inject(&json!({ "times": 12 }));
    // Both calls lie after second 40, but the first minute starts before it and is left out whole.
    assert_eq!(rate(&mut bench, &window(40, 100, 1), "invocations"), [Some(12.0 / 60.0)]);
    assert_eq!(rate(&mut bench, &window(0, 60, 1), "invocations"), [Some(0.5)]);
    assert_eq!(rate(&mut bench, &window(0, 120, 1), "invocations"), [Some(42.0 / 120.0)]);
    // Finer than the minutes: the whole minute in the bucket of its start, nothing around it.
    let fine = rate(&mut bench, &window(0, 120, 4), "invocations");
    assert_eq!(fine, [Some(1.0), None, Some(0.4), None]);
    let series = ask(
        &mut bench,
        "udf_rate",
        &window(0, 120, 4),
        &[("path", "messages.js:send"), ("metric", "errors")],
    );
    assert_eq!(series[1][0], json!({ "secs_since_epoch": START + 30, "nanos_since_epoch": 0 }));
    assert_eq!(values(&series), [Some(0.0), None, Some(0.0), None]);
}

#[test]
fn null_is_no_knowledge_and_zero_is_none() {
    let mut bench = Bench::new("");
    assert_eq!(rate(&mut bench, &window(0, 60, 1), "invocations"), [None]);
    bench.inject(&json!({ "times": 6 }));
    bench.wait(180);
    bench.inject(&json!({ "function": "other:one" }));
    // Before the start; four known minutes; and after the newest in which anything ran.
    let expected = [None, Some(0.1), Some(0.0), Some(0.0), Some(0.0), None, None];
    assert_eq!(rate(&mut bench, &window(-60, 360, 7), "invocations"), expected);
    // Older than an hour.
    bench.wait(3600);
    bench.inject(&json!({ "function": "other:one" }));
    assert_eq!(rate(&mut bench, &window(0, 240, 4), "invocations"), [None, None, None, None]);
    bench.deployment.restart(bench.now, 0.0);
    assert_eq!(rate(&mut bench, &window(3600, 4000, 1), "invocations"), [None]);
}

#[test]
fn failures_name_what_failed_within_the_hour_and_leave_the_others_as_the_rest() {
    let mut bench = Bench::new("");
    bench.inject(&json!({ "times": 5, "function": "old:failure", "error": "x" }));
    bench.wait(60);
    bench.inject(&json!({ "times": 90, "function": "messages:send" }));
    bench
        .inject(&json!({ "times": 10, "function": "messages:send", "error": "Uncaught Error: x" }));
    bench.inject(&json!({ "times": 300, "function": "fine:one", "type": "Query" }));
    bench.inject(&json!({ "function": "POST /hook", "type": "HttpAction", "error": "x" }));
    let minute = window(60, 120, 1);
    let ranked = ask(&mut bench, "failure_percentage_top_k", &minute, &[("k", "25")]);
    let rows: Vec<(String, Option<f64>)> = ranked
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row[0].as_str().unwrap().to_owned(), values(&row[1])[0]))
        .collect();
    let row = |name: &str, percent| (name.to_owned(), percent);
    let expected = [
        row("old.js:failure", None), // 0/0, and before everything else
        row("/hook", Some(100.0)),
        row("messages.js:send", Some(10.0)),
        row("_rest", Some(0.0)),
    ];
    assert_eq!(rows, expected);
    // So a small k shows the one that says nothing, and hides the real failure in the rest.
    let first = ask(&mut bench, "failure_percentage_top_k", &minute, &[("k", "1")]);
    assert_eq!(first[0][0], "old.js:failure");
    assert_eq!(values(&first[1][1]), [Some(11.0 / 401.0 * 100.0)]);
    let counts = ask(&mut bench, "function_call_count_top_k", &minute, &[("k", "2")]);
    assert_eq!((&counts[0][0], values(&counts[0][1])), (&json!("fine.js:one"), vec![Some(300.0)]));
    assert_eq!((&counts[2][0], values(&counts[2][1])), (&json!("_rest"), vec![Some(1.0)]));
}

#[test]
fn latencies_are_right_until_a_cell_is_full() {
    let mut bench = Bench::new("");
    let mut minute = |calls: u32| {
        let shares = [(90, 20.0), (9, 200.0), (1, 2000.0)];
        for (percent, took) in shares {
            bench.inject(&json!({ "times": calls * percent / 100, "tookMs": took }));
        }
        bench.wait(60);
    };
    [100, 300, 500, 1000].into_iter().for_each(&mut minute);
    let query = [("path", "messages:send"), ("percentiles", "[99,50,95,100]")];
    let answer = ask(&mut bench, "latency_percentiles", &window(0, 300, 5), &query);
    let column = |row: usize| values(&answer[row][1]);
    let order: Vec<&Json> = answer.as_array().unwrap().iter().map(|row| &row[0]).collect();
    assert_eq!(order, [50, 95, 99, 100]);
    let full = Some(0.001);
    assert_eq!(column(0), [Some(0.02), Some(0.02), Some(0.02), full, None]);
    assert_eq!(column(1), [Some(0.2), Some(2.007), full, full, None]);
    assert_eq!(column(2), [Some(0.2), full, full, full, None]);
    assert_eq!(column(3), [Some(2.007), full, full, full, None]);
    let merged = ask(&mut bench, "latency_percentiles", &window(0, 240, 1), &query);
    assert_eq!(values(&merged[0][1]), [full]);
}

#[test]
fn cache_hits_tables_lag_and_concurrency() {
    let mut bench = Bench::new("");
    bench.inject(&json!({ "times": 3, "function": "a:list", "type": "Query", "cached": true }));
    bench.inject(&json!({ "times": 1, "function": "a:list", "type": "Query" }));
    bench.inject(&json!({ "times": 6 }));
    bench.deployment.activity_mut().metrics_mut().gauges.scheduled_job_lag = 12.5;
    let minute = window(0, 60, 1);
    let hits = ask(&mut bench, "cache_hit_percentage", &minute, &[("path", "a:list")]);
    assert_eq!(values(&hits), [Some(75.0)]);
    let worst = ask(&mut bench, "cache_hit_percentage_top_k", &minute, &[]);
    assert_eq!((&worst[0][0], values(&worst[0][1])), (&json!("a.js:list"), vec![Some(75.0)]));
    assert_eq!(values(&worst[1][1]), [None]);
    let rows = [("name", "messages"), ("metric", "rowsWritten")];
    assert_eq!(values(&ask(&mut bench, "table_rate", &minute, &rows)), [Some(0.1)]);
    assert_eq!(values(&ask(&mut bench, "scheduled_job_lag", &minute, &[])), [Some(12.5)]);
    let busy = ask(&mut bench, "function_concurrency", &minute, &[]);
    assert_eq!(values(&busy["outstanding_functions:isolate:Mutation:running"]), [Some(1.0)]);
    assert_eq!(values(&busy["outstanding_functions:node:Action:queued"]), [Some(0.0)]);
    let none = ask(&mut bench, "subscription_invalidations_top_k", &minute, &[]);
    assert_eq!(none[0][0], "_rest");
}

#[test]
fn a_bad_k_is_400_and_every_other_mistake_is_500() {
    let mut bench = Bench::new("");
    let good = window(0, 60, 1);
    let mut check = |route: &str, query: &[(&str, &str)], status, code: &str| {
        let response = bench.get(&format!("/api/app_metrics/{route}"), query);
        check_error(&response, status, code);
    };
    for k in ["0", "26", "-1"] {
        let query = [("window", &*good), ("k", k)];
        check("failure_percentage_top_k", &query, 400, "InvalidTopKParameter");
    }
    let internal = "InternalServerError";
    for bad in ["{}", &window(60, 60, 1), &window(0, 60, 0), &window(0, 60, 10_001)] {
        check("scheduled_job_lag", &[("window", bad)], 500, internal);
    }
    let query = [("window", &*good), ("path", "a:b"), ("metric", "speed")];
    check("udf_rate", &query, 500, internal);
    let query = [("window", &*good), ("path", "a:b"), ("metric", "errors"), ("udfType", "Fast")];
    check("udf_rate", &query, 500, internal);
    for percentiles in ["[101]", "[1,2,3,4,5,6]", "50"] {
        let query = [("window", &*good), ("path", "a:b"), ("percentiles", percentiles)];
        check("latency_percentiles", &query, 500, internal);
    }
    check("scheduled_job_lag", &[], 400, "BadQueryArgs");
    assert_eq!(bench.get("/api/app_metrics/nothing", &[]).status, 404);
}
