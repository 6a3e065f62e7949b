//! Owns a plain account of one rollout: what its journal says happened, one event after the other.
//!
//! It knows plans and events and nothing of the state machine. It judges nothing; [`crate::invariants`] does, with what is
//! kept here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rollout_core::{
    Actor, Comparison, Criterion, Event, EventKind, FlagChange, FlagName, GapCause, HoldReason,
    JudgedReading, Limit, Measured, PhaseNumber, Plan, ProbeState, Purpose, PushPolicy, RolloutId,
    Seq, Unit, Verdict,
};

use crate::plans;

/// One rollout, as its journal tells it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) id: RolloutId,
    pub(crate) plan: Plan,
    /// When a person wants it to begin.
    pub(crate) start_at: Timestamp,
    pub(crate) payloads: Vec<Vec<u8>>,
    /// Up to here nothing can be lost any more.
    pub(crate) on_disk: u64,
    pub(crate) last_at: Timestamp,
    pub(crate) phases: Vec<PhaseView>,
    /// Phases that were ever enabled.
    pub(crate) touched: BTreeSet<PhaseNumber>,
    pub(crate) holds: Vec<HoldReason>,
    pub(crate) rolling: Option<Rolling>,
    /// Foreign values that are being replaced.
    pub(crate) reverting: BTreeMap<FlagName, String>,
    /// Flags whose foreign values were ever replaced.
    pub(crate) reverted: BTreeSet<FlagName>,
    /// How often that was begun.
    pub(crate) reverts: u32,
    /// Foreign values that count as on.
    pub(crate) adopted: BTreeMap<FlagName, String>,
    /// When each flag was written last, as readings told since this rollout last wrote it.
    pub(crate) written: BTreeMap<FlagName, Timestamp>,
    /// Where in the journal that was forgotten last: a reading that was asked for before still knew it.
    pub(crate) forgotten: BTreeMap<FlagName, u64>,
    /// When code was pushed last, as readings told.
    pub(crate) pushed: Option<Timestamp>,
    /// The flags were off and the baseline is passed: from here on they are this rollout's business.
    pub(crate) minds: bool,
    pub(crate) incidents: BTreeMap<u32, IncidentView>,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) begun: bool,
    /// The reading that was asked for last, by the event that asked, and when that was.
    pub(crate) asked: Option<(Seq, Timestamp)>,
    pub(crate) restored_at: Option<Timestamp>,
    /// When what calls are about changed last, by the journal: a flag of this rollout, or the code.
    pub(crate) flipped_at: Option<Timestamp>,
    /// When a write of this rollout last changed something at the deployment, of those that the journal knows.
    pub(crate) flip_landed: Option<Timestamp>,
    /// Both as they were when the reading that is under way was asked for last.
    pub(crate) asked_flip: (Option<Timestamp>, Option<Timestamp>),
    /// A reading with health sources has been taken since.
    pub(crate) asked_since_flip: bool,
    /// When the stream told this process something for the first time.
    pub(crate) told_from: Option<Timestamp>,
    /// Criteria for which the last reading said that it has no number.
    pub(crate) unknown: BTreeSet<String>,
    pub(crate) well_since_rollback: bool,
    pub(crate) smokes_started: usize,
    pub(crate) creates_landed: usize,
    /// How long the engine had been up when this rollout last took a reading, tried an effect, and wrote an event.
    pub(crate) read_at_uptime: SignedDuration,
    pub(crate) tried_at_uptime: SignedDuration,
    pub(crate) wrote_at_uptime: SignedDuration,
}

/// One phase.
#[derive(Clone, Debug)]
pub(crate) struct PhaseView {
    pub(crate) stand: Stand,
    pub(crate) ticked: BTreeSet<String>,
    pub(crate) approvals: BTreeSet<String>,
    /// The last preflight of this attempt: whether its precondition and its probes were met, and health was seen well.
    pub(crate) preflight: Option<bool>,
    pub(crate) bake: Option<BakeView>,
}

/// Where a phase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Off,
    Enabling,
    Verifying,
    Baking,
    Concluding,
    Completed,
    Skipped,
    Rolling,
    RolledBack,
}

