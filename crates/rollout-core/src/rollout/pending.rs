//! Owns what the state still needs: effects and the next deadline. Both are derived, never stored, so that starting and
//! resuming are the same path.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use super::GAP_INTERVALS;
use super::state::{Bake, Checkpoint, PhaseState, Rollout, SlotUse, Smoke, Stage, Status};
use crate::cadence::{saturating_add, saturating_sub};
use crate::effect::{Effect, MetricQuery, Observation, PendingEffect, SourceQuery, WritePurpose};
use crate::event::HoldReason;
use crate::id::PhaseNumber;
use crate::id::{FlagName, Seq};
use crate::measurement::{Expectation, Probe, ProbeKind, Purpose, Scalar};
use crate::plan::{MissedPolicy, Phase, Proof};
use crate::source::{PromQuery, Source, Span, SpanEnd};

impl Rollout {
    /// The effects this state still needs, with stable keys. Same answer before and after a crash.
    pub fn pending(&self) -> Vec<PendingEffect> {
        let slot = self.slot_effect().map(|effect| (self.slot.seq, effect));
        let watch = self
            .watch
            .observing
            .map(|(seq, purpose)| (seq, Effect::Observe(self.observation(purpose))));
        let named = |(seq, effect): (Seq, Effect)| PendingEffect {
            key: self.key(seq),
            deployment: self.plan.deployment.clone(),
            url: self.url.clone(),
            effect,
        };
        slot.into_iter().chain(watch).map(named).collect()
    }

