//! Owns the plan of the tests: the guide's, cut to three phases that show every kind of gate.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::script::{hours, mins};
use crate::{
    Bound, Cadence, CadenceStep, ChangeWindow, ChecklistItem, Comparison, Coverage, Criterion,
    Expectation, FlagChange, FlagName, FunctionCall, Limit, MissedPolicy, Phase, Plan, PlanParts,
    Precondition, Probe, ProbeKind, Proof, Risk, Scalar, SmokeRepeat, SmokeTest, Unit,
};

pub(super) fn flag(name: &str) -> FlagName {
    FlagName::new(name).unwrap()
}

pub(super) fn guide() -> Plan {
    Plan::try_new(parts("")).unwrap()
}

/// The guide's plan with `mean` after every text a person could have written.
pub(super) fn guide_with(mean: &str) -> Plan {
    Plan::from_journal(parts(mean))
}

fn call(path: &str) -> FunctionCall {
    FunctionCall { path: path.to_string(), args: "{}".to_string() }
}

fn parts(mean: &str) -> PlanParts {
    let said = |text: &str| format!("{text}{mean}");
    PlanParts {
        name: said("agent-flags"),
        title: said("Production Feature Rollout Log"),
        deployment: "production".to_string(),
        sources: BTreeMap::from([
            ("health".to_string(), call("monitoring/dashboard:getSystemHealth").into()),
            ("alerts".to_string(), call("monitoring/dashboard:checkAlerts").into()),
        ]),
        criteria: criteria(mean),
        cadence: Cadence::new(vec![
            CadenceStep { until: Some(hours(1)), every: mins(15) },
            CadenceStep { until: None, every: mins(30) },
        ])
        .unwrap(),
        coverage_min: Coverage::from_basis_points(9_000).unwrap(),
        grace: mins(5),
        missed: MissedPolicy::Extend,
        drift: crate::DriftPolicy::Hold,
        code_push: crate::PushPolicy::Hold,
        checklist: vec![
            item("dashboard", &said("Monitoring dashboard working"), dashboard()),
            item("thresholds", &said("Alert thresholds set"), Proof::ThresholdsSet),
            item("runbook", &said("Runbook reviewed"), Proof::Person),
        ],
        phases: phases(mean),
        smoke: Some(SmokeTest {
            name: said("final-verification-test"),
            create: call("testing/flows:createTestTask"),
            id_pointer: "/taskId".to_string(),
            poll: call("testing/flows:getTask"),
            state_pointer: "/status".to_string(),
            success: "completed".to_string(),
            failure: vec!["failed".to_string()],
            timeout: mins(10),
            every: mins(1),
            repeat: SmokeRepeat::Never,
        }),
        reference: vec![
            (said("Current Flag Status"), said("monitoring/dashboard:getFeatureFlags")),
            ("Health Check".to_string(), "monitoring/dashboard:getSystemHealth".to_string()),
        ],
    }
}

fn item(name: &str, text: &str, proof: Proof) -> ChecklistItem {
    ChecklistItem { name: name.to_string(), text: text.to_string(), proof }
}

fn dashboard() -> Proof {
    let kind = ProbeKind::Function {
        call: call("monitoring/dashboard:getSystemHealth"),
        pointer: "/status".to_string(),
        expect: Expectation::Answers,
    };
    Proof::Machine(Probe { name: "dashboard".to_string(), kind })
}

fn criteria(mean: &str) -> Vec<Criterion> {
    let number = |comparison, limit| Some(Bound { comparison, limit: Limit::Number(limit) });
    let healthy = Limit::Text(format!("healthy{mean}"));
    let criterion = |name: &str, label: &str, unit, target, alert| Criterion {
        name: name.to_string(),
        label: format!("{label}{mean}"),
        source: "health".to_string(),
        pointer: format!("/{name}"),
        unit,
        target,
        alert,
    };
    let equal = Some(Bound { comparison: Comparison::Equal, limit: healthy });
    vec![
        criterion("status", "Health", Unit::Text, equal, None),
        criterion("alerts", "Alerts", Unit::Count, number(Comparison::Equal, 0.0), None),
        criterion(
            "error_rate",
            "Error Rate",
            Unit::Percent,
            number(Comparison::Less, 1.0),
            number(Comparison::Greater, 5.0),
        ),
        criterion("version", "Version", Unit::Text, None, None),
    ]
}

fn phases(mean: &str) -> Vec<Phase> {
    let said = |text: &str| format!("{text}{mean}");
    let plain = |name: &str, flags: &[&str], bake, checkpoints: &[i64]| Phase {
        name: name.to_string(),
        group: said("Group"),
        purpose: said("Retry transient failures"),
        risk: Risk::Low,
        rollback_impact: said("None"),
        flags: flags.iter().map(|name| (flag(name), on(mean))).collect(),
        bake: hours(bake),
        checkpoints: checkpoints.iter().map(|at| hours(*at)).collect(),
        only_when: None,
        verify: Vec::new(),
        before: Vec::new(),
        after: Vec::new(),
        approvals: 0,
        change_window: None,
    };
    let variable = ProbeKind::VariableSet(flag("LOG_PROVIDER_URL"));
    let mode = ProbeKind::Function {
        call: call("monitoring/dashboard:getFeatureFlags"),
        pointer: "/mode".to_string(),
        expect: Expectation::Equals(Scalar::Text("workflow".to_string())),
    };
    vec![
        plain("retry", &["ENABLE_RETRY", "ENABLE_PROMPT_ID"], 24, &[1, 6, 12, 24]),
        Phase {
            risk: Risk::Medium,
            only_when: Some(Precondition {
                probe: Probe { name: said("LOG_PROVIDER_URL"), kind: variable.clone() },
                otherwise: said("Requires external log provider configuration"),
            }),
            verify: vec![Probe { name: "provider".to_string(), kind: variable }],
            ..plain("log-provider", &["LOG_PROVIDER_ENABLED"], 0, &[])
        },
        Phase {
            risk: Risk::High,
            verify: vec![Probe { name: said("mode"), kind: mode }],
            after: vec![item("restart", &said("Restart resilience tested"), Proof::Person)],
            approvals: 1,
            change_window: Some(ChangeWindow {
                cron: said("0 9 * * 1-5"),
                lasts: hours(8),
                zone: said("America/Chicago"),
            }),
            ..plain("workflow", &["ENABLE_WORKFLOW"], 48, &[1, 24, 48])
        },
    ]
}

fn on(mean: &str) -> FlagChange {
    FlagChange { on: format!("true{mean}"), safe: format!("false{mean}") }
}

/// The value that a flag has in the plan of [`guide_with`] when it is off.
pub(super) fn off(mean: &str) -> String {
    on(mean).safe
}
