//! What is known to be wrong about sources and criteria before anybody is asked.
//!
//! Each plan differs from a good one in its source and in its criterion; what must come out is exactly the mistake.

use super::*;

/// A good plan with one source, on line 4, and one criterion, whose own keys begin on line 8.
fn plan(source: &str, criterion: &str) -> String {
    format!(
        "name = \"p\"\ndeployment = \"production\"\n[sources]\nit = {{ {source} }}\n[[criteria]]\nname = \"c\"\nsource = \"it\"\n\
         {criterion}\n[[phases]]\nname = \"one\"\nflags = [\"A\"]\nbake = \"1h\"\n"
    )
}

#[track_caller]
fn good(source: &str, criterion: &str) -> Plan {
    let text = plan(source, criterion);
    assert_eq!(all_mistakes(&text), [""; 0], "{source} / {criterion}");
    parse(&text).unwrap()
}

/// Asserts that exactly this is found: the source, the criterion, the one mistake.
fn each_is_found(cases: &[(&str, &str, &str)]) {
    for (source, criterion, found) in cases {
        assert_eq!(all_mistakes(&plan(source, criterion)), [*found], "{source} / {criterion}");
    }
}

const STREAM: &str = "executions = []";
const METRICS: &str = "app_metrics = [\"messages:send\"]";
const QUERY: &str = "prometheus = \"m\", query = \"up\"";
const RATE: &str = "pointer = \"/errorRate\"\nalert = \"> 5\"";
const NUMBER: &str = "unit = \"count\"\nalert = \"> 5\"";

#[test]
fn the_unit_of_a_known_figure_need_not_be_written() {
    for (source, pointer, unit) in [
        (STREAM, "/calls", Unit::Count),
        (STREAM, "/errorRate", Unit::Percent),
        (STREAM, "/functions/messages~1list:recent/p95", Unit::Milliseconds),
        (STREAM, "/functions/GET ~1x/errors", Unit::Count),
        (STREAM, "/callers/SyncWorker/errorRate", Unit::Percent),
        (METRICS, "/p99", Unit::Milliseconds),
        (METRICS, "/queued", Unit::Count),
        (METRICS, "/scheduledJobLag", Unit::Seconds),
        (METRICS, "/cacheHitPercentage", Unit::Percent),
        (METRICS, "/functions/messages:send/p95", Unit::Milliseconds),
        ("app_metrics = []", "/errorRate", Unit::Percent),
    ] {
        let plan = good(source, &format!("pointer = \"{pointer}\"\nalert = \"> 5\""));
        assert_eq!(plan.criteria[0].unit, unit, "{pointer}");
        let written = UNITS.iter().find(|(_, known)| *known == unit).unwrap().0;
        good(source, &format!("pointer = \"{pointer}\"\nunit = \"{written}\"\nalert = \"> 5\""));
    }
    let seconds = good(STREAM, "pointer = \"/p95\"\nalert = \"> 2s\"");
    assert_eq!(seconds.criteria[0].alert.as_ref().unwrap().to_string(), "> 2000");
}

const UNITS: [(&str, Unit); 4] = [
    ("percent", Unit::Percent),
    ("count", Unit::Count),
    ("ms", Unit::Milliseconds),
    ("s", Unit::Seconds),
];

/// Asserts that a criterion which points there is the one mistake of a plan: source, pointer, what is found.
fn each_pointer_is_refused(cases: &[(&str, &str, &str)]) {
    for (source, pointer, found) in cases {
        let criterion = format!("pointer = \"{pointer}\"\nalert = \"> 5\"");
        assert_eq!(all_mistakes(&plan(source, &criterion)), [format!("8: {found}")], "{pointer}");
    }
}

#[test]
fn pointers_at_figures_that_are_never_told() {
    each_pointer_is_refused(&[
        (STREAM, "/errorrate", "this source tells no `errorrate` (did you mean `/errorRate`?)"),
        (METRICS, "/queueed", "this source tells no `queueed` (did you mean `/queued`?)"),
        (
            STREAM,
            "/health",
            "this source tells no `health` (known here: calls, errors, errorRate, p50, p95, p99)",
        ),
        (
            STREAM,
            "/p90",
            "this source tells no `p90` (known here: calls, errors, errorRate, p50, p95, p99)",
        ),
        (STREAM, "/queued", "executions do not tell `queued` (ask a source `app_metrics` for it)"),
        (
            "app_metrics = []",
            "/p95",
            "the deployment's metrics have latencies of named functions only \
             (name the functions: `app_metrics = [\"messages:send\"]`, or use `executions`)",
        ),
        (
            "app_metrics = []",
            "/cacheHitPercentage",
            "`cacheHitPercentage` is told of named functions only \
             (name the functions: `app_metrics = [\"messages:send\"]`)",
        ),
    ]);
    let none = "this source tells several figures, and no `pointer` says which one is meant (e.g. `pointer = \"/errorRate\"`)";
    assert_eq!(all_mistakes(&plan(STREAM, "alert = \"> 5\"")), [format!("5: {none}")]);
}

