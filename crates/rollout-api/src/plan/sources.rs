//! Owns `[sources]`: where numbers come from. The key that names the kind comes first, the rest belongs to it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use rollout_core::{Calls, FunctionCall, HttpGet, PromQuery, PromRange, Reduce, Source};

use super::complaint::Complaint;
use super::top::{function, stand_in};
use super::tree::{Node, Table};
use super::{figures, placeholders, promql};

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
        "http" => Source::Http(HttpGet {
            endpoint: configured(&table, "http", "an endpoint"),
            path: http_path(&table),
        }),
        "prometheus" => Source::Prometheus(prometheus(&table)),
        _ => Source::Function(function(&table, "function", "args", "{}", &placeholders::RANGE)),
    }
}

/// A name of something in the daemon's configuration, which is never an address.
pub(super) fn configured(table: &Table<'_>, key: &str, what: &str) -> String {
    let name = table.text(key);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_plain =
        name.bytes().all(plain) && name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if let (false, Some(node)) =
        (is_plain, table.optional(key).filter(|node| node.as_text().is_some()))
    {
        let message = format!("`{name}` cannot be the name of {what}");
        let hint = match name.contains("://") {
            true => "its address stands in the daemon's configuration; write its name there",
            false => "letters, digits, `-`, `_` and `.`, as in the daemon's configuration",
        };
        node.complain(Complaint::hinted(message, hint));
    }
    name
}

/// A path that stays below its endpoint, whatever the endpoint's own is.
fn http_path(table: &Table<'_>) -> String {
    let path = table.text("path");
    let Some(node) = table.optional("path").filter(|node| node.as_text().is_some()) else {
        return path;
    };
    let before_query = path.split(['?', '#']).next().unwrap_or_default();
    // As browsers and the daemon read it: `%2e` is a point, and a backslash would be a slash.
    let plain = before_query.to_ascii_lowercase().replace("%2e", ".");
    let wrong = match () {
        () if path.contains('#') => {
            Some(("a path has no `#`: what follows is never sent", "drop it, or write `%23`"))
        }
        () if plain.split('/').any(|part| part == "..") => Some((
            "a path cannot lead out of its endpoint with `..`",
            "write the path without `..`",
        )),
        () if plain.starts_with("//") || plain.contains("://") => Some((
            "a path names no server: that is the endpoint's",
            "begin with one slash; the address is in the daemon's configuration",
        )),
        () if path.contains('\\') || path.contains(char::is_control) => {
            Some(("a path has no backslashes and no control characters", "write `/` or `%5C`"))
        }
        () => None,
    };
    match wrong {
        Some((message, hint)) => node.complain(Complaint::hinted(message, hint)),
        None => placeholders::in_path(&node, &path),
    }
    path
}

fn calls(table: &Table<'_>, functions: &str) -> Calls {
    let mut seen = BTreeSet::new();
    let mut texts = |key: &str, check: fn(&str) -> Result<(), Complaint>| {
        seen.clear();
        let text = |node: Node<'_>| {
            let text = node.text()?;
            if node.take(check(text)).is_some() && !seen.insert(Calls::function_name(text)) {
                node.complain(Complaint::new(format!("`{text}` is in this list twice")));
            }
            Some(text.to_string())
        };
        table.list(key).into_iter().filter_map(text).collect()
    };
    let functions_asked = texts(functions, figures::function_name);
    let callers = texts("callers", figures::caller);
    let over = table.duration_or("over", OVER);
    let minute = SignedDuration::from_mins(1);
    let (is_metrics, over_node) = (functions == "app_metrics", table.optional("over"));
    // Less than a minute is refused for every kind, by the core.
    if let Some(node) = over_node.filter(|_| is_metrics)
        && (minute..Calls::METRICS_OVER_MIN).contains(&over)
    {
        node.complain(Complaint::hinted(
            "the deployment's metrics need two whole minutes: the last one is still filling",
            "write at least `2m`, or use `executions`",
        ));
    }
    let calls_min = table.optional("calls_min").and_then(|node| node.number());
    Calls { functions: functions_asked, callers, over, calls_min: calls_min.unwrap_or(CALLS_MIN) }
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
    let range = range.map(|over| PromRange {
        over,
        step: table.duration_or("step", STEP),
        reduce: reduce.unwrap_or(Reduce::Max),
    });
    if let Some(range) = range {
        not_too_fine(table, range);
    }
    let query = table.text("query");
    if let Some(node) = table.optional("query").filter(|node| node.as_text().is_some()) {
        node.take(promql::check(&query));
    }
    PromQuery { endpoint: configured(table, "prometheus", "an endpoint"), query, range }
}

/// Refuses more values than a server tells; the core refuses a step that is longer than the range.
fn not_too_fine(table: &Table<'_>, PromRange { over, step, reduce: _ }: PromRange) {
    let steps = over.as_secs().checked_div(step.as_secs()).unwrap_or(0);
    let place = table.optional("step").or_else(|| table.optional("range"));
    if let Some(node) = place.filter(|_| steps >= PromRange::STEPS_MAX) {
        let least = over.as_secs() / PromRange::STEPS_MAX + 1;
        node.complain(Complaint::hinted(
            format!(
                "{steps} steps are more than Prometheus tells; it stops below {}",
                PromRange::STEPS_MAX
            ),
            format!("write `step = \"{least}s\"` or longer"),
        ));
    }
}
