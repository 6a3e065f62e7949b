//! Owns `[[criteria]]`: what is measured, and the guide's seven criteria for plans that name none.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use rollout_core::{Bound, CallFigure, Comparison, Criterion, Limit, Source, Unit};

use super::bound;
use super::complaint::Complaint;
use super::figures::CallDocument;
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
        let tables = plan.tables("criteria", &KEYS);
        return tables.iter().map(|table| criterion(table, sources)).collect();
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

fn criterion(table: &Table<'_>, sources: &BTreeMap<String, Source>) -> Criterion {
    let name = table.text("name");
    let source = table.text("source");
    let pointer = table.text_or("pointer", "");
    let asked = sources.get(&source);
    let document = asked.and_then(CallDocument::of);
    let figure = document.and_then(|document| figure(table, document, &pointer));
    if let (Some(Source::Prometheus(_)), Some(node)) = (asked, table.optional("pointer"))
        && !pointer.is_empty()
    {
        let message = "a query gives one number, and nothing in it can be pointed at";
        node.complain(Complaint::hinted(message, "drop `pointer`"));
    } else if let Some(node) = table.optional("pointer").filter(|_| document.is_none()) {
        node.take(escapes(&pointer));
    }
    let unit = unit(table, asked, figure);
    let bound = |side| {
        let node = table.optional(side)?;
        let text = node.text()?;
        let read = node.take(bound::parse(text, unit?))?;
        let range = range(unit?, figure);
        if let Some(range) = range {
            node.take(if side == "alert" { alarms(&read, &range) } else { reached(&read, &range) });
        }
        Some(read)
    };
    Criterion {
        label: table.text_or("label", &name),
        target: bound("target"),
        alert: bound("alert"),
        name,
        source,
        pointer,
        unit: unit.unwrap_or(Unit::Text),
    }
}

/// What a criterion points at in a document whose fields are known.
fn figure(table: &Table<'_>, document: CallDocument<'_>, pointer: &str) -> Option<CallFigure> {
    let Some(node) = table.optional("pointer").filter(|_| !pointer.is_empty()) else {
        table.complain(Complaint::hinted(
            "this source tells several figures, and no `pointer` says which one is meant",
            "e.g. `pointer = \"/errorRate\"`",
        ));
        return None;
    };
    node.take(document.at(pointer))
}

/// The unit, which is known where the figure is; a text is never told as a number, nor the other way round.
fn unit(table: &Table<'_>, asked: Option<&Source>, figure: Option<CallFigure>) -> Option<Unit> {
    let is_of_calls = asked.is_some_and(|source| source.calls().is_some());
    let Some(node) = table.optional("unit") else {
        // Without a figure the mistake is in the pointer.
        return if is_of_calls {
            figure.map(CallFigure::unit)
        } else {
            table.required("unit").and(None)
        };
    };
    let written = node.word(&UNITS)?;
    let wanted = figure.map(CallFigure::unit);
    if let (Some(figure), Some(wanted)) = (figure, wanted.filter(|wanted| *wanted != written)) {
        let message = format!(
            "`{}` is told in {}, not in {}",
            figure.name(),
            bound::word(wanted),
            bound::word(written)
        );
        let also = match wanted {
            Unit::Milliseconds | Unit::Seconds => "; limits may have another, as `< 2s`",
            Unit::Percent | Unit::Count | Unit::Text => "",
        };
        let hint = format!("write `unit = \"{}\"`, or drop `unit`{also}", bound::word(wanted));
        node.complain(Complaint::hinted(message, hint));
        return None;
    }
    if let (Some(Source::Prometheus(_)), Unit::Text) = (asked, written) {
        let hint = "use `percent`, `count`, `ms` or `s`";
        node.complain(Complaint::hinted("a query gives a number, never a text", hint));
        return None;
    }
    Some(written)
}

/// Refuses `~` that stands for nothing (RFC 6901).
fn escapes(pointer: &str) -> Result<(), Complaint> {
    let stands_alone = |rest: &&str| !rest.starts_with(['0', '1']);
    match pointer.split('~').skip(1).find(stands_alone) {
        None => Ok(()),
        Some(_) => Err(Complaint::hinted(
            format!("`{pointer}` has a `~` that stands for nothing"),
            "write `~0` for `~`, and `~1` for a slash in a name",
        )),
    }
}

/// The numbers that a value can be; `None` where that is not known.
fn range(unit: Unit, figure: Option<CallFigure>) -> Option<RangeInclusive<f64>> {
    match (unit, figure) {
        (Unit::Percent, _) => Some(0.0..=100.0),
        (Unit::Count | Unit::Milliseconds | Unit::Seconds, Some(_)) => Some(0.0..=f64::INFINITY),
        (Unit::Count | Unit::Milliseconds | Unit::Seconds | Unit::Text, _) => None,
    }
}

/// Refuses an alert that no value reaches, or that every value does.
fn alarms(alert: &Bound, range: &RangeInclusive<f64>) -> Result<(), Complaint> {
    reached(alert, range)?;
    let Limit::Number(limit) = alert.limit else { return Ok(()) };
    let (least, greatest) = (*range.start(), *range.end());
    let takes_all = match alert.comparison {
        Comparison::Less => greatest < limit,
        Comparison::LessOrEqual => greatest <= limit,
        Comparison::Greater => least > limit,
        Comparison::GreaterOrEqual => least >= limit,
        Comparison::Equal => false,
        Comparison::NotEqual => !range.contains(&limit),
    };
    match takes_all {
        false => Ok(()),
        true => Err(Complaint::hinted(
            format!("every value is `{alert}`, so every phase would be rolled back"),
            OUT_OF_ORDER,
        )),
    }
}

/// Refuses a bound that no value of its range lies within. A limit beyond the range of percentages is the core's to refuse.
fn reached(bound: &Bound, range: &RangeInclusive<f64>) -> Result<(), Complaint> {
    let Limit::Number(limit) = bound.limit else { return Ok(()) };
    let (least, greatest) = (*range.start(), *range.end());
    if greatest.is_finite() && !range.contains(&limit) {
        return Ok(());
    }
    let takes_some = match bound.comparison {
        Comparison::Less => least < limit,
        Comparison::LessOrEqual => least <= limit,
        Comparison::Greater => greatest > limit,
        Comparison::GreaterOrEqual => greatest >= limit,
        Comparison::Equal => range.contains(&limit),
        Comparison::NotEqual => true,
    };
    match takes_some {
        true => Ok(()),
        false => Err(Complaint::hinted(format!("no value is ever `{bound}`"), OUT_OF_ORDER)),
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

const OUT_OF_ORDER: &str =
    "a target says where the value should be, an alert where it makes the phase roll back";
