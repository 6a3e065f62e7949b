//! The source `prometheus` against Debian's own server: instant and range queries.

use std::sync::Arc;

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};
use rollout_convex::{Answer, Endpoint, EndpointCredential, EndpointTarget, ask_all};
use rollout_core::{Measured, PromQuery, PromRange, Reduce, Source, Span, SpanEnd, Unit};

use crate::promserver::{PromServer, USER};
use crate::server::{Server, nowhere, reply};
use crate::suite::{self, Case, Provider, SECRET, TIMEOUT, Taken, moment};
use crate::tool;

/// Queries of one server; `range` decides of which kind.
struct Prometheus<R> {
    server: PromServer,
    endpoint: Endpoint,
    garbage: Server,
    range: R,
}

/// Asks for the value of a moment.
struct Instant;

/// Asks for the greatest value of a quarter of an hour.
struct Range;

impl<R> Prometheus<R> {
    async fn start(range: R) -> Self {
        let (server, garbage) = (PromServer::start(), Server::start().await);
        garbage.answer(|_| reply(200, "<html>Sign in</html>"));
        let endpoint = endpoint(&server.url, SECRET);
        Self { server, endpoint, garbage, range }
    }

    async fn take(&mut self, case: Case, range: Option<PromRange>) -> Taken {
        let other = match case {
            Case::NoConnection => Some(endpoint(&nowhere().await, SECRET)),
            Case::WrongCredential => Some(endpoint(&self.server.url, "hunter2hunter3")),
            Case::Garbage => Some(endpoint(&self.garbage.url, SECRET)),
            _ => None,
        };
        let source = query(&text(case, range), range);
        if case == Case::Slow {
            self.server.freeze();
        }
        let answer = other.as_ref().unwrap_or(&self.endpoint).ask(&source, suite::span(case)).await;
        if case == Case::Slow {
            self.server.thaw();
        }
        Taken { measured: answer.measured("", Unit::Percent), requests: None }
    }
}

const IMPOSSIBLE: &[(Case, &str)] = &[(Case::PastUnknown, "a Prometheus server tells of the past")];

impl Provider for Prometheus<Instant> {
    const NAME: &'static str = "prometheus";
    const IMPOSSIBLE: &'static [(Case, &'static str)] = IMPOSSIBLE;

    async fn take(&mut self, case: Case) -> Taken {
        let Instant = self.range;
        self.take(case, None).await
    }
}

impl Provider for Prometheus<Range> {
    const NAME: &'static str = "… range";
    const IMPOSSIBLE: &'static [(Case, &'static str)] = IMPOSSIBLE;

    async fn take(&mut self, case: Case) -> Taken {
        let Range = self.range;
        let step = if case == Case::Huge { 1 } else { 60 };
        self.take(case, range(15, step, Reduce::Max)).await
    }
}

/// The query that finds a case in the samples.
fn text(case: Case, range: Option<PromRange>) -> String {
    let name = match case {
        Case::Warn => "app_warn",
        Case::Breach => "app_breach",
        Case::Empty => "app_nothing",
        Case::NotANumber => "sum(app_quiet)",
        Case::Infinite => "app_infinite",
        Case::Error => "sum(",
        Case::Past => "app_past",
        Case::Huge => {
            let many: Vec<_> = (0..90)
                .map(|n| format!("label_replace(vector({n}),\"n\",\"{n}\",\"\",\"\")"))
                .collect();
            let many = many.join(" or ");
            return if range.is_some() { many } else { format!("({many})[15m:1s]") };
        }
        Case::Pass
        | Case::Slow
        | Case::PastUnknown
        | Case::NoConnection
        | Case::WrongCredential
        | Case::Garbage => "app_pass",
    };
    name.to_owned()
}

fn endpoint(url: &str, password: &str) -> Endpoint {
    let credential = EndpointCredential::Basic(format!("{USER}:{password}").into());
    Endpoint::connect(EndpointTarget {
        name: "metrics".into(),
        url: url.into(),
        credential: Some(credential),
        timeout: TIMEOUT,
    })
    .unwrap()
}

fn range(mins: i64, step_secs: i64, reduce: Reduce) -> Option<PromRange> {
    let (over, step) = (SignedDuration::from_mins(mins), SignedDuration::from_secs(step_secs));
    Some(PromRange { over, step, reduce })
}

fn query(text: &str, range: Option<PromRange>) -> Source {
    Source::Prometheus(PromQuery { endpoint: "metrics".into(), query: text.into(), range })
}

fn has_prometheus(test: &str) -> bool {
    tool::has_all(test, &["prometheus", "promtool"], "prometheus")
}

#[tokio::test]
async fn prometheus_passes_the_suite() {
    if has_prometheus("prometheus_passes_the_suite") {
        suite::run(&mut Prometheus::start(Instant).await).await;
    }
}

#[tokio::test]
async fn prometheus_ranges_pass_the_suite() {
    if has_prometheus("prometheus_ranges_pass_the_suite") {
        suite::run(&mut Prometheus::start(Range).await).await;
    }
}