#[test]
fn pointers_at_functions_and_callers_that_are_never_told() {
    each_pointer_is_refused(&[
        (
            STREAM,
            "/callers/SyncWorkr/errorRate",
            "a deployment knows no caller `SyncWorkr` (did you mean `SyncWorker`?)",
        ),
        (
            STREAM,
            "/callers/Cron/errorrate",
            "this source tells no `errorrate` (did you mean `/callers/Cron/errorRate`?)",
        ),
        (
            "executions = [], callers = [\"Cron\"]",
            "/callers/SyncWorker/calls",
            "the source does not ask about the caller `SyncWorker` (known here: Cron)",
        ),
        (
            METRICS,
            "/callers/Cron/errorRate",
            "the deployment's metrics do not tell callers apart (point at `/errorRate`, or use `executions`)",
        ),
        (
            METRICS,
            "/functions/messages:sent/p95",
            "the source does not ask about the function `messages:sent` (did you mean `messages:send`?)",
        ),
        (
            STREAM,
            "/functions/messages.js:list/p95",
            "the source tells of `messages.js:list` as `messages:list` (did you mean `/functions/messages:list/p95`?)",
        ),
        (
            "app_metrics = []",
            "/functions/a:b/p95",
            "the deployment's metrics have latencies of named functions only \
             (name the functions: `app_metrics = [\"messages:send\"]`, or use `executions`)",
        ),
        (
            METRICS,
            "/functions/messages:send/queued",
            "`queued` is told of all together (did you mean `/queued`?)",
        ),
    ]);
}

#[test]
fn pointers_of_the_wrong_shape() {
    each_pointer_is_refused(&[
        (
            STREAM,
            "/functions/a/b:list/p95",
            "`/functions/a/b:list/p95` has too many slashes; one inside a name is written `~1` \
             (did you mean `/functions/a~1b:list/p95`?)",
        ),
        (
            STREAM,
            "/functions/messages:send",
            "`/functions/messages:send` is a level of figures, not one (e.g. `/functions/messages:send/errorRate`)",
        ),
        (STREAM, "/function/a:b/p95", "there is no level `function` (did you mean `functions`?)"),
        (
            STREAM,
            "/errorRate/",
            "`/errorRate/` lies below what the source tells (known here: calls, errors, errorRate, p50, p95, p99)",
        ),
        (STREAM, "errorRate", "`errorRate` is no JSON pointer (did you mean `/errorRate`?)"),
    ]);
}

#[test]
fn units_that_a_figure_is_not_told_in() {
    each_is_found(&[
        (
            STREAM,
            "pointer = \"/p95\"\nunit = \"s\"\nalert = \"> 5\"",
            "9: `p95` is told in ms, not in s (write `unit = \"ms\"`, or drop `unit`; limits may have another, as `< 2s`)",
        ),
        (
            STREAM,
            "pointer = \"/calls\"\nunit = \"percent\"\nalert = \"< 5\"",
            "9: `calls` is told in count, not in percent (write `unit = \"count\"`, or drop `unit`)",
        ),
        (
            QUERY,
            "unit = \"text\"\ntarget = \"= up\"",
            "8: a query gives a number, never a text (use `percent`, `count`, `ms` or `s`)",
        ),
        (QUERY, "alert = \"> 5\"", "5: `unit` is missing"),
    ]);
}

#[test]
fn pointers_that_lead_nowhere_in_any_document() {
    each_is_found(&[
        (
            QUERY,
            "pointer = \"/value\"\nunit = \"count\"\nalert = \"> 5\"",
            "8: a query gives one number, and nothing in it can be pointed at (drop `pointer`)",
        ),
        (
            "function = \"a:b\"",
            "pointer = \"/a~b\"\nunit = \"count\"\nalert = \"> 5\"",
            "8: `/a~b` has a `~` that stands for nothing (write `~0` for `~`, and `~1` for a slash in a name)",
        ),
    ]);
    good("function = \"a:b\"", "pointer = \"/a~1b~0\"\nunit = \"count\"\nalert = \"> 5\"");
}

