//! A naive model of a rollout: it knows the plan and the list of events, nothing of the state machine, and says after each
//! event whether the design's invariants still hold. Its stages are compared with the machine's.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};

use crate::{Event, EventKind, HowCompleted, PhaseNumber, Plan, Proof, Rollout, Stage, Verdict};

pub(super) struct Model {
    plan: Plan,
    last_at: Timestamp,
    stages: Vec<Stage>,
    ticked: Vec<BTreeSet<String>>,
    approvals: Vec<BTreeSet<String>>,
    windows: Vec<Option<Timestamp>>,
    verdicts: Vec<BTreeMap<SignedDuration, Verdict>>,
    held: usize,
    rolling: BTreeSet<PhaseNumber>,
    open_incidents: BTreeSet<u32>,
}

impl Model {
    pub(super) fn new(creation: &Event) -> Self {
        let EventKind::RolloutCreated { plan, .. } = &creation.kind else {
            panic!("a journal begins with its creation")
        };
        let count = plan.phases.len();
        Self {
            plan: (**plan).clone(),
            last_at: creation.at,
            stages: vec![Stage::Pending; count],
            ticked: vec![BTreeSet::new(); count],
            approvals: vec![BTreeSet::new(); count],
            windows: vec![None; count],
            verdicts: vec![BTreeMap::new(); count],
            held: 0,
            rolling: BTreeSet::new(),
            open_incidents: BTreeSet::new(),
        }
    }

    #[expect(clippy::too_many_lines, reason = "one short arm for each kind of event")]
    /// Follows one event and compares the machine's stages with its own.
    pub(super) fn follow(&mut self, event: &Event, rollout: &Rollout) {
        assert!(event.at >= self.last_at, "the journal runs backward");
        self.last_at = event.at;
        let actor = alloc::format!("{}", event.actor);
        match &event.kind {
            EventKind::PhaseStarted { phase } | EventKind::PreflightExpired { phase } => {
                self.set(*phase, Stage::Preflight)
            }
            EventKind::PreflightPassed { phase } => self.set(*phase, Stage::Gated),
            EventKind::ItemTicked { phase, item } => {
                self.ticked[phase.index()].insert(item.clone());
            }
            EventKind::PhaseApproved { phase } => {
                self.approvals[phase.index()].insert(actor);
            }
            EventKind::EnablingStarted { phase } => self.enabling(*phase),
            EventKind::FlagsSet { phase, .. } => self.set(*phase, Stage::Verifying),
            EventKind::BakeStarted { phase } => {
                self.windows[phase.index()] = Some(event.at);
                self.set(*phase, Stage::Baking);
            }
            EventKind::CheckpointJudged { phase, offset, due, verdict } => {
                let started =
                    self.windows[phase.index()].expect("a checkpoint is judged in its window");
                assert_eq!(
                    *due,
                    started + *offset,
                    "a due time is counted from the start of the window"
                );
                assert!(event.at >= *due, "judged before it was due");
                let twice = self.verdicts[phase.index()].insert(*offset, *verdict);
                assert_eq!(twice, None, "a checkpoint is judged once");
                assert!(
                    matches!(verdict, Verdict::Pass | Verdict::Warn),
                    "{verdict} settled a checkpoint"
                );
            }
            EventKind::CodePushed { phase, .. } => {
                if self.plan.code_push == crate::PushPolicy::Extend {
                    self.verdicts[phase.index()].clear();
                    self.windows[phase.index()] = Some(event.at);
                }
            }
            EventKind::WindowRestarted { phase } => {
                self.verdicts[phase.index()].clear();
                self.windows[phase.index()] = None;
                self.set(*phase, Stage::Verifying);
            }
            EventKind::BakeEnded { phase } => self.set(*phase, Stage::Concluding),
            EventKind::PhaseCompleted { phase, coverage, how } => {
                self.completed(*phase, *coverage, *how, event.at)
            }
            EventKind::PhaseSkipped { phase, .. } => {
                assert!(!self.is_on(*phase), "a phase whose flags are on was skipped");
                self.set(*phase, Stage::Skipped);
            }
            EventKind::RollbackStarted { phases, restore, incident, .. } => {
                let planned = phases.iter().filter_map(|number| self.plan.phase(*number));
                let flags: BTreeSet<_> = planned.flat_map(|phase| phase.flags.keys()).collect();
                assert_eq!(
                    flags,
                    restore.keys().collect(),
                    "a rollback restores its phases' flags, all and only"
                );
                self.open_incidents.insert(incident.get());
                for phase in phases {
                    self.rolling.insert(*phase);
                    self.set(*phase, Stage::RollingBack);
                }
            }
            EventKind::FlagsRestored { .. } => self.set_rolling(Stage::Recovering),
            EventKind::RestoreLost { .. } => self.set_rolling(Stage::RollingBack),
            EventKind::RollbackFinished => {
                self.set_rolling(Stage::RolledBack);
                self.rolling.clear();
            }
            EventKind::IncidentResolved { incident } => {
                self.open_incidents.remove(&incident.get());
            }
            EventKind::RetryOrdered { phase } => {
                assert!(self.open_incidents.is_empty(), "tried again with an open incident");
                let index = phase.index();
                self.ticked[index].clear();
                self.approvals[index].clear();
                self.verdicts[index].clear();
                self.windows[index] = None;
                self.set(*phase, Stage::Pending);
            }
            EventKind::Held { .. } => self.held += 1,
            EventKind::Released { .. } => self.held -= 1,
            EventKind::RolloutCompleted | EventKind::RolloutAborted => {
                let exposed =
                    self.stages.iter().any(|stage| stage.is_exposed() || stage.is_rolling_back());
                assert!(!exposed, "ended with a phase half done");
                self.held = 0;
            }
            EventKind::RolloutCreated { .. }
            | EventKind::EngineResumed { .. }
            | EventKind::ClockJumped { .. }
            | EventKind::BaselineStarted
            | EventKind::BaselinePassed
            | EventKind::ReadingStarted { .. }
            | EventKind::ReadingTaken { .. }
            | EventKind::GapRecorded { .. }
            | EventKind::GapBackfilled { .. }
            | EventKind::ChangeWindowFound { .. }
            | EventKind::EffectFailed { .. }
            | EventKind::EffectRetried
            | EventKind::DriftSeen { .. }
            | EventKind::DriftFound { .. }
            | EventKind::FlagRewritten { .. }
            | EventKind::DriftAdopted { .. }
            | EventKind::RevertStarted { .. }
            | EventKind::DriftReverted { .. }
            | EventKind::AbortOrdered
            | EventKind::FinalChecksStarted
            | EventKind::FinalChecksPassed
            | EventKind::SmokeStarted
            | EventKind::SmokeCreated { .. }
            | EventKind::SmokePassed
            | EventKind::SmokeFailed { .. } => {}
        }
        let machine: Vec<Stage> = rollout.phases().iter().map(|state| state.stage).collect();
        assert_eq!(machine, self.stages, "after {:?}", event.kind);
        assert_eq!(rollout.holds().len(), self.held, "after {:?}", event.kind);
    }