/// Everything here that the suite has no case for, of one server.
#[tokio::test]
async fn queries_find_what_they_mean_in_a_real_server() {
    if !has_prometheus("queries_find_what_they_mean_in_a_real_server") {
        return;
    }
    let Prometheus { server: _server, endpoint, .. } = Prometheus::start(Instant).await;
    let endpoint = Arc::new(endpoint);
    let at = |from: &str, to: &str| Span { from: moment(from), to: moment(to), end: SpanEnd::Past };
    let (hour, short) = (at("09:15", "10:15"), at("10:10", "10:15"));
    let minute = |range| query("app_minute", range);
    let asks = [
        (query("histogram_quantile(0.95, sum by (le) (rate(app_seconds_bucket[5m])))", None), hour),
        (query("app_pods", None), hour),
        (query("sum(app_pods)", None), hour),
        (query("app_pods * on() app_pods", None), hour),
        // What counts begins with the span, however far back the range goes.
        (minute(range(30, 60, Reduce::Min)), short),
        (minute(range(30, 60, Reduce::Max)), short),
        (minute(range(30, 60, Reduce::Mean)), short),
        (minute(range(30, 60, Reduce::Last)), short),
        (query("min_over_time(app_minute[$span])", None), short),
        (query("app_ended", range(60, 60, Reduce::Max)), hour),
        (query("app_ended", range(60, 60, Reduce::Max)), at("09:00", "10:04")),
        (query("scalar(app_pass)", range(15, 60, Reduce::Last)), hour),
        (query("app_minute[5m]", None), hour),
        (query("\"words\"", None), hour),
    ];
    let asked: Vec<_> = asks.iter().map(|(source, span)| (source, *span)).collect();
    let answers = ask_all(&asked, |_| Ok(endpoint.clone())).await;
    let number = |index: usize| match answers[index].measured("", Unit::Seconds) {
        Measured::Number(number) => number,
        other => panic!("{index}: {other:?}"),
    };
    let words = |index: usize| match &answers[index] {
        Answer::Failed(words) | Answer::Missing(words) => words.as_str(),
        other => panic!("{index}: {other:?}"),
    };
    assert!((number(0) - 0.3).abs() < 1e-9, "{}", number(0));
    assert_eq!(words(1), "the query gives 3 series; aggregate them, e.g. with sum(...)");
    assert_eq!(number(2), 0.75);
    assert!(words(3).contains("could not answer the query (execution): "), "{}", words(3));
    assert_eq!([number(4), number(5), number(6), number(7)], [130.0, 135.0, 132.5, 135.0]);
    assert_eq!(answers[5].basis().and_then(|basis| basis.samples), Some(6));
    assert_eq!(number(8), 130.0);
    assert!(words(9).contains("older than the moment"), "{}", words(9));
    // It ended four minutes before: Prometheus itself still takes it for the present.
    assert_eq!(number(10), suite::PASS);
    assert_eq!(number(11), suite::PASS);
    assert!(words(12).contains("last_over_time"), "{}", words(12));
    assert!(words(13).contains("gives a string"), "{}", words(13));
}

/// As Thanos answers when one of its stores is down; this one echoes what it was sent, too.
#[tokio::test]
async fn a_part_of_the_data_is_no_value_and_its_warning_shows_no_credential() {
    let server = Server::start().await;
    let sent = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{SECRET}"));
    let warning = format!("store a: connection refused, asked with Basic {sent}");
    server.answer(move |_| {
        let at = moment("10:15").as_second();
        let data = format!("{{\"resultType\": \"scalar\", \"result\": [{at}, \"0\"]}}");
        let body = "{\"status\": \"success\", \"warnings\": [\"WARNING\"], \"data\": DATA}";
        reply(200, &body.replace("WARNING", &warning).replace("DATA", &data))
    });
    let endpoint = endpoint(&server.url, SECRET);
    let Answer::Missing(words) = endpoint.ask(&query("x", None), suite::present()).await else {
        panic!("a part was taken for all of it")
    };
    assert!(words.starts_with("endpoint metrics answered with a warning: store a: "), "{words}");
    assert!(!words.contains(&sent), "{words}");
}

#[tokio::test]
async fn the_control_query_notices_a_clock_that_is_off() {
    if !has_prometheus("the_control_query_notices_a_clock_that_is_off") {
        return;
    }
    let Prometheus { server: _server, endpoint, .. } = Prometheus::start(Instant).await;
    let any = query("app_pass", None);
    let found = endpoint.control(&any, now()).await.unwrap();
    assert!(found.starts_with("answers queries; its clock is within"), "{found}");
    let ahead = endpoint.control(&any, now() + SignedDuration::from_mins(2)).await.unwrap_err();
    assert!(ahead.contains(" s behind this machine's"), "{ahead}");
    let behind = endpoint.control(&any, now() - SignedDuration::from_mins(2)).await.unwrap_err();
    assert!(behind.contains(" s ahead of this machine's"), "{behind}");
}

#[expect(clippy::disallowed_methods, reason = "a real server has the real time")]
fn now() -> Timestamp {
    Timestamp::now()
}
