//! Owns one event of every kind, with every variant of everything an event can hold. The golden files are made of these.
//!
//! A variant without a sample does not compile. What is here is frozen like the format: a sample that changes no longer
//! fits its golden bytes; new ones go to the end of their list.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rollout_core::{
    Actor, Basis, Bound, Cadence, CadenceStep, Calls, ChangeWindow, ChecklistItem, Comparison,
    Coverage, Criterion, DriftPolicy, Event, EventKind, Expectation, Extent, Fault, FaultClass,
    FlagChange, FlagName, FlagValues, FunctionCall, GapCause, HoldReason, HowCompleted, HttpGet,
    IncidentNumber, Judged, JudgedReading, Limit, Measured, MissedPolicy, Phase, PhaseNumber, Plan,
    PlanParts, Precondition, Probe, ProbeAnswer, ProbeKind, ProbeState, PromQuery, PromRange,
    Proof, Purpose, PushPolicy, Reduce, Risk, RollbackCause, RolloutId, Scalar, SmokeRepeat,
    SmokeTest, Source, Unit, Verdict, Written,
};

/// All samples, by the name of their kind.
pub(super) fn events() -> BTreeMap<String, Vec<Event>> {
    let mut events: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for kind in kinds().into_iter().chain(more_kinds()) {
        let debug = format!("{kind:?}");
        let name = debug.split(|end: char| !end.is_alphanumeric()).next().unwrap_or_default();
        let samples = events.entry(name.to_owned()).or_default();
        let (actor, note) = match samples.len() % 2 {
            0 => (Actor::Engine, None),
            _ => (Actor::Person("ada".to_owned()), Some("why — in words".to_owned())),
        };
        samples.push(Event { at: at(samples.len()), actor, note, kind });
    }
    events
}

/// A function that answers one sample of every variant, in the order given; one that is missing does not compile.
macro_rules! every {
    ($name:ident of $core:ident {
        $($variant:ident
            $(($inner:expr))?
            $({ $($field:ident: $value:expr),+ $(,)? })?
        ),+ $(,)?
    }) => {
        fn $name() -> Vec<$core> {
            const _: fn(&$core) = |core| match core {
                $($core::$variant { .. } => {}),+
            };
            vec![$($core::$variant { $(0: $inner)? $($($field: $value),+)? }),+]
        }
    };
}

every! { kinds of EventKind {
    RolloutCreated {
        id: RolloutId::new(42).unwrap(),
        plan: Box::new(plan(MissedPolicy::Extend, Some(smoke_test(SmokeRepeat::Safe)))),
        digest: "9f86d081".to_owned(),
        url: "http://127.0.0.1:3210".to_owned(),
        start_at: at(3),
    },
    EngineResumed { last_seen: at(1) },
    ClockJumped { by: SignedDuration::new(-7, -1) },
    BaselineStarted,
    ReadingStarted { purpose: Purpose::Check },
    ReadingTaken { purpose: Purpose::Check, reading: Box::new(reading(Ok(flag_values()), Verdict::Pass)) },
    GapRecorded { phase: phase(2), from: at(1), to: at(2), cause: GapCause::EngineDown },
    CheckpointJudged { phase: phase(2), offset: hours(6), due: at(6), verdict: Verdict::Pass },
    BaselinePassed,
    PhaseStarted { phase: phase(1) },
    PreflightPassed { phase: phase(2) },
    PreflightExpired { phase: phase(3) },
    ItemTicked { phase: phase(4), item: "runbook".to_owned() },
    PhaseApproved { phase: phase(255) },
    ChangeWindowFound { phase: phase(1), opens: at(4), closes: at(5) },
    EnablingStarted { phase: phase(1) },
    EffectFailed { fault: fault(FaultClass::Transient), retry_at: Some(at(9)) },
    EffectRetried,
    FlagsSet { phase: phase(1), wrote: vec![flag("ENABLE_A"), flag("ENABLE_B")], already: vec![flag("_c")] },
    BakeStarted { phase: phase(1) },
    BakeEnded { phase: phase(1) },
    PhaseCompleted {
        phase: phase(1),
        coverage: Coverage::from_basis_points(9_833).unwrap(),
        how: HowCompleted::Kept,
    },
    PhaseSkipped { phase: phase(5), why: "not in use".to_owned() },
    DriftSeen { flag: flag("ENABLE_A"), expected: Some("true".to_owned()), found: None },
    Held { hold: HoldReason::Person },
    Released { hold: HoldReason::Person },
    RollbackStarted {
        phases: vec![phase(2), phase(1)],
        restore: restore(),
        cause: RollbackCause::Ordered,
        incident: incident(1),
    },
    FlagsRestored { wrote: vec![flag("ENABLE_A")], already: vec![] },
    RestoreLost { retry_at: at(7) },
    RollbackFinished,
    IncidentResolved { incident: incident(u32::MAX) },
    RetryOrdered { phase: phase(1) },
    AbortOrdered,
    RolloutAborted,
    FinalChecksStarted,
    FinalChecksPassed,
    SmokeStarted,
    SmokeCreated { id: "j57a".to_owned() },
    SmokePassed,
    SmokeFailed { why: "state is \"failed\"".to_owned() },
    RolloutCompleted,
    GapBackfilled { phase: phase(2), from: at(1), to: at(2), cause: GapCause::Asleep },
    DriftFound {
        flag: flag("ENABLE_A"),
        expected: Some("true".to_owned()),
        found: None,
        written: Some(written()),
    },
    FlagRewritten { flag: flag("ENABLE_A"), written: written() },
    DriftAdopted { flag: flag("ENABLE_A"), value: "v2".to_owned() },
    RevertStarted { changes: restore() },
    DriftReverted { wrote: vec![flag("ENABLE_A")], already: vec![flag("ENABLE_B")] },
    CodePushed { phase: phase(2), pushed_at: at(3) },
    WindowRestarted { phase: phase(2) },
} }

