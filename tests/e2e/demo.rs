//! `rolloutd demo` from the command line: it ends by itself, with 0, and leaves a log without an empty row; interrupted, it
//! leaves nothing behind.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use rollout_e2e::settled_rows;
use tokio::io::{AsyncBufReadExt, BufReader};
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

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_demo_leaves_no_engine_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = command(dir.path(), &["--keep", "kept"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(demo.stdout.take().unwrap()).lines();
    let watching = async {
        while let Some(line) = told.next_line().await.unwrap() {
            if line.contains("the bake window begins") {
                return;
            }
        }
        panic!("the demo ended before its first window");
    };
    timeout(DEMO_MAX, watching).await.expect("the first window begins");
    let config = dir.path().canonicalize().unwrap().join("kept/engine/rolloutd.toml");
    assert!(runs_with(&config), "the engine is not found where it should be");

    let pid = demo.id().unwrap().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().await.unwrap();
    assert!(sent.success());
    let status = timeout(DEMO_MAX, demo.wait()).await.expect("an interrupted demo ends").unwrap();
    assert_eq!(status.code(), Some(130));
    let gone = async {
        while runs_with(&config) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.expect("the engine is gone");
}

/// True while a process has `path` among its arguments.
fn runs_with(path: &Path) -> bool {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| line.split(|byte| *byte == 0).any(|arg| arg == path.as_os_str().as_bytes()))
}

async fn demo(dir: &Path, args: &[&str]) -> Output {
    let mut command = command(dir, args);
    timeout(DEMO_MAX, command.output()).await.expect("the demo ends by itself").unwrap()
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAMS.rolloutd);
    command.arg("demo").arg("--plain").args(args).current_dir(dir).env_clear();
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}