/// A bake window, counted anew from the readings.
#[derive(Clone, Debug)]
pub(crate) struct BakeView {
    pub(crate) started: Timestamp,
    /// From here on what is seen counts: its start, or the last push of code under `extend`.
    pub(crate) counts_from: Timestamp,
    /// Up to here it was either seen or told as a gap.
    pub(crate) covered: Timestamp,
    pub(crate) observed: SignedDuration,
    pub(crate) unobserved: SignedDuration,
    /// A reading since `covered` showed a flag that was not on.
    pub(crate) seen_off: bool,
    /// By how much the wall clock went forward since `covered` without that time having passed.
    pub(crate) jumped: SignedDuration,
    /// The sources told about everything up to here afterwards.
    pub(crate) told_until: Option<Timestamp>,
    pub(crate) verdicts: BTreeMap<SignedDuration, Verdict>,
}

/// A rollback under way.
#[derive(Clone, Debug)]
pub(crate) struct Rolling {
    pub(crate) phases: Vec<PhaseNumber>,
    pub(crate) restore: BTreeMap<FlagName, String>,
}

/// An incident.
#[derive(Clone, Debug)]
pub(crate) struct IncidentView {
    pub(crate) phases: Vec<PhaseNumber>,
    pub(crate) resolved: bool,
}

/// What a flag should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted<'a> {
    /// This value.
    On(&'a str),
    /// This value, or none.
    Off(&'a str),
    /// Nobody can say: it is being written, or nobody minds.
    Any,
}

/// What a reading says, in the order from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Says {
    Well,
    Warns,
    Nothing,
    Breach,
}

impl View {
    /// A view from the first event of a journal; `None` when that is no creation.
    pub(crate) fn new(event: &Event, uptime: SignedDuration) -> Option<Self> {
        let EventKind::RolloutCreated { id, plan, start_at, .. } = &event.kind else { return None };
        let phase = PhaseView::fresh();
        Some(Self {
            id: *id,
            plan: (**plan).clone(),
            start_at: *start_at,
            payloads: Vec::new(),
            on_disk: 0,
            last_at: event.at,
            phases: vec![phase; plan.phases.len()],
            touched: BTreeSet::new(),
            holds: Vec::new(),
            rolling: None,
            reverting: BTreeMap::new(),
            reverted: BTreeSet::new(),
            reverts: 0,
            adopted: BTreeMap::new(),
            written: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            pushed: None,
            minds: false,
            incidents: BTreeMap::new(),
            ended: None,
            begun: false,
            asked: None,
            restored_at: None,
            flipped_at: None,
            flip_landed: None,
            asked_flip: (None, None),
            asked_since_flip: false,
            told_from: None,
            unknown: BTreeSet::new(),
            well_since_rollback: true,
            smokes_started: 0,
            creates_landed: 0,
            read_at_uptime: uptime,
            tried_at_uptime: uptime,
            wrote_at_uptime: uptime,
        })
    }

    /// The end of its journal.
    pub(crate) fn seq(&self) -> u64 {
        self.payloads.len() as u64
    }

    /// The phase with this number.
    pub(crate) fn phase(&self, number: PhaseNumber) -> &PhaseView {
        &self.phases[number.index()]
    }

    /// The phase whose flags may be on and which is not done.
    pub(crate) fn exposed(&self) -> Option<PhaseNumber> {
        self.phases.iter().position(|phase| phase.stand.is_exposed()).and_then(number)
    }

    /// What a breach means: the exposed phase, else the one completed last.
    pub(crate) fn breach_hits(&self) -> Option<PhaseNumber> {
        let completed = || self.phases.iter().rposition(|phase| phase.stand == Stand::Completed);
        self.exposed().or_else(|| completed().and_then(number))
    }

    /// True while a breach after a rollback still counts as what that rollback put right.
    pub(crate) fn is_echo(&self, at: Timestamp) -> bool {
        let span = (self.plan.cadence.idle() * 2).max(SignedDuration::from_hours(1));
        !self.well_since_rollback && self.restored_at.is_none_or(|restored| at <= restored + span)
    }

    /// The longest time between two readings that the plan knows.
    pub(crate) fn interval_max(&self) -> SignedDuration {
        let all = self.plan.cadence.steps().iter().map(|step| step.every);
        all.max().unwrap_or(SignedDuration::from_hours(24))
    }

