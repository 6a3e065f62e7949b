//! Bodies and paths of `/v1`, sent to a real daemon in this process over its real socket: it answers each with a status
//! below 500, explains each refusal as a problem, and goes on answering.
//!
//! The first line of the input picks the request, the rest is its body.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use convex_emulator::{Config, Emulator};
use libfuzzer_sys::fuzz_target;
use rolloutd::fuzzing::Running;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

struct World {
    runtime: Runtime,
    socket: PathBuf,
    _emulator: Emulator,
    _daemon: Running,
    _dir: tempfile::TempDir,
}

static WORLD: OnceLock<World> = OnceLock::new();

fn world() -> &'static World {
    WORLD.get_or_init(|| {
        let runtime = Runtime::new().expect("a runtime");
        let dir = tempfile::tempdir().expect("a directory");
        let emulator = runtime.block_on(Emulator::start(Config::default())).expect("a deployment");
        let (at, url) = (dir.path().display(), emulator.url());
        let text = format!(
            "state_dir = \"{at}/state\"\nsocket = \"{at}/d.sock\"\ncredentials_dir = \"{at}\"\n[deployments.production]\nurl = \"{url}\"\n"
        );
        let config = dir.path().join("rolloutd.toml");
        fs::write(&config, text).expect("a configuration");
        fs::write(dir.path().join("production.key"), emulator.admin_key()).expect("a key");
        let daemon = runtime.block_on(Running::start(&config)).expect("a daemon");
        let socket = dir.path().join("d.sock");
        World { runtime, socket, _emulator: emulator, _daemon: daemon, _dir: dir }
    })
}

/// What is asked, by the first byte.
const ASKED: [&str; 18] = [
    "POST /v1/rollouts",
    "POST /v1/rollouts/r1/approve",
    "POST /v1/rollouts/r1/check",
    "POST /v1/rollouts/r1/hold",
    "POST /v1/rollouts/r1/resume",
    "POST /v1/rollouts/r1/promote",
    "POST /v1/rollouts/r1/skip",
    "POST /v1/rollouts/r1/retry",
    "POST /v1/rollouts/r1/abort",
    "POST /v1/rollouts/r1/rollback",
    "POST /v1/rollouts/r1/resolve",
    "POST /v1/rollouts/r999/hold",
    "GET /v1/status",
    "GET /v1/rollouts",
    "GET /v1/rollouts/r1",
    "GET /v1/rollouts/r1/log",
    "GET /v1/rollouts/",
    "POST /v1/",
];

/// The longest answer that is waited for.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

async fn ask(socket: &PathBuf, head: &str, body: &[u8]) -> (u16, String) {
    let mut connection = UnixStream::connect(socket).await.expect("the daemon listens");
    let head = format!("{head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    // A daemon that refuses early may close before it has read all.
    let _ = connection.write_all(&[head.as_bytes(), body].concat()).await;
    let mut answer = Vec::new();
    let read = timeout(LIMIT, connection.read_to_end(&mut answer)).await;
    read.expect("the daemon answers in time").expect("the answer has an end");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), answer)
}

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let world = world();
    let picked = ASKED[usize::from(*first) % ASKED.len()];
    // Up to a line feed: the end of the path, as far as it is one.
    let cut = rest.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (path, body) = rest.split_at(cut);
    let path: String =
        path.iter().map(|byte| *byte as char).filter(char::is_ascii_graphic).collect();
    world.runtime.block_on(async {
        let head =
            format!("{picked}{path} HTTP/1.1\r\nhost: rolloutd\r\ncontent-type: application/json");
        let (status, answer) = ask(&world.socket, &head, body.get(1..).unwrap_or_default()).await;
        assert!((200..500).contains(&status), "{head}: {answer}");
        let (_, text) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        // Without a body it is the HTTP library that did not take the head for one.
        if status >= 400 && !text.is_empty() {
            let problem: serde_json::Value = serde_json::from_str(text).expect("a problem is JSON");
            let code = problem["code"].as_str().unwrap_or_default();
            assert!(code.starts_with("RO"), "{head}: {answer}");
        }
    });
});
