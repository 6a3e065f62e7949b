//! Owns a run of `rolloutctl`: nothing in its environment but the socket, and an end in any case.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// No command takes longer, unless it waits; tests that wait say how long.
const RUN_MAX: Duration = Duration::from_secs(90);

/// How a command ended and what it said.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit code; `None` = ended by a signal.
    pub code: Option<i32>,
    /// Its data.
    pub stdout: String,
    /// Its talk.
    pub stderr: String,
}

impl Finished {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Takes the command's data when it ended with `code`.
    ///
    /// # Panics
    ///
    /// When it ended otherwise; with everything it said.
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// Runs a program to its end.
pub(crate) async fn run(program: &str, socket: &Path, dir: &Path, args: &[&str]) -> Finished {
    run_at(program, socket, dir, args, None).await
}

/// Runs a program to its end under the daemon's clock.
pub(crate) async fn run_at(
    program: &str,
    socket: &Path,
    dir: &Path,
    args: &[&str],
    clock: Option<&str>,
) -> Finished {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).env_clear().env("ROLLOUTD_SOCKET", socket);
    command.envs(clock.map(|clock| ("ROLLOUTD_CLOCK", clock)));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(RUN_MAX, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("`{}` did not end", args.join(" ")));
    let output = output.unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    Finished::of(&output)
}
