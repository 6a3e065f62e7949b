//! Owns the plans of a seed: one to four phases with every kind of gate, short enough that a seed takes milliseconds.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rollout_core::{
    Bound, Cadence, CadenceStep, ChangeWindow, ChecklistItem, Comparison, Coverage, Criterion,
    DriftPolicy, Expectation, FlagChange, FlagName, FunctionCall, Limit, MissedPolicy, Phase, Plan,
    PlanParts, Precondition, Probe, ProbeKind, Proof, PushPolicy, Risk, Scalar, SmokeRepeat,
    SmokeTest, Unit,
};

use crate::dice::Dice;

/// Function that tells the health of the emulated app.
pub(crate) const HEALTH: &str = "monitoring/dashboard:getSystemHealth";
/// Function that creates what the smoke test waits for.
pub(crate) const CREATE: &str = "tasks:create";
/// A variable that some plans want to be set.
pub(crate) const PRECONDITION: &str = "LOG_PROVIDER_URL";

/// Arguments of a health source that answers for a range of time.
const RANGE: &str = r#"{"from":"$from","to":"$to"}"#;

/// True when a plan's source answers for a range of time.
pub(crate) fn answers_for_ranges(plan: &Plan) -> bool {
    plan.sources.values().all(rollout_core::Source::answers_for_a_range)
}

/// What a plan is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Anything.
    Any,
    /// Nothing whose outcome depends on seconds: for runs that are compared with each other.
    Steady,
}

/// Draws a plan, and from `changes` what it does about what others change. `first_flag` numbers its flags, so that two plans
/// share some or none.
pub(crate) fn draw(
    dice: &mut Dice,
    changes: &mut Dice,
    deployment: &str,
    first_flag: usize,
    flavour: Flavour,
) -> Plan {
    let cadence = draw_cadence(dice);
    let idle = cadence.idle();
    let count = dice.pick(&[1, 1, 1, 2, 2, 3, 4]);
    let phases: Vec<Phase> = (0..count)
        .map(|place| draw_phase(dice, place, first_flag + place, idle, flavour))
        .collect();
    let missed = draw_missed(dice, flavour);
    let ranges = missed == MissedPolicy::Backfill || dice.chance(10);
    let args = if ranges { RANGE } else { "{}" };
    let parts = PlanParts {
        name: "sample".into(),
        title: "Sample".into(),
        deployment: deployment.into(),
        sources: BTreeMap::from([("health".to_string(), call(HEALTH, args).into())]),
        phases,
        criteria: draw_criteria(dice),
        cadence,
        coverage_min: draw_coverage(dice, flavour),
        grace: SignedDuration::from_mins(dice.pick(&[0, 5, 15, 60])),
        missed,
        drift: draw_drift(dice, changes, flavour),
        code_push: changes.pick(&[PushPolicy::Hold, PushPolicy::Extend, PushPolicy::Rebaseline]),
        checklist: if dice.chance(20) && flavour == Flavour::Any {
            vec![person("runbook")]
        } else {
            Vec::new()
        },
        smoke: dice.chance(25).then(|| draw_smoke(dice)),
        reference: Vec::new(),
    };
    Plan::try_new(parts).expect("the simulator draws plans without contradictions")
}

/// Foreign values hold, are set back, or are taken for right.
fn draw_drift(dice: &mut Dice, changes: &mut Dice, flavour: Flavour) -> DriftPolicy {
    match flavour {
        Flavour::Steady => DriftPolicy::Hold,
        Flavour::Any if dice.chance(30) => DriftPolicy::Revert,
        Flavour::Any if changes.chance(40) => DriftPolicy::Adopt,
        Flavour::Any => DriftPolicy::Hold,
    }
}

fn draw_missed(dice: &mut Dice, flavour: Flavour) -> MissedPolicy {
    use MissedPolicy::{Backfill, Extend, Fail, Hold};
    match flavour {
        Flavour::Any => dice.pick(&[Extend, Extend, Hold, Backfill, Fail]),
        // Under `fail`, a second more or less decides about a rollback.
        Flavour::Steady => dice.pick(&[Extend, Hold, Backfill]),
    }
}

fn draw_coverage(dice: &mut Dice, flavour: Flavour) -> Coverage {
    let points = match flavour {
        Flavour::Any => dice.pick(&[0, 5_000, 8_000, 9_000, 9_500, 10_000]),
        Flavour::Steady => dice.pick(&[0, 5_000, 8_000]),
    };
    Coverage::from_basis_points(points).unwrap_or(Coverage::FULL)
}

fn draw_cadence(dice: &mut Dice) -> Cadence {
    let step = |until: Option<i64>, every: i64| CadenceStep {
        until: until.map(SignedDuration::from_mins),
        every: SignedDuration::from_mins(every),
    };
    let steps = dice.pick(&[
        vec![step(None, 15)],
        vec![step(Some(60), 15), step(None, 30)],
        vec![step(Some(50), 20), step(None, 60)],
        vec![step(None, 60)],
        vec![step(None, 120)],
    ]);
    Cadence::new(steps).expect("these stretches are in order")
}

fn draw_criteria(dice: &mut Dice) -> Vec<Criterion> {
    let number = |comparison, limit| Some(Bound { comparison, limit: Limit::Number(limit) });
    let criterion = |name: &str, unit, target, alert| Criterion {
        name: name.into(),
        label: name.into(),
        source: "health".into(),
        pointer: format!("/{name}"),
        unit,
        target,
        alert,
    };
    let mut all = vec![criterion(
        "errorRate",
        Unit::Percent,
        number(Comparison::Less, 1.0),
        number(Comparison::Greater, 5.0),
    )];
    if dice.chance(40) {
        let (target, alert) = (number(Comparison::Greater, 99.0), number(Comparison::Less, 95.0));
        all.push(criterion("completionRate", Unit::Percent, target, alert));
    }
    if dice.chance(25) {
        let (target, alert) =
            (number(Comparison::Equal, 0.0), number(Comparison::GreaterOrEqual, 4.0));
        all.push(criterion("stuckWorkflows", Unit::Count, target, alert));
    }
    if dice.chance(15) {
        all.push(criterion("mode", Unit::Text, None, None));
    }
    all
}

