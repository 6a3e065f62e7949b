//! Owns `[sources]`: where numbers come from. The key that names the kind comes first, the rest belongs to it.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rollout_core::{Calls, FunctionCall, HttpGet, PromQuery, PromRange, Reduce, Source};

use super::complaint::Complaint;
use super::top::{function, stand_in};
use super::tree::{Node, Table};

/// The functions of the guide, for plans that name no sources of their own.
const GUIDE: [(&str, &str); 2] = [
    ("health", "monitoring/dashboard:getSystemHealth"),
    ("alerts", "monitoring/dashboard:checkAlerts"),
];

/// The kinds, each with its keys; the first key says which kind it is.
const KINDS: [&[&str]; 5] = [
    &["function", "args"],
    &["executions", "callers", "over", "calls_min"],
    &["app_metrics", "over", "calls_min"],
    &["http", "path"],
    &["prometheus", "query", "range", "step", "reduce"],
];

const REDUCES: [(&str, Reduce); 4] =
    [("max", Reduce::Max), ("min", Reduce::Min), ("mean", Reduce::Mean), ("last", Reduce::Last)];

/// How far back calls count when nobody says otherwise: the guide's first interval.
const OVER: SignedDuration = SignedDuration::from_mins(15);
/// How many calls show something when nobody says otherwise: below that, one failure is five percent or more.
const CALLS_MIN: u32 = 20;
/// Distance of a range's values when nobody says otherwise: Prometheus' own usual interval.
const STEP: SignedDuration = SignedDuration::from_mins(1);

/// Reads the sources, or takes the guide's.
pub(super) fn read(plan: &Table<'_>) -> BTreeMap<String, Source> {
    let Some(node) = plan.optional("sources") else {
        let guide = |(name, path): (&str, &str)| {
            let call = FunctionCall { path: path.to_string(), args: "{}".to_string() };
            (name.to_string(), Source::Function(call))
        };
        return GUIDE.into_iter().map(guide).collect();
    };
    let Some(table) = node.open_table() else { return BTreeMap::new() };
    table.each().map(|(name, node)| (name.to_string(), source(&node))).collect()
}

fn source(node: &Node<'_>) -> Source {
    let Some(open) = node.open_table() else { return stand_in().into() };
    let named = KINDS.iter().find(|keys| open.optional(keys[0]).is_some());
    let Some(keys) = named else {
        let kinds: Vec<_> = KINDS.iter().map(|keys| format!("`{}`", keys[0])).collect();
        let hint = format!("name its kind: one of {}", kinds.join(", "));
        node.complain(Complaint::hinted("this source says nowhere what it asks".to_string(), hint));
        return stand_in().into();
    };
    let table = open.closed_to(keys);
    match keys[0] {
        "executions" => Source::Executions(calls(&table, "executions")),
        "app_metrics" => Source::AppMetrics(calls(&table, "app_metrics")),
        "http" => Source::Http(HttpGet { endpoint: table.text("http"), path: table.text("path") }),
        "prometheus" => Source::Prometheus(prometheus(&table)),
        _ => Source::Function(function(&table, "function", "args", "{}")),
    }
}

fn calls(table: &Table<'_>, functions: &str) -> Calls {
    let texts = |key: &str| {
        let texts = table.list(key).into_iter().filter_map(|node| node.text().map(str::to_string));
        texts.collect()
    };
    let calls_min = table.optional("calls_min").and_then(|node| node.number());
    Calls {
        functions: texts(functions),
        callers: texts("callers"),
        over: table.duration_or("over", OVER),
        calls_min: calls_min.unwrap_or(CALLS_MIN),
    }
}

fn prometheus(table: &Table<'_>) -> PromQuery {
    let range = table.optional("range").and_then(|node| node.duration());
    let reduce = table.optional("reduce").and_then(|node| node.word(&REDUCES));
    let of_a_range = ["step", "reduce"].iter().find_map(|key| table.optional(key));
    if let (None, Some(node)) = (table.optional("range"), &of_a_range) {
        node.complain(Complaint::hinted(
            "this belongs to a range of values, and there is none".to_string(),
            "add e.g. `range = \"15m\"`",
        ));
    }
    if let (Some(node), None) = (table.optional("range"), table.optional("reduce")) {
        node.complain(Complaint::hinted(
            "a range of values has to become one".to_string(),
            "add `reduce = \"max\"`, or min, mean, last",
        ));
    }
    PromQuery {
        endpoint: table.text("prometheus"),
        query: table.text("query"),
        range: range.map(|over| PromRange {
            over,
            step: table.duration_or("step", STEP),
            reduce: reduce.unwrap_or(Reduce::Max),
        }),
    }
}
