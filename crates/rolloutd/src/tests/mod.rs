//! The daemon in this process: real store, real socket, and a deployment that is emulated over real sockets.

mod bad_input;
mod orders;
mod running;
mod starting;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use convex_emulator::{Config as EmulatorConfig, Emulator};
use rollout_api::client::{Client, ClientError, IdempotencyKey};
use rollout_api::{JournalEntry, OrderRequest, Problem, RolloutSummary, StartRequest};
use rollout_engine::SystemClock;
use rollout_engine::store::OnDamage;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::{Config, Surroundings};
use crate::serve::{Daemon, ServeError};

/// The smallest good plan, as people get it.
const SMALL: &str = include_str!("../../../../examples/small.toml");
const FLAG: &str = "ENABLE_RETRY_WITH_BACKOFF";
/// Longest time for anything in these tests.
const LIMIT: Duration = Duration::from_secs(20);

/// The way to stop a daemon, and its end.
type Running = (oneshot::Sender<()>, JoinHandle<Result<(), ServeError>>);

/// A deployment, a directory, and the daemon that was started last.
struct World {
    dir: TempDir,
    emulator: Emulator,
    daemon: Option<Running>,
}

impl World {
    /// A running daemon whose deployment `production` has a credential.
    async fn new() -> Self {
        let mut world = Self::stopped("").await;
        world.write_key();
        world.start().await;
        world
    }

    /// Everything but the daemon, with these lines at the end of the configuration.
    async fn stopped(lines: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let env = BTreeMap::from([(FLAG.to_owned(), "false".to_owned())]);
        let emulator = Emulator::start(EmulatorConfig { env, ..EmulatorConfig::default() });
        let world = Self { emulator: emulator.await.unwrap(), dir, daemon: None };
        let (at, url) = (world.dir.path().display(), world.emulator.url());
        let config = format!(
            "state_dir = \"{at}/state\"\nsocket = \"{at}/d.sock\"\ncredentials_dir = \"{at}\"\n\
             [deployments.production]\nurl = \"{url}\"\n{lines}\n"
        );
        fs::write(world.dir.path().join("rolloutd.toml"), config).unwrap();
        world
    }

    fn write_key(&self) {
        fs::write(self.dir.path().join("production.key"), self.emulator.admin_key()).unwrap();
    }

    async fn start(&mut self) {
        self.start_over(OnDamage::Refuse).await;
    }

    async fn start_over(&mut self, damage: OnDamage) {
        let path = self.dir.path().join("rolloutd.toml");
        let config = Config::read(&path, &Surroundings::default()).unwrap();
        let daemon =
            Daemon::start_over(config, damage, Arc::new(SystemClock::new())).await.unwrap();
        let (stop, told) = oneshot::channel::<()>();
        let running = daemon.run(async move { drop(told.await) });
        self.daemon = Some((stop, tokio::spawn(running)));
    }

    /// Stops the daemon as SIGTERM does.
    async fn stop(&mut self) {
        let (stop, running) = self.daemon.take().unwrap();
        stop.send(()).unwrap();
        soon(running).await.unwrap().unwrap();
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("d.sock")
    }

    fn client(&self) -> Client {
        Client::unix(self.socket()).unwrap()
    }

    /// Starts the small plan and follows it until its flag is on and watched.
    async fn bake(&self) -> RolloutSummary {
        let started = self.client().start(&request(SMALL), &IdempotencyKey::random()).await;
        let rollout = started.unwrap().rollout;
        self.until(&rollout.id, "bake_started").await;
        rollout
    }

    /// Everything up to the first entry of this kind.
    async fn until(&self, id: &str, kind: &str) -> Vec<JournalEntry> {
        let mut stream = self.client().follow(id, 0).await.unwrap();
        let mut entries = Vec::new();
        loop {
            let entry = soon(stream.next()).await.unwrap().unwrap();
            let found = entry.kind == kind;
            entries.push(entry);
            if found {
                return entries;
            }
        }
    }

    /// Sends bytes and reads everything that comes back.
    async fn raw(&self, request: &[u8]) -> String {
        let mut connection = UnixStream::connect(self.socket()).await.unwrap();
        connection.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        soon(connection.read_to_end(&mut answer)).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Problem) {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: d\r\ncontent-length: {length}\r\nconnection: close\r\n"
        );
        problem(&self.raw(format!("{head}\r\n{body}").as_bytes()).await)
    }

    async fn request(&self, method: &str, path: &str) -> (u16, Problem) {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: d\r\nconnection: close\r\n\r\n");
        problem(&self.raw(head.as_bytes()).await)
    }
}

/// Copies a directory and what is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for found in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(found.file_name());
        match found.file_type().unwrap().is_dir() {
            true => copy(&found.path(), &to),
            false => drop(fs::copy(found.path(), to).unwrap()),
        }
    }
}

/// The status and problem of an answer.
fn problem(answer: &str) -> (u16, Problem) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/problem+json"), "{answer}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let problem: Problem = serde_json::from_str(body).unwrap();
    assert_eq!(problem.status, status);
    (status, problem)
}

/// The problem that a call of the client was answered with.
fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> Problem {
    match answer {
        Err(ClientError::Problem(problem)) => *problem,
        other => panic!("{other:?}"),
    }
}

fn request(plan: &str) -> StartRequest {
    serde_json::from_value(serde_json::json!({ "plan": plan })).unwrap()
}

fn reason(reason: &str) -> OrderRequest {
    OrderRequest { reason: reason.to_owned(), ..OrderRequest::default() }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it takes too long")
}
