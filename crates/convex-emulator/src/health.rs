//! What the app shows of its health at a moment: the scenario evaluated over time and flags.
//!
//! Time comes in as a parameter and a moment is evaluated from nothing but the scenario, the start
//! and the instants at which the `when` conditions became true: asking twice gives the same answer.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::completion::LogLine;
use crate::envvars::EnvVars;
use crate::scenario::{Alert, Change, Outage, Scenario, Throw};
use crate::stamps::hash;
use crate::traffic::{Load, Traffic};
use crate::value::Value;

/// A scenario under way.
#[derive(Debug, Clone)]
pub struct Progress {
    scenario: Scenario,
    started_at: Timestamp,
    /// For each change, since when its condition has been true.
    since: Vec<Option<Timestamp>>,
}

/// What the health functions show at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// The fields of `getSystemHealth`, in their final form.
    pub fields: BTreeMap<String, Value>,
    /// The alerts of `checkAlerts`.
    pub alerts: Vec<Alert>,
}

impl Progress {
    /// Starts a scenario at `now` with the variables as they are.
    #[must_use]
    pub fn start(scenario: Scenario, env: &EnvVars, now: Timestamp) -> Self {
        let since = vec![None; scenario.changes.len()];
        let mut progress = Self { scenario, started_at: now, since };
        progress.observe(env, now);
        progress
    }

    /// Notes which conditions became true or false; to be called after every write.
    pub fn observe(&mut self, env: &EnvVars, now: Timestamp) {
        for (change, since) in self.scenario.changes.iter().zip(&mut self.since) {
            let holds = change.when.iter().all(|(name, value)| env.get(name) == Some(value));
            // A condition that stays true keeps its age: writing an equal value restarts nothing.
            *since = if holds { since.or(Some(now)) } else { None };
        }
    }

    /// The emulator time at which the scenario started.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// The scenario itself.
    #[must_use]
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The outage in force at `now`; of several the last of the file.
    #[must_use]
    pub fn outage(&self, now: Timestamp) -> Option<&Outage> {
        let elapsed = now.duration_since(self.started_at);
        let is_on = |outage: &&Outage| is_within(elapsed, outage.at, Some(outage.lasts));
        self.scenario.outages.iter().rfind(is_on)
    }

    /// What `function` throws at `now`; of several the last of the file.
    #[must_use]
    pub fn thrown(&self, function: &str, now: Timestamp) -> Option<&Throw> {
        let throws = self.in_force(now).filter_map(|change| change.throw.as_ref());
        throws.filter(|throw| throw.function == function).last()
    }

    /// What `function` logs at `now`.
    #[must_use]
    pub fn logged(&self, function: &str, now: Timestamp) -> Vec<LogLine> {
        let logs = self.in_force(now).filter_map(|change| change.log.as_ref());
        logs.filter(|log| log.function == function).flat_map(|log| log.lines.clone()).collect()
    }

    /// How often `traffic` is called at `now` and how it ends.
    #[must_use]
    pub fn load(&self, traffic: &Traffic, now: Timestamp) -> Load {
        let mut load = traffic.load.clone();
        let changes = self.in_force(now).flat_map(|change| &change.traffic);
        changes
            .filter(|change| change.function == traffic.function)
            .for_each(|change| load.apply(change));
        load
    }

    /// The app's health at `now`.
    #[must_use]
    pub fn health(&self, env: &EnvVars, now: Timestamp) -> Health {
        let mut fields: BTreeMap<String, Option<Value>> = HEALTHY
            .iter()
            .map(|(field, value)| ((*field).to_owned(), Some(Value::Float(*value))))
            .collect();
        for (field, value) in &self.scenario.base {
            fields.insert(field.clone(), Some(value.clone()));
        }
        self.add_noise(&mut fields, now);
        let mut alerts = Vec::new();
        for change in self.in_force(now) {
            fields.extend(change.fields.clone());
            alerts.extend(change.alerts.iter().cloned());
        }
        alerts.extend(LIMITS.iter().filter_map(|limit| limit.alert(&fields)));
        derive(&mut fields, "alertCount", || Value::Float(count(alerts.len())));
        derive(&mut fields, "mode", || Value::text(mode(env)));
        let status = status(&fields);
        derive(&mut fields, "status", || Value::text(status));
        let fields = fields.into_iter().filter_map(|(field, value)| Some((field, value?)));
        Health { fields: fields.collect(), alerts }
    }

    fn in_force(&self, now: Timestamp) -> impl Iterator<Item = &Change> {
        self.scenario.changes.iter().zip(&self.since).filter_map(move |(change, since)| {
            let elapsed = now.duration_since((*since)?);
            is_within(elapsed, change.after, change.lasts).then_some(change)
        })
    }

