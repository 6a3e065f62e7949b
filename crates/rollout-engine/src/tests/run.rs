//! One rollout from its start to its rest, through as many engines as it takes.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rollout_core::{
    Bound, Cadence, CadenceStep, Comparison, Coverage, Criterion, EventKind, FlagChange, FlagName,
    FunctionCall, Limit, MissedPolicy, Phase, Plan, PlanParts, Risk, Rollout, RolloutId, Stage,
    Unit, Verdict,
};

use super::deployment::Deployment;
use crate::error::EngineError;
use crate::handle::{Entry, Handle, NewRollout};
use crate::store::memory::MemoryDisk;
use crate::{Engine, Seq};

/// What must be the same, however often the engine died on the way.
#[derive(Debug, PartialEq)]
pub(super) struct End {
    pub(super) env: BTreeMap<FlagName, String>,
    pub(super) writes: Vec<(FlagName, String)>,
    pub(super) stages: Vec<Stage>,
    pub(super) checkpoints: Vec<(SignedDuration, SignedDuration, Verdict)>,
}

pub(super) fn start() -> Timestamp {
    "2026-11-22T06:00:00Z".parse().unwrap()
}

fn phase(name: &str, flag: &str) -> Phase {
    Phase {
        name: name.into(),
        group: String::new(),
        purpose: String::new(),
        risk: Risk::Low,
        rollback_impact: String::new(),
        flags: BTreeMap::from([(
            FlagName::new(flag).unwrap(),
            FlagChange { on: "true".into(), safe: "false".into() },
        )]),
        bake: SignedDuration::from_hours(6),
        checkpoints: vec![SignedDuration::from_hours(1), SignedDuration::from_hours(6)],
        only_when: None,
        verify: vec![],
        before: vec![],
        after: vec![],
        approvals: 0,
        change_window: None,
    }
}

pub(super) fn plan(deployment: &str) -> Plan {
    Plan::try_new(parts(deployment, ["ONE", "TWO"])).unwrap()
}

pub(super) fn parts(deployment: &str, flags: [&str; 2]) -> PlanParts {
    let number = |comparison, limit| Some(Bound { comparison, limit: Limit::Number(limit) });
    let criterion = Criterion {
        name: "errors".into(),
        label: "Errors".into(),
        source: "health".into(),
        pointer: "/errors".into(),
        unit: Unit::Percent,
        target: number(Comparison::Less, 1.0),
        alert: number(Comparison::Greater, 5.0),
    };
    let cadence = vec![CadenceStep { until: None, every: SignedDuration::from_mins(30) }];
    PlanParts {
        name: "sample".into(),
        title: "Sample".into(),
        deployment: deployment.into(),
        sources: BTreeMap::from([(
            "health".to_string(),
            FunctionCall { path: "a:b".into(), args: "{}".into() }.into(),
        )]),
        criteria: vec![criterion],
        cadence: Cadence::new(cadence).unwrap(),
        coverage_min: Coverage::FULL,
        grace: SignedDuration::from_mins(5),
        missed: MissedPolicy::Extend,
        drift: rollout_core::DriftPolicy::Hold,
        code_push: rollout_core::PushPolicy::Hold,
        checklist: vec![],
        phases: vec![phase("one", flags[0]), phase("two", flags[1])],
        smoke: None,
        reference: vec![],
    }
}

pub(super) fn new_rollout(deployment: &str) -> NewRollout {
    NewRollout {
        plan: plan(deployment),
        digest: [7; 32],
        request_digest: [8; 32],
        url: "http://localhost".into(),
        start_at: None,
        actor: "ada".into(),
        reason: "test".into(),
        idempotency_key: Some("key".into()),
    }
}

/// Runs the sample plan until the rollout rests, opening the engine again whenever its store failed.
pub(super) async fn to_rest(disk: &MemoryDisk, deployment: &Deployment) -> End {
    let clock = deployment.clock(start());
    for _ in 0..8 {
        let store = Box::new(disk.open());
        let opened =
            Engine::open(store, clock.clone(), std::sync::Arc::new(deployment.clone())).await;
        let Ok((engine, handle)) = opened else { continue };
        let running = tokio::spawn(engine.run());
        let rested = rest(&handle).await;
        handle.stop().await;
        let ended = running.await.unwrap();
        // The store may also have failed behind the rest, at a reading that nobody waited for.
        if let (Ok((rollout, journal)), Ok(())) = (rested, ended) {
            return end(&rollout, &journal, deployment);
        }
    }
    panic!("does not come to rest in eight engines");
}

/// Starts the rollout (or finds it) and follows it until nothing more happens by itself.
async fn rest(handle: &Handle) -> Result<(Rollout, Vec<Entry>), EngineError> {
    let mut progress = handle.subscribe();
    let id = handle.create(new_rollout("production")).await?.rollout().id();
    loop {
        let rollout = handle.get(id).await?;
        let at_rest =
            rollout.status().is_terminal() || (rollout.is_held() && rollout.rollback().is_none());
        if at_rest {
            return Ok(((*rollout).clone(), handle.journal(id, Seq::FIRST).await?));
        }
        tokio::select! {
            _ = progress.recv() => {}
            () = handle.closed() => {}
        }
    }
}

pub(super) fn end(rollout: &Rollout, journal: &[Entry], deployment: &Deployment) -> End {
    assert_eq!(rollout.id(), RolloutId::FIRST);
    let judged = journal.iter().filter_map(|entry| match &entry.event.kind {
        EventKind::CheckpointJudged { offset, due, verdict, .. } => {
            Some((*offset, entry.event.at.duration_since(*due), *verdict))
        }
        _ => None,
    });
    End {
        env: deployment.env(),
        writes: deployment.writes(),
        stages: rollout.phases().iter().map(|phase| phase.stage).collect(),
        checkpoints: judged.collect(),
    }
}
