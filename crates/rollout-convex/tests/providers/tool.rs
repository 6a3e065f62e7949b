//! Owns what these tests need from the machine, as in `tests/src/tool.rs`, which this crate must not use.

use std::env;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

/// True when the machine has all of `programs`; otherwise says what `test` misses.
///
/// # Panics
///
/// When something is missing and `ROLLOUT_REQUIRE_ALL=1`.
pub(crate) fn has_all(test: &str, programs: &[&str], package: &str) -> bool {
    let missing: Vec<_> = programs.iter().copied().filter(|program| !answers(program)).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = format!("{} (package `{package}`)", missing.join(", "));
    let required = env::var("ROLLOUT_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!required, "{test} cannot run: this machine lacks {missing}");
    // Not by a macro, whose lines the test harness swallows.
    let _ = writeln!(io::stderr(), "skipped: {test}: this machine lacks {missing}");
    false
}

fn answers(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
