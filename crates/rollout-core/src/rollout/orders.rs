//! Owns a person's commands: what each does, when it is refused, and what would be accepted instead.
//!
//! Every command is idempotent: what is already so gives no events. A rollback is accepted whenever a flag may be on.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::readings::Told;
use super::state::{Rollout, Stage, Status};
use super::step::Step;
use crate::event::{EventKind, HoldReason, HowCompleted, RollbackCause};
use crate::id::{IncidentNumber, PhaseNumber};
use crate::input::{Command, Order, Rejection, RollbackScope, Verb};
use crate::plan::Proof;

impl Rollout {
    /// The verbs that would change something now, for refusals and for pages.
    pub fn allowed(&self) -> Vec<Verb> {
        let number = self.current().or(PhaseNumber::from_index(0));
        let phases = number
            .map(|number| vec![Command::Approve(number), Command::Skip(number)])
            .unwrap_or_default();
        let items = number
            .and_then(|phase| self.open_item(phase).map(|item| Command::Check { phase, item }));
        let incident = self.incidents.iter().find(|incident| incident.resolved.is_none());
        let incident = incident.map(|incident| Command::ResolveIncident(incident.number));
        let plain = [
            Command::Hold,
            Command::Resume,
            Command::Promote,
            Command::Retry,
            Command::Abort,
            Command::Rollback(RollbackScope::Latest),
            Command::Rollback(RollbackScope::All),
        ];
        let commands = phases.into_iter().chain(items).chain(incident).chain(plain);
        let changes_something = |command: &Command| {
            let order =
                Order { command: command.clone(), actor: String::new(), reason: "?".to_string() };
            let mut step = Step::new(self, self.last_at);
            step.accepts(order)
        };
        let mut verbs: Vec<Verb> =
            commands.filter(changes_something).map(|command| command.verb()).collect();
        verbs.sort();
        verbs.dedup();
        verbs
    }

    /// An item of a phase that a person could tick now.
    fn open_item(&self, number: PhaseNumber) -> Option<String> {
        let (phase, state) = self.phase(number)?;
        let before = self.plan.items_before(phase).filter(|item| item.proof == Proof::Person);
        let items = before.filter(|_| state.stage.is_before_enabling());
        let items = items.chain(phase.after.iter().filter(|_| state.stage.is_exposed()));
        items.map(|item| &item.name).find(|name| !state.ticked.contains_key(*name)).cloned()
    }
}

impl Step {
    /// True when an order would be accepted and change something.
    fn accepts(&mut self, order: Order) -> bool {
        let before = self.state.seq;
        self.dispatch(&order.command, &order).is_ok() && self.state.seq != before
    }

    pub(super) fn order(&mut self, order: Order) -> Result<(), Rejection> {
        if order.reason.trim().is_empty() {
            return Err(Rejection::NoReason);
        }
        if order.reason.len() > Order::REASON_BYTES_MAX {
            return Err(Rejection::ReasonTooLong { max: Order::REASON_BYTES_MAX });
        }
        let rollout = self.state.clone();
        self.dispatch(&order.command, &order).map_err(|refusal| match refusal {
            Refusal::NotNow(why) => {
                Rejection::NotNow { verb: order.command.verb(), why, allowed: rollout.allowed() }
            }
            Refusal::Unknown(what) => Rejection::Unknown { what },
        })
    }

    fn dispatch(&mut self, command: &Command, order: &Order) -> Result<(), Refusal> {
        match command {
            Command::Hold => self.order_hold(order),
            Command::Resume => self.order_resume(order),
            Command::Approve(phase) => self.order_approve(*phase, order),
            Command::Check { phase, item } => self.order_check(*phase, item, order),
            Command::Promote => self.order_promote(order),
            Command::Skip(phase) => self.order_skip(*phase, order),
            Command::Retry => self.order_retry(order),
            Command::Abort => self.order_abort(order),
            Command::Rollback(scope) => self.order_rollback(*scope, order),
            Command::ResolveIncident(incident) => self.order_resolve(*incident, order),
        }
    }