/// Samples for the variants below an event's kind, and for the ends of ranges.
fn more_kinds() -> Vec<EventKind> {
    let mut kinds = vec![
        EventKind::EngineResumed { last_seen: Timestamp::MIN },
        EventKind::EngineResumed { last_seen: Timestamp::MAX },
        EventKind::ClockJumped { by: SignedDuration::MIN },
        EventKind::ClockJumped { by: SignedDuration::MAX },
        EventKind::EffectFailed { fault: fault(FaultClass::Permanent), retry_at: None },
        EventKind::DriftSeen { flag: flag("E"), expected: None, found: Some("ä".to_owned()) },
    ];
    for (missed, repeat) in missed_policies().into_iter().zip(smoke_repeats()) {
        kinds.push(EventKind::RolloutCreated {
            id: RolloutId::new(u64::MAX).unwrap(),
            plan: Box::new(plan(missed, Some(smoke_test(repeat)))),
            digest: String::new(),
            url: String::new(),
            start_at: at(0),
        });
    }
    kinds.push(EventKind::RolloutCreated {
        id: RolloutId::FIRST,
        plan: Box::new(empty_plan()),
        digest: String::new(),
        url: String::new(),
        start_at: at(0),
    });
    kinds.extend(purposes().into_iter().map(|purpose| EventKind::ReadingStarted { purpose }));
    for class in fault_classes() {
        let reading = Box::new(reading(Err(fault(class)), Verdict::Error));
        kinds.push(EventKind::ReadingTaken { purpose: Purpose::Check, reading });
        kinds.push(EventKind::EffectFailed { fault: fault(class), retry_at: None });
    }
    for verdict in verdicts() {
        let (phase, offset, due) = (phase(1), hours(1), at(1));
        kinds.push(EventKind::CheckpointJudged { phase, offset, due, verdict });
    }
    for cause in gap_causes() {
        let (phase, from, to) = (phase(1), at(1), at(2));
        kinds.push(EventKind::GapRecorded { phase, from, to, cause });
    }
    for how in hows() {
        let (phase, coverage) = (phase(1), Coverage::FULL);
        kinds.push(EventKind::PhaseCompleted { phase, coverage, how });
    }
    for cause in rollback_causes() {
        let (phases, restore, incident) = (vec![], BTreeMap::new(), incident(1));
        kinds.push(EventKind::RollbackStarted { phases, restore, cause, incident });
    }
    kinds.extend(holds().into_iter().map(|hold| EventKind::Held { hold }));
    kinds.extend(holds().into_iter().map(|hold| EventKind::Released { hold }));
    kinds.extend(missed_policies().into_iter().skip(2).map(|missed| EventKind::RolloutCreated {
        id: RolloutId::FIRST,
        plan: Box::new(plan(missed, None)),
        digest: String::new(),
        url: String::new(),
        start_at: at(0),
    }));
    kinds.extend(of_version_3());
    kinds
}

