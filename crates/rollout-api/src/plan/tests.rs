//! The plan file as people write it, and the ways in which they get it wrong.
//!
//! Each mistake is put into a plan that is otherwise good; what must come out is exactly the line, the message and the
//! hint, and nothing besides.

use jiff::SignedDuration;
use rollout_core::{Expectation, ProbeKind, Proof, Scalar, SmokeRepeat, Unit};

use super::*;

mod sources;

const GUIDE: &str = include_str!("../../../../examples/guide.toml");
const SMALL: &str = include_str!("../../../../examples/small.toml");

/// A good plan; mistakes are put in by replacing a line of it. The comment counts lines.
const GOOD: &str = r#"name = "agent-flags"
deployment = "production"
[watch]
checks = [{ until = "1h", every = "15m" }, { every = "30m" }]
coverage = "90%"
[sources]
health = { function = "monitoring/dashboard:getSystemHealth", args = { limit = 5 } }
[[criteria]]
name = "error_rate"
source = "health"
pointer = "/errorRate"
unit = "percent"
target = "< 1"
alert = "> 5"
[[checklist]]
name = "runbook"
text = "Runbook reviewed"
[[phases]]
name = "first"
risk = "low"
flags = ["ENABLE_FIRST"]
bake = "24h"
checkpoints = ["1h", "6h", "24h"]
[[phases]]
name = "second"
flags = { ENABLE_SECOND = { on = "true", safe = "false" } }
bake = "48h"
approvals = 1
change_window = { cron = "0 9 * * 1-5", lasts = "8h", zone = "America/Chicago" }
[smoke]
create = "tasks:create"
poll = "tasks:get"
"#;

/// What is wrong with the good plan when its line `line` reads `instead`, as `LINE: message (hint)`.
fn mistakes(line: usize, instead: &str) -> Vec<String> {
    let mut lines: Vec<&str> = GOOD.lines().collect();
    lines[line - 1] = instead;
    all_mistakes(&lines.join("\n"))
}

fn all_mistakes(text: &str) -> Vec<String> {
    let Err(errors) = parse(text) else { return Vec::new() };
    let shown = |error: &PlanError| {
        let line = error.line(text).map_or("-".to_string(), |line| line.to_string());
        let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{line}: {error}{hint}")
    };
    errors.iter().map(shown).collect()
}

#[test]
fn the_good_plan_is_good() {
    assert_eq!(all_mistakes(GOOD), [""; 0]);
}

/// Asserts that each mistake is found on its own: line that is replaced, its new text, what must come out.
fn each_is_found_alone(cases: &[(usize, &str, &str)]) {
    for (line, instead, found) in cases {
        assert_eq!(mistakes(*line, instead), [*found], "line {line}: {instead}");
    }
}

#[test]
fn mistakes_in_names() {
    each_is_found_alone(&[
        (1, "nmae = \"agent-flags\"", "1: unknown key `nmae` (did you mean `name`?)"),
        (1, "", "-: `name` is missing"),
        (
            1,
            "name = \"Agent Flags\"",
            "1: a plan's name is lower-case letters, digits and dashes (e.g. `agent-flags`)",
        ),
        (2, "deployment = true", "2: expected a text in quotes, found true"),
        (2, "name = \"again\"", "2: this key is there twice"),
        (2, "deployment = production", "2: string values must be quoted, expected literal string"),
    ]);
}

#[test]
fn mistakes_in_durations_and_the_watch() {
    each_is_found_alone(&[
        (
            22,
            "bake = 24",
            "22: `24` has no unit (write `\"24h\"`, `\"24m\"` or `\"24s\"`, in quotes)",
        ),
        (22, "bake = \"24\"", "22: `24` has no unit (write `24h`, `24m` or `24s`)"),
        (22, "bake = \"-24h\"", "22: `-24h` is negative"),
        (
            22,
            "bake = \"1 month\"",
            "22: `1 month` has no fixed length (write it in hours, e.g. `48h`)",
        ),
        (
            22,
            "bake = \"1d\"",
            "22: `1d` counts in days, which are not all equally long (write `24h`)",
        ),
        (22, "bake = \"900h\"", "22: a bake window lasts between 0 and 31 days"),
        (4, "checks = [{ every = \"1s\" }]", "4: checks may be at most one every 10 seconds"),
        (
            4,
            "checks = [{ until = \"1h\", every = \"15m\" }]",
            "4: the `until`s must rise, only the last entry has none, and no `every` is zero \
             (e.g. [{ until = \"1h\", every = \"15m\" }, { every = \"30m\" }])",
        ),
        (5, "coverage = \"0.9\"", "5: `0.9` is no share of a window (write e.g. `90%`)"),
        (5, "coverage = \"190%\"", "5: `190%` does not lie between 0% and 100% (write e.g. `90%`)"),
        (
            5,
            "missed = \"extent\"",
            "5: `extent` is none of extend, hold, backfill, fail (did you mean `extend`?)",
        ),
        (
            5,
            "missed = \"backfill\"",
            "5: the source `health` cannot be asked about the past, so nothing can be filled in (give its function the \
             time it is asked about: `args = { from = \"$from\", to = \"$to\" }`, or use `missed = \"extend\"`)",
        ),
    ]);
}

