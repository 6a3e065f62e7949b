//! Owns the rules that the parts of a plan must keep towards each other.
//!
//! Pure and complete: every rule is looked at, so that a person mends a plan in one go.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::SignedDuration;

use super::{ChecklistItem, MissedPolicy, Phase, Plan, PlanParts, Precondition, Proof, SmokeTest};
use crate::criterion::{Bound, Criterion, Limit, Unit};
use crate::id::FlagName;
use crate::measurement::{FunctionCall, Probe, ProbeKind};
use crate::source::{PromQuery, PromRange, Source};

/// One rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where in the plan file: a JSON pointer such as `/phases/2/checkpoints/3`.
    pub pointer: String,
    /// What is wrong; lower case, no full stop.
    pub message: String,
    /// The way out, where there is an obvious one.
    pub hint: Option<String>,
}

/// Collects violations while walking down a plan.
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation { pointer: pointer.into(), message: message.into(), hint: None });
    }

    fn add_hinted(&mut self, pointer: impl Into<String>, message: impl Into<String>, hint: &str) {
        self.0.push(Violation {
            pointer: pointer.into(),
            message: message.into(),
            hint: Some(hint.to_string()),
        });
    }
}

/// Every rule that `parts` break, in the order of the plan file.
pub(super) fn violations(parts: &PlanParts) -> Vec<Violation> {
    let mut findings = Findings(Vec::new());
    names(parts, &mut findings);
    cadence(parts, &mut findings);
    missed(parts, &mut findings);
    for (name, planned) in &parts.sources {
        source(&format!("/sources/{name}"), planned, &mut findings);
    }
    criteria(parts, &mut findings);
    for (index, item) in parts.checklist.iter().enumerate() {
        checklist_item(&format!("/checklist/{index}"), item, parts, &mut findings);
    }
    phases(parts, &mut findings);
    if let Some(smoke) = &parts.smoke {
        smoke_test(smoke, &mut findings);
    }
    findings.0
}

/// Each kind of source has its own bounds; a name of an endpoint is checked where endpoints are configured.
fn source(at: &str, planned: &Source, findings: &mut Findings) {
    match planned {
        Source::Function(call) => function(&format!("{at}/function"), call, findings),
        Source::Executions(calls) => over(at, calls.over, Plan::OVER_MAX, findings),
        Source::AppMetrics(calls) => {
            over(at, calls.over, Plan::OVER_MAX, findings);
            if !calls.callers.is_empty() {
                findings.add_hinted(
                    format!("{at}/callers"),
                    "the deployment's metrics do not tell callers apart",
                    "drop `callers`, or use `executions`",
                );
            }
        }
        Source::Http(get) => {
            if !get.path.starts_with('/') {
                findings.add_hinted(
                    format!("{at}/path"),
                    "a path begins with a slash",
                    "e.g. `/health.json`; the address is in the daemon's configuration",
                );
            }
        }
        Source::Prometheus(query) => prometheus(at, query, findings),
    }
}

fn prometheus(at: &str, planned: &PromQuery, findings: &mut Findings) {
    if planned.query.trim().is_empty() {
        findings.add(format!("{at}/query"), "the query is empty");
    }
    let Some(PromRange { over: long, step, reduce: _ }) = planned.range else { return };
    over_at(&format!("{at}/range"), long, Plan::BAKE_MAX, findings);
    if step < SignedDuration::from_secs(1) || step > long {
        findings.add(format!("{at}/step"), "a step lies between a second and the range");
    }
}

fn over(at: &str, long: SignedDuration, max: SignedDuration, findings: &mut Findings) {
    over_at(&format!("{at}/over"), long, max, findings);
}

fn over_at(at: &str, long: SignedDuration, max: SignedDuration, findings: &mut Findings) {
    if long < SignedDuration::from_mins(1) || long > max {
        let hours = max.as_hours();
        findings.add(at, format!("a source looks back over at least 1m and at most {hours}h"));
    }
}