/// What only version 3 can say, behind all that versions before it could.
fn of_version_3() -> Vec<EventKind> {
    let plans = drift_policies().into_iter().zip(push_policies()).map(|(drift, code_push)| {
        let mut parts: PlanParts = (*plan(MissedPolicy::Extend, None)).clone();
        let ranges = reduces().into_iter().map(|reduce| {
            let (over, step) = (hours(1), SignedDuration::from_mins(1));
            Source::Prometheus(prom_query(Some(PromRange { over, step, reduce })))
        });
        let named = sources().into_iter().chain(ranges).enumerate();
        parts.sources = named.map(|(place, one)| (format!("source-{place}"), one)).collect();
        (parts.drift, parts.code_push) = (drift, code_push);
        EventKind::RolloutCreated {
            id: RolloutId::FIRST,
            plan: Box::new(Plan::from_journal(parts)),
            digest: String::new(),
            url: String::new(),
            start_at: at(0),
        }
    });
    let mut seen = reading(Ok(flag_values()), Verdict::Pass);
    seen.writes =
        [(flag("ENABLE_A"), written()), (flag("ENABLE_B"), Written { at: at(0), by: None })].into();
    seen.push = Some(at(5));
    seen.cursors = [("sends".to_owned(), "1795334137371.4243".to_owned())].into();
    for (judged, extent) in seen.judged.iter_mut().zip(extents()) {
        judged.basis = Some(Basis { from: at(0), to: at(1), samples: Some(812), extent });
    }
    let seen = EventKind::ReadingTaken { purpose: Purpose::Check, reading: Box::new(seen) };
    let untold = EventKind::DriftFound {
        flag: flag("E"),
        expected: None,
        found: Some("ä".to_owned()),
        written: None,
    };
    plans.chain([seen, untold]).collect()
}

every! { drift_policies of DriftPolicy {
    Hold,
    Revert,
    Adopt,
} }

every! { push_policies of PushPolicy {
    Hold,
    Extend,
    Rebaseline,
} }

every! { extents of Extent {
    Whole,
    Part,
} }

every! { sources of Source {
    Function(call("m:get")),
    Executions(calls()),
    AppMetrics(calls()),
    Http(HttpGet { endpoint: "status".to_owned(), path: "/health.json".to_owned() }),
    Prometheus(prom_query(None)),
} }

every! { reduces of Reduce {
    Max,
    Min,
    Mean,
    Last,
} }

every! { purposes of Purpose {
    Baseline,
    Preflight(phase(1)),
    Verification(phase(2)),
    Check,
    Recovery,
    Final,
    Smoke,
    Backfill(at(4)),
} }

every! { gap_causes of GapCause {
    EngineDown,
    Unreadable("500".to_owned()),
    Drift,
    Asleep,
    ClockJump,
} }

every! { hows of HowCompleted {
    Kept,
    Promoted,
} }

every! { rollback_causes of RollbackCause {
    Breach { criterion: "errors".to_owned(), value: "6 %".to_owned(), alert: "> 5".to_owned() },
    Verification { what: "mode".to_owned(), found: "null".to_owned() },
    Ordered,
    Abort,
    Missed { offset: hours(6), due: at(3) },
} }

every! { holds of HoldReason {
    Person,
    Baseline { why: "alerts".to_owned() },
    Drift { flag: flag("ENABLE_A") },
    RolledBack { incident: incident(7) },
    EffectFailed { why: "BadAdminKey".to_owned() },
    Blind { why: "no answer".to_owned() },
    Missed { phase: phase(3), offset: hours(24) },
    CoverageShort { phase: phase(4) },
    ClockJump,
    Smoke { why: "unknown outcome".to_owned() },
    CodePush { phase: phase(2), pushed_at: at(3) },
} }

every! { fault_classes of FaultClass {
    Transient,
    Permanent,
    Unknown,
} }

every! { verdicts of Verdict {
    Pass,
    Warn,
    NoData,
    Error,
    Breach,
} }

every! { measured of Measured {
    Number(-0.0),
    Text("healthy".to_owned()),
    Missing("null".to_owned()),
    Failed("threw".to_owned()),
} }

every! { probe_states of ProbeState {
    Met,
    NotMet,
    Failed,
} }