    fn add_noise(&self, fields: &mut BTreeMap<String, Option<Value>>, now: Timestamp) {
        let minute = now.duration_since(self.started_at).as_mins().unsigned_abs();
        for (field, size) in &self.scenario.noise {
            let Some(Some(Value::Float(value))) = fields.get_mut(field) else { continue };
            let draw = hash(minute.wrapping_add(self.scenario.seed << 32), field);
            // The upper 53 bits fill a float in [0, 1) exactly.
            #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
            let unit = (draw >> 11) as f64 / (1_u64 << 53) as f64;
            let ceiling = if field == "responseTimeMs" { f64::INFINITY } else { 100.0 };
            *value = (*value + (unit * 2.0 - 1.0) * size).clamp(0.0, ceiling);
        }
    }
}

/// The app's mode: which of its two code paths is on.
#[must_use]
pub fn mode(env: &EnvVars) -> &'static str {
    if env.get("ENABLE_WORKFLOW") == Some("true") { "workflow" } else { "direct" }
}

struct Limit {
    field: &'static str,
    target: f64,
    alert: f64,
    wants: Wants,
}

#[derive(Clone, Copy)]
enum Wants {
    Low,
    High,
}

impl Limit {
    /// Compares as the app's JavaScript does: NaN is beyond nothing.
    fn is_beyond(&self, limit: f64, fields: &BTreeMap<String, Option<Value>>) -> bool {
        let value = fields.get(self.field).and_then(Option::as_ref).and_then(Value::as_float);
        value.is_some_and(|value| match self.wants {
            Wants::Low => value > limit,
            Wants::High => value < limit,
        })
    }

    fn alert(&self, fields: &BTreeMap<String, Option<Value>>) -> Option<Alert> {
        let side = match self.wants {
            Wants::Low => "above",
            Wants::High => "below",
        };
        self.is_beyond(self.alert, fields).then(|| Alert {
            severity: "critical".to_owned(),
            message: format!("{} is {side} {}", self.field, self.alert),
            metric: Some(self.field.to_owned()),
        })
    }
}

fn status(fields: &BTreeMap<String, Option<Value>>) -> &'static str {
    // The app's status leaves the response time to its alerts, as the guide's dashboard does.
    let mut limits = LIMITS.iter().filter(|limit| limit.field != "responseTimeMs");
    if limits.clone().any(|limit| limit.is_beyond(limit.alert, fields)) {
        "unhealthy"
    } else if limits.any(|limit| limit.is_beyond(limit.target, fields)) {
        "degraded"
    } else {
        "healthy"
    }
}

fn derive(
    fields: &mut BTreeMap<String, Option<Value>>,
    field: &str,
    value: impl FnOnce() -> Value,
) {
    fields.entry(field.to_owned()).or_insert_with(|| Some(value()));
}

fn is_within(elapsed: SignedDuration, from: SignedDuration, lasts: Option<SignedDuration>) -> bool {
    elapsed >= from && lasts.is_none_or(|lasts| elapsed - from < lasts)
}

#[expect(clippy::cast_precision_loss, reason = "a count of alerts is small")]
fn count(number: usize) -> f64 {
    number as f64
}

