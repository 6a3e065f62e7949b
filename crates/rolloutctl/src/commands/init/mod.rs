//! Owns `init`: a starting plan from the flags on a live deployment, and the health module for apps that have none.
//!
//! Refuses to write a plan that `lint` would refuse, to replace a file without `--force`, and to guess at directories. Files
//! appear all or not at all.

mod app;
mod files;

use std::fs;
use std::path::{Path, PathBuf};

use files::Replace;
use rollout_api::{DeploymentView, Exit, opposite, plan};
use rollout_core::{FlagName, Plan};
use serde_json::json;

use super::Session;
use crate::cli::{Format, Init};
use crate::failure::Failure;
use crate::render::starting_plan::{self, Starting, StartingFlag};

/// The module, as it lies in the adapter's crate.
const MODULE: &str = include_str!("../../../../rollout-convex/convex/monitoring/dashboard.ts");
/// Where it goes below an app's `convex` directory: a directory and a file; the defaults of plans read it there.
const MODULE_PATH: [&str; 2] = ["monitoring", "dashboard.ts"];

impl Session<'_, '_> {
    pub(super) async fn init(mut self, init: Init) -> Result<Exit, Failure> {
        let replace = if init.force { Replace::Forced } else { Replace::Never };
        // Before anything is asked: where one file cannot be put, nothing should have been written.
        let module = init.module.as_deref().map(|dir| module_place(dir, replace)).transpose()?;
        if let Some(out) = &init.out {
            files::check(out, replace)?;
        }
        let deployment = self.client.deployment(&init.deployment).await?;
        let flags = flags(&deployment, init.flags.as_deref())?;
        let on_already = flags.iter().filter(|flag| flag.is_on()).count();
        let phases = flags.len() - on_already;
        let text = starting_plan::text(&Starting {
            deployment: &deployment.name,
            url: &deployment.url,
            file: init.out.as_deref(),
            flags,
            functions: deployment.functions.as_deref(),
            module: init.module.is_some(),
        });
        if let Err(errors) = plan::parse(&text) {
            return Err(Failure::Usage(format!(
                "the plan for {} would not be accepted ({errors}); with --module DIR the app gets the functions that a plan can read",
                deployment.name
            )));
        }
        write(module.as_deref(), init.out.as_deref(), &text, replace)?;
        match (self.format, &init.out) {
            (Format::Text, Some(_)) => {}
            (Format::Text, None) => self.io.print(&text)?,
            (Format::Json, out) => self.io.print_json(&json!({
                "deployment": deployment.name, "phases": phases, "on_already": on_already,
                "plan": text, "file": out, "module": module,
            }))?,
        }
        if on_already > 0 {
            self.io.say(&format!(
                "{} on already, so the plan has no phase for that but in a comment",
                counted(on_already, "flag is", "flags are")
            ));
        }
        self.say_what_next(module.as_deref(), init.out.as_deref(), phases);
        Ok(Exit::Done)
    }

    fn say_what_next(&mut self, module: Option<&Path>, out: Option<&Path>, phases: usize) {
        if let Some(path) = module {
            self.io.say(&format!(
                "wrote {}: say in it which tables are the app's, then `npx convex deploy`",
                path.display()
            ));
        }
        if let Some(path) = out {
            let (path, phases) = (path.display(), counted(phases, "phase", "phases"));
            self.io.say(&format!(
                "wrote {path}: {phases}; read it, then `rolloutctl doctor {path}` and `rolloutctl start {path}`"
            ));
        }
    }
}

/// Where the module goes, when it can.
fn module_place(dir: &Path, replace: Replace) -> Result<PathBuf, Failure> {
    app::check(dir)?;
    let [below, name] = MODULE_PATH;
    let below = dir.join(below);
    let path = below.join(name);
    // The directory of the module may be missing; whatever else has its name is in the way.
    if fs::symlink_metadata(&below).is_ok() {
        files::check(&path, replace)?;
    }
    Ok(path)
}

/// Writes the module and the plan, or neither.
fn write(
    module: Option<&Path>,
    out: Option<&Path>,
    plan: &str,
    replace: Replace,
) -> Result<(), Failure> {
    let made = module.and_then(Path::parent).filter(|below| !below.exists());
    if let Some(below) = made {
        fs::create_dir(below)
            .map_err(|source| Failure::Write { path: below.to_path_buf(), source })?;
    }
    let files: Vec<_> =
        module.map(|path| (path, MODULE)).into_iter().chain(out.map(|path| (path, plan))).collect();
    let written = files::write(&files, replace);
    if let (Err(_), Some(below)) = (&written, made) {
        fs::remove_dir(below).ok();
    }
    written
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The flags to plan for: values that read like a flag's, names that fit the pattern.
fn flags<'a>(
    deployment: &'a DeploymentView,
    pattern: Option<&str>,
) -> Result<Vec<StartingFlag<'a>>, Failure> {
    let fits = |name: &str| pattern.is_none_or(|pattern| matches(pattern, name));
    let flags: Vec<_> = deployment
        .variables
        .iter()
        .filter(|variable| fits(&variable.name) && FlagName::new(&variable.name).is_some())
        .filter_map(|variable| {
            let now = variable.value.as_deref()?;
            Some(StartingFlag { name: &variable.name, now, on: opposite(now)? })
        })
        .collect();
    let name = &deployment.name;
    let such = pattern.map(|pattern| format!(" like {pattern}")).unwrap_or_default();
    if flags.is_empty() {
        let others = deployment.variables.iter().filter(|variable| fits(&variable.name)).count();
        let others = counted(others, "variable", "variables");
        return Err(Failure::Usage(format!(
            "there is no flag{such} on {name}: {others}{such}, none with a value such as `true` or `off`; set each flag to its safe value first"
        )));
    }
    let count = flags.iter().filter(|flag| !flag.is_on()).count();
    if count == 0 {
        return Err(Failure::Usage(format!(
            "there is nothing to turn on: every flag{such} on {name} is on already; set what is to be rolled out to its safe value first"
        )));
    }
    if count > Plan::PHASES_MAX {
        let max = Plan::PHASES_MAX;
        return Err(Failure::Usage(format!(
            "{count} variables on {name} read like flags, and a plan has at most {max} phases; choose with --flags 'ENABLE_*'"
        )));
    }
    Ok(flags)
}

/// True when `name` fits a pattern in which `*` stands for any letters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    rest.char_indices()
        .map(|(at, _)| at)
        .chain([rest.len()])
        .any(|at| rest.get(at..).is_some_and(|rest| matches(tail, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_letters() {
        for (pattern, name, fits) in [
            ("ENABLE_*", "ENABLE_X", true),
            ("ENABLE_*", "XENABLE_X", false),
            ("*_ENABLED", "LOG_ENABLED", true),
            ("*LOG*", "A_LOG_B", true),
            ("A", "A", true),
            ("A", "AB", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
