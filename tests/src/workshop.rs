//! Owns the place where Convex's own tools are installed: `target/conformance`, made by `tests/conformance/setup`.
//!
//! The tools are pinned in `tests/conformance/node/package-lock.json`. Nothing here downloads anything: a test that finds
//! nothing is skipped with one line, or fails where everything is required.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::tool::{Tool, has_all, lacks};

/// The longest that one of the tools may take: the command line gives up on a dead port after 36 s.
const RUN_MAX: Duration = Duration::from_secs(120);

/// `target/conformance` with everything in it.
#[derive(Clone, Debug)]
pub struct Workshop {
    dir: PathBuf,
}

impl Workshop {
    /// Finds the workshop of the target directory that `program` was built into; without it says what `test` misses.
    ///
    /// # Panics
    ///
    /// When it is missing and everything is required.
    pub fn find(test: &str, program: &Path) -> Option<Self> {
        if !has_all(test, &[Tool::Node]) {
            return None;
        }
        let target = program.ancestors().nth(2)?;
        let dir = target.join("conformance");
        let wanted = include_str!("../conformance/node/package-lock.json");
        // npm itself leaves a copy of what it has installed, but not to the letter; the set-up leaves this one.
        let found = fs::read_to_string(dir.join("installed-lock.json")).unwrap_or_default();
        if found == wanted {
            return Some(Self { dir });
        }
        let missing = "Convex's own tools as pinned; `tests/conformance/setup` installs them";
        lacks(test, missing);
        None
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A program of an installed package, as a path that node runs.
    pub fn script(&self, path: &str) -> PathBuf {
        self.dir.join("node_modules").join(path)
    }

    /// A node with nothing in its environment but a path, a home of its own, and that it runs unattended.
    pub fn node(&self, script: &str, home: &Path) -> Command {
        let mut command = Command::new("node");
        command.arg(self.script(script)).current_dir(home).env_clear().env("HOME", home);
        command.env("CI", "1").env("NO_COLOR", "1");
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

/// Runs a command to its end, which comes in any case.
///
/// # Panics
///
/// When it cannot be started, or does not end in time.
pub async fn finish(mut command: Command) -> Output {
    let output = timeout(RUN_MAX, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{command:?} did not end"));
    output.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}