    /// When [`crate::Input::DeadlineReached`] is due, if ever. May lie in the past: then it is due now.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let start = (self.status == Status::Scheduled).then_some(self.start_at);
        let reading = self.watch.next_at.filter(|_| self.watch.observing.is_none());
        let retry = self.slot.retry_at.filter(|_| self.may_retry());
        let missed = self.overdue_from().map(|(_, at)| at);
        [start, reading, retry, self.gate_deadline(), missed].into_iter().flatten().min()
    }

    /// Under `missed = "fail"`: the first open checkpoint of the running window, and when it counts as missed.
    pub(super) fn overdue_from(&self) -> Option<(&Checkpoint, Timestamp)> {
        let fails = self.plan.missed == MissedPolicy::Fail && self.rollback.is_none();
        let (_, bake) = self.baking().filter(|_| fails)?;
        let open = bake.checkpoints.iter().find(|checkpoint| checkpoint.judged.is_none())?;
        Some((open, saturating_add(open.due, self.plan.grace)))
    }

    /// The next missed checkpoint that the health sources are to be asked about. The present comes first: only once it was
    /// seen again is there time to look back.
    pub(super) fn looks_back_to(&self, now: Timestamp) -> Option<Timestamp> {
        let (_, bake) = self.baking().filter(|_| self.watch.failed == 0)?;
        let open = bake.checkpoints.iter().filter(|checkpoint| checkpoint.judged.is_none());
        let mut missed = open.filter(|checkpoint| self.may_look_back(bake, checkpoint.due, now));
        missed.next().map(|checkpoint| checkpoint.due).filter(|due| *due <= bake.covered_until)
    }

    /// True for a moment that was missed and that the sources have not been asked about yet.
    pub(super) fn may_look_back(&self, bake: &Bake, due: Timestamp, now: Timestamp) -> bool {
        self.plan.missed == MissedPolicy::Backfill
            && self.is_late(due, now)
            && bake.looked_back.is_none_or(|tried| due > tried)
    }

    /// True when a checkpoint that was due then is settled later than the grace.
    pub(super) fn is_late(&self, due: Timestamp, now: Timestamp) -> bool {
        now.duration_since(due) > self.plan.grace
    }

    /// True when the effect in the slot may be tried again: an enabling waits for a hold to end, a rollback never does.
    pub(super) fn may_retry(&self) -> bool {
        match self.slot_use() {
            Some(SlotUse::Restore) => true,
            Some(
                SlotUse::Enable(_) | SlotUse::Revert | SlotUse::FindWindow(_) | SlotUse::Smoke,
            ) => !self.is_held(),
            None => false,
        }
    }

    /// The opening of the change window when nothing else is waited for; otherwise its end, after which the next one must
    /// be found.
    fn gate_deadline(&self) -> Option<Timestamp> {
        let (phase, state) = self.phase(self.gated()?)?;
        let (opens, closes) = state.window?;
        Some(if self.people_are_done(phase, state) { opens } else { closes })
    }

    /// The phase at its gates, when nothing else comes before them: no hold, no rollback, no flag that is being set back.
    pub(super) fn gated(&self) -> Option<PhaseNumber> {
        let is_free =
            self.status == Status::Running && !self.stands_still() && self.rollback.is_none();
        let number = self.current().filter(|_| is_free)?;
        (self.phases.get(number.index())?.stage == Stage::Gated).then_some(number)
    }

    fn slot_effect(&self) -> Option<Effect> {
        if !self.slot.is_under_way() {
            return None;
        }
        match self.slot_use()? {
            SlotUse::Restore => {
                let changes = self.rollback.as_ref()?.restore.clone();
                Some(Effect::SetFlags { changes, purpose: WritePurpose::RestoreSafe })
            }
            // Begun in the step of a hold, it waits for the hold's end, and becomes a person's when that takes long.
            SlotUse::Revert if self.is_held() => None,
            // Never as a rollback: where nothing can be recorded, only rollbacks are performed.
            SlotUse::Revert => {
                let changes = self.revert.as_ref()?.changes.clone();
                Some(Effect::SetFlags { changes, purpose: WritePurpose::Enable })
            }
            SlotUse::Enable(number) => {
                let flags = &self.plan.phase(number)?.flags;
                let changes =
                    flags.iter().map(|(flag, change)| (flag.clone(), change.on.clone())).collect();
                Some(Effect::SetFlags { changes, purpose: WritePurpose::Enable })
            }
            SlotUse::FindWindow(number) => {
                let window = self.plan.phase(number)?.change_window.clone()?;
                Some(Effect::FindChangeWindow { window, from: self.last_at })
            }
            SlotUse::Smoke => {
                let test = self.plan.smoke.as_ref()?;
                let Smoke::Creating { run, at } = self.smoke else { return None };
                Some(Effect::Invoke {
                    call: test.create.clone(),
                    pointer: test.id_pointer.clone(),
                    bindings: BTreeMap::from([("$key".to_string(), self.run_key(run, at))]),
                })
            }
        }
    }

    /// What a function recognises one run of the smoke test by: the same for each try of this run, before and after a crash, and of
    /// no other run, also where another store gives the same id again. An app that honours a key it has seen creates nothing,
    /// and the test would pass by what an earlier run created.
    fn run_key(&self, run: Seq, at: Timestamp) -> String {
        format!("{}-{}", self.key(run), at.as_nanosecond())
    }

    fn observation(&self, purpose: Purpose) -> Observation {
        Observation {
            flags: self.plan.flags(),
            known: self.known.clone(),
            sources: self.source_queries(purpose),
            probes: self.probes(purpose),
            bindings: match &self.smoke {
                Smoke::Waiting { id, .. } => BTreeMap::from([("$id".to_string(), id.clone())]),
                Smoke::NotStarted | Smoke::Creating { .. } | Smoke::Passed | Smoke::Failed => {
                    BTreeMap::new()
                }
            },
        }
    }

    /// The range of time that a reading asks about: since the last one that showed the phase, and one interval at least.
    fn range(&self, purpose: Purpose) -> (Timestamp, Timestamp) {
        let to = self.speaks_for(self.watch.asked_at.unwrap_or(self.last_at), purpose);
        let baking = self.baking().map(|(_, bake)| bake);
        let one_interval = saturating_sub(to, self.interval_at(to));
        let from = baking.map_or(one_interval, |bake| bake.covered_until.min(one_interval));
        (from, to)
    }

    /// From when on a source counts: one that looks back over its own time never beyond the last change of a flag, since other
    /// values were in force then. A call counts when it ended, and may have run for longer than its source looks back, so what
    /// counts calls is told the change alone.
    fn counts_from(&self, source: &Source, from: Timestamp, to: Timestamp) -> Timestamp {
        let back = match source {
            Source::Function(_) => return from,
            Source::Executions(calls) | Source::AppMetrics(calls) => saturating_sub(to, calls.over),
            Source::Prometheus(PromQuery { range: Some(range), .. }) => {
                saturating_sub(to, range.over)
            }
            Source::Http(_) | Source::Prometheus(_) => from,
        };
        let Some(flipped) = self.flipped_at else { return back };
        match source.calls() {
            Some(_) => flipped.min(to),
            None => back.max(flipped).min(to),
        }
    }

    /// The planned time between two readings at a moment.
    pub(super) fn interval_at(&self, at: Timestamp) -> SignedDuration {
        let cadence = &self.plan.cadence;
        let elapsed = |bake: &Bake| at.duration_since(bake.started_at).max(SignedDuration::ZERO);
        self.baking().map_or(cadence.idle(), |(_, bake)| cadence.interval_at(elapsed(bake)))
    }

    fn source_queries(&self, purpose: Purpose) -> Vec<SourceQuery> {
        // A rollback is finished by reading its flags back; no slow source keeps it from that.
        if purpose == Purpose::Recovery {
            return Vec::new();
        }
        let (from, to) = self.range(purpose);
        let end = match purpose {
            Purpose::Backfill(_) => SpanEnd::Past,
            Purpose::Baseline
            | Purpose::Preflight(_)
            | Purpose::Verification(_)
            | Purpose::Check
            | Purpose::Recovery
            | Purpose::Final
            | Purpose::Smoke => SpanEnd::Now,
        };
        let stay = self.interval_at(to).saturating_mul(GAP_INTERVALS);
        let queries = self.plan.sources.iter().map(|(source, planned)| {
            let wanted = self.plan.criteria.iter().filter(|criterion| criterion.source == *source);
            let metrics = wanted.map(|criterion| MetricQuery {
                criterion: criterion.name.clone(),
                pointer: criterion.pointer.clone(),
                unit: criterion.unit,
                alert: criterion.alert.clone(),
            });
            SourceQuery {
                source: source.clone(),
                ask: planned.about(from, to),
                span: Span { from: self.counts_from(planned, from, to), to, end },
                stay,
                cursor: self.cursors.get(source).cloned(),
                metrics: metrics.collect(),
            }
        });
        queries.filter(|query| !query.metrics.is_empty()).collect()
    }

    fn probes(&self, purpose: Purpose) -> Vec<Probe> {
        match purpose {
            Purpose::Preflight(number) => {
                self.plan.phase(number).map(|phase| self.preflight_probes(phase))
            }
            Purpose::Verification(number) => {
                self.plan.phase(number).map(|phase| phase.verify.clone())
            }
            Purpose::Final => Some(self.final_probes()),
            Purpose::Smoke => Some(self.smoke_probe().into_iter().collect()),
            Purpose::Baseline | Purpose::Check | Purpose::Recovery | Purpose::Backfill(_) => None,
        }
        .unwrap_or_default()
    }

    fn preflight_probes(&self, phase: &Phase) -> Vec<Probe> {
        let precondition = phase.only_when.iter().map(|precondition| precondition.probe.clone());
        let items = self.plan.items_before(phase).filter_map(|item| match &item.proof {
            Proof::Machine(probe) => {
                Some(Probe { name: item.name.clone(), kind: probe.kind.clone() })
            }
            Proof::Person | Proof::ThresholdsSet => None,
        });
        precondition.chain(items).collect()
    }

    /// Everything that completed phases had verified must still be so at the end.
    fn final_probes(&self) -> Vec<Probe> {
        let done = self
            .plan
            .phases
            .iter()
            .zip(&self.phases)
            .filter(|(_, state)| state.stage == Stage::Completed);
        done.flat_map(|(phase, _)| phase.verify.iter().cloned()).collect()
    }

    fn smoke_probe(&self) -> Option<Probe> {
        let test = self.plan.smoke.as_ref()?;
        let kind = ProbeKind::Function {
            call: test.poll.clone(),
            pointer: test.state_pointer.clone(),
            expect: Expectation::Equals(Scalar::Text(test.success.clone())),
        };
        Some(Probe { name: test.name.clone(), kind })
    }

    /// Why the next reading would be taken, as things stand.
    pub(super) fn purpose(&self) -> Purpose {
        if let Some(rollback) = &self.rollback {
            return match rollback.stage {
                super::RollbackStage::ReadingBack => Purpose::Recovery,
                super::RollbackStage::Writing => Purpose::Check,
            };
        }
        let held = self.is_held_beyond_blindness();
        match self.status {
            Status::Baseline if !held => Purpose::Baseline,
            Status::FinalChecks if matches!(self.smoke, Smoke::Waiting { .. }) => Purpose::Smoke,
            Status::FinalChecks if !held && !self.final_checks_passed => Purpose::Final,
            Status::Running => {
                match self.current().map(|number| (number, self.phases[number.index()].stage)) {
                    Some((number, Stage::Preflight)) if !held => Purpose::Preflight(number),
                    Some((number, Stage::Verifying)) => Purpose::Verification(number),
                    Some(_) | None => Purpose::Check,
                }
            }
            Status::Scheduled
            | Status::Baseline
            | Status::FinalChecks
            | Status::Completed
            | Status::Aborted => Purpose::Check,
        }
    }

    /// Being blind is no reason to look less closely.
    pub(super) fn is_held_beyond_blindness(&self) -> bool {
        self.holds.iter().any(|hold| !matches!(hold.reason, HoldReason::Blind { .. }))
    }

    /// True when every item before a phase is ticked and every approval is given.
    pub(super) fn people_are_done(&self, phase: &Phase, state: &PhaseState) -> bool {
        let mut people = self.plan.items_before(phase).filter(|item| item.proof == Proof::Person);
        let ticked = people.all(|item| state.ticked.contains_key(&item.name));
        ticked && state.approved_by.len() >= usize::from(phase.approvals)
    }

    /// The value that puts a flag back.
    pub(super) fn safe_value(&self, flag: &FlagName) -> Option<&str> {
        self.plan
            .phases
            .iter()
            .find_map(|phase| phase.flags.get(flag))
            .map(|change| change.safe.as_str())
    }
}