fn names(parts: &PlanParts, findings: &mut Findings) {
    if !is_slug(&parts.name) {
        findings.add_hinted(
            "/name",
            "a plan's name is lower-case letters, digits and dashes",
            "e.g. `agent-flags`",
        );
    }
    if parts.deployment.is_empty() {
        findings.add("/deployment", "the deployment has no name");
    }
    if parts.phases.is_empty() {
        findings.add("/phases", "a plan needs at least one phase");
    }
    if parts.phases.len() > Plan::PHASES_MAX {
        findings.add(
            "/phases",
            format!("{} phases; at most {} are allowed", parts.phases.len(), Plan::PHASES_MAX),
        );
    }
    if parts.criteria.len() > Plan::CRITERIA_MAX {
        findings.add(
            "/criteria",
            format!(
                "{} criteria; at most {} are allowed",
                parts.criteria.len(),
                Plan::CRITERIA_MAX
            ),
        );
    }
    let verified: usize = parts.phases.iter().map(|phase| phase.verify.len()).sum();
    if verified > Plan::PROBES_MAX {
        findings.add(
            "/phases",
            format!("{verified} verifications; at most {} are allowed", Plan::PROBES_MAX),
        );
    }
    if !parts.criteria.iter().any(Criterion::is_judged) {
        findings.add_hinted(
            "/criteria",
            "no criterion has a target or an alert threshold, so no breach could ever be seen",
            "add at least one [[criteria]] with `target` and `alert`",
        );
    }
}

fn cadence(parts: &PlanParts, findings: &mut Findings) {
    for (index, step) in parts.cadence.steps().iter().enumerate() {
        if step.every < Plan::CHECK_EVERY_MIN {
            findings.add(
                format!("/watch/checks/{index}/every"),
                "checks may be at most one every 10 seconds",
            );
        }
        if step.every > SignedDuration::from_hours(24) {
            findings.add(
                format!("/watch/checks/{index}/every"),
                "checks must be at least one every 24 hours",
            );
        }
    }
    if parts.grace < SignedDuration::ZERO || parts.grace > SignedDuration::from_hours(24) {
        findings.add("/watch/grace", "grace must lie between 0 and 24 hours");
    }
}

/// Only what can be asked about the past can be filled in afterwards.
fn missed(parts: &PlanParts, findings: &mut Findings) {
    if parts.missed != MissedPolicy::Backfill {
        return;
    }
    for source in parts.silent_about_ranges() {
        let hint = parts.sources.get(source).map(Source::way_to_backfill);
        findings.0.push(Violation {
            pointer: "/watch/missed".to_string(),
            message: format!(
                "the source `{source}` cannot be asked about the past, so nothing can be filled in"
            ),
            hint,
        });
    }
}

fn criteria(parts: &PlanParts, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (index, criterion) in parts.criteria.iter().enumerate() {
        let at = format!("/criteria/{index}");
        if !seen.insert(&criterion.name) {
            findings.add(
                format!("{at}/name"),
                format!("the criterion `{}` is defined twice", criterion.name),
            );
        }
        if !parts.sources.contains_key(&criterion.source) {
            let known = parts.sources.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            findings.add_hinted(
                format!("{at}/source"),
                format!("there is no source `{}`", criterion.source),
                &format!("known sources: {known}"),
            );
        }
        pointer(&format!("{at}/pointer"), &criterion.pointer, findings);
        for (side, bound) in [("target", &criterion.target), ("alert", &criterion.alert)] {
            if let Some(message) = bound.as_ref().and_then(|bound| misfit(criterion.unit, bound)) {
                findings.add(format!("{at}/{side}"), message);
            }
        }
        if let Some(message) = criterion.contradiction() {
            let hint = "an alert lies farther out than its target, e.g. target `< 1`, alert `> 5`";
            findings.add_hinted(format!("{at}/alert"), message, hint);
        }
    }
}

