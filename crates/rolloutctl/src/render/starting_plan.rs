//! Owns the text of a starting plan: commented, so that it is read and changed before it is used.
//!
//! Pure. The phases are in the order of the flags' names; the safe value of a flag is the one that it has.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// What a starting plan is made of.
#[derive(Clone, Debug)]
pub(crate) struct Starting<'a> {
    /// The deployment's name in the daemon's configuration.
    pub(crate) deployment: &'a str,
    /// Where it answers.
    pub(crate) url: &'a str,
    /// The file that the text goes to; `None` = not known.
    pub(crate) file: Option<&'a Path>,
    /// The flags, in the order of their names.
    pub(crate) flags: Vec<StartingFlag<'a>>,
    /// All functions of the app; `None` = not known.
    pub(crate) functions: Option<&'a [String]>,
    /// Whether the app is about to get the module with the health functions.
    pub(crate) module: bool,
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartingFlag<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its value now.
    pub(crate) now: &'a str,
    /// The other one.
    pub(crate) on: &'a str,
}

impl StartingFlag<'_> {
    /// True when the flag is on already, so that there is nothing to turn on.
    pub(crate) fn is_on(&self) -> bool {
        matches!(self.now.to_ascii_lowercase().as_str(), "true" | "on" | "1" | "enabled")
    }
}

/// Where the numbers come from.
enum Health {
    /// From the functions of the guide, in this module; the second one may be missing.
    Functions { health: String, alerts: Option<String> },
    /// From finished executions: no code of the app is needed.
    Executions,
}

/// The text.
pub(crate) fn text(starting: &Starting<'_>) -> String {
    let health = health(starting);
    let mut text = String::new();
    // Writing into a text cannot fail.
    head(&mut text, starting, &health).ok();
    criteria(&mut text, &health);
    text.push_str(CHECKLIST);
    phases(&mut text, &starting.flags).ok();
    text
}

fn health(starting: &Starting<'_>) -> Health {
    let guide = |name: &str| format!("monitoring/dashboard:{name}");
    let Some(functions) = starting.functions.filter(|_| !starting.module) else {
        let (health, alerts) = (guide("getSystemHealth"), Some(guide("checkAlerts")));
        return Health::Functions { health, alerts };
    };
    let find = |name: &str| {
        let is_such = |path: &&String| path.rsplit(':').next() == Some(name);
        let usual = guide(name);
        functions.iter().find(|path| **path == usual).or_else(|| functions.iter().find(is_such))
    };
    match find("getSystemHealth") {
        Some(health) => {
            Health::Functions { health: health.clone(), alerts: find("checkAlerts").cloned() }
        }
        None => Health::Executions,
    }
}

fn head(text: &mut String, starting: &Starting<'_>, health: &Health) -> std::fmt::Result {
    let Starting { deployment, url, flags, .. } = starting;
    let flags = match flags.len() {
        1 => "1 flag".to_owned(),
        count => format!("{count} flags"),
    };
    writeln!(
        text,
        "# A starting plan, made by `rolloutctl init` from {flags} on {deployment} ({url})."
    )?;
    // A name with a line end in it would end the comment.
    let file = starting.file.map(|file| file.display().to_string().replace(char::is_control, "?"));
    let file = file.unwrap_or_else(|| "FILE".to_owned());
    writeln!(
        text,
        "# Read it, put the phases in the order of their risk, and take out what is no flag of yours. Then:\n\
         #\n\
         #   rolloutctl lint {file}     # every mistake, without a daemon\n\
         #   rolloutctl doctor {file}   # everything that it stands on\n\
         #   rolloutctl start {file}\n"
    )?;
    writeln!(text, "name = \"{}\"", slug(&format!("{deployment}-flags")))?;
    writeln!(text, "title = \"Feature Rollout Log: {deployment}\"\n")?;
    text.push_str("# A name from the daemon's configuration. The deployment's address and key live there, never in a plan.\n");
    writeln!(text, "deployment = \"{deployment}\"")?;
    if matches!(health, Health::Executions) {
        text.push_str("\n# Functions that the log's quick reference names to people; this app has none of the guide's.\nreference = []\n");
    }
    text.push_str(WATCH);
    match health {
        Health::Functions { health, alerts } => {
            if starting.functions.is_none() || starting.module {
                text.push_str("# These functions have to be deployed before the rollout starts; `rolloutctl doctor` says whether they are.\n");
            }
            // The module is known to answer for a range of time; of other functions only their name is.
            let range =
                if starting.module { ", args = { from = \"$from\", to = \"$to\" }" } else { "" };
            writeln!(text, "[sources]\nhealth = {{ function = \"{health}\"{range} }}")?;
            if let Some(alerts) = alerts {
                writeln!(text, "alerts = {{ function = \"{alerts}\"{range} }}")?;
            }
            Ok(())
        }
        Health::Executions => {
            text.push_str(
                "# The app has no getSystemHealth, so the executions of its functions are watched: all of them, over a quarter\n\
                 # of an hour. Name the functions that the flags touch, and small errors are seen sooner.\n\
                 [sources]\ncalls = { executions = [], over = \"15m\", calls_min = 20 }\n",
            );
            Ok(())
        }
    }
}

