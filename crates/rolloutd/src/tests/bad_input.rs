//! Whatever comes over the socket, the daemon answers or hangs up, and goes on.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn a_body_of_100_mb_is_refused_before_it_is_read() {
    let world = World::new().await;
    let began = Instant::now();
    let head = "POST /v1/rollouts HTTP/1.1\r\nhost: d\r\ncontent-length: 104857600\r\n\r\n";
    let mut connection = UnixStream::connect(world.socket()).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = connection.into_split();
    let sending = tokio::spawn(async move {
        let piece = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        // Ends when the daemon hangs up.
        while sent < 104_857_600 && writer.write_all(&piece).await.is_ok() {
            sent += piece.len();
        }
        sent
    });
    let mut answer = [0; 4_096];
    let count = soon(reader.read(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("RO0401"), "{answer}");
    drop(reader);
    let sent = soon(sending).await.unwrap();
    assert!(sent < 8 * 1024 * 1024, "{sent} bytes were taken");
    assert!(began.elapsed() < LIMIT);
    assert_eq!(world.client().status().await.unwrap().live, 0);
}

#[tokio::test]
async fn a_body_that_does_not_say_how_long_it_is_ends_at_the_limit() {
    let world = World::new().await;
    let head = "POST /v1/rollouts HTTP/1.1\r\nhost: d\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut connection = UnixStream::connect(world.socket()).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    let piece = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
    for _ in 0..17 {
        if connection.write_all(&piece).await.is_err() {
            break;
        }
    }
    let mut answer = [0; 4_096];
    let count = soon(connection.read(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("RO0401"), "{answer}");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_the_way_out() {
    let world = World::new().await;
    for body in ["{\"plan\": \"na", "[1", "", "\u{0}", "{\"plan\": 5}", "{\"plam\": \"x\"}", "7"] {
        let (status, problem) = world.post("/v1/rollouts", body).await;
        assert_eq!((status, problem.code.as_str()), (400, "RO0402"), "{body:?}");
    }
    let (status, problem) = world.post("/v1/rollouts/r1/hold", "{\"reason\": \"x\"").await;
    assert_eq!((status, problem.code.as_str()), (400, "RO0402"));
    let head = "POST /v1/rollouts HTTP/1.1\r\nhost: d\r\ncontent-length: 500\r\n\r\n{\"plan\"";
    let mut connection = UnixStream::connect(world.socket()).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    drop(connection);
    assert_eq!(world.client().status().await.unwrap().live, 0);
}

#[tokio::test]
async fn paths_methods_and_ids_that_are_not_there_are_problems_too() {
    let world = World::new().await;
    for (method, path, status, code) in [
        ("GET", "/", 404, "RO0404"),
        ("GET", "/v1/rollouts/r1/nothing/more", 404, "RO0404"),
        ("POST", "/v1/rollouts/r1/dance", 404, "RO0404"),
        ("DELETE", "/v1/rollouts", 405, "RO0404"),
        ("GET", "/v1/rollouts/r1/hold", 405, "RO0404"),
        ("GET", "/v1/rollouts/42", 400, "RO0402"),
        ("GET", "/v1/rollouts/r0", 400, "RO0402"),
        ("GET", "/v1/rollouts/%ff", 400, "RO0402"),
        ("GET", "/v1/rollouts/r9", 404, "RO0302"),
        ("GET", "/v1/rollouts/r9/log", 404, "RO0302"),
        ("GET", "/v1/rollouts/r9/events", 404, "RO0302"),
        ("GET", "/v1/rollouts/r9/events?after=x", 400, "RO0402"),
    ] {
        let (found, problem) = world.request(method, path).await;
        assert_eq!((found, problem.code.as_str()), (status, code), "{method} {path}: {problem}");
        assert!(problem.detail.len() > 10, "{problem:?}");
    }
    let strange = "POST /v1/rollouts HTTP/1.1\r\nhost: d\r\nidempotency-key: a b\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    assert_eq!(problem(&world.raw(strange.as_bytes()).await).1.code, "RO0402");
}

#[tokio::test]
async fn garbage_on_the_socket_changes_nothing() {
    let world = World::new().await;
    for garbage in [b"\x16\x03\x01\x02\x00".as_slice(), b"hello\r\n\r\n", &[0xff; 9_000]] {
        let mut connection = UnixStream::connect(world.socket()).await.unwrap();
        connection.write_all(garbage).await.unwrap();
        connection.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Refused or hung up on, as long as it ends.
        soon(connection.read_to_end(&mut answer)).await.ok();
    }
    assert_eq!(world.client().status().await.unwrap().live, 0);
}
