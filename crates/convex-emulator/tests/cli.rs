//! The program from outside: what it prints, what it answers, how it ends.

#![expect(clippy::unwrap_used, reason = "the steps of a test may fail it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_convex-emulator");

/// A child that never outlives its test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail when the child has ended, which is the usual case.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn spawn(args: &[&str]) -> (Guard, Vec<String>) {
    let mut child = Guard(Command::new(BINARY).args(args).stdout(Stdio::piped()).spawn().unwrap());
    let out = BufReader::new(child.0.stdout.take().unwrap());
    let lines = out.lines().map(Result::unwrap).take(6).collect();
    (child, lines)
}

fn get(url: &str, path: &str, key: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Convex {key}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_prints_where_it_listens_answers_and_ends_on_sigterm() {
    let (mut child, lines) = spawn(&[
        "--scenario",
        "breach",
        "--name",
        "prod-otter",
        "--env",
        "A=b=c",
        "--accelerate",
        "60",
        "--origin",
        "2030-01-01T00:00:00Z",
        "--real-origin",
        "2026-01-01T00:00:00Z",
    ]);
    assert_eq!(lines[0], "Convex emulator `prod-otter`, scenario breach");
    let value = |line: &str| line.split_whitespace().last().unwrap().to_owned();
    let (url, key) = (value(&lines[1]), value(&lines[2]));
    assert!(key.starts_with("prod-otter|"), "{key}");
    let answer = get(&url, "/api/list_environment_variables", &key);
    assert!(answer.ends_with(r#"{"environmentVariables":{"A":"b=c"}}"#), "{answer}");
    let clock = get(&url, "/_emulator/clock", "none-needed");
    assert!(clock.contains(r#""origin":"2030-01-01T00:00:00Z""#), "{clock}");
    assert!(clock.contains(r#""scale":60.0"#), "{clock}");
    let killed = Command::new("kill").arg(child.0.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn mistakes_are_named_and_end_with_their_code() {
    let run = |args: &[&str]| {
        let output = Command::new(BINARY).args(args).output().unwrap();
        assert_eq!(output.stdout, b"");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = run(&["--scenario", "/nowhere/x.toml"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("cannot use scenario `/nowhere/x.toml`: cannot read"), "{text}");
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli");
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("wrong.toml");
    for (scenario, place) in [
        ("[base]\nerrorRate = 0.4\n[[traffic]]\nfunction = 5\n", "line 4, column 12"),
        (
            "[[change]]\n[[change]]\nlog = { function = \"no:no\", lines = [] }",
            "change 2: there is no function `no:no`",
        ),
    ] {
        std::fs::write(&file, scenario).unwrap();
        let (code, text) = run(&["--scenario", file.to_str().unwrap()]);
        assert_eq!(code, Some(1));
        assert!(text.contains("wrong.toml`") && text.contains(place), "{text}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
    let help = Command::new(BINARY).arg("--help").output().unwrap();
    let help = (help.status.code(), String::from_utf8(help.stdout).unwrap());
    assert!(help.0 == Some(0) && help.1.contains("Exit codes: 0 after a signal"), "{help:?}");
    let (code, text) = run(&["--admin-key", "walrus|1"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("the admin key must have the form `happy-otter-123|<secret>`"), "{text}");
    for wrong in
        [&["--accelerate", "0"][..], &["--env", "A"], &["--origin", "2030-01-01T00:00:00Z"]]
    {
        assert_eq!(run(wrong).0, Some(2), "{wrong:?}");
    }
}
