//! Owns the demo's engine: this very program as `serve`, in a process group of its own, killed with the demo.
//!
//! Readiness is what systemd would be told: the daemon's own `READY=1`, received on a socket of the demo's. Nothing is
//! polled and nothing sleeps.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rollout_api::client::Client;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::clock::DemoClock;
use super::error::DemoError;
use super::place::Place;

/// How long a start may take, in real time. It takes a fraction of a second.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// The daemon's notices are a few words long.
const NOTICE_BYTES_MAX: usize = 4_096;

/// A running engine. Dropping it kills the process.
pub(super) struct Engine<'a> {
    place: &'a Place,
    program: PathBuf,
    clock: String,
    child: Child,
    client: Client,
    notices: Notices,
}

impl<'a> Engine<'a> {
    /// Starts the engine; it has taken up every live rollout and listens when this returns.
    pub(super) async fn start(place: &'a Place, clock: &DemoClock) -> Result<Self, DemoError> {
        let program = std::env::current_exe().map_err(process)?;
        let clock = clock.to_env();
        let mut notices = Notices::listen(place)?;
        let child = launch(place, &program, &clock, &mut notices).await?;
        let client = Client::unix(place.socket())?;
        Ok(Self { place, program, clock, child, client, notices })
    }

    /// Ends the process as a power cut would: SIGKILL, at once.
    pub(super) async fn kill(&mut self) -> Result<(), DemoError> {
        self.child.kill().await.map_err(process)
    }

    /// Starts the engine again on the same state.
    pub(super) async fn restart(&mut self) -> Result<(), DemoError> {
        self.child = launch(self.place, &self.program, &self.clock, &mut self.notices).await?;
        // A new client, because the connections of the old one are dead.
        self.client = Client::unix(self.place.socket())?;
        Ok(())
    }

    /// Talks to the engine.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Why the event stream ended though nobody killed the engine.
    pub(super) async fn post_mortem(&mut self) -> DemoError {
        let words = self.place.last_words();
        match timeout(Duration::from_secs(2), self.child.wait()).await {
            Ok(Ok(status)) => DemoError::EngineDied { status, words },
            Ok(Err(source)) => DemoError::Process { source },
            Err(_) => DemoError::StreamEnded { words },
        }
    }

    /// Why nothing comes from an engine that still runs.
    pub(super) fn silent_for(&self, silence: Duration) -> DemoError {
        DemoError::Silence { secs: silence.as_secs(), words: self.place.last_words() }
    }
}

/// Starts the process and waits for its word that it is ready.
async fn launch(
    place: &Place,
    program: &PathBuf,
    clock: &str,
    notices: &mut Notices,
) -> Result<Child, DemoError> {
    let messages = place.engine_messages()?;
    let before = notices.ready_count();
    let mut command = Command::new(program);
    command
        .arg("serve")
        .arg("--config")
        .arg(place.config())
        .env_clear()
        .env("ROLLOUTD_CLOCK", clock)
        .env("NOTIFY_SOCKET", place.notify_socket())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(messages)
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(process)?;
    tokio::select! {
        ready = timeout(READY_WITHIN, notices.ready_after(before)) => match ready {
            Ok(()) => Ok(child),
            Err(_) => {
                let words = place.last_words();
                Err(DemoError::EngineNotReady { secs: READY_WITHIN.as_secs(), words })
            }
        },
        status = child.wait() => {
            let status = status.map_err(process)?;
            Err(DemoError::EngineDied { status, words: place.last_words() })
        }
    }
}

/// What the daemon tells its service manager, which here is the demo. Everything is taken, so that the daemon never waits.
struct Notices {
    ready: watch::Receiver<u64>,
    listener: JoinHandle<()>,
}

impl Notices {
    fn listen(place: &Place) -> Result<Self, DemoError> {
        let path = place.notify_socket();
        let socket =
            UnixDatagram::bind(&path).map_err(|source| DemoError::File { path, source })?;
        let (sender, ready) = watch::channel(0);
        let listener = tokio::spawn(async move {
            let mut notice = vec![0; NOTICE_BYTES_MAX];
            while let Ok(length) = socket.recv(&mut notice).await {
                if notice[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                    sender.send_modify(|count| *count += 1);
                }
            }
        });
        Ok(Self { ready, listener })
    }

    fn ready_count(&self) -> u64 {
        *self.ready.borrow()
    }

    /// Ends with the first word of readiness after the `count`th. Pends for ever when there can be none.
    async fn ready_after(&mut self, count: u64) {
        if self.ready.wait_for(|seen| *seen > count).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

fn process(source: std::io::Error) -> DemoError {
    DemoError::Process { source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_that_ends_at_once_is_told_with_its_last_words() {
        let place = Place::prepare(None).unwrap();
        place.write_config("production", "http://127.0.0.1:9", "otter|01").unwrap();
        // Here the program is the test's own, which does not know `serve --config`.
        let started = Engine::start(&place, &DemoClock::starting_now(60)).await;
        match started.err() {
            Some(DemoError::EngineDied { status, words }) => {
                assert!(!status.success());
                assert!(words.contains("config"), "{words}");
            }
            other => panic!("{other:?}"),
        }
    }
}