    /// What is wrong with a whole, as read by this plan's criteria.
    pub(crate) fn says(&self, reading: &JudgedReading) -> Says {
        let judged = self.plan.criteria.iter().filter(|criterion| criterion.is_judged());
        let says = judged.map(|criterion| {
            let of = reading.judged.iter().find(|judged| judged.criterion == criterion.name);
            of.map_or(Says::Nothing, |judged| says(criterion, &judged.measured))
        });
        let worst = says.max().unwrap_or(Says::Nothing);
        if reading.flags.is_err() { worst.max(Says::Nothing) } else { worst }
    }

    /// True when a reading found every flag of a phase on.
    pub(crate) fn found_on(&self, phase: PhaseNumber, reading: &JudgedReading) -> bool {
        let (Ok(found), Some(planned)) = (&reading.flags, self.plan.phase(phase)) else {
            return false;
        };
        planned.flags.iter().all(|(flag, change)| {
            found.get(flag).and_then(Option::as_deref) == Some(self.on_value(flag, change))
        })
    }

    /// The value of a flag that counts as on.
    pub(crate) fn on_value<'a>(&'a self, flag: &FlagName, change: &'a FlagChange) -> &'a str {
        self.adopted.get(flag).map_or(change.on.as_str(), String::as_str)
    }