    fn said(&mut self, order: &Order, kind: EventKind) {
        self.emit_for(&order.actor, &order.reason, kind);
    }

    fn live(&self) -> Result<(), Refusal> {
        match self.state.status {
            Status::Completed => Err(Refusal::not_now("the rollout is completed")),
            Status::Aborted => Err(Refusal::not_now("the rollout was aborted")),
            Status::Scheduled | Status::Baseline | Status::Running | Status::FinalChecks => Ok(()),
        }
    }

    fn known(&self, number: PhaseNumber) -> Result<Stage, Refusal> {
        let count = self.state.phases.len();
        let state = self.state.phases.get(number.index());
        state.map(|state| state.stage).ok_or_else(|| {
            Refusal::Unknown(format!("there is no phase {number}; the plan has {count}"))
        })
    }

    fn order_hold(&mut self, order: &Order) -> Result<(), Refusal> {
        self.live()?;
        if !self.state.is_held_by(&HoldReason::Person) {
            self.said(order, EventKind::Held { hold: HoldReason::Person });
        }
        Ok(())
    }

    fn order_resume(&mut self, order: &Order) -> Result<(), Refusal> {
        self.live()?;
        let (mut releasable, mut others) = (Vec::new(), Vec::new());
        for hold in &self.state.holds {
            match &hold.reason {
                HoldReason::Person
                | HoldReason::Baseline { .. }
                | HoldReason::Drift { .. }
                | HoldReason::EffectFailed { .. }
                | HoldReason::Missed { .. }
                | HoldReason::CodePush { .. }
                | HoldReason::ClockJump
                | HoldReason::Smoke { .. } => releasable.push(hold.reason.clone()),
                HoldReason::RolledBack { .. }
                | HoldReason::Blind { .. }
                | HoldReason::CoverageShort { .. } => {
                    others.push(hold.reason.words());
                }
            }
        }
        if releasable.is_empty() && !others.is_empty() {
            let why = format!("resume does not end this hold: {}", others.join("; "));
            return Err(Refusal::NotNow(why));
        }
        for hold in releasable {
            self.said(order, EventKind::Released { hold });
        }
        Ok(())
    }

    fn order_approve(&mut self, phase: PhaseNumber, order: &Order) -> Result<(), Refusal> {
        self.live()?;
        let stage = self.known(phase)?;
        let needed = self.state.plan.phase(phase).map_or(0, |phase| phase.approvals);
        if self.state.phases[phase.index()].approved_by.contains(&order.actor) {
            return Ok(());
        }
        if needed == 0 {
            return Err(Refusal::NotNow(format!("phase {phase} asks for no approval")));
        }
        if !stage.is_before_enabling() {
            return Err(Refusal::NotNow(format!(
                "phase {phase} is {} and waits for no approval",
                stage.word()
            )));
        }
        self.said(order, EventKind::PhaseApproved { phase });
        Ok(())
    }

    fn order_check(
        &mut self,
        phase: PhaseNumber,
        item: &str,
        order: &Order,
    ) -> Result<(), Refusal> {
        self.live()?;
        let stage = self.known(phase)?;
        let Some((planned, state)) = self.state.phase(phase) else { return Ok(()) };
        if state.ticked.contains_key(item) {
            return Ok(());
        }
        let before = self.state.plan.items_before(planned).find(|candidate| candidate.name == item);
        let after = planned.after.iter().find(|candidate| candidate.name == item);
        match (before, after) {
            (Some(found), _) if found.proof != Proof::Person => {
                return Err(Refusal::NotNow(format!("`{item}` is checked by rolloutd itself")));
            }
            (Some(_), _) if !stage.is_before_enabling() => {
                return Err(Refusal::NotNow(format!(
                    "`{item}` belongs before enabling; phase {phase} is {}",
                    stage.word()
                )));
            }
            (None, Some(_)) if !stage.is_exposed() => {
                let why = format!(
                    "`{item}` is ticked while the flags are on; phase {phase} is {}",
                    stage.word()
                );
                return Err(Refusal::NotNow(why));
            }
            (Some(_), _) | (None, Some(_)) => {}
            (None, None) => {
                let all = self.state.plan.items_before(planned).chain(&planned.after);
                let people =
                    all.filter(|item| item.proof == Proof::Person).map(|item| item.name.as_str());
                let names = people.collect::<Vec<_>>().join(", ");
                let names = if names.is_empty() { "none" } else { &names };
                return Err(Refusal::Unknown(format!(
                    "phase {phase} has no item `{item}`; its items are: {names}"
                )));
            }
        }
        self.said(order, EventKind::ItemTicked { phase, item: item.to_string() });
        Ok(())
    }