#[test]
fn sources_that_take_a_range_can_be_asked_about_the_past() {
    let ranged =
        "health = { function = \"dashboard:health\", args = { to = \"$to\", from = \"$from\" } }";
    let line = GOOD.lines().position(|line| line.starts_with("health = ")).unwrap();
    let mut lines: Vec<&str> = GOOD.lines().collect();
    (lines[line], lines[4]) = (ranged, "missed = \"backfill\"");
    assert_eq!(all_mistakes(&lines.join("\n")), [""; 0]);
}

#[test]
fn mistakes_in_sources_and_criteria() {
    each_is_found_alone(&[
        (7, "health = \"monitoring\"", "7: expected a table, found the text \"monitoring\""),
        (
            7,
            "health = { function = \"getSystemHealth()\" }",
            "7: `getSystemHealth()` is no function path (function paths look like `monitoring/dashboard:getSystemHealth`)",
        ),
        (
            7,
            "health = { function = \"a:b\", args = { at = 2026-01-01 } }",
            "7: JSON has no such value (write it as a text, in quotes)",
        ),
        (10, "source = \"helth\"", "10: there is no source `helth` (known sources: health)"),
        (
            11,
            "pointer = \"errorRate\"",
            "11: `errorRate` is no JSON pointer (did you mean `/errorRate`?)",
        ),
        (
            12,
            "unit = \"percentage\"",
            "12: `percentage` is none of percent, count, ms, s, text (did you mean `percent`?)",
        ),
        (13, "target = \"1\"", "13: `1` does not say how to compare (write `< 1`, `> 1` or `= 1`)"),
        (
            13,
            "target = \"< 10s\"",
            "13: `s` does not fit the criterion's unit, percent \
             (percent takes `%`; ms and s take `ms`, `s` and `min`; count takes nothing)",
        ),
        (
            14,
            "alert = \"> 0.5\"",
            "14: the alert threshold `> 0.5` does not lie beyond the target `< 1` \
             (an alert lies farther out than its target, e.g. target `< 1`, alert `> 5`)",
        ),
        (14, "alert = \"> 500\"", "14: 500 is no percentage; percentages lie between 0 and 100"),
    ]);
}

#[test]
fn mistakes_in_the_checklist() {
    each_is_found_alone(&[
        (17, "text = \"x\"\nvariable = \"A-B\"", "18: `A-B` is no name of an environment variable"),
        (17, "text = \"x\"\nequals = 1", "18: `equals` goes with a `function`, and there is none"),
        (
            17,
            "text = \"x\"\ncheck = \"threshold\"",
            "18: `threshold` is none of thresholds (did you mean `thresholds`?)",
        ),
    ]);
}

#[test]
fn mistakes_in_phases() {
    each_is_found_alone(&[
        (
            21,
            "flags = [\"ENABLE-FIRST\"]",
            "21: `ENABLE-FIRST` is no name of an environment variable \
             (letters, digits and underscores, not starting with a digit)",
        ),
        (21, "flags = []", "21: a phase turns on at least one flag"),
        (21, "flags = [\"A\", \"A\"]", "21: the flag `A` is in this list twice"),
        (21, "flag = [\"ENABLE_FIRST\"]", "21: unknown key `flag` (did you mean `flags`?)"),
        (23, "chekpoints = [\"1h\"]", "23: unknown key `chekpoints` (did you mean `checkpoints`?)"),
        (
            23,
            "checkpoints = [\"1h\", \"36h\"]",
            "23: this checkpoint lies outside the bake window (lengthen `bake` or drop the checkpoint)",
        ),
        (23, "checkpoints = [\"6h\", \"1h\"]", "23: checkpoints must rise, each once"),
        (20, "risk = \"Low\"", "20: `Low` is none of low, medium, high (did you mean `low`?)"),
        (25, "name = \"first\"", "25: the phase `first` has the same name as phase 1"),
        (
            26,
            "flags = [\"ENABLE_FIRST\"]",
            "26: the flag `ENABLE_FIRST` is already turned on by phase 1",
        ),
        (
            26,
            "flags = { A = { on = \"1\", safe = \"1\" } }",
            "26: `on` and `safe` are both \"1\", so nothing would change",
        ),
        (
            28,
            "approvals = \"one\"",
            "28: expected a whole number without quotes, found the text \"one\"",
        ),
        (
            28,
            "only_when = { otherwise = \"x\" }",
            "28: `only_when` asks for nothing (e.g. { variable = \"LOG_PROVIDER_URL\" })",
        ),
        (
            29,
            "change_window = { cron = \"0 0 9 * * 1-5\", lasts = \"8h\", zone = \"UTC\" }",
            "29: cron takes five fields, and `0 0 9 * * 1-5` has 6 \
             (minute, hour, day of month, month, day of week, e.g. `0 9 * * 1-5`)",
        ),
        (
            29,
            "change_window = { cron = \"0 9 * * 1-5\", lasts = \"8h\", zone = \"CST\" }",
            "29: `CST` is no time zone (e.g. `America/Chicago` or `UTC`)",
        ),
        (30, "[smok]", "30: unknown key `smok` (did you mean `smoke`?)"),
        (32, "poll = \"_system/cli:x\"", "32: system functions cannot be called by a plan"),
    ]);
}

