//! Measures what a rollout at a Convex deployment costs and prints one table: what, figure, goal, met or not.
//!
//! `rollout-bench-convex [DIRECTORY]`, by default the directory of the binary itself, which must be on a real disk;
//! `rolloutd`, `rolloutctl` and `convex-emulator` are taken from there, Convex's own command line from
//! `tests/conformance/setup`. Real processes and real sockets on one machine, so no figure has the way to Convex in it:
//! add a round trip to each. Ends with 0 when everything could be measured, whether or not the goals are met.

use std::env;
use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;
use rollout_api::client::{Client, IdempotencyKey};
use rollout_api::{JournalEntry, StartRequest};
use rollout_e2e::{
    Daemon, EmulatorProcess, Row, Run, Traffic, Workshop, finish, table, verdict_of,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let program = env::current_exe()?;
    let Some(workshop) = Workshop::find("rollout-bench-convex", &program) else {
        return Err("without Convex's own command line there is nothing to compare with".into());
    };
    let binaries = program.with_file_name("");
    let parent = env::args_os().nth(1).map_or_else(|| binaries.clone(), PathBuf::from);
    let site = Site::new(&binaries, &parent).await?;
    let mut rows = rollback_rows(&site, &workshop).await?;
    rows.push(polling_row(&site).await?);
    rows.extend(executions_rows(&site).await?);
    print!("{}", table(&rows));
    let processors = std::thread::available_parallelism()?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    println!("{processors} processors, load {load} at the end; all of it on loopback");
    Ok(())
}

/// Five flags back to their safe values: by us, and by the guide's own five commands.
async fn rollback_rows(site: &Site, workshop: &Workshop) -> Result<Vec<Row>> {
    let mut ours = Vec::new();
    let mut traffics = Vec::new();
    for number in 0..ROLLBACKS {
        let emulator = &site.emulators[number];
        let mut run = site.begin(number, &plan_of_five(number)).await?;
        run.until("reading_taken").await;
        let first = emulator.traffic().await;
        let is_last = Some(u8::try_from(FLAGS.len())?);
        let last_window =
            |entry: &JournalEntry| entry.kind == "bake_started" && entry.phase == is_last;
        run.until_that("the last window", last_window).await;
        ours.push(site.time_rollback(emulator, &mut run).await?);
        // Before anybody else comes: the commands of the guide are typed later.
        traffics.push((first, emulator.traffic().await));
    }
    let folder = tempfile::tempdir_in(workshop.dir())?;
    fs::write(folder.path().join("package.json"), "{\"dependencies\": {\"convex\": \"1.48.0\"}}")?;
    let emulator = &site.emulators[0];
    let npx = time_commands(workshop, folder.path(), emulator, "npx convex").await?;
    let bin = workshop.script(".bin/convex").display().to_string();
    let bin = time_commands(workshop, folder.path(), emulator, &bin).await?;

    let ours = Spread::of(ours);
    let times = |theirs: &Spread, what: &str| {
        let detail = format!(" ({:.2} s against {:.1} ms)", theirs.median, ours.median * 1e3);
        let what = format!("the same, against five times `{what} env set FLAG false`");
        Row::at_least(&what, theirs.median / ours.median, 100.0, "times", &detail)
    };
    let all = "rolloutctl rollback --all of five flags, until read back";
    Ok(vec![
        Row::only(all, ours.milliseconds()),
        Row::only("five times `npx convex env set FLAG false`", npx.seconds()),
        Row::only("five times `node_modules/.bin/convex env set FLAG false`", bin.seconds()),
        times(&npx, "npx convex"),
        times(&bin, "node_modules/.bin/convex"),
        connections_row(&traffics),
    ])
}

/// Connections from the start of a rollout until it was rolled back, its preflight included; of several rollouts the worst.
fn connections_row(traffics: &[(Traffic, Traffic)]) -> Row {
    let most = traffics.iter().max_by_key(|(_, whole)| whole.connections);
    let (first, whole) = most.copied().unwrap_or_default();
    let detail = format!(
        " for {} requests (most of {}; {} of them after the first reading)",
        whole.requests,
        traffics.len(),
        whole.connections - first.connections
    );
    let what = "TCP connections to one deployment, from start to rollback";
    Row::count_at_most(what, whole.connections, 1, "connection(s)", &detail)
}

