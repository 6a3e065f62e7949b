//! The documents that are told, held against the core's table of figures: the same names, in the units that plans are
//! checked by, and nothing besides.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rollout_core::{Basis, CallFigure, Calls, Extent, FigureOf, Measured, Span, SpanEnd, Unit};
use serde_json::{Value as Json, json};

use crate::calls::figures::{Answers, Ask, RateOf, asks, told};
use crate::calls::minutes::{Minutes, decode};
use crate::calls::told::{Document, Latencies, Tally, Told};
use crate::value::ConvexValue;
use crate::wire::{MetricRoute, Response};

/// What 200 calls must read as, of which 3 failed and each took a millisecond longer than the one before: name, unit, number.
const CALLS: [(&str, Unit, f64); 6] = [
    ("calls", Unit::Count, 200.0),
    ("errors", Unit::Count, 3.0),
    ("errorRate", Unit::Percent, 1.5),
    ("p50", Unit::Milliseconds, 100.0),
    ("p95", Unit::Milliseconds, 190.0),
    ("p99", Unit::Milliseconds, 198.0),
];

/// The figures of the table at one level of a document, as the document has them.
fn read(
    told: &Told,
    level: &str,
    is_there: fn(FigureOf) -> bool,
) -> Vec<(&'static str, Unit, f64)> {
    let figures = CallFigure::ALL.into_iter().filter(|figure| is_there(figure.of()));
    let number = |figure: CallFigure| {
        let pointer = format!("{level}/{}", figure.name());
        let measured = told.measured(&pointer, figure.unit());
        let Measured::Number(number) = measured else { panic!("{pointer}: {measured:?}") };
        (figure.name(), figure.unit(), number)
    };
    figures.map(number).collect()
}

fn fields(document: &ConvexValue) -> BTreeSet<&str> {
    let ConvexValue::Object(fields) = document else { panic!("{document:?}") };
    fields.keys().map(String::as_str).collect()
}

#[test]
fn the_stream_tells_the_figures_of_calls_in_their_units_on_every_level() {
    let each = Latencies::Each((1..=200).map(|ms| ms * 1_000).collect());
    let tally = Tally { calls: 200, errors: 3, latencies: each };
    let mut document = Document::new(20, Extent::Whole);
    document.total(tally.clone());
    document.each("functions", BTreeMap::from([("m:f".to_owned(), tally.clone())]));
    document.each("callers", BTreeMap::from([("Cron".to_owned(), tally)]));
    let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    let told = document.told(Basis { from, to, samples: None, extent: Extent::Whole }, None);
    for level in ["", "/functions/m:f", "/callers/Cron"] {
        assert_eq!(read(&told, level, |of| of == FigureOf::Calls), CALLS, "{level}");
    }
    let names = CALLS.iter().map(|(name, ..)| *name).chain(["functions", "callers"]);
    assert_eq!(fields(&told.document), names.collect());
}

#[test]
fn the_metrics_tell_every_figure_in_its_unit() {
    let over = SignedDuration::from_mins(4);
    let calls =
        Calls { functions: vec!["m.js:f".to_owned()], callers: vec![], over, calls_min: 20 };
    let from = Timestamp::UNIX_EPOCH;
    let span = Span { from, to: from + over, end: SpanEnd::Now };
    let minutes = Minutes::of(&calls, span).unwrap();
    let pointers: Vec<String> =
        CallFigure::ALL.iter().map(|figure| format!("/{}", figure.name())).collect();
    let pointers: Vec<&str> = pointers.iter().map(String::as_str).collect();
    // Each of the three minutes is the same; what a deployment answers is per second, and in seconds.
    let series = |figure: f64| -> Json { (0..3).map(|_| json!([{}, figure])).collect() };
    let percentiles = [(50, 0.02), (95, 0.2), (99, 0.9), (100, 1.0)];
    let answer = |ask: &Ask| {
        let (route, body) = match ask {
            Ask::Rate(_, RateOf::Invocations) => (MetricRoute::UdfRate, series(2.0)),
            Ask::Rate(_, RateOf::Errors) => (MetricRoute::UdfRate, series(0.5)),
            Ask::Rate(_, RateOf::CacheHits) => (MetricRoute::UdfRate, series(1.5)),
            Ask::Rate(_, RateOf::CacheMisses) => (MetricRoute::UdfRate, series(0.5)),
            Ask::Latencies(_) => (
                MetricRoute::LatencyPercentiles,
                percentiles.iter().map(|(percent, secs)| json!([percent, series(*secs)])).collect(),
            ),
            Ask::Concurrency => {
                (MetricRoute::FunctionConcurrency, json!({ "query:queued": series(7.0) }))
            }
            Ask::Lag => (MetricRoute::ScheduledJobLag, series(12.5)),
            Ask::Failures | Ask::Counts => panic!("functions are named"),
        };
        let body = body.to_string().into_bytes();
        decode(route, &Response { status: 200, body, date: None }).unwrap()
    };
    let answers: Answers =
        asks(&calls, &pointers).into_iter().map(|ask| (ask.clone(), Ok(answer(&ask)))).collect();
    let told = told(&calls, &pointers, minutes, &answers).unwrap();
    let of_calls = [
        ("calls", Unit::Count, 360.0),
        ("errors", Unit::Count, 90.0),
        ("errorRate", Unit::Percent, 25.0),
        ("p50", Unit::Milliseconds, 20.0),
        ("p95", Unit::Milliseconds, 200.0),
        ("p99", Unit::Milliseconds, 900.0),
    ];
    assert_eq!(read(&told, "/functions/m:f", |of| of == FigureOf::Calls), of_calls);
    let besides = [
        ("queued", Unit::Count, 7.0),
        ("scheduledJobLag", Unit::Seconds, 12.5),
        ("cacheHitPercentage", Unit::Percent, 75.0),
    ];
    assert_eq!(read(&told, "", |_| true), [&of_calls[..], &besides].concat());
    let names = CallFigure::ALL.iter().map(|figure| figure.name()).chain(["functions"]);
    assert_eq!(fields(&told.document), names.collect());
}

#[test]
fn two_minutes_are_the_least_that_metrics_are_told_of() {
    let minutes = |over| {
        let calls = Calls { functions: vec![], callers: vec![], over, calls_min: 1 };
        let from = Timestamp::UNIX_EPOCH;
        let to = from + SignedDuration::from_hours(1);
        Minutes::of(&calls, Span { from, to, end: SpanEnd::Now })
    };
    assert!(minutes(Calls::METRICS_OVER_MIN).is_ok());
    assert!(minutes(Calls::METRICS_OVER_MIN - SignedDuration::from_secs(1)).is_err());
}