    fn order_promote(&mut self, order: &Order) -> Result<(), Refusal> {
        self.live()?;
        let waivable = |reason: &HoldReason| {
            matches!(
                reason,
                HoldReason::Missed { .. }
                    | HoldReason::CoverageShort { .. }
                    | HoldReason::Blind { .. }
            )
        };
        if let Some(hold) = self.state.holds.iter().find(|hold| !waivable(&hold.reason)) {
            return Err(Refusal::NotNow(format!("the rollout is held: {}", hold.reason.words())));
        }
        self.close_gap(self.now, Told::Never);
        let current = self.state.current().filter(|_| self.state.status == Status::Running);
        let in_window = current.and_then(|number| {
            let state = &self.state.phases[number.index()];
            let watched = matches!(state.stage, Stage::Baking | Stage::Concluding);
            Some((number, state.bake.as_ref().filter(|_| watched)?.coverage()))
        });
        let Some((phase, coverage)) = in_window else {
            return Err(Refusal::not_now("no bake window is running that could be cut short"));
        };
        self.release(waivable);
        self.said(
            order,
            EventKind::PhaseCompleted { phase, coverage, how: HowCompleted::Promoted },
        );
        Ok(())
    }

    fn order_skip(&mut self, phase: PhaseNumber, order: &Order) -> Result<(), Refusal> {
        self.live()?;
        match self.known(phase)? {
            Stage::Skipped => return Ok(()),
            Stage::RolledBack => self.all_resolved()?,
            Stage::Pending | Stage::Preflight | Stage::Gated => {}
            stage @ (Stage::Enabling
            | Stage::Verifying
            | Stage::Baking
            | Stage::Concluding
            | Stage::Completed
            | Stage::RollingBack
            | Stage::Recovering) => {
                let why = format!(
                    "phase {phase} is {}; only a phase whose flags are off can be skipped",
                    stage.word()
                );
                return Err(Refusal::NotNow(why));
            }
        }
        self.said(order, EventKind::PhaseSkipped { phase, why: order.reason.clone() });
        self.release_rolled_back();
        Ok(())
    }

    fn order_retry(&mut self, order: &Order) -> Result<(), Refusal> {
        self.live()?;
        if self.state.rollback.is_some() {
            return Err(Refusal::not_now("the rollback is still under way"));
        }
        let rolled_back: Vec<_> = self.rolled_back().collect();
        if rolled_back.is_empty() && self.is_tried_again() {
            return Ok(());
        }
        if rolled_back.is_empty() {
            return Err(Refusal::not_now(
                "no phase is rolled back, so there is nothing to try again",
            ));
        }
        self.all_resolved()?;
        for phase in rolled_back {
            self.said(order, EventKind::RetryOrdered { phase });
        }
        self.release_rolled_back();
        Ok(())
    }

    fn order_abort(&mut self, order: &Order) -> Result<(), Refusal> {
        if self.state.status == Status::Aborted || self.state.abort_ordered {
            return Ok(());
        }
        self.live()?;
        self.said(order, EventKind::AbortOrdered);
        if let (Some(phase), None) = (self.state.exposed(), &self.state.rollback) {
            self.roll_back(vec![phase], RollbackCause::Abort, Some((&order.actor, &order.reason)));
        }
        Ok(())
    }