every! { probe_kinds of ProbeKind {
    VariableSet(flag("API_KEY")),
    Function { call: call("health:mode"), pointer: "/mode".to_owned(), expect: Expectation::Answers },
} }

every! { expectations of Expectation {
    Answers,
    Equals(Scalar::Boolean(false)),
} }

every! { scalars of Scalar {
    Boolean(true),
    Number(f64::MIN_POSITIVE),
    Text(String::new()),
} }

every! { units of Unit {
    Percent,
    Count,
    Milliseconds,
    Seconds,
    Text,
} }

every! { comparisons of Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
} }

every! { limits of Limit {
    Number(1.5),
    Text("healthy".to_owned()),
} }

every! { risks of Risk {
    Low,
    Medium,
    High,
} }

every! { proofs of Proof {
    Person,
    Machine(probes().remove(0)),
    ThresholdsSet,
} }

every! { missed_policies of MissedPolicy {
    Extend,
    Hold,
    Backfill,
    Fail,
} }

every! { smoke_repeats of SmokeRepeat {
    Safe,
    Never,
} }

fn plan(missed: MissedPolicy, smoke: Option<SmokeTest>) -> Plan {
    let step = |until, every| CadenceStep { until, every: SignedDuration::from_mins(every) };
    Plan::from_journal(PlanParts {
        name: "agent-flags".to_owned(),
        title: "Agent flags".to_owned(),
        deployment: "prod".to_owned(),
        sources: [("metrics", "m:get"), ("health", "h:get")]
            .map(|(name, path)| (name.to_owned(), call(path).into()))
            .into(),
        criteria: units().into_iter().map(criterion).chain(bounded()).collect(),
        cadence: Cadence::new(vec![step(Some(hours(1)), 15), step(None, 30)]).unwrap(),
        coverage_min: Coverage::from_basis_points(9_500).unwrap(),
        grace: SignedDuration::from_mins(5),
        missed,
        drift: DriftPolicy::Hold,
        code_push: PushPolicy::Hold,
        checklist: proofs().into_iter().map(item).collect(),
        phases: risks().into_iter().map(full_phase).chain([bare_phase()]).collect(),
        smoke,
        reference: vec![("Current flag status".to_owned(), "flags:get".to_owned())],
    })
}

fn empty_plan() -> Plan {
    let every = SignedDuration::MAX;
    Plan::from_journal(PlanParts {
        name: String::new(),
        title: String::new(),
        deployment: String::new(),
        sources: BTreeMap::new(),
        criteria: vec![],
        cadence: Cadence::new(vec![CadenceStep { until: None, every }]).unwrap(),
        coverage_min: Coverage::from_basis_points(0).unwrap(),
        grace: SignedDuration::ZERO,
        missed: MissedPolicy::Extend,
        drift: DriftPolicy::Hold,
        code_push: PushPolicy::Hold,
        checklist: vec![],
        phases: vec![],
        smoke: None,
        reference: vec![],
    })
}

/// Criteria with every comparison and every kind of limit; target and alert are never alike.
fn bounded() -> impl Iterator<Item = Criterion> {
    let worse = comparisons().into_iter().rev();
    let sides = comparisons().into_iter().zip(worse).zip(limits().into_iter().cycle());
    sides.map(|((target, alert), limit)| Criterion {
        target: Some(Bound { comparison: target, limit }),
        alert: Some(Bound { comparison: alert, limit: Limit::Number(5.0) }),
        ..criterion(Unit::Count)
    })
}

fn criterion(unit: Unit) -> Criterion {
    Criterion {
        name: "error_rate".to_owned(),
        label: "Error Rate".to_owned(),
        source: "metrics".to_owned(),
        pointer: "/errors".to_owned(),
        unit,
        target: None,
        alert: None,
    }
}

fn full_phase(risk: Risk) -> Phase {
    let change = FlagChange { on: "true".to_owned(), safe: "false".to_owned() };
    Phase {
        name: "retry".to_owned(),
        group: "Reliability".to_owned(),
        purpose: "tries again".to_owned(),
        risk,
        rollback_impact: "no retries".to_owned(),
        flags: [(flag("ENABLE_B"), change.clone()), (flag("ENABLE_A"), change)].into(),
        bake: hours(48),
        checkpoints: vec![hours(1), hours(6), hours(48)],
        only_when: Some(Precondition {
            probe: probes().remove(1),
            otherwise: "not in use".to_owned(),
        }),
        verify: probes(),
        before: proofs().into_iter().map(item).collect(),
        after: vec![item(Proof::Person)],
        approvals: 2,
        change_window: Some(ChangeWindow {
            cron: "0 9 * * 1-5".to_owned(),
            lasts: hours(8),
            zone: "Europe/Berlin".to_owned(),
        }),
    }
}

