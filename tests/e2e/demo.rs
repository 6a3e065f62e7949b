//! `rolloutd demo` from the command line: it ends by itself, with 0, and leaves a log without an empty row.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use rollout_e2e::settled_rows;
use tokio::process::Command;
use tokio::time::timeout;

use crate::PROGRAMS;

/// At 20,000 times real time the guide's five days take about 25 s.
const DEMO_MAX: Duration = Duration::from_secs(170);

#[tokio::test(flavor = "multi_thread")]
async fn the_healthy_demo_survives_its_kills_and_fills_every_row() {
    let dir = tempfile::tempdir().unwrap();
    let output = demo(dir.path(), &["--speed", "20000", "--seed", "7"]).await;
    let told = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}\n{said}");
    assert!(told.contains("2 survived"), "{told}");
    assert!(told.contains("18 of 18 filled"), "{told}");
    assert!(!told.contains('\r') && !told.contains('\x1b'), "a plain story has only lines");

    let log = fs::read_to_string(dir.path().join("rollout-log-r1.md")).unwrap();
    assert_eq!(settled_rows(&log).len(), 18, "{log}");
    assert!(log.contains("ENABLE_WORKFLOW"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_breach_demo_ends_held_with_an_incident() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("rollout-log-r1.md"), "mine").unwrap();
    let output = demo(dir.path(), &["--scenario", "breach", "--speed", "20000"]).await;
    let told = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}\n{said}");
    for part in ["error_rate is 7 %", "incident 1", "rolloutctl retry r1"] {
        assert!(told.contains(part), "no `{part}`: {told}");
    }
    assert_eq!(fs::read_to_string(dir.path().join("rollout-log-r1.md")).unwrap(), "mine");
    let log = fs::read_to_string(dir.path().join("rollout-log-r1-2.md")).unwrap();
    assert!(log.contains("ROLLED BACK"), "{log}");
}

async fn demo(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAMS.rolloutd);
    command.arg("demo").arg("--plain").args(args).current_dir(dir).env_clear();
    command.stdin(Stdio::null()).kill_on_drop(true);
    timeout(DEMO_MAX, command.output()).await.expect("the demo ends by itself").unwrap()
}
