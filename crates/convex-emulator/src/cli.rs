//! The command line of the emulator: one deployment in the foreground until it is told to end.
//!
//! Prints where it listens and with which keys, and nothing else; the keys of an emulator are no
//! secret.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use jiff::Timestamp;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

use crate::audit::AuditAccess;
use crate::clock::EmulatorClock;
use crate::emulator::{Config, Emulator, EmulatorError};
use crate::scenario::Scenario;
use crate::scenario_file::ScenarioError;

/// A Convex deployment in one process, for tests, demos and dry runs
#[derive(Debug, Parser)]
#[command(name = "convex-emulator", version, after_help = AFTER_HELP)]
struct Options {
    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How the app behaves: healthy, breach, outage, strange, or a scenario file
    #[arg(long, default_value = "healthy", value_name = "NAME|PATH")]
    scenario: String,
    /// Name of the deployment
    #[arg(long, default_value = "happy-otter-123")]
    name: String,
    /// Full key [default: <name>|01c0ffee5eed]
    #[arg(long, value_name = "KEY")]
    admin_key: Option<String>,
    /// Read-only key [default: <name>|02c0ffee5eed]
    #[arg(long, value_name = "KEY")]
    read_only_key: Option<String>,
    /// Have an audit log, as a cloud deployment; without it as a self-hosted one
    #[arg(long)]
    audit_log: bool,
    /// Environment variable to start with; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = parse_variable)]
    env: Vec<(String, String)>,
    /// How many emulator seconds pass in one real second
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = parse_factor)]
    accelerate: f64,
    /// Emulator time at the real origin; two processes with the same three numbers agree
    #[arg(long, value_name = "TIME", requires = "real_origin")]
    origin: Option<Timestamp>,
    /// Real time at which the emulator time is the origin
    #[arg(long, value_name = "TIME", requires = "origin")]
    real_origin: Option<Timestamp>,
}

#[derive(Debug, Error)]
enum CliError {
    #[error("cannot use scenario `{name}`")]
    Scenario {
        name: String,
        #[source]
        source: ScenarioError,
    },
    #[error("cannot start")]
    Start(#[from] EmulatorError),
    #[error("cannot set up the process")]
    Process(#[source] io::Error),
}

/// Runs the emulator with the arguments of the process until SIGINT or SIGTERM.
///
/// Exits with 0 after a signal, 1 when it cannot start, 2 when the arguments are wrong.
#[must_use]
pub fn main() -> ExitCode {
    let options = Options::parse();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("convex-emulator: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                text.push_str(": ");
                text.push_str(error.to_string().trim_end());
                cause = error.source();
            }
            // Without a standard error there is nobody left to tell.
            writeln!(io::stderr(), "{text}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::Process)?;
    runtime.block_on(async {
        // Before the block is printed: who reads it may end the process at once.
        let mut interrupted = signal(SignalKind::interrupt()).map_err(CliError::Process)?;
        let mut terminated = signal(SignalKind::terminate()).map_err(CliError::Process)?;
        let (scenario, name) = (options.scenario.clone(), options.name.clone());
        let emulator = Emulator::start(config(options)?).await?;
        print_start(&emulator, &name, &scenario).map_err(CliError::Process)?;
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        emulator.stop().await;
        Ok(())
    })
}

fn config(options: Options) -> Result<Config, CliError> {
    let clock = match (options.real_origin, options.origin) {
        (Some(real), Some(origin)) => EmulatorClock::scaled(real, origin, options.accelerate),
        _ => EmulatorClock::accelerated(options.accelerate),
    };
    let defaults = Config::named(options.name);
    let mut scenario = load_scenario(options.scenario)?;
    if options.audit_log {
        scenario.audit_access = AuditAccess::Enabled;
    }
    Ok(Config {
        bind: SocketAddr::new(options.bind, options.port),
        admin_key: options.admin_key.unwrap_or(defaults.admin_key),
        read_only_key: options.read_only_key.unwrap_or(defaults.read_only_key),
        env: options.env.into_iter().collect::<BTreeMap<_, _>>(),
        scenario,
        clock,
        name: defaults.name,
    })
}

fn load_scenario(name: String) -> Result<Scenario, CliError> {
    match Scenario::builtin(&name) {
        Some(scenario) => Ok(scenario),
        None => {
            Scenario::read(Path::new(&name)).map_err(|source| CliError::Scenario { name, source })
        }
    }
}

fn print_start(emulator: &Emulator, name: &str, scenario: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "Convex emulator `{name}`, scenario {scenario}")?;
    writeln!(out, "  url            {}", emulator.url())?;
    writeln!(out, "  admin key      {}", emulator.admin_key())?;
    writeln!(out, "  read-only key  {}", emulator.read_only_key())?;
    writeln!(out, "  time           {}", emulator.now())?;
    writeln!(out, "  controls       {}/_emulator/requests", emulator.url())?;
    out.flush()
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn parse_factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if factor.is_finite() && factor > 0.0 {
        Ok(factor)
    } else {
        Err("expected a number above 0".to_owned())
    }
}

const AFTER_HELP: &str = "\
Prints where it listens and with which keys, and runs until SIGINT or SIGTERM.

With Convex's own CLI, in a folder whose package.json lists convex among its dependencies:
  CONVEX_SELF_HOSTED_URL=<url> CONVEX_SELF_HOSTED_ADMIN_KEY='<admin key>' npx convex env list
or, as with a deploy key:
  CONVEX_PROVISION_HOST=<url> CONVEX_DEPLOY_KEY='prod:<admin key>' npx convex env list

What goes wrong on demand (crates/convex-emulator/README.md lists all controls), without a key:
  curl -d '{\"ENABLE_WORKFLOW\": \"true\"}' '<url>/_emulator/env?by=kim'
  curl -d '{\"state\": \"paused\"}' <url>/_emulator/state
What it was asked: curl <url>/_emulator/requests

Exit codes: 0 after a signal, 1 when it cannot start, 2 when the arguments are wrong.";