/// From the moment at which a health function shows a breach to the flag read back as off.
async fn polling_row(site: &Site) -> Result<Row> {
    let (mut took, mut unasked) = (Vec::new(), Vec::new());
    for number in ROLLBACKS..ROLLBACKS + REACTIONS {
        let emulator = &site.emulators[number];
        let mut run = site.begin(number, &plan_of_one(number, "", "")).await?;
        run.until("bake_started").await;
        // Right after a reading: nobody looks again for as long as an interval may be.
        run.until("reading_taken").await;
        let start = Instant::now();
        emulator.post("env", "{\"BREAK\": \"1\"}").await;
        run.until("rollback_finished").await;
        took.push(start.elapsed().as_secs_f64());
        unasked.push(asked_again(emulator).await?);
        assert_off(emulator, &["ENABLE_ONE"]).await?;
    }
    let (took, unasked) = (Spread::of(took), Spread::of(unasked));
    // One interval is the longest that nobody looks. What comes on top, the reading and the rollback, is in the figure.
    let detail =
        format!(" (worst of {REACTIONS}; of it {:.2} s until it was asked again)", unasked.most());
    let what = "a breach of a function asked every 10 s, until read back as off";
    let row = Row::at_most(what, unasked.most(), POLL_EVERY, "s", "");
    Ok(Row {
        figure: format!("{:.2} s{detail}", took.most()),
        goal: "asked within <= 10 s".to_owned(),
        ..row
    })
}

/// Seconds from the breach until the deployment was asked for its health again, by the emulator's own record of both.
async fn asked_again(emulator: &EmulatorProcess) -> Result<f64> {
    let moment = |record: &Value| -> Result<Timestamp> {
        Ok(record["at"].as_str().ok_or("a record without a time")?.parse()?)
    };
    let (writes, requests) = (emulator.get("writes").await, emulator.get("requests").await);
    let breach = writes.as_array().into_iter().flatten().rfind(|one| one["origin"] == "foreign");
    let breach = moment(breach.ok_or("the breach was not written")?)?;
    for request in requests.as_array().into_iter().flatten() {
        if request["path"] == "/api/function" && moment(request)? > breach {
            return Ok(moment(request)?.duration_since(breach).as_secs_f64());
        }
    }
    Err("nobody asked again".into())
}

/// From failing executions to the flag read back as off, seen in the deployment's own stream.
async fn executions_rows(site: &Site) -> Result<Vec<Row>> {
    let what = "failing executions in the stream, until read back as off";
    let mut took = Vec::new();
    let mut traffics = Vec::new();
    for number in ROLLBACKS + REACTIONS..DEPLOYMENTS {
        let emulator = &site.emulators[number];
        let sources = "[sources]\nsends = { executions = [\"messages:send\"], over = \"15m\", calls_min = 1 }\n";
        let criteria = "[[criteria]]\nname = \"error_rate\"\nsource = \"sends\"\npointer = \"/errorRate\"\n\
            unit = \"percent\"\ntarget = \"< 1\"\nalert = \"> 5\"\n";
        let mut run = match site.begin(number, &plan_of_one(number, sources, criteria)).await {
            Ok(run) => run,
            Err(refused) => {
                let figure = format!("NOT MEASURED: {refused}");
                return Ok(vec![Row { goal: "<= 2 s".to_owned(), ..Row::only(what, figure) }]);
            }
        };
        run.until("bake_started").await;
        // The stream is followed, and what it says is no breach.
        let passes =
            |entry: &JournalEntry| entry.kind == "reading_taken" && verdict_of(entry) == "pass";
        run.until_that("a reading that passes", passes).await;
        let start = Instant::now();
        let failing = "[{\"function\": \"messages:send\", \"times\": 200, \"error\": \"boom\"}]";
        emulator.post("executions", failing).await;
        run.until("rollback_finished").await;
        took.push(start.elapsed().as_secs_f64());
        assert_off(emulator, &["ENABLE_ONE"]).await?;
        traffics.push(emulator.traffic().await);
    }
    let took = Spread::of(took);
    let worst = traffics.iter().max_by_key(|all| all.connections + all.stream_connections);
    let worst = worst.copied().unwrap_or_default();
    let Traffic { requests, polls, shared_connections, .. } = worst;
    Ok(vec![
        Row::at_most(what, took.most(), 2.0, "s", &took.of_worst()),
        Row::count_at_most(
            "TCP connections with requests, where the stream is followed as well",
            worst.connections,
            1,
            "connection(s)",
            &format!(" for {requests} requests (most of {})", traffics.len()),
        ),
        // A poll is held for up to a minute, and HTTP/1.1 carries one exchange at a time: it needs one of its own.
        Row::count_at_most(
            "TCP connections with polls of that stream",
            worst.stream_connections,
            1,
            "connection(s)",
            &format!(" for {polls} polls ({shared_connections} with requests, too)"),
        ),
    ])
}

