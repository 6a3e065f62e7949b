//! What is asked and what the answers mean, without a server: the shapes that a real one gives only on bad days.

use rollout_core::{Measured, SpanEnd, Unit};
use serde_json::json;

use super::super::target::Secret;
use super::super::tests::{failed, missing, moment, span};
use super::*;

const TIMEOUT: Duration = Duration::from_secs(10);

fn asked(query: &str, range: Option<(&str, &str, Reduce)>) -> PromQuery {
    let range = range.map(|(over, step, reduce)| PromRange {
        over: over.parse().unwrap(),
        step: step.parse().unwrap(),
        reduce,
    });
    PromQuery { endpoint: "metrics".into(), query: query.into(), range }
}

fn page(status: u16, body: &Json) -> Page {
    Page::new(status, body.to_string().as_bytes(), &Secret::default())
}

fn success(kind: &str, result: Json) -> Page {
    let data = json!({ "resultType": kind, "result": result });
    page(200, &json!({ "status": "success", "data": data }))
}

/// What an instant query at 10:15 means when it is answered so.
fn instant(answer: &Page) -> Answer {
    let asked = asked("up", None);
    Query::new(&asked, span("10:00", "10:15", SpanEnd::Now)).unwrap().read(answer)
}

fn at(time: &str) -> f64 {
    moment(time).as_millisecond() as f64 / 1000.0
}

/// What a range query over the hour before 10:15 means when it is answered with one series.
fn range(reduce: Reduce, step: &str, points: &[(&str, &str)]) -> Answer {
    range_over("1h", reduce, step, points)
}

/// The same over another time.
fn range_over(over: &str, reduce: Reduce, step: &str, points: &[(&str, &str)]) -> Answer {
    let asked = asked("up", Some((over, step, reduce)));
    let values: Vec<_> = points.iter().map(|(time, value)| json!([at(time), value])).collect();
    let answer = success("matrix", json!([{ "metric": {}, "values": values }]));
    Query::new(&asked, span("09:00", "10:15", SpanEnd::Past)).unwrap().read(&answer)
}

fn number(answer: &Answer) -> f64 {
    let measured = answer.measured("", Unit::Percent);
    let Measured::Number(number) = measured else { panic!("{measured:?}") };
    number
}

#[test]
fn an_instant_query_names_its_moment_and_a_range_ends_at_it() {
    let url = |url: &str, asked: &PromQuery, span| {
        let url = Query::new(asked, span).unwrap().url(&Url::parse(url).unwrap(), TIMEOUT);
        url.as_str().to_owned()
    };
    let short = span("10:00", "10:15:30", SpanEnd::Now);
    assert_eq!(
        url("http://h:9090", &asked("sum(rate(x[$span])) + a{b=\"$spanner\"}", None), short),
        "http://h:9090/api/v1/query?query=sum%28rate%28x%5B930s%5D%29%29+%2B+a%7Bb%3D%22%24spanner%22%7D\
         &timeout=10000ms&time=1787307330.000"
    );
    // Four steps of five minutes would begin at 09:55:30, before the span does.
    assert_eq!(
        url("http://h/prom/", &asked("x", Some(("20m", "5m", Reduce::Max))), short),
        "http://h/prom/api/v1/query_range?query=x&timeout=10000ms\
         &start=1787306430.000&end=1787307330.000&step=300.000"
    );
    let wrong = |range, span| failed(Query::new(&asked("x", Some(range)), span).unwrap_err());
    assert!(wrong(("1h", "0s", Reduce::Max), short).contains("below 1 ms"));
    let day = span("00:00", "23:00", SpanEnd::Now);
    assert!(wrong(("23h", "1s", Reduce::Max), day).contains("11000 steps"));
    assert_eq!((seconds(1), seconds(-1_001)), ("0.001".into(), "-1.001".into()));
}

