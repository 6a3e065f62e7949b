//! Owns a real Prometheus server on loopback, with samples written into its store before it starts.
//!
//! The samples are of one day, so that a test knows the moments it asks about, and nothing waits for a scrape.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tempfile::TempDir;

use crate::suite::{BREACH, PASS, WARN, moment};

/// A running server; stopped and forgotten when dropped.
pub(crate) struct PromServer {
    pub(crate) url: String,
    child: Child,
    _dir: TempDir,
}

/// Who may ask.
pub(crate) const USER: &str = "rolloutd";
/// The bcrypt of `suite::SECRET`, which is how Prometheus wants it.
const SECRET_BCRYPT: &str = "$2b$04$yJMatWQEUOG1w1cWvnIU0.A4u059GB1AjfvOU4tVuSymzKujaOggy";
/// How long the server may take to start on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

impl PromServer {
    /// Writes the samples and starts the server on a port that the system chooses.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        write_samples(&at("samples.txt"), &at("data"));
        fs::write(at("prometheus.yml"), "global: {}\n").unwrap();
        let users = format!("basic_auth_users:\n  {USER}: {SECRET_BCRYPT}\n");
        fs::write(at("web.yml"), users).unwrap();
        let option = |name: &str, value: &Path| format!("--{name}={}", value.display());
        let mut child = Command::new("prometheus")
            .arg(option("config.file", &at("prometheus.yml")))
            .arg(option("web.config.file", &at("web.yml")))
            .arg(option("storage.tsdb.path", &at("data")))
            .arg("--storage.tsdb.retention.time=50y")
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let url = listening(&mut child);
        Self { url, child, _dir: dir }
    }

    /// Stops the process where it stands: connections are taken by the system, and nobody answers.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
        let begun = Instant::now();
        // The signal was sent; that is not yet that every thread has stopped.
        while !self.is_stopped() {
            assert!(begun.elapsed() < START_MAX, "Prometheus goes on after SIGSTOP");
            std::thread::yield_now();
        }
    }

    fn is_stopped(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks.flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
        })
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success(), "kill {signal} failed");
    }
}

impl Drop for PromServer {
    fn drop(&mut self) {
        // A test that failed may leave it frozen; SIGKILL reaches it all the same.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Reads the log until the server is ready; gives its URL. The log is read on until its end, so that it never blocks.
fn listening(child: &mut Child) -> String {
    let log = BufReader::new(child.stderr.take().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            tell.send(line).ok();
        }
    });
    let (mut url, mut is_ready) = (None, false);
    let mut seen = Vec::new();
    while let Ok(line) = told.recv_timeout(START_MAX) {
        if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
            url = Some(format!("http://{}", address.trim()));
        }
        is_ready |= line.contains("Server is ready");
        // The two are said by two threads, in either order.
        if let Some(url) = url.take_if(|_| is_ready) {
            return url;
        }
        seen.push(line);
    }
    panic!("Prometheus did not start:\n{}", seen.join("\n"))
}

/// Writes a sample a minute of every series from 08:00 to 10:15.
fn write_samples(text: &Path, data: &Path) {
    let constant = |value: &'static str| move |_: i64| Some(value.to_owned());
    let number = |value: f64| move |_: i64| Some(value.to_string());
    let mut file = String::new();
    series(&mut file, "app_pass", number(PASS));
    series(&mut file, "app_warn", number(WARN));
    series(&mut file, "app_breach", number(BREACH));
    series(&mut file, "app_quiet", constant("NaN"));
    series(&mut file, "app_infinite", constant("+Inf"));
    series(&mut file, "app_past", |minute| {
        Some(if minute <= 60 { BREACH } else { PASS }.to_string())
    });
    series(&mut file, "app_ended", |minute| (minute <= 120).then(|| PASS.to_string()));
    series(&mut file, "app_minute", |minute| Some(minute.to_string()));
    for pod in ["a", "b", "c"] {
        series(&mut file, &format!("app_pods{{pod=\"{pod}\"}}"), number(PASS));
    }
    // Nine of ten calls take up to 100 ms, the tenth up to 500 ms.
    for (le, calls) in [("0.1", 90), ("0.5", 100), ("+Inf", 100)] {
        let name = format!("app_seconds_bucket{{le=\"{le}\"}}");
        series(&mut file, &name, move |minute| Some((calls * minute).to_string()));
    }
    file.push_str("# EOF\n");
    fs::write(text, file).unwrap();
    let made = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([text, data])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn series(file: &mut String, name: &str, value: impl Fn(i64) -> Option<String>) {
    for minute in 0..=135 {
        let at = moment("08:00") + SignedDuration::from_mins(minute);
        if let Some(value) = value(minute) {
            writeln!(file, "{name} {value} {}", at.as_second()).unwrap();
        }
    }
}
