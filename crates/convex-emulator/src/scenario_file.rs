//! The scenario file: TOML as people write it, turned into a [`Scenario`].
//!
//! Refuses everything it does not know: keys, health fields, functions, outcomes. A scenario with
//! a spelling mistake would otherwise be a healthy one, and a test with it would prove nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::SignedDuration;
use serde::Deserialize;
use thiserror::Error;
use toml::Value as Toml;

use crate::audit::AuditAccess;
use crate::completion::LogLine;
use crate::declared::DeclaredVariable;
use crate::functions;
use crate::health::NOISY_FIELDS;
use crate::scenario::{Alert, Change, Log, Outage, OutageKind, Scenario, TaskOutcome, Throw};
use crate::scenario_traffic::{
    TrafficChangeText, TrafficText, check_names, read_traffic, read_traffic_change,
};
use crate::scenario_values::{known_field, known_name, read_scalar, read_span, read_value};
use crate::value::Value;

/// What is wrong with a scenario file.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read scenario {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not TOML, or has a key or a kind that does not exist.
    #[error("the scenario is not valid")]
    Syntax(#[source] Box<toml::de::Error>),
    /// A duration cannot be read.
    #[error("{place}: `{text}` is not a duration such as \"5h\" or \"2h 30m\"")]
    Duration {
        /// Where in the file.
        place: String,
        /// What is written there.
        text: String,
    },
    /// A name that does not exist.
    #[error("{place}: there is no {kind} `{name}`; known are {known}")]
    UnknownName {
        /// Where in the file.
        place: String,
        /// What kind of name.
        kind: &'static str,
        /// The name.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A value of the wrong type or out of range.
    #[error("{place}: expected {expected}")]
    Unexpected {
        /// Where in the file.
        place: String,
        /// What must be written there.
        expected: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(default)]
    base: BTreeMap<String, Toml>,
    #[serde(default)]
    change: Vec<ChangeText>,
    #[serde(default)]
    outage: Vec<OutageText>,
    #[serde(default)]
    task: Vec<TaskText>,
    #[serde(default)]
    traffic: Vec<TrafficText>,
    #[serde(default)]
    variable: Vec<DeclaredVariable>,
    #[serde(default)]
    deployment: DeploymentText,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct DeploymentText {
    audit_log: bool,
    redact: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeText {
    #[serde(default)]
    when: BTreeMap<String, String>,
    after: Option<String>,
    lasts: Option<String>,
    #[serde(default)]
    set: BTreeMap<String, Toml>,
    #[serde(default)]
    null: Vec<String>,
    #[serde(default)]
    unset: Vec<String>,
    #[serde(default)]
    alerts: Vec<AlertText>,
    throw: Option<ThrowText>,
    log: Option<LogText>,
    #[serde(default)]
    traffic: Vec<TrafficChangeText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertText {
    severity: String,
    message: String,
    metric: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThrowText {
    function: String,
    message: String,
    #[serde(rename = "data")]
    error_value: Option<Toml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogText {
    function: String,
    #[serde(default = "LogText::level")]
    level: String,
    lines: Vec<String>,
}

impl LogText {
    fn level() -> String {
        "LOG".to_owned()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutageText {
    at: String,
    lasts: String,
    kind: OutageKindText,
    status: Option<u16>,
    code: Option<String>,
}

#[derive(Deserialize, PartialEq, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum OutageKindText {
    Refuse,
    Status,
    Slow,
    Reset,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskText {
    name: String,
    outcome: TaskOutcomeText,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum TaskOutcomeText {
    Failed,
    Never,
}

pub(crate) fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    let file: FileText =
        toml::from_str(text).map_err(|source| ScenarioError::Syntax(Box::new(source)))?;
    let mut scenario = Scenario::default();
    read_base(file.base, &mut scenario)?;
    for (index, change) in file.change.into_iter().enumerate() {
        scenario.changes.push(read_change(change, &format!("change {}", index + 1))?);
    }
    for (index, outage) in file.outage.into_iter().enumerate() {
        scenario.outages.push(read_outage(outage, &format!("outage {}", index + 1))?);
    }
    for task in file.task {
        let outcome = match task.outcome {
            TaskOutcomeText::Failed => TaskOutcome::Failed,
            TaskOutcomeText::Never => TaskOutcome::Never,
        };
        scenario.tasks.insert(task.name, outcome);
    }
    for (index, traffic) in file.traffic.into_iter().enumerate() {
        scenario.traffic.push(read_traffic(traffic, &format!("traffic {}", index + 1))?);
    }
    scenario.declared = file.variable;
    scenario.redacts = file.deployment.redact;
    if file.deployment.audit_log {
        scenario.audit_access = AuditAccess::Enabled;
    }
    check_names(&mut scenario.changes, &scenario.traffic)?;
    Ok(scenario)
}

fn read_base(base: BTreeMap<String, Toml>, scenario: &mut Scenario) -> Result<(), ScenarioError> {
    for (key, value) in base {
        let place = format!("base.{key}");
        if key == "noise" {
            read_noise(value, scenario)?;
        } else if key == "seed" {
            let seed = value.as_integer().and_then(|seed| u64::try_from(seed).ok());
            let expected = "a whole number from 0 on";
            scenario.seed = seed.ok_or(ScenarioError::Unexpected { place, expected })?;
        } else {
            let value = read_scalar(value, &place)?;
            scenario.base.insert(known_field(key, "base")?, value);
        }
    }
    Ok(())
}

fn read_noise(noise: Toml, scenario: &mut Scenario) -> Result<(), ScenarioError> {
    let unexpected = |place: String, expected| ScenarioError::Unexpected { place, expected };
    let table = noise
        .as_table()
        .ok_or_else(|| unexpected("base.noise".to_owned(), "a table of field = number"))?;
    for (field, size) in table {
        let place = format!("base.noise.{field}");
        known_name(field, &NOISY_FIELDS, "base.noise", "noisy field")?;
        #[expect(clippy::cast_precision_loss, reason = "noise is small")]
        let size = size.as_float().or_else(|| size.as_integer().map(|size| size as f64));
        let size = size.filter(|size| size.is_finite() && *size >= 0.0);
        let size = size.ok_or_else(|| unexpected(place, "a number from 0 on"))?;
        scenario.noise.insert(field.clone(), size);
    }
    Ok(())
}

fn read_change(text: ChangeText, place: &str) -> Result<Change, ScenarioError> {
    let mut fields = BTreeMap::new();
    for (field, value) in text.set {
        let value = read_scalar(value, &format!("{place}: set.{field}"))?;
        fields.insert(known_field(field, place)?, Some(value));
    }
    for field in text.null {
        fields.insert(known_field(field, place)?, Some(Value::Null));
    }
    for field in text.unset {
        fields.insert(known_field(field, place)?, None);
    }
    let throw = text.throw.map(|throw| read_throw(throw, place)).transpose()?;
    let log = text.log.map(|log| read_log(log, place)).transpose()?;
    let alerts = text.alerts.into_iter().map(|alert| Alert {
        severity: alert.severity,
        message: alert.message,
        metric: alert.metric,
    });
    let traffic = text.traffic.into_iter().map(|traffic| read_traffic_change(traffic, place));
    Ok(Change {
        when: text.when,
        after: text.after.map_or(Ok(SignedDuration::ZERO), |after| read_span(&after, place))?,
        lasts: text.lasts.map(|lasts| read_span(&lasts, place)).transpose()?,
        fields,
        alerts: alerts.collect(),
        traffic: traffic.collect::<Result<_, _>>()?,
        throw,
        log,
    })
}

fn read_log(text: LogText, place: &str) -> Result<Log, ScenarioError> {
    known_name(&text.function, &functions::names(), place, "function")?;
    known_name(&text.level, &LOG_LEVELS, place, "level of a log line")?;
    let line = |line: String| LogLine { level: text.level.clone(), text: format!("'{line}'") };
    Ok(Log { function: text.function, lines: text.lines.into_iter().map(line).collect() })
}

fn read_throw(text: ThrowText, place: &str) -> Result<Throw, ScenarioError> {
    known_name(&text.function, &functions::names(), place, "function")?;
    let error_value = text.error_value.map(|value| read_value(value, place)).transpose()?;
    Ok(Throw { function: text.function, message: text.message, error_value })
}

fn read_outage(text: OutageText, place: &str) -> Result<Outage, ScenarioError> {
    if text.kind != OutageKindText::Status && (text.status.is_some() || text.code.is_some()) {
        let expected = "`status` and `code` only with kind = \"status\"";
        return Err(ScenarioError::Unexpected { place: place.to_owned(), expected });
    }
    let kind = match text.kind {
        OutageKindText::Refuse => OutageKind::Refuse,
        OutageKindText::Slow => OutageKind::Slow,
        OutageKindText::Reset => OutageKind::Reset,
        OutageKindText::Status => {
            let status = text.status.unwrap_or(OUTAGE_STATUS);
            if !(400..=599).contains(&status) {
                let expected = "a status from 400 to 599";
                return Err(ScenarioError::Unexpected { place: place.to_owned(), expected });
            }
            OutageKind::Status { status, code: text.code }
        }
    };
    let (at, lasts) = (read_span(&text.at, place)?, read_span(&text.lasts, place)?);
    Ok(Outage { at, lasts, kind })
}

const LOG_LEVELS: [&str; 5] = ["LOG", "INFO", "WARN", "ERROR", "DEBUG"];
/// What a deployment behind a load balancer answers when nothing else is said.
const OUTAGE_STATUS: u16 = 503;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_scenario_is_read() {
        let scenario = parse(
            r#"
            [base]
            errorRate = 0.4
            seed = 3
            noise = { errorRate = 0.2 }
            [[change]]
            when = { ENABLE_MESSAGE_COMPRESSION = "true" }
            after = "2h 30m"
            lasts = "1d"
            set = { errorRate = nan, stuckWorkflows = 4, status = "odd" }
            null = ["completionRate"]
            unset = ["stuckMessages"]
            alerts = [{ severity = "critical", message = "m" }]
            throw = { function = "tasks:get", message = "boom", data = { code = "E", n = [1] } }
            [[outage]]
            at = "30h"
            lasts = "45m"
            kind = "status"
            code = "TooMany"
            [[task]]
            name = "import"
            outcome = "never"
            "#,
        )
        .unwrap();
        assert_eq!((scenario.seed, scenario.noise["errorRate"]), (3, 0.2));
        let change = &scenario.changes[0];
        assert_eq!(change.after, SignedDuration::from_mins(150));
        assert_eq!(change.lasts, Some(SignedDuration::from_hours(24)));
        assert!(change.fields["errorRate"].as_ref().unwrap().as_float().unwrap().is_nan());
        assert_eq!(change.fields["stuckWorkflows"], Some(Value::Float(4.0)));
        assert_eq!(change.fields["completionRate"], Some(Value::Null));
        assert_eq!(change.fields["stuckMessages"], None);
        let error_value = change.throw.as_ref().unwrap().error_value.clone().unwrap();
        let numbers = Value::Array(vec![Value::Float(1.0)]);
        assert_eq!(error_value, Value::object([("code", Value::text("E")), ("n", numbers)]));
        let status = OutageKind::Status { status: 503, code: Some("TooMany".to_owned()) };
        assert_eq!(scenario.outages[0].kind, status);
        assert_eq!(scenario.tasks["import"], TaskOutcome::Never);
    }

    #[track_caller]
    fn check_refused(text: &str, message: &str) {
        let error = parse(text).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let full = format!("{error}: {}", source.unwrap_or_default());
        assert!(full.contains(message), "{full}");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        check_refused("[base]\nerrorrate = 1", "no health field `errorrate`; known are status,");
        check_refused("[base]\nnoise = { status = 1 }", "no noisy field `status`");
        check_refused("[base]\nnoise = { errorRate = -1 }", "base.noise.errorRate: expected a num");
        check_refused("[base]\nseed = -1", "base.seed: expected a whole number");
        check_refused("[[change]]\n[[change]]\nafter = \"soon\"", "change 2: `soon` is not a dura");
        check_refused("[[change]]\nafter = \"-5h\"", "`-5h` is not a duration");
        check_refused("[[change]]\nsett = {}", "unknown field `sett`");
        check_refused("[[change]]\nset = { errorRate = [1] }", "set.errorRate: expected a number");
        check_refused(
            "[[change]]\nthrow = { function = \"a:b\", message = \"m\" }",
            "no function `a:b`",
        );
        check_refused("[[outage]]\nat = \"1h\"\nlasts = \"1h\"\nkind = \"gone\"", "variant `gone`");
        check_refused(
            "[[outage]]\nat = \"1h\"\nlasts = \"1h\"\nkind = \"slow\"\nstatus = 503",
            "only with kind",
        );
        check_refused(
            "[[outage]]\nat = \"1h\"\nlasts = \"1h\"\nkind = \"status\"\nstatus = 200",
            "from 400",
        );
        check_refused("[[task]]\nname = \"x\"\noutcome = \"fails\"", "variant `fails`");
    }

    #[test]
    fn every_builtin_scenario_is_valid() {
        let names: Vec<&str> = Scenario::builtin_names().collect();
        assert_eq!(names, ["healthy", "breach", "outage", "strange"]);
        for name in names {
            assert_ne!(Scenario::builtin(name), Some(Scenario::default()), "{name} is empty");
        }
        assert_eq!(Scenario::builtin("nope"), None);
    }
}
