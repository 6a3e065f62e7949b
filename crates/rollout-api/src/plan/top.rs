//! Owns the top of a plan file: names, the watch, the sources and the quick reference. The parent of all other readers.
//!
//! Where something cannot be read it is noted and a stand-in takes its place, so that every list keeps its length and the
//! core's pointers fit the file.

use jiff::SignedDuration;
use rollout_core::{
    Cadence, CadenceStep, Coverage, DriftPolicy, FunctionCall, MissedPolicy, PlanParts, PushPolicy,
};
use toml::Spanned;
use toml::de::DeTable;

use super::complaint::{Complaint, Notes};
use super::tree::{Node, Table};
use super::{criteria, items, phases, placeholders, smoke, sources};

const KEYS: [&str; 10] = [
    "name",
    "title",
    "deployment",
    "watch",
    "sources",
    "criteria",
    "checklist",
    "phases",
    "smoke",
    "reference",
];

/// The quick reference of the guide's log.
const REFERENCE: [(&str, &str); 3] = [
    ("Current Flag Status", "monitoring/dashboard:getFeatureFlags"),
    ("Health Check", "monitoring/dashboard:getSystemHealth"),
    ("Alert Check", "monitoring/dashboard:checkAlerts"),
];

const DRIFTS: [(&str, DriftPolicy); 3] =
    [("hold", DriftPolicy::Hold), ("revert", DriftPolicy::Revert), ("adopt", DriftPolicy::Adopt)];

const PUSHES: [(&str, PushPolicy); 3] = [
    ("hold", PushPolicy::Hold),
    ("extend", PushPolicy::Extend),
    ("rebaseline", PushPolicy::Rebaseline),
];

/// Reads a document; what is wrong with it is in `notes` afterwards.
pub(super) fn read(document: &Spanned<DeTable<'_>>, notes: &Notes) -> PlanParts {
    let plan = Table::root(document.get_ref(), &KEYS, notes);
    let name = plan.text("name");
    let watch = Watch::read(&plan);
    let sources = sources::read(&plan);
    PlanParts {
        title: plan.text_or("title", &name),
        name,
        deployment: sources::configured(&plan, "deployment", "a deployment"),
        criteria: criteria::read(&plan, &sources),
        sources,
        cadence: watch.cadence,
        coverage_min: watch.coverage_min,
        grace: watch.grace,
        missed: watch.missed,
        drift: watch.drift,
        code_push: watch.code_push,
        checklist: items::read(&plan, "checklist"),
        phases: phases::read(&plan),
        smoke: plan.optional("smoke").and_then(|node| smoke::read(&node)),
        reference: reference(&plan),
    }
}

/// The `[watch]` table.
struct Watch {
    cadence: Cadence,
    coverage_min: Coverage,
    grace: SignedDuration,
    missed: MissedPolicy,
    drift: DriftPolicy,
    code_push: PushPolicy,
}

impl Watch {
    fn read(plan: &Table<'_>) -> Self {
        let mut watch = Self {
            cadence: default_cadence(),
            coverage_min: Coverage::from_basis_points(9_000).unwrap_or(Coverage::FULL),
            grace: SignedDuration::from_mins(5),
            missed: MissedPolicy::Extend,
            drift: DriftPolicy::Hold,
            code_push: PushPolicy::Hold,
        };
        let known = ["checks", "coverage", "grace", "missed", "drift", "code_push"];
        let Some(table) = plan.optional("watch").and_then(|node| node.table(&known)) else {
            return watch;
        };
        if let Some(read) = table.optional("checks").and_then(|node| cadence(&node)) {
            watch.cadence = read;
        }
        if let Some(read) =
            table.optional("coverage").and_then(|node| node.take(coverage(node.text()?)))
        {
            watch.coverage_min = read;
        }
        watch.grace = table.duration_or("grace", watch.grace);
        let words = [
            ("extend", MissedPolicy::Extend),
            ("hold", MissedPolicy::Hold),
            ("backfill", MissedPolicy::Backfill),
            ("fail", MissedPolicy::Fail),
        ];
        if let Some(read) = table.optional("missed").and_then(|node| node.word(&words)) {
            watch.missed = read;
        }
        if let Some(read) = table.optional("drift").and_then(|node| node.word(&DRIFTS)) {
            watch.drift = read;
        }
        if let Some(read) = table.optional("code_push").and_then(|node| node.word(&PUSHES)) {
            watch.code_push = read;
        }
        watch
    }
}

/// Every quarter of an hour in the first hour, every half afterwards.
fn default_cadence() -> Cadence {
    let (quarter, half) = (SignedDuration::from_mins(15), SignedDuration::from_mins(30));
    let first = CadenceStep { until: Some(SignedDuration::from_hours(1)), every: quarter };
    Cadence::new(vec![first, CadenceStep { until: None, every: half }])
        .expect("the ends rise and the last has none")
}

fn cadence(node: &Node<'_>) -> Option<Cadence> {
    let tables: Option<Vec<_>> =
        node.list().iter().map(|entry| entry.table(&["until", "every"])).collect();
    let step = |table: Table<'_>| {
        let until = match table.optional("until") {
            Some(node) => Some(node.duration()?),
            None => None,
        };
        Some(CadenceStep { until, every: table.required("every")?.duration()? })
    };
    let steps: Vec<CadenceStep> = tables?.into_iter().map(step).collect::<Option<_>>()?;
    let cadence = Cadence::new(steps);
    if cadence.is_none() {
        let hint = "e.g. [{ until = \"1h\", every = \"15m\" }, { every = \"30m\" }]";
        let message =
            "the `until`s must rise, only the last entry has none, and no `every` is zero";
        node.complain(Complaint::hinted(message, hint));
    }
    cadence
}

fn coverage(text: &str) -> Result<Coverage, Complaint> {
    let complaint =
        || Complaint::hinted(format!("`{text}` is no share of a window"), "write e.g. `90%`");
    let percent: f64 = text
        .trim()
        .strip_suffix('%')
        .and_then(|digits| digits.trim().parse().ok())
        .ok_or_else(complaint)?;
    if !(0.0..=100.0).contains(&percent) {
        return Err(Complaint::hinted(
            format!("`{text}` does not lie between 0% and 100%"),
            "write e.g. `90%`",
        ));
    }
    // The range was just checked, so the cast cannot cut anything off.
    Coverage::from_basis_points((percent * 100.0).round() as u16).ok_or_else(complaint)
}

/// A function and its arguments, under the keys that hold them here; `filled_in` are the names that begin with `$` and become
/// values when it is called.
pub(super) fn function(
    table: &Table<'_>,
    path: &str,
    args: &str,
    args_default: &str,
    filled_in: &[&str],
) -> FunctionCall {
    let path = table.required(path).and_then(|node| node.text()).map(str::to_string);
    let args = table.optional(args).and_then(|node| {
        placeholders::in_args(&node, filled_in);
        node.json_object()
    });
    FunctionCall {
        path: path.unwrap_or_else(|| stand_in().path),
        args: args.unwrap_or_else(|| args_default.to_string()),
    }
}

/// What stands for a function that could not be read; a plan with one is never accepted.
pub(super) fn stand_in() -> FunctionCall {
    FunctionCall { path: "unreadable:unreadable".to_string(), args: "{}".to_string() }
}

fn reference(plan: &Table<'_>) -> Vec<(String, String)> {
    if plan.optional("reference").is_none() {
        return REFERENCE.map(|(title, function)| (title.to_string(), function.to_string())).into();
    }
    let tables = plan.tables("reference", &["title", "function"]);
    tables.iter().map(|table| (table.text("title"), table.text("function"))).collect()
}