/// Says why a bound cannot be compared with values of this unit.
fn misfit(unit: Unit, bound: &Bound) -> Option<String> {
    match (unit, &bound.limit) {
        (Unit::Text, Limit::Number(_)) => {
            Some("a text can only be compared with a text".to_string())
        }
        (Unit::Text, Limit::Text(_)) => {
            let ordered = !matches!(bound.comparison.sign(), "=" | "!=");
            ordered.then(|| "texts can only be compared with `=` and `!=`".to_string())
        }
        (Unit::Percent, Limit::Number(limit)) if !(0.0..=100.0).contains(limit) => {
            Some(format!("{limit} is no percentage; percentages lie between 0 and 100"))
        }
        (_, Limit::Number(limit)) if !limit.is_finite() => {
            Some("the limit must be a finite number".to_string())
        }
        (_, Limit::Number(_)) => None,
        (_, Limit::Text(text)) => Some(format!("`{text}` is no number")),
    }
}

fn phases(parts: &PlanParts, findings: &mut Findings) {
    let mut named = BTreeMap::new();
    let mut owned: BTreeMap<&FlagName, usize> = BTreeMap::new();
    for (index, phase) in parts.phases.iter().enumerate() {
        let at = format!("/phases/{index}");
        if !is_slug(&phase.name) {
            findings.add(
                format!("{at}/name"),
                "a phase's name is lower-case letters, digits and dashes",
            );
        }
        if let Some(first) = named.insert(&phase.name, index) {
            let message =
                format!("the phase `{}` has the same name as phase {}", phase.name, first + 1);
            findings.add(format!("{at}/name"), message);
        }
        for flag in phase.flags.keys() {
            if let Some(first) = owned.insert(flag, index) {
                let message =
                    format!("the flag `{flag}` is already turned on by phase {}", first + 1);
                findings.add(format!("{at}/flags/{flag}"), message);
            }
        }
        one_phase(&at, phase, parts, findings);
    }
}

fn one_phase(at: &str, phase: &Phase, parts: &PlanParts, findings: &mut Findings) {
    if phase.flags.is_empty() {
        findings.add(format!("{at}/flags"), "a phase turns on at least one flag");
    }
    for (flag, change) in &phase.flags {
        if change.on == change.safe {
            let message =
                format!("`on` and `safe` are both {:?}, so nothing would change", change.on);
            findings.add(format!("{at}/flags/{flag}/safe"), message);
        }
        for (side, value) in [("on", &change.on), ("safe", &change.safe)] {
            if value.len() > Plan::VALUE_BYTES_MAX {
                let message = format!("a flag's value has at most {} bytes", Plan::VALUE_BYTES_MAX);
                findings.add(format!("{at}/flags/{flag}/{side}"), message);
            }
        }
    }
    if phase.bake < SignedDuration::ZERO || phase.bake > Plan::BAKE_MAX {
        findings.add(format!("{at}/bake"), "a bake window lasts between 0 and 31 days");
    }
    checkpoints(at, phase, findings);
    if let Some(Precondition { probe, .. }) = &phase.only_when {
        one_probe(&format!("{at}/only_when"), probe, findings);
    }
    for (index, probe) in phase.verify.iter().enumerate() {
        one_probe(&format!("{at}/verify/{index}"), probe, findings);
    }
    let mut seen: BTreeSet<&str> = parts.checklist.iter().map(|item| item.name.as_str()).collect();
    if seen.len() < parts.checklist.len() && at == "/phases/0" {
        findings.add("/checklist", "two items have the same name");
    }
    for (list, items) in [("before", &phase.before), ("after", &phase.after)] {
        for (index, item) in items.iter().enumerate() {
            let at = format!("{at}/{list}/{index}");
            checklist_item(&at, item, parts, findings);
            if !seen.insert(&item.name) {
                let message = format!("the item `{}` exists already for this phase", item.name);
                findings.add(format!("{at}/name"), message);
            }
            if list == "after" && item.proof != Proof::Person {
                findings.add(
                    at,
                    "an item after enabling is ticked by a person; use `verify` for machine checks",
                );
            }
        }
    }
}