fn bare_phase() -> Phase {
    Phase {
        flags: BTreeMap::new(),
        bake: SignedDuration::ZERO,
        checkpoints: vec![],
        only_when: None,
        verify: vec![],
        before: vec![],
        after: vec![],
        approvals: 0,
        change_window: None,
        ..full_phase(Risk::Low)
    }
}

fn smoke_test(repeat: SmokeRepeat) -> SmokeTest {
    SmokeTest {
        name: "final-verification-test".to_owned(),
        create: call("tasks:create"),
        id_pointer: "/id".to_owned(),
        poll: call("tasks:get"),
        state_pointer: "/state".to_owned(),
        success: "done".to_owned(),
        failure: vec!["failed".to_owned(), "cancelled".to_owned()],
        timeout: SignedDuration::from_mins(10),
        every: SignedDuration::from_millis(1_500),
        repeat,
    }
}

/// Probes of every kind with every expectation and every scalar.
fn probes() -> Vec<Probe> {
    let equals = scalars().into_iter().map(Expectation::Equals);
    let functions = expectations().into_iter().chain(equals).map(|expect| ProbeKind::Function {
        call: call("health:mode"),
        pointer: "/mode".to_owned(),
        expect,
    });
    let kinds = probe_kinds().into_iter().chain(functions);
    kinds.map(|kind| Probe { name: "mode".to_owned(), kind }).collect()
}

fn item(proof: Proof) -> ChecklistItem {
    ChecklistItem { name: "runbook".to_owned(), text: "Runbook reviewed".to_owned(), proof }
}

fn reading(flags: Result<FlagValues, Fault>, verdict: Verdict) -> JudgedReading {
    let infinite = [f64::INFINITY, f64::NEG_INFINITY, f64::MAX].map(Measured::Number);
    let judged = measured().into_iter().chain(infinite).map(|measured| Judged {
        criterion: "errors".to_owned(),
        measured,
        verdict,
        reason: (verdict != Verdict::Pass).then(|| "because".to_owned()),
        basis: None,
    });
    let probes = probe_states().into_iter().map(|state| ProbeAnswer {
        probe: "mode".to_owned(),
        state,
        found: "\"on\"".to_owned(),
    });
    JudgedReading {
        flags,
        writes: BTreeMap::new(),
        push: None,
        cursors: BTreeMap::new(),
        judged: judged.collect(),
        probes: probes.collect(),
        verdict,
    }
}

fn written() -> Written {
    Written { at: at(2), by: Some("bob@example.com".to_owned()) }
}

fn calls() -> Calls {
    Calls {
        functions: vec!["messages:send".to_owned()],
        callers: vec!["SyncWorker".to_owned(), "Cron".to_owned()],
        over: SignedDuration::from_mins(15),
        calls_min: 20,
    }
}

fn prom_query(range: Option<PromRange>) -> PromQuery {
    PromQuery { endpoint: "metrics".to_owned(), query: "vector(1)".to_owned(), range }
}

fn flag_values() -> FlagValues {
    [(flag("ENABLE_B"), None), (flag("ENABLE_A"), Some("true".to_owned()))].into()
}

fn restore() -> BTreeMap<FlagName, String> {
    ["ENABLE_B", "ENABLE_A"].map(|name| (flag(name), "false".to_owned())).into()
}

fn fault(class: FaultClass) -> Fault {
    Fault { class, code: Some("ServerError".to_owned()), reason: "overloaded".to_owned() }
}

fn call(path: &str) -> FunctionCall {
    FunctionCall { path: path.to_owned(), args: "{}".to_owned() }
}

fn at(minute: usize) -> Timestamp {
    let minutes = SignedDuration::from_mins(i64::try_from(minute).unwrap());
    Timestamp::new(1_770_000_000, 123_456_789).unwrap() + minutes
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

fn phase(number: u8) -> PhaseNumber {
    PhaseNumber::new(number).unwrap()
}

fn incident(number: u32) -> IncidentNumber {
    IncidentNumber::new(number).unwrap()
}

fn flag(name: &str) -> FlagName {
    FlagName::new(name).unwrap()
}
