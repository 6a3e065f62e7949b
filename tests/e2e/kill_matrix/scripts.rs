//! Owns the sample plans of the kill matrix and what their operator does.
//!
//! No end may depend on how fast the machine is, for at 1,200 times real time a busy one loses minutes: a breach lasts as
//! long as its flag is on, what a person must do in time has hours, and checkpoints lie where exactly one end is possible.

use std::collections::BTreeMap;

use rollout_api::{OrderRequest, OrderScope, OrderVerb};

/// A plan, a deployment and an operator.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// What it is called in the table.
    pub(super) name: &'static str,
    /// The plan file.
    pub(super) plan: String,
    /// How the app behaves.
    pub(super) scenario: &'static str,
    /// Variables at the start.
    pub(super) env: BTreeMap<String, String>,
    /// What the operator does, in order.
    pub(super) steps: Vec<Step>,
}

/// One thing that the operator does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Waits for an entry of this kind; where a phase is named, for one of that phase.
    Await(&'static str, Option<u8>),
    /// Gives an order, again and again until it is acknowledged.
    Order(OrderVerb, OrderRequest),
    /// Changes a variable by hand at the deployment.
    Edit(&'static str, &'static str),
    /// Says `resume` now and after every further drift, until an entry of this kind comes.
    ResumeUntil(&'static str),
}

/// All of them.
pub(super) fn all() -> Vec<Script> {
    vec![happy(), breach(), rollback_all(), skip(), retry(), drift()]
}

const SCENARIO_WELL: &str = "[base]\nerrorRate = 0.4\n";
/// Ill while the second flag is on and the cache is cold.
const SCENARIO_ILL: &str = r#"
[base]
errorRate = 0.4
[[change]]
when = { ENABLE_TWO = "true", CACHE = "cold" }
after = "4m"
set = { errorRate = 7.0 }
"#;

const SHORT: &str = "bake = \"20m\"\ncheckpoints = [\"10m\", \"20m\"]\n";
const LONG: &str = "bake = \"24h\"\ncheckpoints = [\"24h\"]\n";

/// Two phases to their end, one after an approval and a tick, and a smoke test that must create one task.
fn happy() -> Script {
    let smoke = "[smoke]\ncreate = \"tasks:create\"\n\
         create_args = { name = \"smoke\", requestKey = \"$key\" }\npoll = \"tasks:get\"\nrepeat = \"safe\"\n";
    let second = format!(
        "{SHORT}approvals = 1\n\n[[phases.before]]\nname = \"runbook\"\ntext = \"Runbook reviewed\"\n\n{smoke}"
    );
    let steps = vec![
        Step::Await("preflight_passed", Some(2)),
        Step::Order(
            OrderVerb::Check,
            OrderRequest {
                phase: Some(2),
                item: Some(String::from("runbook")),
                ..because("read it")
            },
        ),
        Step::Order(OrderVerb::Approve, OrderRequest { phase: Some(2), ..because("go on") }),
        Step::Await("rollout_completed", None),
    ];
    script("happy", &[SHORT, &second], SCENARIO_WELL, steps)
}

/// The second phase breaches and is rolled back; a person looks and ends it.
fn breach() -> Script {
    let mut steps = vec![Step::Await("rollback_finished", None)];
    steps.push(resolve("the cache was cold"));
    steps.push(Step::Order(OrderVerb::Abort, because("not today")));
    steps.push(Step::Await("rollout_aborted", None));
    script("breach", &[SHORT, LONG], SCENARIO_ILL, steps)
}

/// A person rolls everything back in the middle of the second phase.
fn rollback_all() -> Script {
    let all = OrderRequest { scope: Some(OrderScope::All), ..because("enough for today") };
    let steps = vec![
        Step::Await("bake_started", Some(2)),
        Step::Order(OrderVerb::Rollback, all),
        Step::Await("rollback_finished", None),
        resolve("a drill"),
        Step::Order(OrderVerb::Abort, because("the drill is over")),
        Step::Await("rollout_aborted", None),
    ];
    script("rollback-all", &[SHORT, LONG], SCENARIO_WELL, steps)
}

/// A person leaves the second phase out.
fn skip() -> Script {
    let gated = format!("{LONG}approvals = 1\n");
    let steps = vec![
        Step::Await("preflight_passed", Some(2)),
        Step::Order(OrderVerb::Skip, OrderRequest { phase: Some(2), ..because("not needed") }),
        Step::Await("rollout_completed", None),
    ];
    script("skip", &[SHORT, &gated, SHORT], SCENARIO_WELL, steps)
}

/// The second phase breaches; a person puts the cause right, and the second try succeeds.
fn retry() -> Script {
    let steps = vec![
        Step::Await("rollback_finished", None),
        Step::Edit("CACHE", "warm"),
        resolve("the cache was cold; warmed it"),
        Step::Order(OrderVerb::Retry, because("the cache is warm")),
        Step::Await("rollout_completed", None),
    ];
    script("retry", &[SHORT, "bake = \"20m\"\n"], SCENARIO_ILL, steps)
}

/// Somebody turns the flag off by hand in its window, and puts it right.
fn drift() -> Script {
    let window = "bake = \"40m\"\ncheckpoints = [\"40m\"]\n";
    let steps = vec![
        Step::Await("bake_started", Some(1)),
        Step::Edit("ENABLE_ONE", "false"),
        Step::Await("drift_found", None),
        Step::Edit("ENABLE_ONE", "true"),
        Step::ResumeUntil("rollout_completed"),
    ];
    script("drift", &[window], SCENARIO_WELL, steps)
}

fn script(name: &'static str, phases: &[&str], scenario: &'static str, steps: Vec<Step>) -> Script {
    let head = format!(
        "name = \"{name}\"\ndeployment = \"production\"\n\n[watch]\nchecks = [{{ every = \"10m\" }}]\n"
    );
    let flags = ["ENABLE_ONE", "ENABLE_TWO", "ENABLE_THREE"];
    let phases = phases.iter().zip(flags).zip(1..).map(|((rest, flag), number)| {
        format!("\n[[phases]]\nname = \"phase-{number}\"\nflags = [\"{flag}\"]\n{rest}")
    });
    let plan = head + &phases.collect::<String>();
    let env = BTreeMap::from([(String::from("CACHE"), String::from("cold"))]);
    Script { name, plan, scenario, env, steps }
}

fn resolve(reason: &str) -> Step {
    Step::Order(OrderVerb::Resolve, OrderRequest { incident: Some(1), ..because(reason) })
}

fn because(reason: &str) -> OrderRequest {
    OrderRequest { reason: reason.to_string(), ..OrderRequest::default() }
}
