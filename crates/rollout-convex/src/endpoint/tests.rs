//! Owns what the tests of the pure halves share: moments of one day, and the words of an answer. Tests what needs
//! a bound of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rollout_core::{HttpGet, Source, Span, SpanEnd};
use tokio::net::TcpListener;

use super::{Answer, Endpoint, EndpointTarget, ask_within};

/// A moment of the day: `10:15`, `10:15:30`.
pub(super) fn moment(time: &str) -> Timestamp {
    let seconds = if time.len() == 5 { ":00" } else { "" };
    format!("2026-08-21T{time}{seconds}Z").parse().unwrap()
}

/// A range of time of the day.
pub(super) fn span(from: &str, to: &str, end: SpanEnd) -> Span {
    Span { from: moment(from), to: moment(to), end }
}

/// Why there is nothing to be seen.
pub(super) fn missing(answer: Answer) -> String {
    let Answer::Missing(words) = answer else { panic!("{answer:?}") };
    words
}

/// Why the answer cannot be used.
pub(super) fn failed(answer: Answer) -> String {
    let Answer::Failed(words) = answer else { panic!("{answer:?}") };
    words
}

#[tokio::test]
async fn silent_endpoints_cost_a_reading_no_more_than_its_bound() {
    // Connections are taken by the system, and nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = EndpointTarget {
        name: "page".into(),
        url: format!("http://{}", listener.local_addr().unwrap()),
        credential: None,
        timeout: Duration::from_secs(30),
    };
    let endpoint = Arc::new(Endpoint::connect(target).unwrap());
    let get = |n: usize| Source::Http(HttpGet { endpoint: "page".into(), path: format!("/{n}") });
    let sources: Vec<_> = (0..9).map(get).collect();
    let now = span("10:00", "10:15", SpanEnd::Now);
    let asks: Vec<_> = sources.iter().map(|source| (source, now)).collect();
    let begun = Instant::now();
    let bound = Duration::from_millis(300);
    // The engine performs effects on any of its threads, and boxes them.
    let asked: Pin<Box<dyn Future<Output = Vec<Answer>> + Send + '_>> =
        Box::pin(async { ask_within(bound, &asks, |_| Ok(endpoint.clone())).await });
    let answers = asked.await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(answers.len(), 9);
    for answer in answers {
        assert_eq!(
            failed(answer),
            "endpoint page and others did not answer within 300 ms together"
        );
    }
}