fn criteria(text: &mut String, health: &Health) {
    text.push_str(CRITERIA);
    match health {
        Health::Functions { alerts, .. } => {
            text.push_str(OF_HEALTH);
            if alerts.is_some() {
                text.push_str(OF_ALERTS);
            }
        }
        Health::Executions => text.push_str(OF_CALLS),
    }
}

fn phases(text: &mut String, flags: &[StartingFlag<'_>]) -> std::fmt::Result {
    let mut taken = BTreeSet::new();
    for flag in flags {
        let StartingFlag { name, now, on } = flag;
        let short = Some(slug(core(name))).filter(|short| !taken.contains(short));
        // Two flags may differ only in what is left out of the short name.
        let mut short = short.unwrap_or_else(|| slug(name));
        while !taken.insert(short.clone()) {
            short.push('x');
        }
        let phase = format!(
            "[[phases]]\nname = \"{short}\"\n\
             purpose = \"\" # what the flag is for\nrisk = \"medium\"\nrollback_impact = \"\"\n\
             flags = {{ {name} = {{ on = \"{on}\", safe = \"{now}\" }} }}\n\
             bake = \"24h\"\ncheckpoints = [\"1h\", \"6h\", \"12h\", \"24h\"]\n"
        );
        if !flag.is_on() {
            write!(text, "\n{phase}")?;
            continue;
        }
        writeln!(
            text,
            "\n# {name} is `{now}` now, so this phase would turn it off. Where that is what you want, take the `#` away."
        )?;
        phase.lines().try_for_each(|line| writeln!(text, "# {line}"))?;
    }
    Ok(())
}

/// A flag's name without the words that all flags have.
fn core(name: &str) -> &str {
    let short = name.strip_prefix("ENABLE_").unwrap_or(name);
    let short = short.strip_suffix("_ENABLED").unwrap_or(short);
    if short.trim_matches('_').is_empty() { name } else { short }
}

/// A short name: lower-case letters, digits, `-`; at most 60 bytes.
fn slug(name: &str) -> String {
    let letter = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() => letter.to_ascii_lowercase(),
        _ => '-',
    };
    let slug: String = name.chars().map(letter).take(60).collect();
    let slug = slug.trim_matches('-');
    if slug.is_empty() { "flag".to_owned() } else { slug.to_owned() }
}

const WATCH: &str = "

# ---- How closely a window is watched -------------------------------------------------------------------------------

