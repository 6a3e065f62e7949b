//! Owns the daemon's process: started, ready when it says so, killed with SIGKILL by its own process id.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::shim::Faults;

/// How long a start may take on a busy machine, in real time.
const START_MAX: Duration = Duration::from_secs(60);
/// The daemon's notices are a few words long.
const NOTICE_BYTES_MAX: usize = 4_096;
/// How much of the daemon's messages a failed test prints.
const SHOWN_BYTES_MAX: usize = 12_000;

/// A running daemon. Dropping it kills the process, and prints what it said when the test is failing.
pub struct Daemon {
    child: Child,
    messages: PathBuf,
    drain: JoinHandle<()>,
}

/// A daemon that ended before it was ready.
#[derive(Debug)]
pub struct Stillborn {
    /// How it ended.
    pub status: ExitStatus,
    /// The end of what it said.
    pub said: String,
}

impl Daemon {
    /// Starts `program serve` on a configuration; it is ready when this returns.
    ///
    /// # Panics
    ///
    /// When it ends, or is not ready in time; with its messages.
    pub async fn start(program: &str, config: &Path, clock: Option<&str>) -> Self {
        Self::try_start(program, config, clock, &Faults::none()).await.unwrap_or_else(
            |Stillborn { status, said }| panic!("the daemon ended with {status}; it said:\n{said}"),
        )
    }

    /// Starts it with faults around it, where it may well end before it is ready.
    ///
    /// # Errors
    ///
    /// How it ended, and what it said.
    ///
    /// # Panics
    ///
    /// When it neither ends nor is ready in time; with its messages.
    pub async fn try_start(
        program: &str,
        config: &Path,
        clock: Option<&str>,
        faults: &Faults,
    ) -> Result<Self, Stillborn> {
        let dir = config.parent().expect("a configuration file lies in a directory");
        let messages = dir.join("rolloutd.stderr");
        let stderr = OpenOptions::new().create(true).append(true).open(&messages);
        let stderr = stderr.unwrap_or_else(|error| panic!("{}: {error}", messages.display()));
        let notify = dir.join("notify.sock");
        // A daemon that was killed before has left its name there; it is bound anew for each start.
        let _ = fs::remove_file(&notify);
        let socket = UnixDatagram::bind(&notify)
            .unwrap_or_else(|error| panic!("{}: {error}", notify.display()));

        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(config).env_clear();
        command.env("NOTIFY_SOCKET", &notify).envs(faults.env());
        if let Some(clock) = clock {
            command.env("ROLLOUTD_CLOCK", clock);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).kill_on_drop(true);
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        tokio::select! {
            ready = timeout(START_MAX, hear_ready(&socket)) => {
                assert!(ready.is_ok(), "the daemon is not ready with {faults:?}; it said:\n{}", tail(&messages));
            }
            status = child.wait() => {
                let status = status.unwrap_or_else(|error| panic!("no status: {error}"));
                return Err(Stillborn { status, said: tail(&messages) });
            }
        }
        // Later notices are taken too, so that the daemon never waits for a reader.
        let drain = tokio::spawn(async move { while hear(&socket).await.is_some() {} });
        Ok(Self { child, messages, drain })
    }

    /// Ends the process as a power cut would.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap_or_else(|error| panic!("cannot kill the daemon: {error}"));
    }

    /// Waits for the process to end by itself.
    ///
    /// # Panics
    ///
    /// When it does not within a minute.
    pub async fn wait(&mut self) -> ExitStatus {
        let ended = timeout(START_MAX, self.child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("the daemon did not end"));
        ended.unwrap_or_else(|error| panic!("cannot wait for the daemon: {error}"))
    }

    /// True while the process runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Everything it has said so far, in all its lives.
    pub fn messages(&self) -> String {
        fs::read_to_string(&self.messages).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.drain.abort();
        if std::thread::panicking() {
            eprintln!("--- the daemon said ---\n{}\n-----------------------", tail(&self.messages));
        }
    }
}

async fn hear_ready(socket: &UnixDatagram) {
    while let Some(notice) = hear(socket).await {
        if notice.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            return;
        }
    }
    std::future::pending::<()>().await;
}

async fn hear(socket: &UnixDatagram) -> Option<Vec<u8>> {
    let mut notice = vec![0; NOTICE_BYTES_MAX];
    let length = socket.recv(&mut notice).await.ok()?;
    notice.truncate(length);
    Some(notice)
}

fn tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let from = bytes.len().saturating_sub(SHOWN_BYTES_MAX);
    String::from_utf8_lossy(&bytes[from..]).into_owned()
}
