//! Owns `rolloutd doctor`: everything that the daemon and its rollouts stand on, as one table, whether the daemon runs or not.
//!
//! A running daemon is asked for its deployments and rollouts, because its credentials and its environment are what
//! counts; without one this process looks itself.

pub(crate) mod daemon;
pub(crate) mod deployments;
pub(crate) mod endpoints;
mod machine;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use rollout_api::client::{Client, ClientError};
use rollout_api::{DoctorReport, DoctorRequest, DoctorSection, Exit, plan};
use rollout_core::Plan;
use rollout_engine::Clock;

use crate::cli::Paint;
use crate::config::{CONFIG_PATH, Config, Surroundings};
use crate::endpoints::Endpoints;
use crate::place::Trouble;
use crate::telemetry::chain;
use crate::wiring::Deployments;

use self::deployments::{DryStep, fail, unknown};
use self::machine::Daemon;

/// What to look at.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The configuration
    #[arg(long, value_name = "PATH", default_value = CONFIG_PATH)]
    config: PathBuf,
    /// A plan file: look at its deployment, for what this plan needs
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// How the findings are printed
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "text|json", hide_possible_values = true)]
    output: Output,
}

/// How the findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs, on one line.
    Json,
}

/// Looks at everything; the page for standard output and how to end.
pub(crate) async fn run(
    args: &DoctorArgs,
    clock: &Arc<dyn Clock>,
    paint: Paint,
) -> Result<(String, Exit), Trouble> {
    let config = Config::read(&args.config, &Surroundings::from_env())
        .map_err(|error| Trouble::new(Exit::Usage, error.render(paint)))?;
    let text = match &args.plan {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
            Trouble::new(Exit::Usage, format!("failed to read {}: {error}", path.display()))
        })?),
        None => None,
    };
    let plan = text.as_deref().map(plan::parse).transpose().map_err(|errors| {
        let words = format!("{errors}; `rolloutctl lint` shows every mistake at its line");
        Trouble::new(Exit::Refused, words)
    })?;
    let (state, others) = others(&config, text, plan.as_ref(), clock).await;
    let machine = machine::section(&args.config, &config, &state, clock.now());
    let report = DoctorReport { sections: [vec![machine], others].concat() };
    let page = match args.output {
        Output::Text => report.page(WIDTH),
        Output::Json => {
            let json = serde_json::to_string(&report);
            json.map_err(|error| Trouble::new(Exit::Failed, chain(&error)))? + "\n"
        }
    };
    Ok((page, report.exit()))
}

/// Everything but the machine: by the daemon, or by this process where none runs.
async fn others(
    config: &Config,
    text: Option<String>,
    plan: Option<&Plan>,
    clock: &Arc<dyn Clock>,
) -> (Daemon, Vec<DoctorSection>) {
    let request = DoctorRequest { plan: text, ..DoctorRequest::default() };
    let asked = match Client::unix(&config.socket) {
        Ok(client) => client.doctor(&request).await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(report) => (Daemon::Runs, report.sections),
        Err(ClientError::Unreachable { .. }) => (Daemon::Stopped, look(config, plan, clock).await),
        Err(ClientError::Problem(problem)) if problem.status == 403 => {
            let advice = "run this as an operator, or as rolloutd's user";
            let finding = unknown("access", problem.detail.clone(), advice);
            let mut sections =
                vec![DoctorSection { title: "rolloutd".to_owned(), findings: vec![finding] }];
            sections.extend(look(config, plan, clock).await);
            (Daemon::Runs, sections)
        }
        Err(error) => {
            let advice = "look at the daemon's journal: `journalctl -u rolloutd`";
            let finding = fail("answer", chain(&error), advice);
            (
                Daemon::Runs,
                vec![DoctorSection { title: "rolloutd".to_owned(), findings: vec![finding] }],
            )
        }
    }
}

async fn look(config: &Config, plan: Option<&Plan>, clock: &Arc<dyn Clock>) -> Vec<DoctorSection> {
    let deployments = Deployments::new(&config.deployments, clock);
    let endpoints = Endpoints::new(&config.endpoints);
    deployments::sections(&deployments, &endpoints, plan, DryStep::No, &**clock).await
}

/// Columns of the page.
const WIDTH: usize = 80;