#[test]
fn one_series_or_a_scalar_is_a_number() {
    let vector = |time, value: &str| {
        success("vector", json!([{ "metric": {}, "value": [at(time), value] }]))
    };
    assert_eq!(number(&instant(&vector("10:15", "0.25"))), 0.25);
    assert_eq!(number(&instant(&success("scalar", json!([at("10:15"), "7"])))), 7.0);
    assert!(number(&instant(&vector("10:15", "NaN"))).is_nan());
    assert_eq!(number(&instant(&vector("10:15", "+Inf"))), f64::INFINITY);
    assert_eq!(number(&instant(&vector("10:15", "-Inf"))), f64::NEG_INFINITY);
    // A cache that answers a little late is taken, one that answers about another time is not.
    assert_eq!(number(&instant(&vector("10:10", "1"))), 1.0);
    assert!(missing(instant(&vector("10:09:59", "1"))).contains("301 s before"));
    assert!(missing(instant(&vector("10:15:02", "1"))).contains("2 s after"));

    assert!(missing(instant(&success("vector", json!([])))).contains("no series"));
    let series = json!({ "metric": {}, "value": [at("10:15"), "1"] });
    let three = success("vector", json!([series, series, series]));
    assert_eq!(
        failed(instant(&three)),
        "the query gives 3 series; aggregate them, e.g. with sum(...)"
    );
    assert!(failed(instant(&vector("10:15", "many"))).contains("\"many\""));
    let histogram = json!([{ "metric": {}, "histogram": [at("10:15"), { "count": "3" }] }]);
    assert!(failed(instant(&success("vector", histogram))).contains("histogram_quantile"));
    assert!(failed(instant(&success("matrix", json!([])))).contains("last_over_time"));
    assert!(failed(instant(&success("string", json!([1, "x"])))).contains("gives a string"));
}

#[test]
fn an_instant_speaks_for_its_moment_unless_the_query_knows_the_span() {
    let answer = success("scalar", json!([at("10:15"), "7"]));
    let span = span("10:00", "10:15", SpanEnd::Now);
    let basis = |text: &str| {
        let asked = asked(text, None);
        Query::new(&asked, span).unwrap().read(&answer).basis().map(|basis| (basis.from, basis.to))
    };
    assert_eq!(basis("scalar(x)"), Some((span.to, span.to)));
    assert_eq!(basis("scalar(rate(x[$span]))"), Some((span.from, span.to)));
}

#[test]
fn what_the_server_says_about_an_error_is_said() {
    let error = |status, kind: &str| {
        let body = json!({ "status": "error", "errorType": kind, "error": "these words" });
        failed(instant(&page(status, &body)))
    };
    assert_eq!(
        error(400, "bad_data"),
        "the query is wrong (bad_data): these words; correct it in the plan"
    );
    assert!(error(503, "timeout").ends_with("(timeout): these words"));
    assert!(error(503, "unavailable").contains("is not available"));
    assert!(
        error(422, "execution").contains("could not answer the query (execution): these words")
    );
    // A server that has an error and calls it 200 has an error.
    assert!(error(200, "internal").contains("(internal)"));
    // A proxy that has one too and quotes an old answer does as well.
    let cached =
        json!({ "status": "success", "data": { "resultType": "scalar", "result": [1, "1"] } });
    assert!(failed(instant(&page(502, &cached))).contains("is not available (502)"));
    assert!(
        failed(instant(&page(404, &json!({ "message": "x" }))))
            .contains("nothing at /api/v1/query")
    );
    assert!(failed(instant(&page(200, &json!([])))).contains("did not answer as a Prometheus"));
    assert!(failed(instant(&page(200, &json!({ "status": "success" })))).contains("without data"));
}

#[test]
fn a_range_becomes_one_number() {
    let points = [("10:00", "3"), ("10:05", "NaN"), ("10:10", "9"), ("10:15", "6")];
    let reduced = |reduce| range_over("15m", reduce, "5m", &points);
    assert_eq!(number(&reduced(Reduce::Max)), 9.0);
    assert_eq!(number(&reduced(Reduce::Min)), 3.0);
    assert_eq!(number(&reduced(Reduce::Mean)), 6.0);
    assert_eq!(number(&reduced(Reduce::Last)), 6.0);
    let basis = reduced(Reduce::Max).basis().unwrap();
    assert_eq!(basis.samples, Some(3));
    assert_eq!((basis.from, basis.to), (moment("10:00"), moment("10:15")));
    assert_eq!(basis.extent, Extent::Whole);

    // Values from before the span, and after it, belong to other values of the flags.
    let outside = [("08:59", "100"), ("09:14", "100"), ("10:15", "1"), ("10:16", "100")];
    assert_eq!(number(&range_over("5m", Reduce::Max, "5m", &outside)), 1.0);
    let infinite = [("10:10", "+Inf"), ("10:15", "1")];
    assert_eq!(number(&range_over("5m", Reduce::Max, "5m", &infinite)), f64::INFINITY);
    assert_eq!(number(&range_over("5m", Reduce::Mean, "5m", &infinite)), f64::INFINITY);
    let great = [("10:10", "1e308"), ("10:15", "1e308")];
    assert_eq!(number(&range_over("5m", Reduce::Mean, "5m", &great)), 1e308);
}