fn checkpoints(at: &str, phase: &Phase, findings: &mut Findings) {
    if phase.checkpoints.len() > Plan::CHECKPOINTS_MAX {
        findings.add(
            format!("{at}/checkpoints"),
            format!("at most {} checkpoints", Plan::CHECKPOINTS_MAX),
        );
    }
    let mut last = SignedDuration::ZERO;
    for (index, offset) in phase.checkpoints.iter().enumerate() {
        let pointer = format!("{at}/checkpoints/{index}");
        if *offset > phase.bake {
            let hint = "lengthen `bake` or drop the checkpoint";
            findings.add_hinted(pointer, "this checkpoint lies outside the bake window", hint);
        } else if *offset <= SignedDuration::ZERO {
            findings.add(pointer, "a checkpoint lies after the start of the window");
        } else if *offset <= last {
            findings.add(pointer, "checkpoints must rise, each once");
        }
        last = *offset;
    }
}

fn checklist_item(at: &str, item: &ChecklistItem, parts: &PlanParts, findings: &mut Findings) {
    if !is_slug(&item.name) {
        findings
            .add(format!("{at}/name"), "an item's name is lower-case letters, digits and dashes");
    }
    match &item.proof {
        Proof::Person => {}
        Proof::Machine(probe) => one_probe(at, probe, findings),
        Proof::ThresholdsSet => {
            let both =
                |criterion: &Criterion| criterion.target.is_some() && criterion.alert.is_some();
            if !parts.criteria.iter().any(both) {
                findings.add(at, "no criterion has both a target and an alert threshold");
            }
        }
    }
}

fn one_probe(at: &str, probe: &Probe, findings: &mut Findings) {
    match &probe.kind {
        ProbeKind::VariableSet(_) => {}
        ProbeKind::Function { call, pointer: path, expect: _ } => {
            function(&format!("{at}/function"), call, findings);
            pointer(&format!("{at}/pointer"), path, findings);
        }
    }
}

fn smoke_test(smoke: &SmokeTest, findings: &mut Findings) {
    function("/smoke/create", &smoke.create, findings);
    function("/smoke/poll", &smoke.poll, findings);
    pointer("/smoke/id_pointer", &smoke.id_pointer, findings);
    pointer("/smoke/state_pointer", &smoke.state_pointer, findings);
    if smoke.every <= SignedDuration::ZERO || smoke.timeout < smoke.every {
        findings.add(
            "/smoke/timeout",
            "the time-out must be at least one poll interval, and both positive",
        );
    }
    if smoke.failure.contains(&smoke.success) {
        findings.add(
            "/smoke/failure",
            format!("`{}` cannot be both success and failure", smoke.success),
        );
    }
}

/// A function path is `dir/module:function`; `.js` and a missing `:function` (default export) are the deployment's own
/// spellings and accepted (wire contract, section 3.1).
fn function(at: &str, call: &FunctionCall, findings: &mut Findings) {
    let (module, name) = call.path.split_once(':').unwrap_or((&call.path, "default"));
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    if !module.split('/').all(word) || !word(name) {
        let message = format!("`{}` is no function path", call.path);
        findings.add_hinted(
            at,
            message,
            "function paths look like `monitoring/dashboard:getSystemHealth`",
        );
    }
    if call.path.starts_with("_system/") {
        findings.add(at, "system functions cannot be called by a plan");
    }
}

fn pointer(at: &str, pointer: &str, findings: &mut Findings) {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        let hint = &format!("did you mean `/{pointer}`?");
        findings.add_hinted(at, format!("`{pointer}` is no JSON pointer"), hint);
    }
}

fn is_slug(name: &str) -> bool {
    let fits = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
    };
    !name.is_empty() && name.len() <= 64 && name.bytes().all(fits)
}
