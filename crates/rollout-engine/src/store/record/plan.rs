//! Owns the frozen form of a plan. The order of fields and variants is the format.
//!
//! A plan that comes back is not judged again, except for what its types cannot hold: a bad flag name, a share above one,
//! a rhythm without an end.

use rollout_core::{
    Bound, Cadence, CadenceStep, Calls, ChangeWindow, ChecklistItem, Comparison, Criterion,
    DriftPolicy, FlagChange, HttpGet, Limit, MissedPolicy, Phase, Plan, PlanParts, Precondition,
    PromQuery, PromRange, Proof, PushPolicy, Reduce, Risk, SmokeRepeat, SmokeTest, Source, Unit,
};
use serde::{Deserialize, Serialize};

use super::mirror::{Entries, FloatBits, Mirror, Misfit, Span, mirror, within};
use super::reading::{FunctionCallV1, ProbeV1};

mirror! {
    pub(super) struct PlanV3 of PlanParts {
        name: String,
        title: String,
        deployment: String,
        sources: Entries<String, SourceV3>,
        criteria: Vec<CriterionV1>,
        cadence: Vec<CadenceStepV1>,
        coverage_min: u16,
        grace: Span,
        missed: MissedPolicyV1,
        drift: DriftPolicyV3,
        code_push: PushPolicyV3,
        checklist: Vec<ChecklistItemV1>,
        phases: Vec<PhaseV1>,
        smoke: Option<SmokeTestV1>,
        reference: Vec<(String, String)>,
    }
}

impl Mirror<Plan> for PlanV3 {
    fn to_disk(core: &Plan) -> Self {
        let parts: &PlanParts = core;
        Self::to_disk(parts)
    }

    fn from_disk(disk: Self) -> Result<Plan, Misfit> {
        Mirror::from_disk(disk).map(Plan::from_journal)
    }
}

impl Mirror<Cadence> for Vec<CadenceStepV1> {
    fn to_disk(core: &Cadence) -> Self {
        core.steps().iter().map(CadenceStepV1::to_disk).collect()
    }

    fn from_disk(disk: Self) -> Result<Cadence, Misfit> {
        let steps: Vec<CadenceStep> = Mirror::from_disk(disk)?;
        Cadence::new(steps.clone()).ok_or_else(|| Misfit::new("a rhythm of checks", steps))
    }
}

mirror! {
    pub(super) struct CadenceStepV1 of CadenceStep {
        until: Option<Span>,
        every: Span,
    }
}

mirror! {
    pub(super) struct CriterionV1 of Criterion {
        name: String,
        label: String,
        source: String,
        pointer: String,
        unit: UnitV1,
        target: Option<BoundV1>,
        alert: Option<BoundV1>,
    }
}

mirror! {
    pub(super) enum UnitV1 of Unit {
        Percent,
        Count,
        Milliseconds,
        Seconds,
        Text,
    }
}

mirror! {
    pub(super) struct BoundV1 of Bound {
        comparison: ComparisonV1,
        limit: LimitV1,
    }
}

mirror! {
    pub(super) enum ComparisonV1 of Comparison {
        Less,
        LessOrEqual,
        Greater,
        GreaterOrEqual,
        Equal,
        NotEqual,
    }
}

mirror! {
    pub(super) enum LimitV1 of Limit {
        Number(number: FloatBits),
        Text(text: String),
    }
}

mirror! {
    pub(super) enum DriftPolicyV3 of DriftPolicy {
        Hold,
        Revert,
        Adopt,
    }
}

mirror! {
    pub(super) enum PushPolicyV3 of PushPolicy {
        Hold,
        Extend,
        Rebaseline,
    }
}

mirror! {
    pub(super) enum SourceV3 of Source {
        Function(call: FunctionCallV1),
        Executions(calls: CallsV3),
        AppMetrics(calls: CallsV3),
        Http(get: HttpGetV3),
        Prometheus(query: PromQueryV3),
    }
}

mirror! {
    pub(super) struct CallsV3 of Calls {
        functions: Vec<String>,
        callers: Vec<String>,
        over: Span,
        calls_min: u32,
    }
}

mirror! {
    pub(super) struct HttpGetV3 of HttpGet {
        endpoint: String,
        path: String,
    }
}

mirror! {
    pub(super) struct PromQueryV3 of PromQuery {
        endpoint: String,
        query: String,
        range: Option<PromRangeV3>,
    }
}

mirror! {
    pub(super) struct PromRangeV3 of PromRange {
        over: Span,
        step: Span,
        reduce: ReduceV3,
    }
}

mirror! {
    pub(super) enum ReduceV3 of Reduce {
        Max,
        Min,
        Mean,
        Last,
    }
}

mirror! {
    pub(super) enum MissedPolicyV1 of MissedPolicy {
        Extend,
        Hold,
        // From here on: version 2.
        Backfill,
        Fail,
    }
}

mirror! {
    pub(super) struct ChecklistItemV1 of ChecklistItem {
        name: String,
        text: String,
        proof: ProofV1,
    }
}

mirror! {
    pub(super) enum ProofV1 of Proof {
        Person,
        Machine(probe: ProbeV1),
        ThresholdsSet,
    }
}

mirror! {
    pub(super) struct PhaseV1 of Phase {
        name: String,
        group: String,
        purpose: String,
        risk: RiskV1,
        rollback_impact: String,
        flags: Entries<String, FlagChangeV1>,
        bake: Span,
        checkpoints: Vec<Span>,
        only_when: Option<PreconditionV1>,
        verify: Vec<ProbeV1>,
        before: Vec<ChecklistItemV1>,
        after: Vec<ChecklistItemV1>,
        approvals: u8,
        change_window: Option<ChangeWindowV1>,
    }
}

mirror! {
    pub(super) enum RiskV1 of Risk {
        Low,
        Medium,
        High,
    }
}

mirror! {
    pub(super) struct FlagChangeV1 of FlagChange {
        on: String,
        safe: String,
    }
}

mirror! {
    pub(super) struct PreconditionV1 of Precondition {
        probe: ProbeV1,
        otherwise: String,
    }
}

mirror! {
    pub(super) struct ChangeWindowV1 of ChangeWindow {
        cron: String,
        lasts: Span,
        zone: String,
    }
}

mirror! {
    pub(super) struct SmokeTestV1 of SmokeTest {
        name: String,
        create: FunctionCallV1,
        id_pointer: String,
        poll: FunctionCallV1,
        state_pointer: String,
        success: String,
        failure: Vec<String>,
        timeout: Span,
        every: Span,
        repeat: SmokeRepeatV1,
    }
}

mirror! {
    pub(super) enum SmokeRepeatV1 of SmokeRepeat {
        Safe,
        Never,
    }
}