/// The fields of `getSystemHealth`, which are also the names a scenario may use.
pub const FIELDS: [&str; 8] = [
    "status",
    "mode",
    "errorRate",
    "completionRate",
    "stuckWorkflows",
    "stuckMessages",
    "alertCount",
    "responseTimeMs",
];
/// The fields that may be noisy; the others are counts or words.
pub const NOISY_FIELDS: [&str; 3] = ["errorRate", "completionRate", "responseTimeMs"];
const HEALTHY: [(&str, f64); 5] = [
    ("errorRate", 0.3),
    ("completionRate", 99.7),
    ("stuckWorkflows", 0.0),
    ("stuckMessages", 0.0),
    ("responseTimeMs", 820.0),
];
/// Targets and alert thresholds of the guide's table.
const LIMITS: [Limit; 4] = [
    Limit { field: "errorRate", target: 1.0, alert: 5.0, wants: Wants::Low },
    Limit { field: "completionRate", target: 99.0, alert: 95.0, wants: Wants::High },
    Limit { field: "stuckWorkflows", target: 0.0, alert: 3.0, wants: Wants::Low },
    Limit { field: "responseTimeMs", target: 5_000.0, alert: 10_000.0, wants: Wants::Low },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envvars::EnvChange;
    use crate::stamps::Stamps;

    struct App {
        progress: Progress,
        env: EnvVars,
        stamps: Stamps,
    }

    fn start(scenario: &str) -> App {
        let env = EnvVars::default();
        let scenario = Scenario::parse(scenario).unwrap();
        let progress = Progress::start(scenario, &env, Timestamp::UNIX_EPOCH);
        App { progress, env, stamps: Stamps::default() }
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    impl App {
        fn set(&mut self, minutes: i64, name: &str, value: &str) {
            let change = EnvChange { name: name.to_owned(), value: Some(value.to_owned()) };
            self.env.apply(&[change], &mut self.stamps, at(minutes)).unwrap();
            self.progress.observe(&self.env, at(minutes));
        }

        fn field(&self, minutes: i64, field: &str) -> Option<Value> {
            self.progress.health(&self.env, at(minutes)).fields.get(field).cloned()
        }

        #[track_caller]
        fn check_status(&self, minutes: i64, status: &str) {
            assert_eq!(self.field(minutes, "status"), Some(Value::text(status)));
        }
    }

    #[test]
    fn an_empty_scenario_is_healthy_and_complete() {
        let app = start("");
        let health = app.progress.health(&app.env, at(0));
        let mut fields: Vec<&str> = health.fields.keys().map(String::as_str).collect();
        let mut expected = FIELDS.to_vec();
        fields.sort_unstable();
        expected.sort_unstable();
        assert_eq!(fields, expected);
        app.check_status(0, "healthy");
        assert_eq!(health.alerts, []);
    }

    #[track_caller]
    fn check_base(base: &str, status: &str, alerts: &[&str]) {
        let app = start(&format!("[base]\n{base}"));
        app.check_status(0, status);
        let health = app.progress.health(&app.env, at(0));
        let metrics: Vec<&str> =
            health.alerts.iter().map(|alert| alert.metric.as_deref().unwrap()).collect();
        assert_eq!(metrics, alerts);
        assert_eq!(health.fields["alertCount"], Value::Float(count(alerts.len())));
    }

    #[test]
    fn status_and_alerts_follow_the_guides_table() {
        check_base("errorRate = 1.0", "healthy", &[]);
        check_base("errorRate = 1.1", "degraded", &[]);
        check_base("errorRate = 5.0", "degraded", &[]);
        check_base("errorRate = 5.1", "unhealthy", &["errorRate"]);
        check_base("completionRate = 98.9", "degraded", &[]);
        check_base("completionRate = 94.9", "unhealthy", &["completionRate"]);
        check_base("stuckWorkflows = 3", "degraded", &[]);
        check_base("stuckWorkflows = 4", "unhealthy", &["stuckWorkflows"]);
        check_base("responseTimeMs = 10001", "healthy", &["responseTimeMs"]);
        check_base("errorRate = nan", "healthy", &[]);
        check_base("errorRate = 9\nstatus = \"healthy\"", "healthy", &["errorRate"]);
    }

    #[test]
    fn a_change_counts_from_its_condition_and_ends_with_it() {
        let mut app = start(
            "[[change]]\nwhen = { F = \"true\" }\nafter = \"5h\"\nlasts = \"2h\"\nset = { errorRate = 7 }",
        );
        app.set(60, "F", "true");
        app.check_status(359, "healthy");
        app.check_status(360, "unhealthy");
        app.check_status(479, "unhealthy");
        app.check_status(480, "healthy");
        app.set(120, "F", "true"); // an equal write restarts nothing
        app.check_status(360, "unhealthy");
        app.set(370, "F", "false");
        app.check_status(370, "healthy");
        app.set(400, "F", "true");
        app.check_status(699, "healthy");
        app.check_status(700, "unhealthy");
    }

    #[test]
    fn later_changes_win_and_keys_can_vanish_and_come_back() {
        let app = start(
            "[[change]]\nset = { errorRate = 7 }\nunset = [\"stuckWorkflows\"]\n\
             [[change]]\nafter = \"1h\"\nnull = [\"errorRate\"]\nset = { stuckWorkflows = 2 }",
        );
        assert_eq!(app.field(0, "errorRate"), Some(Value::Float(7.0)));
        assert_eq!(app.field(0, "stuckWorkflows"), None);
        assert_eq!(app.field(60, "errorRate"), Some(Value::Null));
        assert_eq!(app.field(60, "stuckWorkflows"), Some(Value::Float(2.0)));
    }

    #[test]
    fn noise_is_bounded_repeatable_and_moves() {
        let text = "[base]\nerrorRate = 0.4\nnoise = { errorRate = 0.2 }\nseed = 1";
        let (app, other) = (start(text), start(&text.replace("seed = 1", "seed = 2")));
        let draws =
            |app: &App| (0..600).map(|minute| app.field(minute, "errorRate").unwrap()).collect();
        let values: Vec<Value> = draws(&app);
        assert_eq!(values, draws(&app));
        assert_ne!(values, draws(&other));
        let numbers: Vec<f64> = values.iter().map(|value| value.as_float().unwrap()).collect();
        assert!(numbers.iter().all(|number| (0.2..=0.6).contains(number)));
        assert!(numbers.iter().any(|number| *number < 0.25));
        assert!(numbers.iter().any(|number| *number > 0.55));
    }

    #[test]
    fn outages_and_throws_have_their_time() {
        let app = start(
            "[[outage]]\nat = \"30h\"\nlasts = \"2h\"\nkind = \"refuse\"\n\
             [[change]]\nafter = \"1h\"\nthrow = { function = \"tasks:get\", message = \"boom\" }",
        );
        let is_out = |minutes| app.progress.outage(at(minutes)).is_some();
        assert_eq!([1799, 1800, 1919, 1920].map(is_out), [false, true, true, false]);
        assert_eq!(app.progress.thrown("tasks:get", at(59)), None);
        assert_eq!(app.progress.thrown("tasks:get", at(60)).unwrap().message, "boom");
        assert_eq!(app.progress.thrown("tasks:create", at(60)), None);
    }
}
