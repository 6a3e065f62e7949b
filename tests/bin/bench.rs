//! Measures the promises about speed and size and prints them as one table: what, figure, goal, met or not.
//!
//! `rollout-bench [DIRECTORY]`, by default the directory of the binary itself, which must be on a real disk; `bench_engine`,
//! `rolloutd` and `rolloutctl` are taken from there too. The engine is measured in `bench_engine`, everything else here,
//! from outside: real processes, real sockets, real SIGKILL. Ends with 0 when everything could be measured, whether or not
//! the goals are met: they are judged by people who know what else the machine was doing.

use std::env;
use std::error::Error;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use convex_emulator::{Config, Emulator};
use rollout_api::client::{Client, IdempotencyKey};
use rollout_api::{RolloutSummary, StartRequest};
use rollout_e2e::{Daemon, Row, table};
use tempfile::TempDir;
use tokio::time::{MissedTickBehavior, interval, timeout};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let binaries = env::current_exe()?.with_file_name("");
    let parent = env::args_os().nth(1).map_or_else(|| binaries.clone(), PathBuf::from);
    let mut rows = engine_rows(&binaries, &parent)?;
    rows.extend(small_rows(&binaries, &parent).await?);
    rows.extend(crowd_rows(&binaries, &parent).await?);
    print!("{}", table(&rows));
    println!("{}", surroundings(&parent)?);
    Ok(())
}

/// Runs `bench_engine` and takes its rows.
fn engine_rows(binaries: &Path, parent: &Path) -> Result<Vec<Row>> {
    let program = binaries.join("examples").join("bench_engine");
    let output = Command::new(&program).arg(parent).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    let text = String::from_utf8(output.stdout)?;
    let rows: Option<Vec<Row>> = text.lines().map(parse_row).collect();
    match rows {
        Some(rows) if output.status.success() && !rows.is_empty() => Ok(rows),
        _ => Err(format!("bench_engine ended with {} and said:\n{text}", output.status).into()),
    }
}

fn parse_row(line: &str) -> Option<Row> {
    let mut fields = line.split('\t').map(str::to_owned);
    let row = Row {
        what: fields.next()?,
        figure: fields.next()?,
        goal: fields.next()?,
        verdict: fields.next()?,
    };
    fields.next().is_none().then_some(row)
}

/// A daemon with a few deployments: its memory at rest, and how long a cold `list` takes.
async fn small_rows(binaries: &Path, parent: &Path) -> Result<Vec<Row>> {
    let mut site = Site::new(binaries, parent, FEW).await?;
    site.start().await?;
    let idle = site.memory()?;
    site.start_rollouts().await?;

    let mut times = Vec::new();
    for _ in 0..LIST_RUNS {
        times.push(site.time_list()?);
    }
    times.sort_by(f64::total_cmp);
    let (worst, median) = (times[times.len() - 1], times[times.len() / 2]);
    let detail = format!(" (median of {LIST_RUNS}; worst {worst:.1})");
    Ok(vec![
        Row::at_most("memory of rolloutd without rollouts (VmRSS)", idle, 30.0, "MB", ""),
        Row::at_most("rolloutctl list, from start to exit", median, 10.0, "ms", &detail),
    ])
}

/// A daemon with many baking rollouts: its memory, and the time from SIGKILL until all are armed again.
async fn crowd_rows(binaries: &Path, parent: &Path) -> Result<Vec<Row>> {
    let mut site = Site::new(binaries, parent, MANY).await?;
    site.start().await?;
    let configured = site.memory()?;
    site.start_rollouts().await?;

    let mut times = Vec::new();
    let mut entries = 0;
    for _ in 0..RESTARTS {
        times.push(site.kill_and_start().await?);
        // Whatever a start sets in motion has ended before the next kill, as on a machine that crashes now and then.
        entries = site.settle().await?;
    }
    let baking = site.memory()?;
    times.sort_by(f64::total_cmp);
    let (best, median) = (times[0], times[times.len() / 2]);
    let worst = times[times.len() - 1];
    let what = format!("SIGKILL until {MANY} baking rollouts are armed");
    let detail = format!(
        " (median of {RESTARTS}; {best:.2} to {worst:.2}; journals of {} entries)",
        entries / MANY as u64
    );
    let armed = Row::at_most(&what, median, 0.3, "s", &detail);
    let figure = format!("{baking:.1} MB (deployments configured, no rollout: {configured:.1} MB)");
    Ok(vec![armed, Row::only(&format!("the same with {MANY} baking rollouts"), figure)])
}

/// One daemon on a real disk with `count` deployments, each of which will have one rollout.
struct Site {
    daemon: Option<Daemon>,
    /// Sockets and configuration: their paths must be short, and need no disk.
    near: TempDir,
    /// The state directory.
    _state: TempDir,
    /// They answer as long as they are kept.
    _emulators: Vec<Emulator>,
    rolloutd: String,
    rolloutctl: PathBuf,
    count: usize,
}

