//! `rolloutd demo`: a rollout of five days in about a minute, against a deployment that lives in this process.
//!
//! Owns the arguments and the order of things. The engine is a real one, in a child process of its own, and the demo talks
//! to it like everybody else: over `/v1` on its socket. It needs no set-up and no root, and nothing outlives it but the log.
//!
//! Invariants: nothing waits for real time, every step follows an event of the stream; the demo ends with 0 only when the
//! rollout went as the scenario says, judged by what the deployment saw.

mod clock;
mod closing;
mod ending;
mod engine;
mod error;
mod kills;
mod operator;
mod place;
mod play;
mod story;
mod values;

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Instant;

use convex_emulator::{Config, Emulator, Scenario};
use rollout_api::client::IdempotencyKey;
use rollout_api::{Exit, StartRequest};
use rollout_core::Plan;
use tokio::signal::unix::{SignalKind, signal};

use self::clock::DemoClock;
use self::engine::Engine;
use self::error::DemoError;
use self::kills::Kills;
use self::place::Place;
use self::play::Play;
use self::story::{Display, Story};

/// The guide as a plan; the very file a person would start with.
const GUIDE: &str = include_str!("../../../../examples/guide.toml");

/// Arguments of `rolloutd demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// What the deployment does
    #[arg(long, value_enum, default_value_t = DemoScenario::Healthy)]
    scenario: DemoScenario,

    /// Seconds of the rollout that pass in one real second
    #[arg(long, default_value_t = 7_200, value_name = "N", value_parser = clap::value_parser!(u32).range(60..=50_000))]
    speed: u32,

    /// Decides when the engine is killed; the same seed gives the same kills [default: random]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// Keeps the log, the engine's state and its own messages in this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,

    /// Prints lines only, as it does by itself where the output is no terminal
    #[arg(long)]
    plain: bool,
}

/// What the demo's deployment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DemoScenario {
    /// Stays within every target; the engine is killed twice
    Healthy,
    /// The third flag drives the error rate to 7 %: automatic rollback
    Breach,
}

/// Plays the demo and says how it ended: [`Exit::Done`] when it went as the scenario says, [`Exit::Interrupted`] after a
/// signal, [`Exit::Failed`] otherwise.
///
/// Cancel-safe: dropping the future kills the engine.
pub async fn run(args: DemoArgs) -> Exit {
    let display = match args.plain || !std::io::stdout().is_terminal() {
        true => Display::Lines,
        false => Display::Live,
    };
    let mut story = Story::new(display);
    let ended = tokio::select! {
        ended = perform(&args, &mut story) => ended,
        interrupted = interruption() => interrupted,
    };
    match ended {
        Ok(Exit::Interrupted) => {
            story.say("Interrupted; the engine was killed with the demo.");
            Exit::Interrupted
        }
        Ok(exit) => exit,
        Err(error) => {
            story.fail(&error);
            Exit::Failed
        }
    }
}

/// Everything from the empty directory to the last line.
async fn perform(args: &DemoArgs, story: &mut Story) -> Result<Exit, DemoError> {
    let plan = rollout_api::plan::parse(GUIDE).map_err(DemoError::Plan)?;
    let seed = args.seed.unwrap_or_else(random_seed);
    let clock = DemoClock::starting_now(args.speed);
    let began = Instant::now();

    let place = Place::prepare(args.keep.as_deref())?;
    let emulator = Emulator::start(emulator_config(args.scenario, &plan, &clock)).await?;
    place.write_config(&plan.deployment, &emulator.url(), &emulator.admin_key())?;
    story.begin(&clock, args.scenario, &plan, &emulator.url(), seed);

    let engine = Engine::start(&place, &clock).await?;
    let request = StartRequest { plan: GUIDE.to_string(), start_at: None, reason: None };
    let started = engine.client().start(&request, &IdempotencyKey::random()).await?;
    let kills = match args.scenario {
        DemoScenario::Healthy => Kills::draw(seed, &plan),
        DemoScenario::Breach => Kills::none(),
    };
    let mut play = Play::new(args.scenario, &plan, engine, kills, started.rollout.id, &clock);
    let detail = play.until_the_end(story).await?;

    let log = play.engine().client().log(&detail.summary.id).await?;
    let log_at = place.save_log(&detail.summary.id, &log)?;
    let tally = play.close().await?;
    let faults = match args.scenario {
        DemoScenario::Healthy => {
            story.summary(&detail, &tally, &emulator.writes(), began.elapsed());
            ending::faults_of_healthy(&detail, &emulator)
        }
        DemoScenario::Breach => {
            story.breach(&detail, &tally, &emulator.env());
            ending::faults_of_breach(&detail, &emulator)
        }
    };
    story.kept(&log_at, place.kept());
    emulator.stop().await;
    match faults.is_empty() {
        true => Ok(Exit::Done),
        false => Err(DemoError::NotAsTold { faults }),
    }
}

/// The app of the guide with its flags off and no log provider, so that phase 4 skips itself.
fn emulator_config(scenario: DemoScenario, plan: &Plan, clock: &DemoClock) -> Config {
    let env: BTreeMap<String, String> =
        plan.flags().iter().map(|flag| (flag.to_string(), "false".to_string())).collect();
    let scenario = Scenario::builtin(scenario.name())
        .expect("the emulator ships a scenario for each of the demo's");
    Config { env, scenario, clock: clock.emulator(), ..Config::default() }
}

/// Ends when a person presses Ctrl-C or the process is told to end.
async fn interruption() -> Result<Exit, DemoError> {
    let listen = |kind| signal(kind).map_err(|source| DemoError::Process { source });
    let (mut interrupt, mut terminate) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(Exit::Interrupted)
}

/// A seed that differs from run to run; it is printed, so that a run can be repeated.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000
}

impl DemoScenario {
    /// Its name, on the command line and among the emulator's scenarios.
    fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Breach => "breach",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_is_a_plan_and_its_flags_start_off() {
        let plan = rollout_api::plan::parse(GUIDE).unwrap();
        let config = emulator_config(DemoScenario::Breach, &plan, &DemoClock::starting_now(60));
        assert_eq!(config.env.len(), 5);
        assert!(config.env.values().all(|value| value == "false"), "{:?}", config.env);
        assert!(!config.env.contains_key("LOG_PROVIDER_URL"));
    }
}