#[test]
fn a_series_that_has_ended_shows_nothing_however_good_it_was() {
    let ended = [("09:30", "0"), ("10:09", "0")];
    for reduce in [Reduce::Max, Reduce::Min, Reduce::Mean, Reduce::Last] {
        assert!(missing(range(reduce, "1m", &ended)).contains("360 s older"), "{reduce:?}");
    }
    // With a step of ten minutes the same values are the newest there can be.
    assert_eq!(
        number(&range_over("20m", Reduce::Last, "10m", &[("10:00", "0"), ("10:09", "0")])),
        0.0
    );
    // A rate without calls is NaN: the series goes on, its greatest value is known, its latest is not.
    let quiet = [("10:00", "2"), ("10:10", "NaN"), ("10:15", "NaN")];
    assert_eq!(number(&range_over("15m", Reduce::Max, "5m", &quiet)), 2.0);
    assert!(missing(range_over("15m", Reduce::Last, "5m", &quiet)).contains("older"));
    assert!(missing(range_over("0s", Reduce::Max, "1m", &[("10:15", "NaN")])).contains("NaN"));
    assert!(missing(range(Reduce::Max, "1m", &[("08:00", "1")])).contains("no value"));
    let none = asked("up", Some(("1h", "1m", Reduce::Max)));
    let query = Query::new(&none, span("09:00", "10:15", SpanEnd::Past)).unwrap();
    assert!(missing(query.read(&success("matrix", json!([])))).contains("no series"));
}

#[test]
fn a_range_with_holes_is_a_part_and_one_of_mostly_holes_is_none() {
    let minutes: Vec<_> = (1..=15).map(|minute| format!("10:{minute:02}")).collect();
    let last = |count: usize, value: &'static str| {
        let points: Vec<_> = minutes[15 - count..].iter().map(|at| (at.as_str(), value)).collect();
        range_over("14m", Reduce::Max, "1m", &points)
    };
    let extent = |answer: Answer| answer.basis().unwrap().extent;
    assert_eq!(extent(last(15, "1")), Extent::Whole);
    assert_eq!([extent(last(14, "1")), extent(last(8, "1"))], [Extent::Part, Extent::Part]);
    assert!(missing(last(7, "1")).contains("7 of 15 values"));
    assert!(missing(last(7, "NaN")).contains("7 of 15 values"));
    // One moment that is told often is one moment.
    let often: Vec<_> = (0..15).map(|_| ("10:15", "1")).collect();
    assert!(missing(range_over("14m", Reduce::Max, "1m", &often)).contains("1 of 15 values"));
}

#[test]
fn a_value_that_the_server_warns_of_is_none() {
    let answer = |name: &str, words: Json| {
        let data = json!({ "resultType": "scalar", "result": [at("10:15"), "0"] });
        let mut body = json!({ "status": "success", "data": data });
        body[name] = words;
        page(200, &body)
    };
    let warning = "No StoreAPIs matched for this query";
    assert_eq!(
        missing(instant(&answer("warnings", json!([warning, "another"])))),
        format!("endpoint metrics answered with a warning: {warning}")
    );
    assert!(missing(instant(&answer("warnings", json!(["x".repeat(9_000)])))).len() <= 400);
    assert_eq!(number(&instant(&answer("warnings", json!([])))), 0.0);
    assert_eq!(number(&instant(&answer("infos", json!(["PromQL info: a gauge?"])))), 0.0);
}

#[test]
fn the_control_query_tells_the_servers_own_time() {
    let asked = asked("vector(1)", None);
    let query = Query::new(&asked, span("10:00", "10:00", SpanEnd::Now)).unwrap();
    let answer = success("vector", json!([{ "metric": {}, "value": [at("11:00"), "1"] }]));
    assert_eq!(query.control(&answer), Ok((moment("11:00"), 1.0)));
    let url = query.url_without_time(&Url::parse("http://h").unwrap(), TIMEOUT);
    assert_eq!(url.query(), Some("query=vector%281%29&timeout=10000ms"));
}
