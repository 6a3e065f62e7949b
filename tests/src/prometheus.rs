//! Owns a real Prometheus server on loopback, whose samples are written before it starts; killed by its own process id.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long the server may take to start on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

/// A running `prometheus`. Dropping it kills the process and forgets its samples.
#[derive(Debug)]
pub struct PrometheusProcess {
    /// `http://127.0.0.1:41073`.
    pub url: String,
    drain: JoinHandle<()>,
    _child: Child,
    _dir: TempDir,
}

impl PrometheusProcess {
    /// Starts a server that knows one value a minute of each series, from `from` for `minutes` minutes; `value` is
    /// given the series and the moment.
    ///
    /// # Panics
    ///
    /// When the samples are not taken, or the server does not start.
    pub async fn start(
        series: &[&str],
        from: Timestamp,
        minutes: i64,
        value: impl Fn(&str, Timestamp) -> f64,
    ) -> Self {
        let dir = tempfile::Builder::new().prefix("rollout-prometheus-").tempdir();
        let dir = dir.unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        let at = |name: &str| dir.path().join(name);
        let mut samples = String::new();
        for name in series {
            for minute in 0..=minutes {
                let moment = from + SignedDuration::from_mins(minute);
                let line =
                    writeln!(samples, "{name} {} {}", value(name, moment), moment.as_second());
                line.expect("a text takes everything");
            }
        }
        samples.push_str("# EOF\n");
        write(&at("samples.txt"), &samples);
        write(&at("prometheus.yml"), "global: {}\n");
        take_samples(&at("samples.txt"), &at("data")).await;
        let option = |name: &str, value: &Path| format!("--{name}={}", value.display());
        let mut command = Command::new("prometheus");
        command.arg(option("config.file", &at("prometheus.yml")));
        command.arg(option("storage.tsdb.path", &at("data")));
        // The samples are of the clock of the tests, not of today.
        command.arg("--storage.tsdb.retention.time=50y").arg("--web.listen-address=127.0.0.1:0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.kill_on_drop(true).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot start prometheus: {error}"));
        let said = child.stderr.take().expect("its messages are piped");
        let mut said = BufReader::new(said).lines();
        let url = timeout(START_MAX, ready(&mut said)).await;
        let url = url.unwrap_or_else(|_| panic!("Prometheus is not ready in time"));
        // What it says later is taken too, so that it never waits for a reader.
        let drain = tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        Self { url, drain, _child: child, _dir: dir }
    }
}

impl Drop for PrometheusProcess {
    fn drop(&mut self) {
        self.drain.abort();
    }
}

async fn take_samples(text: &Path, data: &Path) {
    let mut command = Command::new("promtool");
    command.args(["tsdb", "create-blocks-from", "openmetrics"]).args([text, data]);
    let made = timeout(START_MAX, command.stdin(Stdio::null()).kill_on_drop(true).output()).await;
    let made = made.unwrap_or_else(|_| panic!("promtool did not end"));
    let made = made.unwrap_or_else(|error| panic!("cannot run promtool: {error}"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Reads the log until the server answers; gives its URL.
async fn ready(said: &mut Lines<BufReader<ChildStderr>>) -> String {
    let (mut url, mut seen) = (None, String::new());
    while let Ok(Some(line)) = said.next_line().await {
        if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
            url = Some(format!("http://{}", address.trim()));
        }
        if line.contains("Server is ready") {
            return url.unwrap_or_else(|| panic!("Prometheus says no address:\n{seen}"));
        }
        seen = seen + &line + "\n";
    }
    panic!("Prometheus did not start:\n{seen}")
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
