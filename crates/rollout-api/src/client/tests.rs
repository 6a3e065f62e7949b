//! The client against a real unix socket on which a few bytes are served by hand.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::*;
use crate::problem::Code;

/// A socket path of its own for each test; removed with the value.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rollout-api-{}-{number}.sock", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// Answers one request with `answer` and closes; gives back what was asked.
fn answer_once(path: &Path, answer: String) -> JoinHandle<String> {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let count = connection.read(&mut piece).await.unwrap();
            asked.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&asked).to_lowercase();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if body.len() >= length {
                break;
            }
        }
        connection.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(asked).unwrap()
    })
}

fn response(status: &str, media_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_start_carries_its_key_and_reads_the_answer() {
    let place = Place::new();
    let body = r#"{"answer":"accepted","rollout":{"id":"r1","plan":"p","title":"P","deployment":"d","url":"u",
        "status":"final_checks","headline":"h","phase":null,"holds":[],"open_incidents":[],"created_at":"2026-01-01T00:00:00Z",
        "next_check":null,"next_deadline":null,"seq":3,"rolled_back":false,"rolling_back":false,"from_the_future":1}}"#;
    let server = answer_once(&place.0, response("201 Created", "application/json", body));
    let key = IdempotencyKey::new("deploy-7").unwrap();
    let request = StartRequest { plan: "name = \"p\"".into(), start_at: None, reason: None };
    let started = Client::unix(&place.0).unwrap().start(&request, &key).await.unwrap();
    assert_eq!((started.rollout.id.as_str(), started.rollout.seq), ("r1", 3));
    let asked = server.await.unwrap();
    assert!(asked.starts_with("POST /v1/rollouts HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains("\r\nidempotency-key: deploy-7\r\n"), "{asked}");
}

#[tokio::test]
async fn a_problem_is_told_apart_from_a_stranger() {
    let place = Place::new();
    let refusal = Problem::new(Code::RefusedNow, "it is baking").with_allowed(vec!["hold".into()]);
    let body = serde_json::to_string(&refusal).unwrap();
    let server = answer_once(&place.0, response("409 Conflict", PROBLEM_MEDIA_TYPE, &body));
    let order = OrderRequest { reason: "r".into(), ..OrderRequest::default() };
    let client = Client::unix(&place.0).unwrap();
    match client.order("r1/../r2", OrderVerb::Retry, &order).await {
        Err(ClientError::Problem(problem)) => assert_eq!(*problem, refusal),
        other => panic!("{other:?}"),
    }
    let asked = server.await.unwrap();
    assert!(asked.starts_with("POST /v1/rollouts/r1%2F..%2Fr2/retry HTTP/1.1\r\n"), "{asked}");

    let place = Place::new();
    let server = answer_once(&place.0, response("502 Bad Gateway", "text/html", "<h1>proxy</h1>"));
    let stranger = Client::unix(&place.0).unwrap().list().await;
    assert!(matches!(stranger, Err(ClientError::Protocol { .. })), "{stranger:?}");
    server.await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_says_why() {
    let place = Place::new();
    let error = Client::unix(&place.0).unwrap().status().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.io_kind(), Some(io::ErrorKind::NotFound));
}

#[tokio::test]
async fn a_stream_gives_entries_and_ends_with_the_daemon() {
    let place = Place::new();
    let entry = |seq: u64| {
        format!(
            r#"{{"seq":{seq},"at":"2026-01-01T00:00:00Z","actor":"rolloutd","note":null,"kind":"held","phase":1,"text":"t","details":{{}}}}"#
        )
    };
    let body = format!(
        ": hello\n\nid: 8\ndata: {}\n\n: heartbeat\n\nid: 9\ndata: {}\n\n",
        entry(8),
        entry(9)
    );
    let server = answer_once(&place.0, response("200 OK", "text/event-stream", &body));
    let mut stream = Client::unix(&place.0).unwrap().follow("r1", 7).await.unwrap();
    assert_eq!(stream.next().await.unwrap().map(|entry| entry.seq), Some(8));
    assert_eq!(stream.next().await.unwrap().map(|entry| entry.seq), Some(9));
    assert_eq!(stream.next().await.unwrap(), None);
    assert!(server.await.unwrap().to_lowercase().contains("last-event-id: 7"));
}

#[test]
fn keys_are_printable_and_short() {
    assert!(IdempotencyKey::new("").is_none());
    assert!(IdempotencyKey::new("a b").is_none());
    assert!(IdempotencyKey::new(&"k".repeat(129)).is_none());
    assert_ne!(IdempotencyKey::random(), IdempotencyKey::random());
}
