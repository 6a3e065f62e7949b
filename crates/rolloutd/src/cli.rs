//! Owns the command line of `rolloutd`, and how the process ends.
//!
//! Exit codes are those of `rolloutctl`: 0 done, 1 failed and worth another try, 2 the command line or the configuration
//! makes no sense, or a file is there or is not, 3 refused: the store needs a person first, 9 nobody answers.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use rollout_api::Exit;
use rollout_engine::SystemClock;
use rollout_engine::store::OnDamage;
use tokio::runtime::{Builder, Runtime};

use crate::backup::BackupArgs;
use crate::config::{CONFIG_PATH, Config, Surroundings};
use crate::demo::DemoArgs;
use crate::doctor::DoctorArgs;
use crate::endpoints::Endpoints;
use crate::place::Trouble;
use crate::restore::RestoreArgs;
use crate::serve::ServeError;
use crate::telemetry::{self, chain};
use crate::verify::VerifyArgs;
use crate::wiring::Deployments;
use crate::{backup, clock, demo, doctor, restore, serve, summary, verify};

/// For the commands that look after the store; `docs/operating.md` says the same.
const EXIT_CODES: &str = "\
Exit codes: 0 done, and sound · 1 failed: the disk, or another process holds the store
            2 command line, configuration, or a file or store that is there or is not · 3 damaged
            9 a daemon holds the store and does not answer";

/// Runs feature-flag rollouts: in order, watched, rolled back by themselves
#[derive(Debug, Parser)]
#[command(name = "rolloutd", version)]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon in the foreground, as systemd does
    Serve(ServeArgs),
    /// Check every entry of every journal, through the running daemon or on the files
    #[command(after_help = EXIT_CODES)]
    Verify(VerifyArgs),
    /// Write everything that the store holds to one file, while the daemon runs or not
    #[command(after_help = EXIT_CODES)]
    Backup(BackupArgs),
    /// Put the store back to what a backup holds; the daemon must not run
    #[command(after_help = EXIT_CODES)]
    Restore(RestoreArgs),
    /// Look at everything that rollouts stand on: configuration, disk, clock, deployments; says what to do
    Doctor(DoctorArgs),
    /// Show a whole rollout in about a minute: a made-up deployment, a real engine that is killed on the way
    Demo(DemoArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// The configuration
    #[arg(long, value_name = "PATH", default_value = CONFIG_PATH)]
    config: PathBuf,
    /// Only check configuration and credentials, say what was found, and end
    #[arg(long)]
    check: bool,
    /// When the store is damaged: set the damaged rollouts aside for good, keep all files, and serve the rest. Nobody
    /// watches the flags of a rollout that was set aside
    #[arg(long, conflicts_with = "check")]
    quarantine: bool,
}

/// Whether a text is shown in colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// On a terminal.
    Coloured,
    /// Everywhere else.
    Plain,
}

/// Runs the program and ends the process.
pub fn main() -> ! {
    let exit = match Line::parse().verb {
        Verb::Serve(args) => serve_or_check(&args),
        Verb::Verify(args) => ended(with_runtime(verify::run(&args, paint()))),
        Verb::Backup(args) => said_at(|now| {
            let made = with_runtime(backup::run(&args, now, paint()));
            made.map(|text| (text, Exit::Done))
        }),
        Verb::Restore(args) => {
            said_at(|now| restore::run(&args, now, paint()).map(|text| (text, Exit::Done)))
        }
        Verb::Doctor(args) => match clock::from_env() {
            Ok(clock) => ended(with_runtime(doctor::run(&args, &clock, paint()))),
            Err(error) => complain(Exit::Usage, &chain(&error)),
        },
        Verb::Demo(args) => play(args),
    };
    process::exit(exit.code().into())
}

fn serve_or_check(args: &ServeArgs) -> Exit {
    // A check says what it finds itself.
    if !args.check
        && let Err(error) = telemetry::begin()
    {
        return complain(Exit::Usage, &chain(&error));
    }
    let config = match Config::read(&args.config, &Surroundings::from_env()) {
        Ok(config) => config,
        Err(error) => return complain(Exit::Usage, &error.render(paint())),
    };
    if args.check {
        return check(&args.config, &config);
    }
    let clock = match clock::from_env() {
        Ok(clock) => clock,
        Err(error) => return complain(Exit::Usage, &chain(&error)),
    };
    let damage = if args.quarantine { OnDamage::SetAside } else { OnDamage::Refuse };
    let served =
        runtime().and_then(|runtime| runtime.block_on(serve::until_told(config, damage, clock)));
    match served {
        Ok(()) => Exit::Done,
        Err(error) => complain(error.exit(), &format!("{}{}", chain(&error), error.advice())),
    }
}

/// Runs a command that writes down when it ran.
fn said_at(work: impl FnOnce(Timestamp) -> Result<(String, Exit), Trouble>) -> Exit {
    match clock::from_env() {
        Ok(clock) => ended(work(clock.now())),
        Err(error) => complain(Exit::Usage, &chain(&error)),
    }
}

/// Runs a command that may talk to the daemon.
fn with_runtime<T>(work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let runtime = runtime().map_err(|error| Trouble::new(Exit::Failed, chain(&error)))?;
    runtime.block_on(work)
}

/// Prints what a command found, or why it could not.
fn ended(outcome: Result<(String, Exit), Trouble>) -> Exit {
    match outcome {
        Ok((text, exit)) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => exit,
            Err(error) => complain(Exit::Failed, &format!("failed to print: {error}")),
        },
        Err(Trouble { exit, words }) => complain(exit, &words),
    }
}

fn play(args: DemoArgs) -> Exit {
    match runtime() {
        Ok(runtime) => runtime.block_on(demo::run(args)),
        Err(error) => complain(Exit::Failed, &chain(&error)),
    }
}

fn runtime() -> Result<Runtime, ServeError> {
    let built = Builder::new_multi_thread().enable_all().build();
    built.map_err(|source| ServeError::Runtime { source })
}

fn check(path: &std::path::Path, config: &Config) -> Exit {
    let conditions =
        Deployments::new(&config.deployments, &(Arc::new(SystemClock::new()) as _)).conditions();
    let endpoints = Endpoints::new(&config.endpoints).conditions();
    let text = summary::of(path, config, &conditions, &endpoints);
    let mut all = conditions.values().chain(endpoints.values());
    let is_well = all.all(|condition| condition.complaint.is_none());
    let is_said = io::stdout().write_all(text.as_bytes()).is_ok();
    if is_well && is_said { Exit::Done } else { Exit::Failed }
}

fn complain(exit: Exit, what: &str) -> Exit {
    // Where standard error is gone, the exit code still says it.
    writeln!(io::stderr(), "rolloutd: {}", what.trim()).ok();
    exit
}

fn paint() -> Paint {
    let coloured = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if coloured { Paint::Coloured } else { Paint::Plain }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn serve_needs_nothing_more() {
        let line = Line::try_parse_from(["rolloutd", "serve"]).unwrap();
        let Verb::Serve(args) = line.verb else { panic!("{line:?}") };
        assert_eq!(args.config, std::path::Path::new(CONFIG_PATH));
        assert!(!args.check);
    }
}
