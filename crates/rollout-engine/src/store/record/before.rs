//! Owns the forms of a plan and of a reading as versions 1 and 2 wrote them. The order of fields is their format.
//!
//! A plan of that time has functions for sources and holds on drift; it knew nothing of code pushes, and gets the default. A
//! reading of that time tells of no writes. Only tests write these forms; what they cannot say is lost then.

use std::collections::BTreeMap;

use rollout_core::{
    DriftPolicy, Fault, FlagValues, FunctionCall, Judged, JudgedReading, Plan, PlanParts,
    PushPolicy, Source,
};
use serde::{Deserialize, Serialize};

use super::mirror::{Entries, Mirror, Misfit, Span, within};
use super::plan::{
    CadenceStepV1, ChecklistItemV1, CriterionV1, MissedPolicyV1, PhaseV1, SmokeTestV1,
};
use super::reading::{FaultV1, FunctionCallV1, MeasuredV1, ProbeAnswerV1, VerdictV1};

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PlanV1 {
    name: String,
    title: String,
    deployment: String,
    sources: Entries<String, FunctionCallV1>,
    criteria: Vec<CriterionV1>,
    cadence: Vec<CadenceStepV1>,
    coverage_min: u16,
    grace: Span,
    missed: MissedPolicyV1,
    checklist: Vec<ChecklistItemV1>,
    phases: Vec<PhaseV1>,
    smoke: Option<SmokeTestV1>,
    reference: Vec<(String, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JudgedReadingV1 {
    flags: Result<Entries<String, Option<String>>, FaultV1>,
    judged: Vec<JudgedV1>,
    probes: Vec<ProbeAnswerV1>,
    verdict: VerdictV1,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JudgedV1 {
    criterion: String,
    measured: MeasuredV1,
    verdict: VerdictV1,
    reason: Option<String>,
}

/// Takes one field of a frozen form back, naming it where its value is none.
macro_rules! field {
    ($disk:ident.$field:ident) => {
        within(stringify!($field), Mirror::from_disk($disk.$field))?
    };
}

impl Mirror<Plan> for PlanV1 {
    fn to_disk(core: &Plan) -> Self {
        let functions = core.sources.iter().filter_map(|(name, source)| match source {
            Source::Function(call) => Some((name.clone(), call.clone())),
            Source::Executions(_)
            | Source::AppMetrics(_)
            | Source::Http(_)
            | Source::Prometheus(_) => None,
        });
        let functions: BTreeMap<String, FunctionCall> = functions.collect();
        Self {
            name: Mirror::to_disk(&core.name),
            title: Mirror::to_disk(&core.title),
            deployment: Mirror::to_disk(&core.deployment),
            sources: Mirror::to_disk(&functions),
            criteria: Mirror::to_disk(&core.criteria),
            cadence: Mirror::to_disk(&core.cadence),
            coverage_min: Mirror::to_disk(&core.coverage_min),
            grace: Mirror::to_disk(&core.grace),
            missed: Mirror::to_disk(&core.missed),
            checklist: Mirror::to_disk(&core.checklist),
            phases: Mirror::to_disk(&core.phases),
            smoke: Mirror::to_disk(&core.smoke),
            reference: Mirror::to_disk(&core.reference),
        }
    }

    fn from_disk(disk: Self) -> Result<Plan, Misfit> {
        let functions: BTreeMap<String, FunctionCall> = field!(disk.sources);
        let source = |(name, call)| (name, Source::Function(call));
        Ok(Plan::from_journal(PlanParts {
            name: field!(disk.name),
            title: field!(disk.title),
            deployment: field!(disk.deployment),
            sources: functions.into_iter().map(source).collect(),
            criteria: field!(disk.criteria),
            cadence: field!(disk.cadence),
            coverage_min: field!(disk.coverage_min),
            grace: field!(disk.grace),
            missed: field!(disk.missed),
            drift: DriftPolicy::Hold,
            code_push: PushPolicy::Hold,
            checklist: field!(disk.checklist),
            phases: field!(disk.phases),
            smoke: field!(disk.smoke),
            reference: field!(disk.reference),
        }))
    }
}

impl Mirror<JudgedReading> for JudgedReadingV1 {
    fn to_disk(core: &JudgedReading) -> Self {
        Self {
            flags: Mirror::to_disk(&core.flags),
            judged: Mirror::to_disk(&core.judged),
            probes: Mirror::to_disk(&core.probes),
            verdict: Mirror::to_disk(&core.verdict),
        }
    }

    fn from_disk(disk: Self) -> Result<JudgedReading, Misfit> {
        let flags: Result<FlagValues, Fault> = field!(disk.flags);
        Ok(JudgedReading {
            flags,
            writes: BTreeMap::new(),
            push: None,
            cursors: BTreeMap::new(),
            judged: field!(disk.judged),
            probes: field!(disk.probes),
            verdict: field!(disk.verdict),
        })
    }
}

impl Mirror<Judged> for JudgedV1 {
    fn to_disk(core: &Judged) -> Self {
        Self {
            criterion: Mirror::to_disk(&core.criterion),
            measured: Mirror::to_disk(&core.measured),
            verdict: Mirror::to_disk(&core.verdict),
            reason: Mirror::to_disk(&core.reason),
        }
    }

    fn from_disk(disk: Self) -> Result<Judged, Misfit> {
        Ok(Judged {
            criterion: field!(disk.criterion),
            measured: field!(disk.measured),
            verdict: field!(disk.verdict),
            reason: field!(disk.reason),
            basis: None,
        })
    }
}
