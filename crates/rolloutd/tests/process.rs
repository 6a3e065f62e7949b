//! The real binary as its service manager sees it: notifications, signals, exit codes, what is said where.

#![expect(clippy::unwrap_used, reason = "the steps of a test may fail it")]

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Longest time for anything in these tests.
const LIMIT: Duration = Duration::from_secs(30);

/// A process that does not outlive its test.
struct Guard(Option<Child>);

impl Guard {
    fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    fn wait(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn rolloutd(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rolloutd"));
    command.env_clear().args(["serve", "--config"]).arg(config).stdin(Stdio::null());
    command
}

/// A configuration for `dir`, with these lines at its end.
fn configure(dir: &Path, lines: &str) -> std::path::PathBuf {
    let at = dir.display();
    let text = format!(
        "state_dir = \"{at}/state\"\nsocket = \"{at}/d.sock\"\ncredentials_dir = \"{at}\"\n{lines}\n"
    );
    let path = dir.join("rolloutd.toml");
    fs::write(&path, text).unwrap();
    path
}

fn said(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

/// What the service manager is told next.
fn told(manager: &UnixDatagram) -> String {
    let mut message = [0; 1_024];
    let count = manager.recv(&mut message).unwrap();
    String::from_utf8_lossy(&message[..count]).into_owned()
}

#[test]
fn the_service_manager_is_told_when_it_is_ready_alive_and_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let mut command = rolloutd(&configure(dir.path(), ""));
    command.env("NOTIFY_SOCKET", dir.path().join("notify")).env("WATCHDOG_USEC", "60000000");
    command.env("JOURNAL_STREAM", "8:1").stderr(Stdio::piped());
    let daemon = Guard(Some(command.spawn().unwrap()));

    assert!(told(&manager).starts_with("READY=1"));
    UnixStream::connect(dir.path().join("d.sock")).unwrap();
    assert!(told(&manager).starts_with("WATCHDOG=1"));
    assert!(told(&manager).starts_with("STATUS=no rollout is live"));
    let pid = daemon.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(told(&manager).starts_with("STOPPING=1"));
    let (_, stderr, code) = said(&daemon.wait());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.starts_with("<6>"), "the journal gets priorities: {stderr}");
    assert!(!dir.path().join("d.sock").exists());
}

#[test]
fn a_check_says_what_is_configured_and_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = configure(dir.path(), "[deployments.production]\nurl = \"http://127.0.0.1:9\"");
    let (stdout, stderr, code) = said(&rolloutd(&config).arg("--check").output().unwrap());
    assert_eq!((code, stderr.as_str()), (Some(1), ""));
    assert!(stdout.contains("there is no credential") && stdout.contains("production.key"));
    fs::write(dir.path().join("production.key"), "prod:otter|topsecret\n").unwrap();
    let (stdout, stderr, code) = said(&rolloutd(&config).arg("--check").output().unwrap());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("the key is there") && !stdout.contains("topsecret"), "{stdout}");
    assert!(!dir.path().join("state").exists());
}

#[test]
fn a_mistake_in_the_configuration_is_shown_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let config = configure(dir.path(), "sokcet_mode = \"0660\"");
    let (stdout, stderr, code) = said(&rolloutd(&config).output().unwrap());
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("unknown field `sokcet_mode`"), "{stderr}");
    assert!(stderr.contains("rolloutd.toml:4:1"), "{stderr}");
    let missing = rolloutd(&dir.path().join("nothing.toml")).output().unwrap();
    let (_, stderr, code) = said(&missing);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("nothing.toml") && stderr.contains("--config"), "{stderr}");
    let config = configure(dir.path(), "");
    let strange = rolloutd(&config).env("ROLLOUTD_CLOCK", "tomorrow").output().unwrap();
    let (_, stderr, code) = said(&strange);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("ROLLOUTD_CLOCK is `tomorrow`"), "{stderr}");
}