#[test]
fn all_mistakes_come_at_once_in_file_order_and_none_twice() {
    let text = GOOD
        .replace("bake = \"24h\"", "bake = \"24\"")
        .replace("[\"1h\", \"6h\", \"24h\"]", "[\"1h\", \"soon\", \"24h\"]")
        .replace("unit = \"percent\"", "unit = \"%\"")
        .replace("name = \"second\"", "name = \"first\"")
        .replace("poll = \"tasks:get\"", "pol = \"tasks:get\"");
    assert_eq!(
        all_mistakes(&text),
        [
            "12: `%` is none of percent, count, ms, s, text",
            "22: `24` has no unit (write `24h`, `24m` or `24s`)",
            "23: `soon` is no duration (durations look like `24h`, `1h 30m` or `45s`)",
            "25: the phase `first` has the same name as phase 1",
            "32: unknown key `pol` (did you mean `poll`?)",
        ]
    );
}

#[test]
fn a_table_where_a_list_belongs_is_one_mistake() {
    let text = SMALL.replace("[[phases]]", "[phases]");
    assert_eq!(
        all_mistakes(&text),
        ["5: expected a list, found a table (write `[[phases]]`, with double brackets)"]
    );
}

#[test]
fn the_guides_criteria_need_the_guides_sources() {
    let text = format!("{SMALL}\n[sources]\nown = {{ function = \"a:b\" }}\n");
    let found = all_mistakes(&text);
    let message = "without [[criteria]] the guide's are used, and they need a source `health`";
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().any(|mistake| mistake.contains(message)), "{found:#?}");
}

#[test]
fn a_plan_that_is_too_large_is_refused_before_it_is_read() {
    let text = format!("# {}", "x".repeat(PLAN_BYTES_MAX));
    let errors = parse(&text).unwrap_err();
    let found = errors.iter().next().unwrap();
    assert_eq!((found.code, errors.count()), (Code::PlanMalformed, 1));
}

#[test]
fn a_pointer_is_found_in_the_text_or_its_nearest_ancestor_is() {
    let shown = |pointer: &str| locate(GOOD, pointer).map(|span| &GOOD[span]);
    assert_eq!(shown("/phases/0/checkpoints/1"), Some("\"6h\""));
    assert_eq!(shown("/phases/0/flags/ENABLE_FIRST/safe"), Some("\"ENABLE_FIRST\""));
    assert_eq!(shown("/phases/1/flags/ENABLE_SECOND/safe"), Some("\"false\""));
    assert_eq!(shown("/phases/1/change_window/cron"), Some("\"0 9 * * 1-5\""));
    assert_eq!(shown("/phases/1/bake/nothing/there"), Some("\"48h\""));
    assert_eq!(shown("/reference/0"), None);
}

#[test]
fn mistakes_become_a_problem_with_one_code() {
    let problem = parse("name = 1").unwrap_err().to_problem();
    assert_eq!(
        (problem.code.as_str(), problem.status, problem.violations.len()),
        ("RO0102", 422, 3)
    );
    assert_eq!(problem.detail, "the plan has 3 mistakes, the first: `deployment` is missing");
    assert_eq!(parse("name = ").unwrap_err().to_problem().code, "RO0101");
}

#[test]
fn the_small_plan_is_the_guide_where_it_says_nothing() {
    let (small, guide) = (parse(SMALL).unwrap(), parse(GUIDE).unwrap());
    assert_eq!(small.title, "first-flag");
    assert_eq!(small.criteria, guide.criteria);
    assert_eq!(small.sources, guide.sources);
    assert_eq!(small.cadence, guide.cadence);
    assert_eq!(small.reference, guide.reference);
    assert_eq!(
        (small.coverage_min, small.grace, small.missed),
        (guide.coverage_min, guide.grace, guide.missed)
    );
    assert_eq!(small.phases[0].flags, guide.phases[0].flags);
}