    /// What a flag of this plan should be.
    pub(crate) fn wanted(&self, flag: &FlagName) -> Wanted<'_> {
        let mut phases = self.plan.phases.iter().zip(&self.phases);
        let owner = phases.find_map(|(planned, now)| Some((planned.flags.get(flag)?, now.stand)));
        let Some((change, stand)) = owner else { return Wanted::Any };
        if !self.minds || self.ended.is_some() || self.reverting.contains_key(flag) {
            return Wanted::Any;
        }
        match stand {
            Stand::Off | Stand::Skipped | Stand::RolledBack => Wanted::Off(&change.safe),
            Stand::Baking | Stand::Concluding | Stand::Completed => {
                Wanted::On(self.on_value(flag, change))
            }
            Stand::Enabling | Stand::Verifying | Stand::Rolling => Wanted::Any,
        }
    }

    /// The flags of phases that are on.
    pub(crate) fn flags_on(&self) -> Vec<FlagName> {
        let flags = self.plan.flags().into_iter();
        flags.filter(|flag| matches!(self.wanted(flag), Wanted::On(_))).collect()
    }

    /// True for a criterion about calls that the deployment itself counts.
    pub(crate) fn counts_calls(&self, criterion: &str) -> bool {
        let mut criteria = self.plan.criteria.iter();
        let source = criteria.find(|one| one.name == criterion).map(|one| &one.source);
        let source = source.and_then(|source| self.plan.sources.get(source));
        source.is_some_and(|source| source.calls().is_some())
    }

    fn flipped(&mut self, at: Timestamp) {
        self.flipped_at = Some(at);
        self.asked_since_flip = false;
    }

    /// The value that turns a flag of this plan off.
    pub(crate) fn safe_value(&self, flag: &FlagName) -> Option<&str> {
        let mut phases = self.plan.phases.iter();
        phases.find_map(|phase| phase.flags.get(flag)).map(|change| change.safe.as_str())
    }

    /// This rollout wrote these flags: what was known of them is over.
    fn wrote(&mut self, flags: impl Iterator<Item = FlagName>) {
        for flag in flags {
            self.adopted.remove(&flag);
            self.forget(&flag);
        }
    }

    fn forget(&mut self, flag: &FlagName) {
        self.written.remove(flag);
        self.forgotten.insert(flag.clone(), self.seq());
    }

    /// True when a reading that is under way was asked for before the time of this flag's write was forgotten.
    pub(crate) fn forgot_midway(&self, flag: &FlagName) -> bool {
        let forgotten = self.forgotten.get(flag);
        forgotten.is_some_and(|seq| self.asked.is_some_and(|(asked, _)| *seq > asked.get()))
    }

    /// True when a phase with this flag was rolled back.
    pub(crate) fn put_back(&self, flag: &FlagName) -> bool {
        let mut phases = self.plan.phases.iter().zip(&self.phases);
        phases.any(|(planned, phase)| {
            phase.stand == Stand::RolledBack && planned.flags.contains_key(flag)
        })
    }

    /// The phase in its bake window.
    pub(crate) fn baking(&self) -> Option<(PhaseNumber, &BakeView)> {
        let place = self.phases.iter().position(|phase| phase.stand == Stand::Baking)?;
        Some((number(place)?, self.phases[place].bake.as_ref()?))
    }

    fn baking_mut(&mut self) -> Option<&mut BakeView> {
        self.phases.iter_mut().find(|phase| phase.stand == Stand::Baking)?.bake.as_mut()
    }

    /// Up to which moment a reading at `at` speaks: sources that answer for a range of time speak for the end of that range.
    pub(crate) fn speaks_for(&self, at: Timestamp, purpose: Purpose) -> Timestamp {
        match purpose {
            Purpose::Backfill(to) => to,
            Purpose::Baseline
            | Purpose::Preflight(_)
            | Purpose::Verification(_)
            | Purpose::Check
            | Purpose::Recovery
            | Purpose::Final
            | Purpose::Smoke => {
                let asked = self.asked.filter(|_| plans::answers_for_ranges(&self.plan));
                asked.map_or(at, |(_, asked_at)| asked_at)
            }
        }
    }

    /// Takes in one event.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest says nothing about what is kept")]
    pub(crate) fn follow(&mut self, event: &Event, payload: Vec<u8>) {
        self.payloads.push(payload);
        let at = event.at;
        self.last_at = self.last_at.max(at);
        match &event.kind {
            EventKind::BaselineStarted => self.begun = true,
            EventKind::ReadingStarted { .. } => {
                self.asked = Seq::new(self.seq()).map(|seq| (seq, at));
            }
            EventKind::ClockJumped { by } if by.is_positive() => {
                if let Some(bake) = self.baking_mut() {
                    bake.jumped += *by;
                }
            }
            EventKind::GapBackfilled { phase, to, .. } => {
                if let Some(bake) = &mut self.phases[phase.index()].bake {
                    bake.told_until = Some(*to);
                    bake.seen_off = false;
                    bake.jumped = SignedDuration::ZERO;
                }
            }
            EventKind::ReadingTaken { purpose, reading } => self.read(at, *purpose, reading),
            EventKind::GapRecorded { phase, from, to, cause } => {
                if *cause == GapCause::Drift {
                    self.flipped(*to);
                }
                if let Some(bake) = &mut self.phases[phase.index()].bake {
                    bake.observed += from.duration_since(bake.covered).max(SignedDuration::ZERO);
                    bake.unobserved += to.duration_since(*from);
                    bake.covered = bake.covered.max(*to);
                    bake.seen_off = false;
                    bake.jumped = SignedDuration::ZERO;
                }
            }
            EventKind::CheckpointJudged { phase, offset, verdict, .. } => {
                if let Some(bake) = &mut self.phases[phase.index()].bake {
                    bake.verdicts.insert(*offset, *verdict);
                }
            }
            EventKind::Held { hold } => {
                // It may have been written, and nobody heard of it.
                if let HoldReason::Drift { flag } = hold
                    && self.reverting.remove(flag).is_some()
                {
                    self.forget(flag);
                }
                self.holds.push(hold.clone());
            }
            EventKind::RevertStarted { .. }
            | EventKind::DriftReverted { .. }
            | EventKind::DriftAdopted { .. }
            | EventKind::FlagRewritten { .. }
            | EventKind::CodePushed { .. }
            | EventKind::FlagsRestored { .. } => self.follow_changes(at, &event.kind),
            EventKind::BaselinePassed => self.minds = true,
            EventKind::Released { hold } => self.holds.retain(|held| held != hold),
            EventKind::RollbackStarted { .. }
            | EventKind::RollbackFinished
            | EventKind::IncidentResolved { .. } => self.follow_rollback(at, &event.kind),
            EventKind::SmokeStarted => self.smokes_started += 1,
            EventKind::RolloutCompleted | EventKind::RolloutAborted => {
                self.ended = Some(at);
                self.reverting.clear();
                self.holds.clear();
            }
            kind => self.follow_phase(at, &event.actor, kind),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "`follow` sends only these kinds here")]
    fn follow_rollback(&mut self, at: Timestamp, kind: &EventKind) {
        match kind {
            EventKind::RollbackStarted { phases, restore, incident, .. } => {
                for flag in std::mem::take(&mut self.reverting).into_keys() {
                    self.forget(&flag);
                }
                phases.iter().for_each(|phase| self.set(*phase, Stand::Rolling));
                let incident_view = IncidentView { phases: phases.clone(), resolved: false };
                self.incidents.insert(incident.get(), incident_view);
                self.rolling = Some(Rolling { phases: phases.clone(), restore: restore.clone() });
                self.well_since_rollback = false;
            }
            EventKind::RollbackFinished => {
                let done = self.rolling.take().map(|rolling| rolling.phases).unwrap_or_default();
                done.into_iter().for_each(|phase| self.set(phase, Stand::RolledBack));
                self.restored_at = Some(at);
            }
            EventKind::IncidentResolved { incident } => {
                if let Some(found) = self.incidents.get_mut(&incident.get()) {
                    found.resolved = true;
                }
            }
            _ => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest says nothing about what is kept")]
    fn follow_phase(&mut self, at: Timestamp, actor: &Actor, kind: &EventKind) {
        match kind {
            EventKind::ItemTicked { phase, item } => {
                self.phases[phase.index()].ticked.insert(item.clone());
            }
            EventKind::PhaseApproved { phase } => {
                self.phases[phase.index()].approvals.insert(actor.to_string());
            }
            EventKind::EnablingStarted { phase } => {
                self.touched.insert(*phase);
                self.set(*phase, Stand::Enabling);
            }
            EventKind::FlagsSet { phase, .. } => {
                self.flipped(at);
                let flags = self.plan.phase(*phase).map(|phase| phase.flags.clone());
                self.wrote(flags.unwrap_or_default().into_keys());
                self.set(*phase, Stand::Verifying);
            }
            EventKind::WindowRestarted { phase } => {
                self.set(*phase, Stand::Verifying);
                self.phases[phase.index()].bake = None;
            }
            EventKind::BakeStarted { phase } => {
                self.set(*phase, Stand::Baking);
                self.phases[phase.index()].bake = Some(BakeView::from(at));
            }
            EventKind::BakeEnded { phase } => self.set(*phase, Stand::Concluding),
            EventKind::PhaseCompleted { phase, .. } => self.set(*phase, Stand::Completed),
            EventKind::PhaseSkipped { phase, .. } => self.set(*phase, Stand::Skipped),
            EventKind::RetryOrdered { phase } => {
                self.phases[phase.index()] = PhaseView::fresh();
            }
            _ => {}
        }
    }

    /// What others changed, and what became of it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "`follow` sends only these kinds here")]
    fn follow_changes(&mut self, at: Timestamp, kind: &EventKind) {
        match kind {
            EventKind::RevertStarted { changes } => {
                self.reverted.extend(changes.keys().cloned());
                self.reverting = changes.clone();
                self.reverts += 1;
            }
            EventKind::DriftReverted { .. } => {
                let changes = std::mem::take(&mut self.reverting);
                self.flipped(at);
                self.wrote(changes.into_keys());
            }
            EventKind::FlagsRestored { .. } => {
                self.flipped(at);
                let restore = self.rolling.as_ref().map(|rolling| rolling.restore.clone());
                self.wrote(restore.unwrap_or_default().into_keys());
            }
            EventKind::DriftAdopted { flag, value } => {
                self.adopted.insert(flag.clone(), value.clone());
                self.flipped(at);
            }
            EventKind::FlagRewritten { flag, .. } => {
                let mine = self.baking().and_then(|(number, _)| self.plan.phase(number));
                let mine = mine.is_some_and(|phase| phase.flags.contains_key(flag));
                if let Some(bake) = self.baking_mut().filter(|_| mine) {
                    bake.seen_off = true;
                    self.flipped(at);
                }
            }
            EventKind::CodePushed { phase, .. } => {
                self.flipped(at);
                if self.plan.code_push != PushPolicy::Extend {
                    return;
                }
                if let Some(bake) = &mut self.phases[phase.index()].bake {
                    bake.counts_from = at;
                    bake.covered = bake.covered.max(at);
                    bake.observed = SignedDuration::ZERO;
                    bake.unobserved = SignedDuration::ZERO;
                    bake.verdicts.clear();
                }
            }
            _ => {}
        }
    }

    fn read(&mut self, at: Timestamp, purpose: Purpose, reading: &JudgedReading) {
        let told = reading.writes.iter().map(|(flag, written)| (flag.clone(), written.at));
        self.written.extend(told);
        self.pushed = reading.push.or(self.pushed);
        let asked_at = self.asked.map_or(at, |(_, asked_at)| asked_at);
        let is_new = self.flipped_at.is_none_or(|flipped| asked_at >= flipped);
        self.asked_since_flip |= is_new && purpose != Purpose::Recovery;
        let unknown =
            reading.judged.iter().filter(|judged| !matches!(judged.measured, Measured::Number(_)));
        self.unknown = unknown.map(|judged| judged.criterion.clone()).collect();
        let says = self.says(reading);
        if says <= Says::Warns && self.rolling.is_none() {
            self.well_since_rollback = true;
        }
        if let Purpose::Preflight(phase) = purpose {
            let met = reading.probes.iter().all(|answer| answer.state == ProbeState::Met);
            self.phases[phase.index()].preflight = Some(met && says <= Says::Warns);
        }
        let Some((phase, _)) = self.baking() else { return };
        let on = self.found_on(phase, reading);
        let moment = self.speaks_for(at, purpose);
        let Some(bake) = self.baking_mut() else { return };
        if on && says != Says::Nothing {
            bake.observed += moment.duration_since(bake.covered).max(SignedDuration::ZERO);
            bake.covered = bake.covered.max(moment);
        } else if reading.flags.is_ok() && !on {
            bake.seen_off = true;
        }
    }

    fn set(&mut self, phase: PhaseNumber, stand: Stand) {
        self.phases[phase.index()].stand = stand;
    }
}

impl PhaseView {
    fn fresh() -> Self {
        Self {
            stand: Stand::Off,
            ticked: BTreeSet::new(),
            approvals: BTreeSet::new(),
            preflight: None,
            bake: None,
        }
    }
}

impl BakeView {
    fn from(at: Timestamp) -> Self {
        Self {
            started: at,
            counts_from: at,
            covered: at,
            observed: SignedDuration::ZERO,
            unobserved: SignedDuration::ZERO,
            seen_off: false,
            jumped: SignedDuration::ZERO,
            told_until: None,
            verdicts: BTreeMap::new(),
        }
    }
}

impl Stand {
    /// True when flags may be on and the phase is not done.
    pub(crate) fn is_exposed(self) -> bool {
        matches!(self, Self::Enabling | Self::Verifying | Self::Baking | Self::Concluding)
    }
}

fn number(place: usize) -> Option<PhaseNumber> {
    PhaseNumber::from_index(place)
}

/// What one value says, by the letter of the plan.
pub(crate) fn says(criterion: &Criterion, measured: &Measured) -> Says {
    let beyond = |bound: &Option<rollout_core::Bound>| {
        bound.as_ref().map(|bound| match (&bound.limit, measured) {
            (Limit::Number(limit), Measured::Number(value)) if !value.is_nan() => {
                Some(holds(bound.comparison, value.partial_cmp(limit)?))
            }
            (Limit::Text(limit), Measured::Text(value)) => {
                Some(holds(bound.comparison, value.cmp(limit)))
            }
            _ => None,
        })
    };
    match (beyond(&criterion.alert), beyond(&criterion.target)) {
        (Some(None), _) | (_, Some(None)) => Says::Nothing,
        (Some(Some(true)), _) => Says::Breach,
        (_, Some(Some(false))) => Says::Warns,
        _ => Says::Well,
    }
}

fn holds(comparison: Comparison, order: std::cmp::Ordering) -> bool {
    match comparison {
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
    }
}

/// What the deployment truly said, as a measurement in this unit; `None` where it said nothing that counts.
pub(crate) fn as_number(value: &convex_emulator::value::Value, unit: Unit) -> Option<f64> {
    use convex_emulator::value::Value;
    match (value, unit) {
        (_, Unit::Text) => None,
        (Value::Float(number), _) => Some(*number),
        (Value::Array(items), Unit::Count) => Some(items.len() as f64),
        (
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Bytes(_)
            | Value::Text(_)
            | Value::Array(_)
            | Value::Object(_),
            _,
        ) => None,
    }
}
