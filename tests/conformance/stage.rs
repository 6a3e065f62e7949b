//! Owns the stage of a script: one emulator, one folder of an app, Convex's command line; and what came of each command.
//!
//! Only what differs from run to run is replaced: addresses, ids of requests and tasks, and stacks of node.

use std::fs;
use std::time::Duration;

use rollout_e2e::{EmulatorProcess, Workshop, finish};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::EMULATOR;
use crate::follower::Follower;
use crate::transcript::{Act, Key};

/// A deployment and an app's folder.
pub(crate) struct Stage {
    pub(crate) emulator: EmulatorProcess,
    workshop: Workshop,
    folder: TempDir,
    /// How many requests and writes were there when the last command began.
    seen: usize,
    written: usize,
    /// A command that was left running, and what the deployment saw of it so far.
    follower: Option<(Follower, Vec<String>)>,
}

impl Stage {
    /// Starts an emulator whose app says the same at every moment.
    pub(crate) async fn set(workshop: Workshop) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The command line refuses to work in a folder whose app does not use Convex.
        let manifest = "{\"dependencies\": {\"convex\": \"1.48.0\"}}";
        fs::write(folder.path().join("package.json"), manifest).unwrap();
        let scenario = folder.path().join("scenario.toml");
        fs::write(&scenario, SCENARIO).unwrap();
        let arguments = ["--scenario", scenario.to_str().unwrap()];
        let emulator = EmulatorProcess::start(EMULATOR, &arguments).await;
        Self { emulator, workshop, folder, seen: 0, written: 0, follower: None }
    }

    /// Does one thing; what came of it, in the lines of a script.
    pub(crate) async fn act(&mut self, act: &Act) -> Vec<String> {
        match act {
            Act::Control { control, body } => {
                self.emulator.post(control, body).await;
                Vec::new()
            }
            Act::File { name, lines } => {
                let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
                fs::write(self.folder.path().join(name), text).unwrap();
                Vec::new()
            }
            Act::Command { key, args } => {
                let mut lines = self.command(*key, args).await;
                lines.extend(self.new_requests().await);
                lines.extend(self.new_writes().await.iter().map(shown));
                lines
            }
            Act::Follow { key, args } => {
                self.follow(*key, args).await;
                Vec::new()
            }
            Act::Stop { lines } => self.stop(*lines).await,
            Act::Variables => {
                let variables = self.emulator.variables().await;
                variables.iter().map(|(name, value)| format!("is {name}={value:?}")).collect()
            }
        }
    }

    /// Leaves a command running; returns when the deployment has answered its first poll, so that it misses nothing.
    async fn follow(&mut self, key: Key, args: &[String]) {
        assert!(self.follower.is_none(), "one thing at a time is followed");
        let follower = Follower::start(self.prepare(key, args));
        let has_polled = async || {
            let all = self.emulator.get("requests").await;
            all.as_array().unwrap().iter().skip(self.seen).any(is_poll)
        };
        until(has_polled).await;
        self.follower = Some((follower, Vec::new()));
    }

    /// Ends what follows after so many lines; what it said, and what the deployment saw of it.
    async fn stop(&mut self, lines: usize) -> Vec<String> {
        assert!(self.new_requests().await.is_empty(), "nothing else runs here");
        let (follower, mut polls) = self.follower.take().expect("something is followed");
        let (out, err) = follower.stop(lines).await;
        let mut said_lines = said("1> ", &self.without_chance(&out));
        said_lines.extend(said("2> ", &self.without_chance(&err)));
        // How many polls it takes is chance: one more or less where two executions end at nearly the same time.
        polls.dedup();
        said_lines.extend(polls);
        said_lines
    }

    /// Runs one command; what it said, and how it ended.
    pub(crate) async fn command(&self, key: Key, args: &[String]) -> Vec<String> {
        let output = finish(self.prepare(key, args)).await;
        let mut lines = said("1> ", &self.without_chance(&output.stdout));
        lines.extend(said("2> ", &self.without_chance(&output.stderr)));
        lines.push(match output.status.code() {
            Some(code) => format!("exit {code}"),
            None => "exit by a signal".to_owned(),
        });
        lines
    }

    /// The command line with these arguments and that key.
    fn prepare(&self, key: Key, args: &[String]) -> Command {
        let mut command = self.workshop.node("convex/bin/main.js", self.folder.path());
        command.args(args);
        let EmulatorProcess { url, admin_key, read_only_key, .. } = &self.emulator;
        let wrong = "happy-otter-123|0bad0bad0bad".to_owned();
        let self_hosted = match key {
            Key::Admin => Some(admin_key),
            Key::ReadOnly => Some(read_only_key),
            Key::Wrong => Some(&wrong),
            Key::Deploy => None,
        };
        match self_hosted {
            Some(key) => {
                command.env("CONVEX_SELF_HOSTED_URL", url).env("CONVEX_SELF_HOSTED_ADMIN_KEY", key)
            }
            None => command
                .env("CONVEX_DEPLOY_KEY", format!("prod:{admin_key}"))
                .env("CONVEX_PROVISION_HOST", url),
        };
        command
    }

    /// What the deployment was asked since the last look, but for the polls of what is followed meanwhile.
    async fn new_requests(&mut self) -> Vec<String> {
        let all = self.emulator.get("requests").await;
        let all = all.as_array().unwrap();
        let line = |request: &Value| {
            let text = |name: &str| request[name].as_str().unwrap().to_owned();
            let status = request["status"].as_u64().map_or("cut".to_owned(), |s| s.to_string());
            format!("saw {} {} {status}", text("method"), text("path"))
        };
        let mut new = Vec::new();
        for request in all.iter().skip(self.seen) {
            match &mut self.follower {
                Some((_, polls)) if is_poll(request) => polls.push(line(request)),
                Some(_) | None => new.push(line(request)),
            }
        }
        self.seen = all.len();
        new
    }

    /// What clients wrote, or tried to, since the last look.
    pub(crate) async fn new_writes(&mut self) -> Vec<Value> {
        let Value::Array(all) = self.emulator.get("writes").await else { panic!("no list") };
        let new = all.iter().skip(self.written);
        let new = new.filter(|write| write["origin"] == "client").cloned().collect();
        self.written = all.len();
        new
    }

    /// A text without what differs from run to run.
    fn without_chance(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).replace(&self.emulator.url, "http://DEPLOYMENT");
        let host = self.emulator.url.trim_start_matches("http://");
        let text = text.replace(host, "DEPLOYMENT");
        let text = text.replace(&self.workshop.dir().display().to_string(), "WORKSHOP");
        let text = replace_runs(&text, 32, "ID", |c| matches!(c, 'a'..='z' | '0'..='9'));
        let text = replace_runs(&text, 16, "REQUEST", |c| matches!(c, 'a'..='f' | '0'..='9'));
        let text = replace_figure(&text, "reconnect in ", "ms");
        let text = replace_figure(&text, "reconnected at t=", "s");
        let text = replace_moments(&text);
        // Node's own crash: where in the bundle it was, and which node.
        let is_chance = |line: &&str| {
            let line = line.trim_start();
            line.starts_with("at ") && (line.contains("WORKSHOP") || line.contains("node:"))
                || line.starts_with("Node.js v")
                || line.starts_with("file:///")
        };
        text.lines().filter(|line| !is_chance(line)).map(|line| format!("{line}\n")).collect()
    }
}

