//! Whatever comes over the socket, the daemon lives and nothing changes.

use std::time::Duration;

use rollout_api::RolloutList;
use rollout_e2e::{SMALLEST, Setting, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::PROGRAMS;

/// No answer to a bad request takes longer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const HUNDRED_MEGABYTES: usize = 100 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_changes_nothing() {
    let mut world = World::start(PROGRAMS, Setting::default()).await;
    let held =
        SMALLEST.replace("[[phases]]", "[[checklist]]\nname = \"a\"\ntext = \"A\"\n\n[[phases]]");
    let mut run = world.begin(&held).await;
    run.until("preflight_passed").await;
    let before = seen(&world).await;

    let answer = send_large_body(&world).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("RO0401"), "{answer}");

    for (path, body) in [
        ("/v1/rollouts", r#"{"plan":"name = "#),
        ("/v1/rollouts/r1/hold", r#"{"reason":"#),
        ("/v1/rollouts/r1/hold", "\u{0}\u{1}\u{2}"),
        ("/v1/rollouts/r1/hold", "[]"),
        ("/v1/rollouts/r1/hold", r#"{"reason":"r","unknown":1}"#),
    ] {
        let answer = exchange(&world, &post(path, body)).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{body}: {answer}");
        assert!(
            answer.contains("RO0402") && answer.contains("application/problem+json"),
            "{answer}"
        );
    }
    let garbage: Vec<u8> =
        (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let answer = exchange(&world, &garbage).await;
    assert!(!answer.contains("HTTP/1.1 2"), "{answer}");
    let answer =
        exchange(&world, b"GET /v2/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("RO0404"), "{answer}");
    let answer =
        exchange(&world, b"DELETE /v1/rollouts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    drop(UnixStream::connect(world.socket()).await.unwrap());

    assert!(world.daemon().is_running());
    assert_eq!(seen(&world).await, before);
}

async fn seen(world: &World) -> RolloutList {
    world.client().list().await.unwrap()
}

/// A hundred megabytes, as far as the daemon takes them. It answers long before the end.
async fn send_large_body(world: &World) -> String {
    let stream = UnixStream::connect(world.socket()).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let head = format!(
        "POST /v1/rollouts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {HUNDRED_MEGABYTES}\r\n\r\n"
    );
    let sender = tokio::spawn(async move {
        let piece = vec![b'x'; 1024 * 1024];
        let mut sent = to.write_all(head.as_bytes()).await.map_or(0, |()| head.len());
        while sent < HUNDRED_MEGABYTES && to.write_all(&piece).await.is_ok() {
            sent += piece.len();
        }
        sent
    });
    let mut answer = Vec::new();
    // The connection may be reset while the rest of the body is on its way; what was answered before that counts.
    let _ = timeout(ANSWER_MAX, from.read_to_end(&mut answer)).await.unwrap();
    drop(from);
    let sent = timeout(ANSWER_MAX, sender).await.unwrap().unwrap();
    assert!(sent < HUNDRED_MEGABYTES / 2, "the daemon took {sent} bytes");
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// Sends bytes and takes everything that comes back.
async fn exchange(world: &World, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(world.socket()).await.unwrap();
    // A daemon that has seen enough closes the connection; that is an answer too.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(ANSWER_MAX, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
