//! Answers that are none: garbage, half answers, far too long ones, silence, redirects.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rollout_core::{
    Effect, FaultClass, Measured, MetricQuery, Observation, Outcome, SourceQuery, Span, Unit,
};
use tokio::net::TcpListener;

use crate::raw::{RawServer, Reply, http};
use crate::support::{adapter, call, fault, key, set};

const KEY: &str = "otter|0123456789abcdef";

fn health() -> Effect {
    let metric = MetricQuery::of("rate", "/rate", Unit::Percent);
    let source = SourceQuery::once(
        "health",
        call("m:health", "{}"),
        Span::at(Timestamp::UNIX_EPOCH),
        vec![metric],
    );
    Effect::Observe(Observation {
        flags: vec![],
        sources: vec![source],
        probes: vec![],
        ..Observation::default()
    })
}

/// What one health source comes to when its server answers like this.
async fn measured(server: &RawServer) -> Measured {
    match adapter(&server.url, KEY).perform(key(1), &health()).await {
        Outcome::Observed(mut reading) => reading.measurements.remove(0).measured,
        other => panic!("no reading: {other:?}"),
    }
}

#[tokio::test]
async fn answers_that_are_none_fail_their_part_and_quote_no_page() {
    let truncated = "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"status\":\"succ";
    for (bytes, words) in [
        (&b"\x16\x03\x01garbage\r\n\r\n"[..], "lost the connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{\"s", "unexpected"),
        (truncated.as_bytes(), "lost the connection"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>Welcome to the hotel</html>", "unexpected"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "unexpected"),
        (b"HTTP/1.1 500 X\r\n\r\n<html><h1>Internal</h1></html>", "failed internally (500)"),
        (b"HTTP/1.1 502 X\r\n\r\n<html>bad gateway</html>", "failed internally (502)"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe", "unexpected"),
    ] {
        let server = RawServer::start(move |_, _| Reply::Bytes(bytes.to_vec())).await;
        let Measured::Failed(reason) = measured(&server).await else {
            panic!("{words}: it was measured")
        };
        assert!(
            reason.starts_with("could not ask m:health: ") && reason.contains(words),
            "{reason}"
        );
        assert!(!reason.contains('<'), "a page was quoted: {reason}");
        assert_eq!(server.requests().len(), 1, "a request was repeated");
    }
}

#[tokio::test]
async fn status_560_is_a_function_that_failed() {
    let body =
        r#"{"status":"error","errorMessage":"[Request ID: 1] Server Error\nUncaught Error: boom"}"#;
    let server = RawServer::start(move |_, _| http(560, body)).await;
    assert_eq!(
        measured(&server).await,
        Measured::Failed("m:health failed: Uncaught Error: boom".into())
    );
}

#[tokio::test]
async fn a_hundred_megabytes_are_an_error_and_not_memory() {
    let server = RawServer::start(|_, _| Reply::Endless).await;
    let Measured::Failed(reason) = measured(&server).await else { panic!("it was measured") };
    assert!(reason.contains("more than 17 MiB"), "{reason}");
    let sent = server.sent().await;
    assert!(sent < 40_000_000, "{sent} bytes were taken");

    let claimed = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\nx";
    let server = RawServer::start(|_, _| Reply::Bytes(claimed.to_vec())).await;
    let Measured::Failed(reason) = measured(&server).await else { panic!("it was measured") };
    assert!(reason.contains("more than 17 MiB"), "{reason}");
}

#[tokio::test]
async fn silence_ends_at_the_timeout() {
    let server = RawServer::start(|_, _| Reply::Hang).await;
    let start = Instant::now();
    let silent = fault(adapter(&server.url, KEY).perform(key(1), &set(&[("A", "true")])).await);
    assert_eq!(silent.class, FaultClass::Transient, "only a read was sent");
    assert_eq!(silent.reason, "deployment prod did not answer within 1500 ms");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_connection_that_is_closed_or_reset_is_lost() {
    for reset in [false, true] {
        let server =
            RawServer::start(move |_, _| if reset { Reply::Reset } else { Reply::Close }).await;
        let lost = fault(adapter(&server.url, KEY).perform(key(1), &set(&[("A", "true")])).await);
        assert_eq!(lost.class, FaultClass::Transient, "only a read was sent");
        assert!(
            lost.reason.starts_with("lost the connection to deployment prod"),
            "{}",
            lost.reason
        );
    }
}

#[tokio::test]
async fn tls_that_is_spoken_to_a_plain_server_was_never_a_request() {
    let server = RawServer::start(|_, _| http(200, "{}")).await;
    let url = server.url.replace("http://", "https://");
    let convex = rollout_convex::Convex::connect(rollout_convex::Target {
        name: "prod".into(),
        url,
        key: KEY.into(),
        timeout: crate::support::TIMEOUT,
    });
    let refused = fault(convex.unwrap().perform(key(1), &set(&[("A", "true")])).await);
    assert_eq!(refused.class, FaultClass::Transient);
    assert!(
        refused.reason.starts_with("could not connect to deployment prod: "),
        "{}",
        refused.reason
    );
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn redirects_are_not_followed_with_the_key() {
    let elsewhere = RawServer::start(|_, _| http(200, r#"{"environmentVariables":{}}"#)).await;
    for (status, class) in [(301, FaultClass::Permanent), (307, FaultClass::Transient)] {
        let location = format!(
            "HTTP/1.1 {status} X\r\nlocation: {}/\r\ncontent-length: 0\r\n\r\n",
            elsewhere.url
        );
        let server =
            RawServer::start(move |_, _| Reply::Bytes(location.clone().into_bytes())).await;
        let moved = fault(adapter(&server.url, KEY).perform(key(1), &set(&[("A", "true")])).await);
        assert_eq!(moved.class, class);
        assert!(moved.reason.contains("correct its URL"), "{}", moved.reason);
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

/// A server that keeps its connections open sees only one, however many requests come.
#[tokio::test]
async fn one_connection_serves_many_requests() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 34\r\n\r\n{\"environmentVariables\":{\"A\":\"1\"}}";
                while stream.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    let convex = adapter(&url, KEY);
    for _ in 0..5 {
        let outcome = convex.perform(key(1), &set(&[("A", "1")])).await;
        assert!(matches!(outcome, Outcome::FlagsSet { .. }), "{outcome:?}");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}