    fn order_rollback(&mut self, scope: RollbackScope, order: &Order) -> Result<(), Refusal> {
        let on = |stage: Stage| stage.is_exposed() || stage == Stage::Completed;
        let under_way = self
            .state
            .rollback
            .as_ref()
            .map(|rollback| rollback.phases.clone())
            .unwrap_or_default();
        let on_again: Vec<PhaseNumber> =
            self.rolled_back().filter(|number| self.is_seen_on(*number)).collect();
        let phases: Vec<PhaseNumber> = match scope {
            // A repeated order must not reach one phase further back.
            RollbackScope::Latest if !under_way.is_empty() => return Ok(()),
            // Whoever turned it on again: the order means this one.
            RollbackScope::Latest if !on_again.is_empty() => on_again,
            RollbackScope::Latest if self.rolled_back().next().is_some() => return Ok(()),
            RollbackScope::Latest => self.state.latest_on().into_iter().collect(),
            RollbackScope::All => {
                let numbered = self.state.plan.numbered().map(|(number, _)| number).rev();
                let wanted = |number: &PhaseNumber| {
                    let stage = self.state.phases[number.index()].stage;
                    on(stage) || stage.is_rolling_back() || on_again.contains(number)
                };
                numbered.filter(wanted).collect()
            }
        };
        if phases.is_empty() && self.rolled_back().next().is_some() {
            return Ok(());
        }
        if phases.is_empty() {
            return Err(Refusal::not_now("no flag of this rollout is on"));
        }
        if phases == under_way {
            return Ok(());
        }
        self.roll_back(phases, RollbackCause::Ordered, Some((&order.actor, &order.reason)));
        Ok(())
    }

    fn order_resolve(&mut self, incident: IncidentNumber, order: &Order) -> Result<(), Refusal> {
        let count = self.state.incidents.len();
        let Some(found) = self.state.incidents.iter().find(|found| found.number == incident) else {
            return Err(Refusal::Unknown(format!(
                "there is no incident {incident}; this rollout has {count}"
            )));
        };
        if found.resolved.is_some() {
            return Ok(());
        }
        if found.restored_at.is_none() {
            return Err(Refusal::not_now("the safe values have not been read back yet"));
        }
        self.said(order, EventKind::IncidentResolved { incident });
        Ok(())
    }

    /// True when the current phase is on its way again: a retry that is repeated finds it so.
    fn is_tried_again(&self) -> bool {
        let current = self.state.current().and_then(|number| self.state.phases.get(number.index()));
        current.is_some_and(|state| state.attempt > 1)
    }

    /// True when the last look at the flags found one of this phase on, whoever turned it on.
    fn is_seen_on(&self, number: PhaseNumber) -> bool {
        let Some((_, flags)) = &self.state.watch.flags else { return false };
        let mut changes = self.state.plan.phase(number).into_iter().flat_map(|phase| &phase.flags);
        changes.any(|(flag, change)| flags.get(flag) == Some(&Some(change.on.clone())))
    }

    fn rolled_back(&self) -> impl Iterator<Item = PhaseNumber> {
        let numbered = self.state.plan.numbered().map(|(number, _)| number);
        numbered.filter(|number| self.state.phases[number.index()].stage == Stage::RolledBack)
    }

    fn all_resolved(&self) -> Result<(), Refusal> {
        match self.state.incidents.iter().find(|incident| incident.resolved.is_none()) {
            Some(open) => Err(Refusal::NotNow(format!(
                "incident {number} is open; resolve it first: `rolloutctl incident resolve {id} {number} --reason …`",
                number = open.number,
                id = self.state.id,
            ))),
            None => Ok(()),
        }
    }

    /// Ends the holds of rollbacks once no phase is rolled back any more.
    fn release_rolled_back(&mut self) {
        if self.rolled_back().next().is_none() && self.state.rollback.is_none() {
            self.release(|reason| matches!(reason, HoldReason::RolledBack { .. }));
        }
    }
}

/// Why a command is refused, before it is dressed up for the person.
enum Refusal {
    NotNow(String),
    Unknown(String),
}

impl Refusal {
    fn not_now(why: &str) -> Self {
        Self::NotNow(why.to_string())
    }
}