[watch]
# Every 15 minutes during the first hour, every 30 minutes afterwards.
checks = [{ until = \"1h\", every = \"15m\" }, { every = \"30m\" }]
# A phase completes only when at least this share of its window was really observed.
coverage = \"90%\"
# After downtime a window grows by what was not observed (\"extend\"), or the rollout waits for a person (\"hold\").
missed = \"extend\"
# When somebody else changes a flag: wait for a person (\"hold\"), set it back (\"revert\"), or take it as it is (\"adopt\").
drift = \"hold\"
# When code is pushed during a window: wait for a person (\"hold\"), watch the whole window from then on (\"extend\"), or
# verify the phase again as well (\"rebaseline\").
code_push = \"hold\"


# ---- Where the numbers come from -----------------------------------------------------------------------------------

";

const CRITERIA: &str = "

# ---- Success criteria ----------------------------------------------------------------------------------------------
# Beyond `target` is a warning. Beyond `alert` is a breach: the phase is rolled back at once, by itself.
# No value, or one that cannot be read, is neither: it holds up the clock, not the flag.
";

const OF_HEALTH: &str = "
[[criteria]]
name = \"health_status\"
label = \"Health Status\"
source = \"health\"
pointer = \"/status\"
unit = \"text\"
target = \"= healthy\"

[[criteria]]
name = \"stuck_workflows\"
label = \"Stuck Workflows\"
source = \"health\"
pointer = \"/stuckWorkflows\"
unit = \"count\"
target = \"= 0\"
alert = \"> 3\"

[[criteria]]
name = \"stuck_messages\"
label = \"Stuck Messages\"
source = \"health\"
pointer = \"/stuckMessages\"
unit = \"count\"
target = \"= 0\"

[[criteria]]
name = \"error_rate\"
label = \"Error Rate\"
source = \"health\"
pointer = \"/errorRate\"
unit = \"percent\"
target = \"< 1%\"
alert = \"> 5%\"

[[criteria]]
name = \"completion_rate\"
label = \"Completion Rate\"
source = \"health\"
pointer = \"/completionRate\"
unit = \"percent\"
target = \"> 99%\"
alert = \"< 95%\"

[[criteria]]
name = \"response_time\"
label = \"Response Time\"
source = \"health\"
pointer = \"/responseTimeMs\"
unit = \"ms\"
target = \"< 5s\"
alert = \"> 10s\"
";

const OF_ALERTS: &str = "
[[criteria]]
name = \"alert_count\"
label = \"Alert Count\"
source = \"alerts\"
pointer = \"/alerts\" # a list counts as its length
unit = \"count\"
target = \"= 0\"
";

const OF_CALLS: &str = "
[[criteria]]
name = \"error_rate\"
label = \"Error Rate\"
source = \"calls\"
pointer = \"/errorRate\"
unit = \"percent\"
target = \"< 1%\"
alert = \"> 5%\"

[[criteria]]
name = \"response_time\"
label = \"Response Time (p95)\"
source = \"calls\"
pointer = \"/p95\"
unit = \"ms\"
target = \"< 5s\"
alert = \"> 10s\"
";

const CHECKLIST: &str = "

# ---- Before enabling each flag -------------------------------------------------------------------------------------
# One item is answered by the plan itself, two by a person:
#   rolloutctl check r1 runbook --reason \"read it this morning\"

[[checklist]]
name = \"thresholds\"
text = \"Alert thresholds set\"
check = \"thresholds\"

[[checklist]]
name = \"runbook\"
text = \"Runbook reviewed\"

[[checklist]]
name = \"team-notified\"
text = \"Team notified\"


# ---- The phases, each watched for a day before the next one --------------------------------------------------------
";

#[cfg(test)]
mod tests {
    use rollout_api::plan;

    use super::*;

    const FLAGS: [StartingFlag<'static>; 4] = [
        StartingFlag { name: "ENABLE_A", now: "false", on: "true" },
        StartingFlag { name: "A_ENABLED", now: "off", on: "on" },
        StartingFlag { name: "_", now: "0", on: "1" },
        StartingFlag { name: "LIVE", now: "true", on: "false" },
    ];

    fn made(functions: Option<&[String]>) -> String {
        let flags = FLAGS.to_vec();
        text(&Starting {
            deployment: "production",
            url: "http://127.0.0.1:3210",
            file: Some(Path::new("plan.toml")),
            flags,
            functions,
            module: false,
        })
    }

    fn functions(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn the_plan_has_no_mistakes_and_one_phase_a_flag() {
        let all = functions(&["monitoring/dashboard:checkAlerts", "ops:getSystemHealth"]);
        for known in [None, Some(all.as_slice()), Some(&all[1..])] {
            let text = made(known);
            let plan = plan::parse(&text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
            let names: Vec<_> = plan.phases.iter().map(|phase| phase.name.as_str()).collect();
            assert_eq!(names, ["a", "a-enabled", "flag"], "LIVE is on already");
            let first = plan.phases[0].flags.values().next().unwrap();
            assert_eq!((first.safe.as_str(), first.on.as_str()), ("false", "true"));
            assert_eq!(plan.phases[0].checkpoints.len(), 4);
        }
        let text = made(Some(&all));
        assert!(
            text.contains("\"ops:getSystemHealth\"") && text.contains("rolloutctl start plan.toml")
        );
        for key in ["checks", "coverage", "missed", "drift", "code_push"] {
            assert!(text.lines().any(|line| line.starts_with(&format!("{key} = "))), "no {key}");
        }
        // Whoever wants the flag off takes the marks away, and has a phase.
        let (before, phase) = text.split_once("\n# LIVE is `true` now").unwrap();
        let phase: Vec<_> =
            phase.lines().skip(1).filter_map(|line| line.strip_prefix("# ")).collect();
        let phase = phase.join("\n");
        let plan = plan::parse(&format!("{before}\n{phase}")).unwrap();
        let live = plan.phases[3].flags.values().next().unwrap();
        assert_eq!((live.safe.as_str(), live.on.as_str()), ("true", "false"));
    }

    #[test]
    fn an_app_without_health_functions_is_watched_by_its_executions() {
        let text = made(Some(&functions(&["messages:send"])));
        let plan = plan::parse(&text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
        assert!(plan.reference.is_empty() && plan.sources.contains_key("calls"));
        assert!(text.contains("executions = []") && !text.contains("function ="), "{text}");
    }
}