#[test]
fn functions_callers_and_times_that_no_deployment_counts() {
    each_is_found(&[
        (
            "executions = [], callers = [\"SyncWorkr\"]",
            RATE,
            "4: a deployment knows no caller `SyncWorkr` (did you mean `SyncWorker`?)",
        ),
        (
            "executions = [\"send()\"]",
            RATE,
            "4: `send()` is no name of a function (functions look like `messages:send` or `dir/module:function`, \
             HTTP actions like `GET /path`)",
        ),
        (
            "executions = [\"_system/cli:x\"]",
            RATE,
            "4: system functions are not counted (name functions of the app, or none at all for all of them)",
        ),
        ("app_metrics = [\"a:b\", \"a.js:b\"]", RATE, "4: `a.js:b` is in this list twice"),
        (
            "app_metrics = [], over = \"1m\"",
            RATE,
            "4: the deployment's metrics need two whole minutes: the last one is still filling \
             (write at least `2m`, or use `executions`)",
        ),
        (
            "app_metrics = [], over = \"30s\"",
            RATE,
            "4: a source looks back over at least 1m and at most 1h",
        ),
    ]);
    good("app_metrics = [], over = \"2m\"", RATE);
    good("executions = [\"GET /x/*\", \"component/m:f\", \"m\"], over = \"1m\"", RATE);
}

#[test]
fn paths_that_lead_out_of_their_endpoint() {
    let out = "a path cannot lead out of its endpoint with `..` (write the path without `..`)";
    let server = "a path names no server: that is the endpoint's \
                  (begin with one slash; the address is in the daemon's configuration)";
    for (path, found) in [
        ("/../x", out),
        ("/a/%2E./x", out),
        ("/x#y", "a path has no `#`: what follows is never sent (drop it, or write `%23`)"),
        ("//x", server),
        ("https://h/x", server),
        ("/a\\\\x", "a path has no backslashes and no control characters (write `/` or `%5C`)"),
        (
            "x",
            "a path begins with a slash (e.g. `/health.json`; the address is in the daemon's configuration)",
        ),
        (
            "/x?from=$from",
            "`$from` is there without `$to` (a range of time has two ends: use both, or none of them)",
        ),
        (
            "/x?from=$frm&x=$from&to=$to",
            "nothing is filled in for `$frm` here (did you mean `$from`?; a dollar sign itself is `%24`)",
        ),
    ] {
        let source = format!("http = \"page\", path = \"{path}\"");
        assert_eq!(all_mistakes(&plan(&source, NUMBER)), [format!("4: {found}")], "{path}");
    }
    for path in ["/", "/a..b/c", "/x?a=../b", "/x?from=$from&to=$to", "/x?$filter=a&cost=$5"] {
        good(&format!("http = \"page\", path = \"{path}\""), NUMBER);
    }
}

#[test]
fn names_that_no_configuration_has() {
    each_is_found(&[
        (
            "http = \"https://status.example.com\", path = \"/x\"",
            NUMBER,
            "4: `https://status.example.com` cannot be the name of an endpoint \
             (its address stands in the daemon's configuration; write its name there)",
        ),
        (
            "prometheus = \"my metrics\", query = \"up\"",
            NUMBER,
            "4: `my metrics` cannot be the name of an endpoint \
             (letters, digits, `-`, `_` and `.`, as in the daemon's configuration)",
        ),
    ]);
}