#[test]
fn the_guide_is_the_guide() {
    let plan = parse(GUIDE).unwrap();
    let row = |phase: &rollout_core::Phase| {
        let flag = phase.flags.keys().next().unwrap().to_string();
        let rollout_core::Phase { group, purpose, rollback_impact, .. } = phase;
        let checkpoints: Vec<i64> =
            phase.checkpoints.iter().map(SignedDuration::as_hours).collect();
        let bake = phase.bake.as_hours();
        format!(
            "{group} | {flag} | {purpose} | {} | {rollback_impact} | {bake} | {checkpoints:?}",
            phase.risk.word()
        )
    };
    assert_eq!(
        plan.phases.iter().map(row).collect::<Vec<_>>(),
        [
            "Observability | ENABLE_RETRY_WITH_BACKOFF | Retry transient failures | Low | None | 24 | [1, 6, 12, 24]",
            "Observability | ENABLE_PROMPT_MESSAGE_ID | Retry-safe streaming | Low | None | 24 | [1, 6, 12, 24]",
            "Optimization | ENABLE_MESSAGE_COMPRESSION | Reduce token usage | Medium | None | 24 | [1, 6, 12, 24]",
            "Optimization | LOG_PROVIDER_ENABLED | External logging | Low | Logs stop | 0 | []",
            "Durability | ENABLE_WORKFLOW | Durable execution | High | Reverts to direct | 48 | [1, 6, 12, 24, 36, 48]",
        ]
    );
    let criterion = |criterion: &rollout_core::Criterion| {
        let side = |bound: &Option<rollout_core::Bound>| {
            bound.as_ref().map_or("-".to_string(), ToString::to_string)
        };
        format!("{} {} {}", criterion.name, side(&criterion.target), side(&criterion.alert))
    };
    assert_eq!(
        plan.criteria.iter().map(criterion).collect::<Vec<_>>(),
        [
            "health_status = healthy -",
            "alert_count = 0 -",
            "stuck_workflows = 0 > 3",
            "stuck_messages = 0 -",
            "error_rate < 1 > 5",
            "completion_rate > 99 < 95",
            "response_time < 5000 > 10000",
        ]
    );
}

#[test]
fn the_guides_questions_reach_the_core_whole() {
    let plan = parse(GUIDE).unwrap();
    let by_machine = |item: &rollout_core::ChecklistItem| item.proof != Proof::Person;
    assert_eq!(
        plan.checklist.iter().map(by_machine).collect::<Vec<_>>(),
        [true, true, false, false, false]
    );
    let logging = plan.phases[3].only_when.as_ref().unwrap();
    assert!(
        matches!(&logging.probe.kind, ProbeKind::VariableSet(name) if name.as_str() == "LOG_PROVIDER_URL")
    );
    assert_eq!(logging.otherwise, "Requires external log provider configuration");
    let workflow = &plan.phases[4];
    assert_eq!((workflow.approvals, workflow.after.len()), (1, 1));
    let ProbeKind::Function { pointer, expect, .. } = &workflow.verify[0].kind else {
        panic!("{:?}", workflow.verify)
    };
    assert_eq!(pointer, "/mode");
    assert_eq!(expect, &Expectation::Equals(Scalar::Text("workflow".into())));
    let smoke = plan.smoke.as_ref().unwrap();
    assert_eq!(smoke.create.args, r#"{"name":"final-verification-test","requestKey":"$key"}"#);
    assert_eq!((smoke.poll.args.as_str(), smoke.repeat), (r#"{"id":"$id"}"#, SmokeRepeat::Safe));
}

#[test]
fn expectations_and_arguments_keep_their_kind() {
    let with = |line: &str| {
        format!("{GOOD}\n[[phases]]\nname = \"third\"\nflags = [\"C\"]\nverify = [{line}]\n")
    };
    for (written, expected) in [
        ("5", Scalar::Number(5.0)),
        ("0.5", Scalar::Number(0.5)),
        ("true", Scalar::Boolean(true)),
        ("\"on\"", Scalar::Text("on".into())),
    ] {
        let text = with(&format!(
            "{{ name = \"v\", function = \"a:b\", args = {{ deep = [1, {{ x = 1.5 }}] }}, equals = {written} }}"
        ));
        let plan = parse(&text).unwrap();
        let ProbeKind::Function { call, expect, .. } = &plan.phases[2].verify[0].kind else {
            panic!()
        };
        assert_eq!(expect, &Expectation::Equals(expected));
        assert_eq!(call.args, r#"{"deep":[1,{"x":1.5}]}"#);
    }
    let nan = with("{ name = \"v\", function = \"a:b\", equals = nan }");
    assert_eq!(all_mistakes(&nan).len(), 1, "{:?}", all_mistakes(&nan));
}