/// Seconds that the five commands of the guide take, one after the other, as people paste them.
async fn time_commands(
    workshop: &Workshop,
    folder: &Path,
    emulator: &EmulatorProcess,
    convex: &str,
) -> Result<Spread> {
    let script: String = FLAGS.map(|flag| format!("{convex} env set {flag} false\n")).concat();
    let mut took = Vec::new();
    for _ in 0..COMMANDS {
        let on = FLAGS.map(|flag| format!("\"{flag}\": \"true\"")).join(", ");
        emulator.post("env", &format!("{{{on}}}")).await;
        let mut command = Command::new("sh");
        command.args(["-ec", &script]).current_dir(folder).env_clear().env("HOME", folder);
        command.envs(env::var_os("PATH").map(|path| ("PATH", path))).env("CI", "1");
        command.env("CONVEX_SELF_HOSTED_URL", &emulator.url);
        command.env("CONVEX_SELF_HOSTED_ADMIN_KEY", &emulator.admin_key);
        // Without it npx looks for a newer npx; that is not what is compared here.
        command.env("NPM_CONFIG_UPDATE_NOTIFIER", "false").kill_on_drop(true);
        let start = Instant::now();
        let output = finish(command).await;
        took.push(start.elapsed().as_secs_f64());
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("`{convex}` of {}: {said}", workshop.dir().display()).into());
        }
        assert_off(emulator, &FLAGS).await?;
    }
    Ok(Spread::of(took))
}

/// One daemon on a real disk and a deployment for each thing that is measured.
struct Site {
    _daemon: Daemon,
    dir: TempDir,
    _state: TempDir,
    emulators: Vec<EmulatorProcess>,
    rolloutctl: PathBuf,
}

impl Site {
    async fn new(binaries: &Path, parent: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("bench-convex-").tempdir()?;
        let state = tempfile::Builder::new().prefix("bench-rolloutd-").tempdir_in(parent)?;
        let scenario = dir.path().join("scenario.toml");
        fs::write(&scenario, SCENARIO)?;
        let program = |name: &str| binaries.join(name).display().to_string();
        let mut config = format!(
            "state_dir = {:?}\nsocket = {:?}\ncredentials_dir = {:?}\n",
            fs::canonicalize(state.path())?,
            dir.path().join("rolloutd.sock"),
            dir.path(),
        );
        let mut emulators = Vec::new();
        for number in 0..DEPLOYMENTS {
            let arguments = ["--scenario", &scenario.display().to_string()];
            let emulator = EmulatorProcess::start(&program("convex-emulator"), &arguments).await;
            config += &format!(
                "[deployments.d{number}]\nurl = {:?}\ncredential = \"key\"\n",
                emulator.url
            );
            emulators.push(emulator);
        }
        let key = dir.path().join("key");
        fs::write(&key, &emulators[0].admin_key)?;
        fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        let file = dir.path().join("rolloutd.toml");
        fs::write(&file, config)?;
        let daemon = Daemon::start(&program("rolloutd"), &file, None).await;
        let rolloutctl = binaries.join("rolloutctl");
        Ok(Self { _daemon: daemon, dir, _state: state, emulators, rolloutctl })
    }

    async fn begin(&self, number: usize, plan: &str) -> Result<Run> {
        let request = StartRequest { plan: plan.to_owned(), start_at: None, reason: None };
        let client = Client::unix(self.socket())?;
        let started = client.start(&request, &IdempotencyKey::random()).await;
        let started = started.map_err(|error| format!("d{number}: {error}"))?;
        Ok(Run::new(self.socket(), started.rollout.id))
    }