/// One write as a script shows it.
fn shown(write: &Value) -> String {
    let mut line = "wrote".to_owned();
    for change in write["changes"].as_array().unwrap() {
        line += &format!(" {}={}", change["name"].as_str().unwrap(), change["value"]);
    }
    if !write["applied"].as_bool().unwrap() {
        line += " (refused)";
    }
    line + " by " + write["convexClient"].as_str().unwrap_or("nobody")
}

fn said(mark: &str, text: &str) -> Vec<String> {
    // Blanks at the end of a line are nothing that anybody sees.
    text.lines().map(|line| format!("{mark}{line}").trim_end().to_owned()).collect()
}

/// Replaces every word of exactly `length` of these characters, at least one of which is a digit.
fn replace_runs(text: &str, length: usize, by: &str, is_one: impl Fn(char) -> bool) -> String {
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_id = bare.len() == length
            && bare.chars().all(&is_one)
            && bare.contains(|c: char| c.is_ascii_digit());
        match is_id {
            true => out.extend([by, &word[bare.len()..]]),
            false => out.push_str(word),
        }
    }
    out
}

/// Replaces the figure between two texts, on every line that has both.
fn replace_figure(text: &str, before: &str, after: &str) -> String {
    let line = |line: &str| {
        let (start, rest) = line.split_once(before)?;
        let (figure, end) = rest.split_once(after)?;
        figure.parse::<f64>().ok()?;
        Some(format!("{start}{before}N{after}{end}"))
    };
    text.split_inclusive('\n').map(|one| line(one).unwrap_or_else(|| one.to_owned())).collect()
}

/// Replaces the moment that a line of `convex logs` begins with, in whatever way node writes it here.
fn replace_moments(text: &str) -> String {
    let line = |line: &str| {
        let (moment, rest) = line.split_once(" [CONVEX ")?;
        (moment.contains('/') && moment.contains(':')).then(|| format!("MOMENT [CONVEX {rest}"))
    };
    text.split_inclusive('\n').map(|one| line(one).unwrap_or_else(|| one.to_owned())).collect()
}

/// A poll of the streams of executions.
fn is_poll(request: &Value) -> bool {
    request["path"].as_str().unwrap().starts_with("/api/stream_")
}

/// Asks again and again, which must come to an end.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let asked = async {
        while !is_so().await {
            pace.tick().await;
        }
    };
    timeout(FIRST_POLL_MAX, asked).await.expect("what follows should have polled");
}

/// Longest time until a command that follows has asked for the first time: node has to start.
const FIRST_POLL_MAX: Duration = Duration::from_secs(60);

/// An app without noise that throws and logs what the variables `THROW` and `LOG` ask for.
const SCENARIO: &str = r#"
[[change]]
when = { THROW = "error" }
throw = { function = "tasks:get", message = "boom" }

[[change]]
when = { THROW = "convex" }
throw = { function = "tasks:get", message = "no such task", data = { code = "E1" } }

[[change]]
when = { LOG = "1" }
log = { function = "tasks:get", level = "WARN", lines = ["slow", "very slow"] }
"#;