fn draw_phase(
    dice: &mut Dice,
    place: usize,
    flag_number: usize,
    idle: SignedDuration,
    flavour: Flavour,
) -> Phase {
    let any = flavour == Flavour::Any;
    let bake = draw_bake(dice, idle).max(SignedDuration::from_mins(if any { 0 } else { 10 }));
    let workflow = dice.chance(10) && place == 0;
    let mut flags: BTreeMap<FlagName, FlagChange> = [flag(&format!("FLAG_{flag_number}"))].into();
    if dice.chance(25) {
        flags.extend([flag(&format!("EXTRA_{flag_number}"))]);
    }
    if workflow {
        flags.extend([flag("ENABLE_WORKFLOW")]);
    }
    Phase {
        name: format!("phase-{}", place + 1),
        group: String::new(),
        purpose: String::new(),
        risk: Risk::Low,
        rollback_impact: String::new(),
        flags,
        bake,
        checkpoints: draw_checkpoints(dice, bake),
        only_when: dice.chance(15).then(precondition),
        verify: if workflow { vec![mode_is_workflow()] } else { Vec::new() },
        before: if any { draw_before(dice) } else { Vec::new() },
        after: if any && dice.chance(20) { vec![person("restart")] } else { Vec::new() },
        approvals: if any { dice.pick(&[0, 0, 0, 1, 2]) } else { 0 },
        change_window: (any && dice.chance(20)).then(|| draw_window(dice)),
    }
}

fn draw_bake(dice: &mut Dice, idle: SignedDuration) -> SignedDuration {
    let minutes = dice.pick(&[0, 10, 30, 60, 120, 360, 720, 1_440, 2_880]);
    // At most some two dozen readings in one window: a seed is to be small.
    SignedDuration::from_mins(minutes).min(idle * 24)
}

fn draw_checkpoints(dice: &mut Dice, bake: SignedDuration) -> Vec<SignedDuration> {
    let parts = [(1, 4), (1, 3), (1, 2), (2, 3), (1, 1)];
    let drawn = parts.into_iter().filter(|_| dice.chance(40));
    let mut offsets: Vec<_> =
        drawn.map(|(part, of)| SignedDuration::from_secs(bake.as_secs() * part / of)).collect();
    offsets.retain(|offset| *offset > SignedDuration::ZERO);
    offsets.sort();
    offsets.dedup();
    offsets
}

fn draw_before(dice: &mut Dice) -> Vec<ChecklistItem> {
    let mut items = Vec::new();
    if dice.chance(20) {
        items.push(person("drill"));
    }
    if dice.chance(10) {
        let kind = ProbeKind::Function {
            call: call("monitoring/dashboard:checkAlerts", "{}"),
            pointer: "/alerts".into(),
            expect: Expectation::Answers,
        };
        let proof = Proof::Machine(Probe { name: "alerts".into(), kind });
        items.push(ChecklistItem { name: "alerts".into(), text: "alerts answer".into(), proof });
    }
    items
}

/// A window that opens every day on the hour, in a zone without surprises, so that everybody can say when it is open.
fn draw_window(dice: &mut Dice) -> ChangeWindow {
    let hour = dice.number(0, 23);
    let lasts = SignedDuration::from_hours(dice.pick(&[1, 3, 8]));
    ChangeWindow { cron: format!("0 {hour} * * *"), lasts, zone: "UTC".into() }
}

fn draw_smoke(dice: &mut Dice) -> SmokeTest {
    SmokeTest {
        name: "smoke".into(),
        create: call(CREATE, r#"{"name":"smoke","requestKey":"$key"}"#),
        id_pointer: String::new(),
        poll: call("tasks:get", r#"{"id":"$id"}"#),
        state_pointer: "/status".into(),
        success: "success".into(),
        failure: vec!["failed".into()],
        timeout: SignedDuration::from_mins(10),
        every: SignedDuration::from_secs(dice.pick(&[15, 60])),
        repeat: dice.pick(&[SmokeRepeat::Safe, SmokeRepeat::Never]),
    }
}

fn precondition() -> Precondition {
    let name = FlagName::new(PRECONDITION).expect("the name fits the pattern");
    let probe = Probe { name: "log-provider".into(), kind: ProbeKind::VariableSet(name) };
    Precondition { probe, otherwise: "there is no log provider".into() }
}

fn mode_is_workflow() -> Probe {
    let kind = ProbeKind::Function {
        call: call("monitoring/dashboard:getFeatureFlags", "{}"),
        pointer: "/mode".into(),
        expect: Expectation::Equals(Scalar::Text("workflow".into())),
    };
    Probe { name: "mode".into(), kind }
}

fn flag(name: &str) -> (FlagName, FlagChange) {
    let name = FlagName::new(name).expect("the name fits the pattern");
    (name, FlagChange { on: "true".into(), safe: "false".into() })
}

fn person(name: &str) -> ChecklistItem {
    ChecklistItem { name: name.into(), text: name.into(), proof: Proof::Person }
}

fn call(path: &str, args: &str) -> FunctionCall {
    FunctionCall { path: path.into(), args: args.into() }
}
