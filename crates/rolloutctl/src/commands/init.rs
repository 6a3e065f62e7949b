//! Owns `init`: a starting plan from the flags on a live deployment, and the health module for apps that have none.
//!
//! Refuses to write a plan that `lint` would refuse, and to replace a file without `--force`. Files appear whole or not at
//! all.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rollout_api::{DeploymentView, Exit, opposite, plan};
use rollout_core::{FlagName, Plan};

use super::Session;
use crate::cli::Init;
use crate::failure::Failure;
use crate::render::starting_plan::{self, Starting, StartingFlag};

/// The module, as it lies in the adapter's crate.
const MODULE: &str = include_str!("../../../rollout-convex/convex/monitoring/dashboard.ts");
/// Where it goes below an app's `convex` directory; the defaults of plans read it there.
const MODULE_PATH: &str = "monitoring/dashboard.ts";

/// Whether a file that is there may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replace {
    Never,
    Forced,
}

impl Session<'_, '_> {
    pub(super) async fn init(self, init: Init) -> Result<Exit, Failure> {
        let replace = if init.force { Replace::Forced } else { Replace::Never };
        let module = init.module.as_deref().map(|dir| dir.join(MODULE_PATH));
        // Before anything is asked: with a file that may not be replaced, nothing should have been written.
        for path in init.out.iter().chain(&module) {
            check_free(path, replace)?;
        }
        let deployment = self.client.deployment(&init.deployment).await?;
        let flags = flags(&deployment, init.flags.as_deref())?;
        let count = flags.len();
        let text = starting_plan::text(&Starting {
            deployment: &deployment.name,
            url: &deployment.url,
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
        if let Some(path) = &module {
            write(path, MODULE, replace)?;
            self.io.say(&format!(
                "wrote {}: say in it which tables are the app's, then `npx convex deploy`",
                path.display()
            ));
        }
        match &init.out {
            None => self.io.print(&text)?,
            Some(path) => {
                write(path, &text, replace)?;
                let path = path.display();
                let phases = if count == 1 { "phase" } else { "phases" };
                self.io.say(&format!(
                    "wrote {path}: {count} {phases}; read it, then `rolloutctl doctor {path}` and `rolloutctl start {path}`"
                ));
            }
        }
        Ok(Exit::Done)
    }
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
    if flags.is_empty() {
        let others = deployment.variables.iter().filter(|variable| fits(&variable.name)).count();
        let such = pattern.map(|pattern| format!(" like {pattern}")).unwrap_or_default();
        return Err(Failure::Usage(format!(
            "there is no flag{such} on {name}: {others} variables{such}, none with a value such as `true` or `off`; set each flag to its safe value first"
        )));
    }
    if flags.len() > Plan::PHASES_MAX {
        let (count, max) = (flags.len(), Plan::PHASES_MAX);
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

fn check_free(path: &Path, replace: Replace) -> Result<(), Failure> {
    if replace == Replace::Never && fs::symlink_metadata(path).is_ok() {
        return Err(taken(path));
    }
    Ok(())
}

fn taken(path: &Path) -> Failure {
    Failure::Usage(format!(
        "{} is there already and was not touched; --force replaces it",
        path.display()
    ))
}

/// Writes a file next to its place and then puts it there in one step.
fn write(path: &Path, text: &str, replace: Replace) -> Result<(), Failure> {
    let failed = |source| Failure::Write { path: path.to_path_buf(), source };
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir).map_err(failed)?;
    }
    let draft = draft(path);
    let placed = fill(&draft, text).and_then(|()| match replace {
        Replace::Forced => fs::rename(&draft, path),
        // A link is refused where a file is, also one that came just now.
        Replace::Never => fs::hard_link(&draft, path),
    });
    fs::remove_file(&draft).ok();
    match placed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(taken(path)),
        placed => placed.map_err(failed),
    }
}

fn fill(draft: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn draft(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
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

    #[test]
    fn a_file_is_replaced_only_by_force_and_no_draft_stays() {
        let dir = std::env::temp_dir().join(format!("rolloutctl-init-{}", std::process::id()));
        let path = dir.join("deep/plan.toml");
        write(&path, "one", Replace::Never).unwrap();
        let refused = write(&path, "two", Replace::Never).unwrap_err().to_string();
        assert!(refused.contains("--force"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        write(&path, "two", Replace::Forced).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(dir.join("deep")).unwrap().count(), 1);
        fs::remove_dir_all(dir).unwrap();
    }
}
