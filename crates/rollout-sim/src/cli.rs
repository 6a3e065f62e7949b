//! Owns the simulator's command line: which seeds are run, on how many threads, and what is said when a check fails.
//!
//! `SEED=` is printed before anything runs, and is enough to repeat what follows.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;

use crate::run::{Report, run};
use crate::trace::Detail;

/// Runs rolloutd's engine through simulated faults, crashes and days, and checks its invariants after every step.
///
/// Each seed is one run; the same seed is the same run. Exit codes: 0 all clean, 1 a check failed, 2 wrong usage.
#[derive(Clone, Debug, Parser)]
#[command(name = "rollout-sim", version)]
pub struct Args {
    /// How many seeds to run.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub seeds: u64,
    /// The first of them. Without it, a fresh one is drawn from the system's random numbers.
    #[arg(long, value_name = "SEED")]
    pub from: Option<u64>,
    /// Threads; each runs seeds of its own.
    #[arg(long, value_name = "J", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub jobs: u64,
    /// Runs one seed and writes down everything that happens.
    /// The variable SEED says the same.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "from"])]
    pub seed: Option<u64>,
    /// Runs the seeds that failed in the past, from `seeds.txt`, before all others.
    #[arg(long)]
    pub regressions: bool,
    /// Goes on after a failure, and tells of each in one line.
    #[arg(long)]
    pub keep_going: bool,
    /// Stops after this many seconds of real time, at a seed's end.
    #[arg(long, value_name = "SECS")]
    pub seconds: Option<u64>,
}

/// What a run over many seeds comes to.
#[derive(Debug, Default)]
struct Totals {
    seeds: AtomicU64,
    events: AtomicU64,
    lives: AtomicU64,
    hours: AtomicU64,
    steps: AtomicU64,
    calls: AtomicU64,
}

/// Runs what `args` ask for. The answer is the exit code.
pub fn command(args: &Args, out: &mut (impl Write + Send)) -> u8 {
    silence_injected_panics();
    let named = match (args.seed, args.from, std::env::var("SEED")) {
        (None, None, Ok(text)) => match text.parse() {
            Ok(seed) => Some(seed),
            Err(_) => {
                eprintln!("SEED is {text:?}, which is no number");
                return 2;
            }
        },
        (seed, _, _) => seed,
    };
    let told = match named {
        Some(seed) => one(seed, out),
        None => many(args, out),
    };
    told.unwrap_or(1)
}

/// Past failing seeds, oldest first.
pub fn past_failures() -> Vec<u64> {
    let lines = include_str!("../seeds.txt").lines();
    let seeds = lines.filter_map(|line| line.split('#').next()?.trim().parse().ok());
    seeds.collect()
}

fn one(seed: u64, out: &mut impl Write) -> std::io::Result<u8> {
    writeln!(out, "SEED={seed}")?;
    let report = run(seed, Detail::All);
    summary(&report, out)?;
    match &report.failure {
        Some(failure) => {
            writeln!(out, "FAILED: {}", failure.why)?;
            Ok(1)
        }
        None => Ok(0),
    }
}

fn summary(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    let Report { seed, events, lives, simulated, digest, .. } = report;
    writeln!(out, "seed {seed}: {events} events in {lives} processes over {simulated:#}; {digest}")
}

fn many(args: &Args, out: &mut (impl Write + Send)) -> std::io::Result<u8> {
    let from = args.from.unwrap_or_else(|| fastrand::u64(..1 << 48));
    writeln!(out, "SEED={from}")?;
    out.flush()?;
    let began = Instant::now();
    let mut seeds = if args.regressions { past_failures() } else { Vec::new() };
    let past = seeds.len();
    seeds.extend((0..args.seeds).map(|count| from.wrapping_add(count)));
    let (totals, next, stop) = (Totals::default(), AtomicU64::new(0), AtomicBool::new(false));
    let failed: Mutex<Vec<(usize, u64)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                loop {
                    let place = usize::try_from(next.fetch_add(1, Ordering::Relaxed));
                    let Some((place, seed)) =
                        place.ok().and_then(|place| Some((place, *seeds.get(place)?)))
                    else {
                        return;
                    };
                    let late = args
                        .seconds
                        .is_some_and(|secs| began.elapsed() > Duration::from_secs(secs));
                    if stop.load(Ordering::Relaxed) || late {
                        return;
                    }
                    let report = run(seed, Detail::Nothing);
                    totals.add(&report);
                    if let Some(failure) = &report.failure {
                        stop.store(!args.keep_going, Ordering::Relaxed);
                        if args.keep_going {
                            let why: String = failure.why.chars().take(LINE_CHARS_MAX).collect();
                            eprintln!("{seed}: {why}");
                        }
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push((place, seed));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_unstable();
    totals.tell(began.elapsed(), past, out)?;
    match failed.first() {
        Some((_, seed)) => tell_failure(*seed, out).map(|()| 1),
        None => Ok(0),
    }
}

/// Runs a failing seed once more, this time with its last lines.
fn tell_failure(seed: u64, out: &mut impl Write) -> std::io::Result<()> {
    let report = run(seed, Detail::Last);
    let Some(failure) = report.failure else {
        return writeln!(
            out,
            "FAILED: seed {seed} failed once and not twice; the simulation is not deterministic"
        );
    };
    for line in &failure.lines {
        let short: String = line.chars().take(LINE_CHARS_MAX).collect();
        writeln!(out, "{short}")?;
    }
    writeln!(out, "FAILED: SEED={seed}")?;
    writeln!(out, "{}", failure.why)?;
    writeln!(
        out,
        "Everything that happened: cargo run --profile proof -p rollout-sim -- --seed {seed}"
    )
}

impl Totals {
    fn add(&self, report: &Report) {
        let hours = u64::try_from(report.simulated.as_hours()).unwrap_or(0);
        for (total, more) in [
            (&self.seeds, 1),
            (&self.events, report.events),
            (&self.lives, report.lives),
            (&self.hours, hours),
            (&self.steps, report.steps),
            (&self.calls, report.calls),
        ] {
            total.fetch_add(more, Ordering::Relaxed);
        }
    }

    fn tell(&self, took: Duration, past: usize, out: &mut impl Write) -> std::io::Result<()> {
        let of = |total: &AtomicU64| total.load(Ordering::Relaxed);
        let seeds = of(&self.seeds);
        let each = took.as_secs_f64() * 1_000.0 / (seeds.max(1)) as f64;
        writeln!(
            out,
            "{seeds} seeds ({past} of the past first): {} steps, {} events, {} calls, {} processes, {} simulated days in {:.1} s ({each:.1} ms a seed)",
            of(&self.steps),
            of(&self.events),
            of(&self.calls),
            of(&self.lives),
            of(&self.hours) / 24,
            took.as_secs_f64(),
        )
    }
}

/// A store that panics on purpose is no news; every other panic is.
fn silence_injected_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let injected = panic.payload().downcast_ref::<&str>() == Some(&"injected panic");
        if !injected {
            usual(panic);
        }
    }));
}

/// Longest line shown of a failing seed.
const LINE_CHARS_MAX: usize = 300;
