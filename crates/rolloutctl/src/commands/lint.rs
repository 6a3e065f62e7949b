//! Owns `lint`: plan files in, mistakes out. Needs no daemon.

use std::path::{Path, PathBuf};

use rollout_api::{Exit, plan};
use rollout_core::Plan;
use serde_json::json;

use crate::cli::Format;
use crate::diagnose::PlanFile;
use crate::env::Env;
use crate::failure::Failure;
use crate::io::Io;
use crate::render::time::length;

/// Reads each file and shows what is wrong with it, or in one line what it is.
pub(super) fn run(
    files: &[PathBuf],
    format: Format,
    env: &Env,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for path in files {
        let text = read(path)?;
        let file = PlanFile { path, text: &text };
        let name = path.display().to_string();
        match (plan::parse(&text), format) {
            (Ok(plan), Format::Text) => io.print_line(&format!("{name}: {}", in_short(&plan)))?,
            (Ok(_), Format::Json) => io.print_json(&json!({ "file": name, "errors": [] }))?,
            (Err(errors), format) => {
                exit = Exit::Refused;
                match format {
                    Format::Text => {
                        io.print_rendered(&file.picture(&errors, env.stdout, env.width))?
                    }
                    Format::Json => {
                        io.print_json(&json!({ "file": name, "errors": file.values(&errors) }))?
                    }
                }
                let mistakes = if errors.count() == 1 { "mistake" } else { "mistakes" };
                io.say(&format!("{name}: {} {mistakes}", errors.count()));
            }
        }
    }
    Ok(exit)
}

/// Reads a plan file.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|source| Failure::Read { path: path.to_path_buf(), source })
}

fn in_short(plan: &Plan) -> String {
    let secs: i64 = plan.phases.iter().map(|phase| phase.bake.as_secs()).sum();
    let counted = |count: usize, one: &str, many: &str| {
        format!("{count} {}", if count == 1 { one } else { many })
    };
    format!(
        "good; {}, {}, {}, watched for {}",
        counted(plan.phases.len(), "phase", "phases"),
        counted(plan.flags().len(), "flag", "flags"),
        counted(plan.criteria.len(), "criterion", "criteria"),
        length(u64::try_from(secs).unwrap_or(0)),
    )
}