    /// Seconds from the start of `rolloutctl` until it has ended and all safe values were read back.
    async fn time_rollback(&self, emulator: &EmulatorProcess, run: &mut Run) -> Result<f64> {
        let mut command = Command::new(&self.rolloutctl);
        command.args(["rollback", &run.id, "--all", "--reason", "measured"]);
        command.env_clear().env("ROLLOUTD_SOCKET", self.socket()).kill_on_drop(true);
        let start = Instant::now();
        let (output, _) = tokio::join!(finish(command), run.until("rollback_finished"));
        let took = start.elapsed().as_secs_f64();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        assert_off(emulator, &FLAGS).await?;
        Ok(took)
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("rolloutd.sock")
    }
}

/// All of them are off on the deployment: what was measured really happened.
async fn assert_off(emulator: &EmulatorProcess, flags: &[&str]) -> Result<()> {
    let variables = emulator.variables().await;
    match flags.iter().find(|flag| variables.get(**flag).is_none_or(|value| value != "false")) {
        None => Ok(()),
        Some(flag) => Err(format!("{flag} is not off: {variables:?}").into()),
    }
}

/// Several times of the same, in seconds.
struct Spread {
    median: f64,
    sorted: Vec<f64>,
}

impl Spread {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self { median: times[times.len() / 2], sorted: times }
    }

    fn most(&self) -> f64 {
        self.sorted.last().copied().unwrap_or(f64::NAN)
    }

    /// Of a figure that is the worst one: of how many, and what the others were.
    fn of_worst(&self) -> String {
        format!(
            " (worst of {}; best {:.2}, median {:.2})",
            self.sorted.len(),
            self.sorted[0],
            self.median
        )
    }

    fn milliseconds(&self) -> String {
        format!("{:.1} ms ({})", self.median * 1e3, self.words(1e3, "ms"))
    }

    fn seconds(&self) -> String {
        format!("{:.2} s ({})", self.median, self.words(1.0, "s"))
    }

    fn words(&self, factor: f64, unit: &str) -> String {
        let count = self.sorted.len();
        let (least, most) = (self.sorted[0] * factor, self.sorted[count - 1] * factor);
        format!("median of {count}; {least:.2} to {most:.2} {unit}")
    }
}

/// The guide's five flags in five phases; only the last one is still watched when it is rolled back.
fn plan_of_five(number: usize) -> String {
    let mut plan = format!("name = \"five-{number}\"\ndeployment = \"d{number}\"\n");
    for (index, flag) in FLAGS.iter().enumerate() {
        plan += &format!("\n[[phases]]\nname = \"phase-{index}\"\nflags = [\"{flag}\"]\n");
    }
    plan + "bake = \"48h\"\ncheckpoints = [\"48h\"]\n"
}

fn plan_of_one(number: usize, sources: &str, criteria: &str) -> String {
    format!(
        "name = \"one-{number}\"\ndeployment = \"d{number}\"\n\n[watch]\nchecks = [{{ every = \"10s\" }}]\n\n\
         {sources}\n{criteria}\n[[phases]]\nname = \"one\"\nflags = [\"ENABLE_ONE\"]\nbake = \"48h\"\n\
         checkpoints = [\"48h\"]\n"
    )
}

const FLAGS: [&str; 5] = [
    "ENABLE_WORKFLOW",
    "LOG_PROVIDER_ENABLED",
    "ENABLE_MESSAGE_COMPRESSION",
    "ENABLE_PROMPT_MESSAGE_ID",
    "ENABLE_RETRY_WITH_BACKOFF",
];
/// An app with ten calls a second that is well until somebody sets `BREAK`.
const SCENARIO: &str = "[[traffic]]\nfunction = \"messages:send\"\ntype = \"Mutation\"\nperMinute = 600\n\
    latencyMs = { p50 = 20, p95 = 200, p99 = 900 }\n[[change]]\nwhen = { BREAK = \"1\" }\nset = { errorRate = 50 }\n";
const ROLLBACKS: usize = 9;
/// Rounds of five commands each; every command starts node.
const COMMANDS: usize = 3;
const REACTIONS: usize = 3;
/// One for each rollback, and for each reaction to a polled source and to the stream.
const DEPLOYMENTS: usize = ROLLBACKS + REACTIONS + REACTIONS;
/// Seconds between two readings: the shortest that a plan may have.
const POLL_EVERY: f64 = 10.0;
