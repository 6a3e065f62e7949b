//! Owns the sources of a plan that need no code of the app: the stream of executions and the deployment's own metrics.
//!
//! Drawn from dice of their own on top of a plan that is complete without them, so that other seeds keep their meaning.

use jiff::SignedDuration;
use rollout_core::{
    Bound, Cadence, CadenceStep, Calls, Comparison, Criterion, Limit, MissedPolicy, Plan,
    PlanParts, Source, Unit,
};

use crate::calls::{LIST, SEND};
use crate::dice::Dice;

/// Which sources the plans of a run read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// The stream.
    Executions,
    /// The deployment's metrics.
    AppMetrics,
    /// Both.
    Both,
}

impl Reads {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        dice.pick(&[Self::Executions, Self::Executions, Self::AppMetrics, Self::Both])
    }

    /// True when the deployment's metrics are read.
    pub(crate) fn metrics(self) -> bool {
        self != Self::Executions
    }
}

/// A plan that reads these sources. See [`read_calls`].
pub(crate) fn reading(plan: &Plan, reads: Reads, dice: &mut Dice) -> Plan {
    let mut parts: PlanParts = (**plan).clone();
    read_calls(&mut parts, reads, dice);
    Plan::try_new(parts).expect("the simulator draws plans without contradictions")
}

/// Lets a plan read these sources, in place of its function or beside it. Its windows become short: a stream is asked
/// every minute while a rollout lives.
fn read_calls(parts: &mut PlanParts, reads: Reads, dice: &mut Dice) {
    if dice.chance(50) {
        parts.sources.clear();
        parts.criteria.clear();
    }
    if reads != Reads::AppMetrics {
        parts.sources.insert("sends".into(), Source::Executions(draw_executions(dice)));
        parts.criteria.extend(judge_executions(dice));
    }
    if reads.metrics() {
        let calls = draw_metrics(dice);
        let level =
            if calls.functions.is_empty() { format!("/functions/{SEND}") } else { String::new() };
        parts.sources.insert("app".into(), Source::AppMetrics(calls));
        parts.criteria.extend(judge_metrics(&level, dice));
    }
    // Neither can be asked about the past.
    if parts.missed == MissedPolicy::Backfill {
        parts.missed = MissedPolicy::Extend;
    }
    let every = SignedDuration::from_mins(dice.pick(&[10, 15, 20]));
    parts.cadence =
        Cadence::new(vec![CadenceStep { until: None, every }]).expect("one stretch is in order");
    parts.phases.truncate(2);
    for phase in &mut parts.phases {
        let longest = SignedDuration::from_mins(dice.pick(&[10, 30, 60, 120]));
        phase.bake = phase.bake.min(longest);
        phase.checkpoints.retain(|offset| *offset <= longest);
        // Nobody waits for a day with a stream open.
        phase.change_window = None;
    }
}

fn draw_executions(dice: &mut Dice) -> Calls {
    let over = dice.pick(&[5, 30, 45, 60]);
    Calls {
        functions: dice.pick(&[vec![], vec![SEND.into()], vec![SEND.into(), LIST.into()]]),
        callers: dice.pick(&[vec![], vec![], vec!["SyncWorker".into()]]),
        over: SignedDuration::from_mins(over),
        calls_min: if over < 30 { 1 } else { dice.pick(&[1, 2, 3, 5]) },
    }
}

fn draw_metrics(dice: &mut Dice) -> Calls {
    Calls {
        functions: dice.pick(&[vec![SEND.into()], vec![SEND.into(), LIST.into()], vec![]]),
        callers: Vec::new(),
        over: SignedDuration::from_mins(dice.pick(&[10, 30, 45])),
        calls_min: dice.pick(&[1, 2, 3]),
    }
}

fn judge_executions(dice: &mut Dice) -> Vec<Criterion> {
    let (target, alert) = dice.pick(&[(5.0, 25.0), (10.0, 40.0), (20.0, 50.0)]);
    let mut all = vec![criterion(
        "sends-rate",
        "sends",
        "/errorRate",
        Unit::Percent,
        bound(Comparison::Less, target),
        bound(Comparison::Greater, alert),
    )];
    if dice.chance(40) {
        let (target, alert) =
            (bound(Comparison::LessOrEqual, 2.0), bound(Comparison::GreaterOrEqual, 6.0));
        all.push(criterion("sends-errors", "sends", "/errors", Unit::Count, target, alert));
    }
    if dice.chance(30) {
        let target = bound(Comparison::GreaterOrEqual, 1.0);
        all.push(criterion("sends-calls", "sends", "/calls", Unit::Count, target, None));
    }
    all
}

fn judge_metrics(level: &str, dice: &mut Dice) -> Vec<Criterion> {
    let (target, alert) = dice.pick(&[(5.0, 30.0), (20.0, 50.0)]);
    let mut all = vec![criterion(
        "app-rate",
        "app",
        &format!("{level}/errorRate"),
        Unit::Percent,
        bound(Comparison::Less, target),
        bound(Comparison::Greater, alert),
    )];
    if dice.chance(60) {
        let (target, pointer) = (bound(Comparison::GreaterOrEqual, 1.0), format!("{level}/calls"));
        all.push(criterion("app-calls", "app", &pointer, Unit::Count, target, None));
    }
    all
}

fn bound(comparison: Comparison, limit: f64) -> Option<Bound> {
    Some(Bound { comparison, limit: Limit::Number(limit) })
}

fn criterion(
    name: &str,
    source: &str,
    pointer: &str,
    unit: Unit,
    target: Option<Bound>,
    alert: Option<Bound>,
) -> Criterion {
    let (label, source, pointer) = (name.into(), source.into(), pointer.into());
    Criterion { name: name.into(), label, source, pointer, unit, target, alert }
}