#[test]
fn placeholders_that_nothing_is_filled_in_for() {
    each_is_found(&[
        (
            "function = \"a:b\", args = { from = \"$frm\", to = \"$to\" }",
            NUMBER,
            "4: nothing is filled in for `$frm` here (did you mean `$from`?)",
        ),
        (
            "function = \"a:b\", args = { deep = [{ to = \"$to\" }] }",
            NUMBER,
            "4: `$to` is there without `$from` (a range of time has two ends: use both, or none of them)",
        ),
        (
            "function = \"a:b\", args = { since = \"after $from\" }",
            NUMBER,
            "4: `$from` is filled in only where it is the whole text (write `\"$from\"` alone; it becomes a value of its own)",
        ),
        (
            "function = \"a:b\", args = { \"$from\" = 1 }",
            NUMBER,
            "4: no field of a function's arguments may be called `$from` (a placeholder is a value: `from = \"$from\"`)",
        ),
        (
            "prometheus = \"m\", query = \"rate(x[$__rate_interval])\"",
            NUMBER,
            "4: nothing is filled in for `$__rate_interval` in a query \
             (use `$span`; it becomes the length of the time asked about)",
        ),
        (
            "prometheus = \"m\", query = \"sum(rate(x[5m])\"",
            NUMBER,
            "4: the query has a `(` that is never closed",
        ),
    ]);
    good("function = \"a:b\", args = { cost = \"$5\", id = { \"$integer\" = \"AA==\" } }", NUMBER);
    let smoke = |line: &str| {
        let text = plan("function = \"a:b\"", NUMBER);
        all_mistakes(&format!("{text}[smoke]\ncreate = \"t:create\"\npoll = \"t:get\"\n{line}\n"))
    };
    assert_eq!(smoke("create_args = { key = \"$key\" }\npoll_args = { id = \"$id\" }"), [""; 0]);
    let found = smoke("create_args = { key = \"$id\" }");
    assert!(
        found[0].contains("nothing is filled in for `$id` here (known here: $key)"),
        "{found:?}"
    );
}

#[test]
fn ranges_with_more_values_than_prometheus_tells() {
    let source = |step: &str| {
        format!(
            "prometheus = \"m\", query = \"up\", range = \"24h\", step = \"{step}\", reduce = \"max\""
        )
    };
    let found = "4: 86400 steps are more than Prometheus tells; it stops below 11000 (write `step = \"8s\"` or longer)";
    assert_eq!(all_mistakes(&plan(&source("1s"), NUMBER)), [found]);
    good(&source("8s"), NUMBER);
}

#[test]
fn the_way_to_fill_in_what_was_missed_fits_the_kind_of_source() {
    let hint = |source: &str, criterion: &str| {
        let text = plan(source, criterion)
            .replace("[sources]", "[watch]\nmissed = \"backfill\"\n[sources]");
        let found = all_mistakes(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        let (message, hint) = found[0].split_once(" (").unwrap();
        assert_eq!(
            message,
            "4: the source `it` cannot be asked about the past, so nothing can be filled in"
        );
        assert!(hint.ends_with("or use `missed = \"extend\"`)"), "{hint}");
        hint.to_string()
    };
    assert!(hint("function = \"a:b\"", NUMBER).starts_with("give its function the time"));
    assert!(
        hint("http = \"page\", path = \"/x\"", NUMBER)
            .starts_with("put the time it is asked about into its path")
    );
    assert!(hint(STREAM, RATE).starts_with("executions are forgotten too soon"));
    assert!(hint(METRICS, RATE).starts_with("the deployment's metrics are forgotten too soon"));
}

#[test]
fn bounds_that_no_value_or_every_value_is_beyond() {
    let order =
        "a target says where the value should be, an alert where it makes the phase roll back";
    let percent = |line: &str| format!("pointer = \"/errorRate\"\n{line}");
    for (line, found) in [
        ("alert = \"> 100\"", "no value is ever `> 100`"),
        ("alert = \"< 0\"", "no value is ever `< 0`"),
        ("alert = \">= 0\"", "every value is `>= 0`, so every phase would be rolled back"),
        ("alert = \"<= 100\"", "every value is `<= 100`, so every phase would be rolled back"),
        ("target = \"< 0\"", "no value is ever `< 0`"),
    ] {
        let found = [format!("9: {found} ({order})")];
        assert_eq!(all_mistakes(&plan(STREAM, &percent(line))), found, "{line}");
    }
    let below = "pointer = \"/calls\"\nalert = \"< 0\"";
    assert_eq!(
        all_mistakes(&plan(STREAM, below)),
        [format!("9: no value is ever `< 0` ({order})")]
    );
    for line in ["target = \"<= 0\"\nalert = \"> 0\"", "target = \">= 100\"\nalert = \"< 99\""] {
        good(STREAM, &percent(line));
    }
    good("function = \"a:b\"", "unit = \"count\"\nalert = \"< 0\"");
    let unknown = "9: 500 is no percentage; percentages lie between 0 and 100";
    assert_eq!(all_mistakes(&plan(STREAM, &percent("alert = \"> 500\""))), [unknown]);
}
