//! Owns the command line: every verb, its arguments and its help. The doc comments are the manual.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;
use rollout_api::client::IdempotencyKey;
use rollout_core::RolloutId;

const EXIT_CODES: &str = "\
Exit codes: 0 done · 1 failed · 2 usage · 3 refused, or the plan has errors · 4 partly done
            5 held · 6 rolled back · 7 aborted · 8 time-out · 9 daemon unreachable · 130 interrupted";

/// Turns feature flags on one by one, watches each, and turns it off again when it hurts.
#[derive(Debug, Parser)]
#[command(name = "rolloutctl", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// The daemon's socket [env: ROLLOUTD_SOCKET] [default: /run/rolloutd/rolloutd.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// How data is printed: for people, or for programs with one JSON value a line
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t = Format::Text,
        value_name = "text|json",
        hide_possible_values = true
    )]
    pub(crate) output: Format,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs, one value a line; refusals on stderr too.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Read plan files and show every mistake; needs no daemon
    Lint {
        /// Plan files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Look at everything that rollouts stand on, and say what to do about what is not well
    Doctor(Doctor),
    /// Write a starting plan from the flags that are on a deployment
    Init(Init),
    /// Start a rollout of a plan
    Start(Start),
    /// List all rollouts
    List,
    /// Show a rollout
    Get {
        /// The rollout: r42
        #[arg(value_name = "ROLLOUT")]
        id: RolloutId,
        /// Show it again whenever something happens, until it ends
        #[arg(short, long)]
        watch: bool,
    },
    /// Say in one line and in the exit code how a rollout is, now or when something is reached
    Status {
        /// The rollout: r42
        #[arg(value_name = "ROLLOUT")]
        id: RolloutId,
        /// Wait for this. Ends early, with its own exit code, when the rollout ends or needs a person before that
        #[arg(long, value_enum, value_name = "CONDITION")]
        until: Option<Until>,
        /// Wait no longer than this: 45s, 30m, 26h
        #[arg(long, value_parser = waiting_time, requires = "until", value_name = "DURATION")]
        timeout: Option<Duration>,
    },
    /// Print a rollout's log, in Markdown
    Log {
        /// The rollout: r42
        #[arg(value_name = "ROLLOUT")]
        id: RolloutId,
    },
    /// Print what happened to a rollout, one line an event
    Events {
        /// The rollout: r42
        #[arg(value_name = "ROLLOUT")]
        id: RolloutId,
        /// Go on printing until the rollout ends
        #[arg(short, long)]
        follow: bool,
        /// Begin behind this event
        #[arg(long, default_value_t = 0, value_name = "N")]
        after: u64,
    },
    /// Tick a checklist item
    Check(Check),
    /// Give an order.
    #[command(flatten)]
    Order(Command),
}

/// The orders, except `check`, which may be many at once.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Approve a phase
    Approve(PhaseOrder),
    /// Stop advancing; watching goes on
    Hold(Order),
    /// Release a hold; skips nothing
    Resume(Order),
    /// End the running bake window now and waive what is still due in it
    Promote(Order),
    /// Leave out a phase that is not enabled
    Skip {
        #[command(flatten)]
        order: Order,
        /// The phase's number
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
        phase: u8,
    },
    /// Try rolled-back phases again
    Retry(Order),
    /// End the rollout; a phase that is not completed is rolled back first
    Abort(Order),
    /// Put flags back to their safe values
    Rollback {
        #[command(flatten)]
        order: Order,
        /// All phases, not only the latest
        #[arg(long)]
        all: bool,
    },
    /// Work on incidents
    #[command(subcommand)]
    Incident(IncidentVerb),
}

/// `incident …`
#[derive(Debug, Subcommand)]
pub(crate) enum IncidentVerb {
    /// Close an incident; the reason is its note, and its flags are unlocked
    Resolve {
        #[command(flatten)]
        order: Order,
        /// The incident's number
        #[arg(value_name = "N")]
        number: u32,
    },
}

/// `doctor`
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// A plan file or a rollout (r42): look at its deployment, for what its plan needs. Otherwise at all deployments
    #[arg(value_name = "PLAN|ROLLOUT")]
    pub(crate) target: Option<PathBuf>,
    /// Also write the safe values that flags have already, to learn whether the app accepts them. Changes no value, but
    /// the rows' times, and runs subscriptions again; refused while a rollout is live on the deployment
    #[arg(long, requires = "target")]
    pub(crate) write_safe_values: bool,
}

/// `init`
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// A deployment from the daemon's configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) deployment: String,
    /// Only variables like this, with `*` for any letters: 'ENABLE_*'. Otherwise all whose value is true, off, 1 …
    #[arg(long, value_name = "PATTERN")]
    pub(crate) flags: Option<String>,
    /// The app's `convex` directory: put the health functions there that plans read, as monitoring/dashboard.ts
    #[arg(long, value_name = "DIR")]
    pub(crate) module: Option<PathBuf>,
    /// Write the plan into this file; otherwise it is printed
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    pub(crate) force: bool,
}

/// `start`
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The plan file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Begin at this time: 2026-11-23T09:00:00Z, or 2026-11-23T09:00 in your zone
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Why; goes into the log
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Makes repeating this command harmless; one is made up when there is none
    #[arg(long, value_parser = key, value_name = "KEY")]
    pub(crate) idempotency_key: Option<IdempotencyKey>,
    /// Wait until it is done, like `status --until done`
    #[arg(long)]
    pub(crate) wait: bool,
}

/// An order without anything else.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// The rollout: r42
    #[arg(value_name = "ROLLOUT")]
    pub(crate) id: RolloutId,
    /// Why; goes into the log
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// An order about one phase.
#[derive(Debug, Args)]
pub(crate) struct PhaseOrder {
    #[command(flatten)]
    pub(crate) order: Order,
    /// The phase's number; otherwise the current one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) phase: Option<u8>,
}

/// `check`
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) order: Order,
    /// The item's short name: runbook
    #[arg(value_name = "ITEM")]
    pub(crate) item: String,
    /// The phase's number; otherwise the current one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) phase: Option<u8>,
    /// Tick it for every phase that still needs it
    #[arg(long, conflicts_with = "phase")]
    pub(crate) all_phases: bool,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    /// The rollout is completed.
    Done,
    /// The rollout is held and needs a person.
    Held,
    /// The next checkpoint has its verdict.
    Checkpoint,
    /// The next phase is completed or skipped.
    Phase,
    /// Flags are back at their safe values.
    RolledBack,
}

impl Until {
    /// The condition as the command line spells it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Held => "held",
            Self::Checkpoint => "checkpoint",
            Self::Phase => "phase",
            Self::RolledBack => "rolled-back",
        }
    }
}

fn waiting_time(text: &str) -> Result<Duration, String> {
    let refusal = || "durations look like `45s`, `30m` or `26h`".to_string();
    let duration = SignedDuration::from_str(text).map_err(|_| refusal())?;
    Duration::try_from(duration).map_err(|_| refusal())
}

fn key(text: &str) -> Result<IdempotencyKey, String> {
    IdempotencyKey::new(text)
        .ok_or_else(|| "a key has 1 to 128 visible ASCII characters".to_string())
}
