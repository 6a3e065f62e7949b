//! Owns `[[criteria]]`: what is measured, and the guide's seven criteria for plans that name none.

use std::collections::BTreeMap;

use rollout_core::{Criterion, Source, Unit};

use super::bound;
use super::complaint::Complaint;
use super::tree::Table;

const KEYS: [&str; 7] = ["name", "label", "source", "pointer", "unit", "target", "alert"];

const UNITS: [(&str, Unit); 5] = [
    ("percent", Unit::Percent),
    ("count", Unit::Count),
    ("ms", Unit::Milliseconds),
    ("s", Unit::Seconds),
    ("text", Unit::Text),
];

/// One of the guide's criteria: name, label, source, pointer, unit, target, alert.
struct Row(
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Unit,
    &'static str,
    Option<&'static str>,
);

/// The guide's success criteria, and what its log shows besides, in the order of the log's tables.
const GUIDE: [Row; 7] = [
    Row("health_status", "Health Status", "health", "/status", Unit::Text, "= healthy", None),
    Row("alert_count", "Alert Count", "alerts", "/alerts", Unit::Count, "= 0", None),
    Row(
        "stuck_workflows",
        "Stuck Workflows",
        "health",
        "/stuckWorkflows",
        Unit::Count,
        "= 0",
        Some("> 3"),
    ),
    Row("stuck_messages", "Stuck Messages", "health", "/stuckMessages", Unit::Count, "= 0", None),
    Row("error_rate", "Error Rate", "health", "/errorRate", Unit::Percent, "< 1", Some("> 5")),
    Row(
        "completion_rate",
        "Completion Rate",
        "health",
        "/completionRate",
        Unit::Percent,
        "> 99",
        Some("< 95"),
    ),
    Row(
        "response_time",
        "Response Time",
        "health",
        "/responseTimeMs",
        Unit::Milliseconds,
        "< 5s",
        Some("> 10s"),
    ),
];

/// Reads the criteria, or takes the guide's.
pub(super) fn read(plan: &Table<'_>, sources: &BTreeMap<String, Source>) -> Vec<Criterion> {
    if plan.optional("criteria").is_some() {
        return plan.tables("criteria", &KEYS).iter().map(criterion).collect();
    }
    let missing = GUIDE.iter().map(|row| row.2).find(|source| !sources.contains_key(*source));
    if let (Some(missing), Some(node)) = (missing, plan.optional("sources")) {
        let message = format!(
            "without [[criteria]] the guide's are used, and they need a source `{missing}`"
        );
        node.complain(Complaint::hinted(
            message,
            "add [[criteria]] for your sources, or drop [sources] altogether",
        ));
        return Vec::new();
    }
    GUIDE.iter().map(of_the_guide).collect()
}

fn criterion(table: &Table<'_>) -> Criterion {
    let unit = table.required("unit").and_then(|node| node.word(&UNITS));
    let bound = |side| {
        let node = table.optional(side)?;
        let text = node.text()?;
        node.take(bound::parse(text, unit?))
    };
    let name = table.text("name");
    Criterion {
        label: table.text_or("label", &name),
        name,
        source: table.text("source"),
        pointer: table.text_or("pointer", ""),
        unit: unit.unwrap_or(Unit::Text),
        target: bound("target"),
        alert: bound("alert"),
    }
}

fn of_the_guide(row: &Row) -> Criterion {
    let Row(name, label, source, pointer, unit, target, alert) = *row;
    Criterion {
        name: name.to_string(),
        label: label.to_string(),
        source: source.to_string(),
        pointer: pointer.to_string(),
        unit,
        target: bound::parse(target, unit).ok(),
        alert: alert.and_then(|alert| bound::parse(alert, unit).ok()),
    }
}
