//! Owns an emulator as a process of its own, and the way to its controls; killed by its own process id.
//!
//! Other tests run the emulator inside the test's process. Here it is the program that people start: what it prints is
//! where it is found.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a start or an answer may take on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What others than the test itself have done to an emulator so far, counted where it accepts connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// TCP connections that were accepted, but for those that carried nothing but polls of the stream of executions. One
    /// that never carried a request is among them.
    pub connections: u64,
    /// Requests, the polls left out.
    pub requests: u64,
    /// TCP connections that carried polls of the stream; the deployment holds each poll for up to a minute.
    pub stream_connections: u64,
    /// Polls of the stream.
    pub polls: u64,
    /// TCP connections that are counted twice above: they carried polls and other requests.
    pub shared_connections: u64,
}

/// A running `convex-emulator`. Dropping it kills the process.
#[derive(Debug)]
pub struct EmulatorProcess {
    /// `http://127.0.0.1:41073`.
    pub url: String,
    /// The full key.
    pub admin_key: String,
    /// The key that may only look.
    pub read_only_key: String,
    _child: Child,
}

impl EmulatorProcess {
    /// Starts `program` with these arguments on a free port; it answers when this returns.
    ///
    /// # Panics
    ///
    /// When it does not start, or says something else than where it is.
    pub async fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.kill_on_drop(true).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        let out = child.stdout.take().expect("its output is piped");
        let said = timeout(ANSWER_MAX, until_controls(out)).await;
        let said = said.unwrap_or_else(|_| panic!("{program} does not say where it is"));
        let value = |name: &str| {
            let found = said.iter().find_map(|line| line.trim().strip_prefix(name));
            let found = found.unwrap_or_else(|| panic!("{program} names no {name}: {said:?}"));
            found.trim().to_owned()
        };
        Self {
            url: value("url"),
            admin_key: value("admin key"),
            read_only_key: value("read-only key"),
            _child: child,
        }
    }

    /// Reads one of the controls: `requests`, `writes`, `env`.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn get(&self, control: &str) -> Value {
        let answer = self.exchange("GET", control, "").await;
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{control}: {error}: {answer}"))
    }

    /// Sends to one of the controls: `faults`, `state`, `env`.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn post(&self, control: &str, body: &str) {
        self.exchange("POST", control, body).await;
    }

    /// All variables as they are.
    ///
    /// # Panics
    ///
    /// When the emulator does not answer.
    pub async fn variables(&self) -> BTreeMap<String, String> {
        let found = serde_json::from_value(self.get("env").await);
        found.unwrap_or_else(|error| panic!("these are no variables: {error}"))
    }

    /// What others have done to it so far. The test's own connections are those that carried a request to the controls.
    ///
    /// # Panics
    ///
    /// When the emulator does not answer, or has closed a connection without looking at it.
    pub async fn traffic(&self) -> Traffic {
        let shown = self.get("connections").await;
        let each =
            shown["each"].as_array().expect("the emulator says what its connections carried");
        assert_eq!(shown["accepted"].as_u64(), Some(each.len() as u64), "one is not accounted for");
        let mut traffic = Traffic::default();
        for one in each {
            let count = |name: &str| one[name].as_u64().expect("each has its counts");
            if count("controls") > 0 {
                continue;
            }
            let (polls, requests) = (count("polls"), count("requests") - count("polls"));
            traffic.connections += u64::from(polls == 0 || requests > 0);
            traffic.requests += requests;
            traffic.stream_connections += u64::from(polls > 0);
            traffic.polls += polls;
            traffic.shared_connections += u64::from(polls > 0 && requests > 0);
        }
        traffic
    }

    /// One exchange on a connection of its own.
    async fn exchange(&self, method: &str, control: &str, body: &str) -> String {
        let host = self.url.trim_start_matches("http://");
        let request = format!(
            "{method} /_emulator/{control} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let exchanged = async {
            let mut stream = TcpStream::connect(host).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = timeout(ANSWER_MAX, exchanged).await;
        let answer = answer.unwrap_or_else(|_| panic!("{control}: the emulator does not answer"));
        let answer = answer.unwrap_or_else(|error| panic!("{control}: {error}"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        assert!(head.starts_with("HTTP/1.1 200"), "{method} {control}: {answer}");
        body.to_owned()
    }
}

/// Reads the lines that the emulator prints at its start; the last one names the controls.
async fn until_controls(out: impl tokio::io::AsyncRead + Unpin) -> Vec<String> {
    let mut lines = BufReader::new(out).lines();
    let mut said = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        let is_last = line.trim().starts_with("controls");
        said.push(line);
        if is_last {
            break;
        }
    }
    said
}