    /// After a whole decision: what must hold whenever the engine rests.
    pub(super) fn settle(&self, rollout: &Rollout) {
        assert!(!rollout.is_stuck(), "nothing will wake the rollout: {:?}", rollout.status());
        let exposed = self.stages.iter().any(|stage| stage.is_exposed());
        let watched = rollout.watch().next_at.is_some() || rollout.watch().observing.is_some();
        let rolling = !self.rolling.is_empty();
        assert!(watched || !(exposed || rolling), "a flag is on and no reading is scheduled");
        let baking = self.stages.iter().filter(|stage| stage.is_exposed()).count();
        assert!(baking <= 1, "two phases are enabling or baking");
        assert_eq!(rollout.rollback().is_some(), !self.rolling.is_empty());
        let live = !rollout.status().is_terminal();
        assert!(!live || !rollout.waits().is_empty(), "a live rollout says what it waits for");
        if let Some((_, _, reading)) = &rollout.watch().last {
            let breached =
                reading.breaches().next().is_some() && rollout.watch().well_since_rollback;
            assert!(!(breached && exposed && live), "a breach was seen and a flag stays on");
        }
        let again = Rollout::decide(rollout, self.last_at, crate::Input::DeadlineReached)
            .expect("deadlines are harmless");
        let due = rollout.next_deadline().is_some_and(|at| at <= self.last_at);
        assert_eq!(!again.is_empty(), due, "a deadline that came must lead somewhere: {again:?}");
    }

    fn enabling(&mut self, phase: PhaseNumber) {
        assert_eq!(self.held, 0, "enabled while held");
        let planned = self.plan.phase(phase).expect("planned");
        let earlier = self.stages.iter().take(phase.index());
        assert!(
            earlier.clone().all(|stage| matches!(stage, Stage::Completed | Stage::Skipped)),
            "enabled out of turn"
        );
        let people = self.plan.items_before(planned).filter(|item| item.proof == Proof::Person);
        assert!(
            people.map(|item| &item.name).all(|name| self.ticked[phase.index()].contains(name)),
            "an item is open"
        );
        assert!(
            self.approvals[phase.index()].len() >= usize::from(planned.approvals),
            "an approval is missing"
        );
        assert_eq!(self.stages[phase.index()], Stage::Gated, "enabled without a preflight");
        self.set(phase, Stage::Enabling);
    }

    fn completed(
        &mut self,
        phase: PhaseNumber,
        coverage: crate::Coverage,
        how: HowCompleted,
        at: Timestamp,
    ) {
        let planned = self.plan.phase(phase).expect("planned");
        let started = self.windows[phase.index()].expect("a phase completes after its window");
        if how == HowCompleted::Kept {
            assert!(
                at.duration_since(started) >= planned.bake,
                "completed before its window was over"
            );
            assert!(coverage >= self.plan.coverage_min, "completed with too little seen");
            assert_eq!(
                self.verdicts[phase.index()].len(),
                planned.checkpoints.len(),
                "a checkpoint has no verdict"
            );
            let after =
                planned.after.iter().all(|item| self.ticked[phase.index()].contains(&item.name));
            assert!(after, "completed with an open item");
            assert_eq!(self.held, 0, "completed while held");
        }
        self.set(phase, Stage::Completed);
    }

    fn is_on(&self, phase: PhaseNumber) -> bool {
        let stage = self.stages[phase.index()];
        stage.is_exposed() || stage.is_rolling_back() || stage == Stage::Completed
    }

    fn set(&mut self, phase: PhaseNumber, stage: Stage) {
        self.stages[phase.index()] = stage;
    }

    fn set_rolling(&mut self, stage: Stage) {
        for phase in self.rolling.clone() {
            self.set(phase, stage);
        }
    }
}