impl Site {
    /// Starts the emulators and writes the configuration; the daemon does not run yet.
    async fn new(binaries: &Path, parent: &Path, count: usize) -> Result<Self> {
        let near = tempfile::Builder::new().prefix("rollout-bench-").tempdir()?;
        let state = tempfile::Builder::new().prefix("bench-rolloutd-").tempdir_in(parent)?;
        let mut emulators = Vec::new();
        for _ in 0..count.div_ceil(FLAGS_PER_EMULATOR) {
            let bind = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            emulators.push(Emulator::start(Config { bind, ..Config::default() }).await?);
        }
        let mut config = format!(
            "state_dir = {:?}\nsocket = {:?}\ncredentials_dir = {:?}\n",
            fs::canonicalize(state.path())?,
            near.path().join("rolloutd.sock"),
            near.path(),
        );
        for number in 0..count {
            // Two rollouts are never live on one address, so each deployment has a loopback address of its own.
            let port = emulators[number / FLAGS_PER_EMULATOR].address().port();
            let url = format!("http://127.0.{}.{}:{port}", number / 250, number % 250 + 1);
            config += &format!("[deployments.d{number}]\nurl = {url:?}\ncredential = \"key\"\n");
        }
        fs::write(near.path().join("rolloutd.toml"), config)?;
        // The emulators differ in their addresses only, so one key opens all of them.
        let key = near.path().join("key");
        fs::write(&key, emulators.first().map(Emulator::admin_key).unwrap_or_default())?;
        fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        let rolloutd = binaries.join("rolloutd").display().to_string();
        let rolloutctl = binaries.join("rolloutctl");
        Ok(Self {
            daemon: None,
            near,
            _state: state,
            _emulators: emulators,
            rolloutd,
            rolloutctl,
            count,
        })
    }

    /// Starts the daemon; it has taken everything up when this returns.
    async fn start(&mut self) -> Result<()> {
        let config = self.near.path().join("rolloutd.toml");
        self.daemon = Some(Daemon::start(&self.rolloutd, &config, None).await);
        Ok(())
    }

    /// Seconds from SIGKILL to `READY=1`, which the daemon says once every rollout is armed.
    async fn kill_and_start(&mut self) -> Result<f64> {
        let start = Instant::now();
        if let Some(daemon) = self.daemon.take() {
            daemon.kill().await;
        }
        self.start().await?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Starts a rollout on each deployment and waits until all of them bake and nothing moves any more.
    async fn start_rollouts(&self) -> Result<u64> {
        let client = self.client()?;
        for number in 0..self.count {
            let request = StartRequest { plan: plan(number), start_at: None, reason: None };
            client.start(&request, &IdempotencyKey::random()).await?;
        }
        self.settle().await
    }

    /// Waits until all rollouts bake and no journal grows between two looks; how many entries there are.
    async fn settle(&self) -> Result<u64> {
        let client = self.client()?;
        let settled = async {
            let mut looks = interval(LOOK_EVERY);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut before = 0;
            loop {
                looks.tick().await;
                let rollouts = client.list().await?.rollouts;
                let baking = rollouts.iter().filter(|rollout| is_baking(rollout)).count();
                let entries = rollouts.iter().map(|rollout| rollout.seq).sum();
                if baking == self.count && entries == before {
                    return Ok(entries);
                }
                before = entries;
            }
        };
        timeout(SETTLE_MAX, settled).await?
    }

    /// Resident memory of the daemon, in MB of 1,000,000 bytes.
    fn memory(&self) -> Result<f64> {
        let pid = self.daemon.as_ref().and_then(Daemon::pid).ok_or("the daemon does not run")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line.ok_or("no VmRSS")?.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024.0 / 1e6)
    }

    /// Milliseconds that one `rolloutctl list` takes.
    fn time_list(&self) -> Result<f64> {
        let mut command = Command::new(&self.rolloutctl);
        command.arg("list").env_clear().env("ROLLOUTD_SOCKET", self.socket());
        let start = Instant::now();
        let output = command.stdin(Stdio::null()).output()?;
        let took = start.elapsed();
        if !output.status.success() || output.stdout.is_empty() {
            return Err(format!("rolloutctl list ended with {}", output.status).into());
        }
        Ok(took.as_secs_f64() * 1e3)
    }

    fn client(&self) -> Result<Client> {
        Ok(Client::unix(self.socket())?)
    }

    fn socket(&self) -> PathBuf {
        self.near.path().join("rolloutd.sock")
    }
}

/// One flag with a long window and few checks, judged by the guide's criteria.
fn plan(number: usize) -> String {
    format!(
        "name = \"measured-{number}\"\ndeployment = \"d{number}\"\n\n\
         [watch]\nchecks = [{{ every = \"24h\" }}]\n\n\
         [[phases]]\nname = \"one\"\nflags = [\"ENABLE_{number}\"]\nbake = \"168h\"\n\
         checkpoints = [\"168h\"]\n"
    )
}

fn is_baking(rollout: &RolloutSummary) -> bool {
    rollout.phase.as_ref().is_some_and(|phase| phase.stage == "baking") && rollout.holds.is_empty()
}

/// What the figures depend on: the disk and the processors.
fn surroundings(parent: &Path) -> Result<String> {
    let place = fs::canonicalize(parent)?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?)).filter(|(at, _)| place.starts_with(at))
    });
    let (_, system) = mounted.max_by_key(|(at, _)| at.len()).ok_or("nothing is mounted there")?;
    let processors = std::thread::available_parallelism()?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!("on {system}, {processors} processors, load {load} at the end"))
}

const FEW: usize = 3;
const MANY: usize = 1_000;
const LIST_RUNS: usize = 30;
const RESTARTS: usize = 9;
/// A deployment holds 512 variables at the most, and each rollout has one of its own.
const FLAGS_PER_EMULATOR: usize = 1;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the rollouts may take until they bake.
const SETTLE_MAX: Duration = Duration::from_secs(300);
