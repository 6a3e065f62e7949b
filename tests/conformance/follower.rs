//! Owns a command that does not end by itself: what it says while it runs, and its end by its own process id.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

/// Longest time until the lines have come: two starts of node on a busy machine.
const LINES_MAX: Duration = Duration::from_secs(60);

/// A running command. Dropping it kills the process.
pub(crate) struct Follower {
    child: Child,
    out: BufReader<ChildStdout>,
    err: ChildStderr,
}

impl Follower {
    /// Starts the command.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let err = child.stderr.take().unwrap();
        Self { child, out, err }
    }

    /// Waits until it has said so many lines on standard output, then ends it; all that it said there and on standard error.
    ///
    /// # Panics
    ///
    /// When it does not say them in time, or ends before it is ended.
    pub(crate) async fn stop(mut self, lines: usize) -> (Vec<u8>, Vec<u8>) {
        let mut out = Vec::new();
        let said = async {
            for _ in 0..lines {
                let bytes = self.out.read_until(b'\n', &mut out).await.unwrap();
                assert!(bytes > 0, "it ended by itself");
            }
        };
        let said = timeout(LINES_MAX, said).await;
        let ended = self.child.try_wait().unwrap();
        self.child.kill().await.unwrap();
        self.out.read_to_end(&mut out).await.unwrap();
        let mut err = Vec::new();
        self.err.read_to_end(&mut err).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(said.is_ok(), "no {lines} lines came: {}\n{}", text(&out), text(&err));
        assert!(ended.is_none(), "it ended by itself: {}\n{}", text(&out), text(&err));
        (out, err)
    }
}
