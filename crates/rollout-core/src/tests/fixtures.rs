//! Plans that tests start from.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use jiff::SignedDuration;

use crate::{
    Bound, Cadence, CadenceStep, ChecklistItem, Comparison, Coverage, Criterion, Expectation,
    FlagChange, FlagName, FunctionCall, Limit, MissedPolicy, Phase, Plan, PlanParts, Precondition,
    Probe, ProbeKind, Proof, Risk, Scalar, SmokeRepeat, SmokeTest, Unit,
};

/// Minutes, for short.
pub(super) fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

/// Hours, for short.
pub(super) fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

pub(super) fn flag(name: &str) -> FlagName {
    FlagName::new(name).unwrap()
}

pub(super) fn call(path: &str) -> FunctionCall {
    FunctionCall { path: path.into(), args: "{}".into() }
}

pub(super) fn person(name: &str) -> ChecklistItem {
    ChecklistItem { name: name.into(), text: name.to_uppercase(), proof: Proof::Person }
}

/// A phase that turns one flag on and is watched for a day.
pub(super) fn phase(name: &str, flag_name: &str) -> Phase {
    Phase {
        name: name.into(),
        group: "Group".into(),
        purpose: "A purpose".into(),
        risk: Risk::Low,
        rollback_impact: "None".into(),
        flags: BTreeMap::from([(
            flag(flag_name),
            FlagChange { on: "true".into(), safe: "false".into() },
        )]),
        bake: hours(24),
        checkpoints: vec![hours(1), hours(6), hours(12), hours(24)],
        only_when: None,
        verify: Vec::new(),
        before: Vec::new(),
        after: Vec::new(),
        approvals: 0,
        change_window: None,
    }
}

fn number(comparison: Comparison, limit: f64) -> Option<Bound> {
    Some(Bound { comparison, limit: Limit::Number(limit) })
}

fn criterion(name: &str, unit: Unit, target: Option<Bound>, alert: Option<Bound>) -> Criterion {
    Criterion {
        name: name.into(),
        label: name.to_uppercase(),
        source: "health".into(),
        pointer: alloc::format!("/{name}"),
        unit,
        target,
        alert,
    }
}

/// Three phases with every kind of gate: plain; with a precondition and no window; with items, approval and verification.
pub(super) fn parts() -> PlanParts {
    let mode = ProbeKind::Function {
        call: call("dashboard:flags"),
        pointer: "/mode".into(),
        expect: Expectation::Equals(Scalar::Text("workflow".into())),
    };
    let variable = Probe {
        name: "log-provider".into(),
        kind: ProbeKind::VariableSet(flag("LOG_PROVIDER_URL")),
    };
    let logs = Phase {
        bake: SignedDuration::ZERO,
        checkpoints: Vec::new(),
        only_when: Some(Precondition { probe: variable, otherwise: "no log provider".into() }),
        ..phase("logs", "LOGS")
    };
    let workflow = Phase {
        verify: vec![Probe { name: "mode".into(), kind: mode }],
        before: vec![person("drill")],
        after: vec![person("restart")],
        approvals: 1,
        risk: Risk::High,
        ..phase("workflow", "WORKFLOW")
    };
    let step = |until, every| CadenceStep { until, every };
    let cadence = vec![step(Some(hours(1)), minutes(15)), step(None, minutes(30))];
    PlanParts {
        name: "sample".into(),
        title: "Sample".into(),
        deployment: "production".into(),
        sources: BTreeMap::from([("health".to_string(), call("dashboard:health").into())]),
        criteria: vec![
            criterion(
                "errors",
                Unit::Percent,
                number(Comparison::Less, 1.0),
                number(Comparison::Greater, 5.0),
            ),
            criterion("alerts", Unit::Count, number(Comparison::Equal, 0.0), None),
        ],
        cadence: Cadence::new(cadence).unwrap(),
        coverage_min: Coverage::from_basis_points(9_000).unwrap(),
        grace: minutes(5),
        missed: MissedPolicy::Extend,
        drift: crate::DriftPolicy::Hold,
        code_push: crate::PushPolicy::Hold,
        checklist: Vec::new(),
        phases: vec![phase("retry", "RETRY"), logs, workflow],
        smoke: Some(smoke()),
        reference: Vec::new(),
    }
}

fn smoke() -> SmokeTest {
    SmokeTest {
        name: "smoke".into(),
        create: call("tasks:create"),
        id_pointer: String::new(),
        poll: call("tasks:get"),
        state_pointer: "/status".into(),
        success: "success".into(),
        failure: vec!["failed".into()],
        timeout: minutes(10),
        every: SignedDuration::from_secs(15),
        repeat: SmokeRepeat::Safe,
    }
}

/// Health sources that are asked about a range of time.
pub(super) fn ranged(parts: &mut PlanParts) {
    let call = FunctionCall {
        path: "dashboard:health".into(),
        args: r#"{"from":"$from","to":"$to"}"#.into(),
    };
    parts.sources.insert("health".into(), call.into());
    parts.missed = MissedPolicy::Backfill;
}

pub(super) fn plan() -> Plan {
    Plan::try_new(parts()).unwrap()
}

/// One phase and nothing else.
pub(super) fn single() -> PlanParts {
    PlanParts { phases: vec![phase("retry", "RETRY")], smoke: None, ..parts() }
}
