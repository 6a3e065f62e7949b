//! What figures of a deployment come to: those that can be trusted, and those that look like it.

use jiff::{SignedDuration, Timestamp};
use rollout_core::{Calls, Measured, Span, SpanEnd, Unit};
use serde_json::{Value as Json, json};

use crate::calls::figures::{Answers, Ask, RateOf, more_asks, told};
use crate::calls::minutes::{Figures, Minutes, Series, decode};
use crate::calls::told::{Lack, Told};
use crate::wire::{MetricRoute, Response};

/// Three minutes count.
fn asked(functions: &[&str]) -> (Calls, Minutes) {
    let functions = functions.iter().map(|name| (*name).to_owned()).collect();
    let over = SignedDuration::from_mins(4);
    let calls = Calls { functions, callers: vec![], over, calls_min: 20 };
    let from = Timestamp::UNIX_EPOCH;
    let to = from + over;
    (calls.clone(), Minutes::of(&calls, Span { from, to, end: SpanEnd::Now }).unwrap())
}

fn read(route: MetricRoute, body: &Json) -> Result<Figures, Lack> {
    Ok(decode(route, &Response { status: 200, body: body.to_string().into_bytes(), date: None })
        .unwrap())
}

fn series(figures: &[Option<f64>]) -> Json {
    figures.iter().map(|figure| json!([{}, figure])).collect()
}

/// What one function with 60 calls in each of its minutes tells, its second minute with these percentiles.
fn second_minute(row: [Option<f64>; 4]) -> Told {
    let (calls, minutes) = asked(&["m.js:f"]);
    let rate = |rate| read(MetricRoute::UdfRate, &series(&[Some(rate), Some(rate), Some(0.0)]));
    let latencies: Vec<_> = [50, 95, 99, 100].into_iter().zip(row).collect();
    let latencies = latencies
        .iter()
        .map(|(percent, second)| json!([percent, series(&[Some(0.01), *second, Some(0.0)])]));
    let answers = Answers::from([
        (Ask::Rate("m:f".into(), RateOf::Invocations), rate(1.0)),
        (Ask::Rate("m:f".into(), RateOf::Errors), rate(0.1)),
        (Ask::Latencies("m:f".into()), read(MetricRoute::LatencyPercentiles, &latencies.collect())),
    ]);
    told(&calls, &["/p95"], minutes, &answers).unwrap()
}

#[test]
fn latencies_are_the_greatest_of_all_minutes_or_unknown() {
    let good = second_minute([Some(0.02), Some(0.2), Some(0.9), Some(1.0)]);
    assert_eq!(good.measured("/calls", Unit::Count), Measured::Number(120.0));
    assert_eq!(good.measured("/errorRate", Unit::Percent), Measured::Number(10.0));
    assert_eq!(good.measured("/p95", Unit::Milliseconds), Measured::Number(200.0));
    for unknown in [
        [Some(0.02), Some(0.001), Some(0.001), Some(0.001)],
        [Some(0.001), Some(0.001), Some(0.001), Some(0.001)],
        [Some(0.02), Some(0.2), Some(0.1), Some(1.0)],
        [Some(0.02), None, Some(0.9), Some(1.0)],
    ] {
        let told = second_minute(unknown);
        let measured = told.measured("/p95", Unit::Milliseconds);
        assert!(
            matches!(&measured, Measured::Missing(words) if words.starts_with("latencies are unknown")),
            "{measured:?}"
        );
        assert_eq!(told.measured("/errorRate", Unit::Percent), Measured::Number(10.0));
    }
}

#[test]
fn nothing_over_nothing_is_no_failure_and_unknown_shares_are_unknown() {
    let (calls, minutes) = asked(&[]);
    let told = |percent: Option<f64>, calls_in_minute: f64| {
        let list = |name: &str, first: Option<f64>, rest: f64| {
            json!([
                [name, series(&[first, Some(50.0), Some(0.0)])],
                ["_rest", series(&[Some(rest); 3])]
            ])
        };
        let answers = Answers::from([
            (
                Ask::Failures,
                read(MetricRoute::FailurePercentageTopK, &list("m.js:f", percent, 0.0)),
            ),
            (
                Ask::Counts,
                read(
                    MetricRoute::FunctionCallCountTopK,
                    &list("m.js:f", Some(calls_in_minute), 7.0),
                ),
            ),
        ]);
        told(&calls, &["/errorRate"], minutes, &answers)
    };
    let none = told(None, 0.0).unwrap();
    assert_eq!(none.measured("/errors", Unit::Count), Measured::Number(25.0));
    assert_eq!(none.measured("/calls", Unit::Count), Measured::Number(71.0));
    assert!(matches!(told(None, 4.0), Err(Lack::Missing(_))));
}

#[test]
fn a_function_with_failures_that_is_not_among_the_most_called_is_asked_for() {
    let list = |name: &str| Ok(Figures::from([(name.to_owned(), Series::default())]));
    let answers =
        Answers::from([(Ask::Failures, list("rare.js:f")), (Ask::Counts, list("m.js:f"))]);
    assert_eq!(more_asks(&answers), [Ask::Rate("rare.js:f".into(), RateOf::Errors)]);
}
