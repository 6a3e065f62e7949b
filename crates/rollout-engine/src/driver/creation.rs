//! Owns the start of a rollout: whether it may be, and its first event.
//!
//! Refuses a second live rollout on one deployment (by its name and by its address), flags that an unresolved incident locks,
//! change windows that cannot be used, and an idempotency key that was used for another request. While the wall clock shows less
//! than what was decided already, a rollout is held from its beginning.

use std::sync::Arc;

use jiff::Timestamp;
use rollout_core::{Actor, Creation, Input, Phase, PhaseNumber, Plan, Rollout, RolloutId, Seq};

use super::{Answer, CLOCK_JUMP_MIN, Decided, Engine, Staged, payload, within};
use crate::error::EngineError;
use crate::handle::{Created, Entry, NewRollout, Reply};
use crate::schedule;
use crate::store::{Append, Hash, IdempotencyRow, Standing};

/// What a request to start comes to.
enum Start {
    /// A new rollout: what the store gets, its state and its first entries.
    New(Append, Arc<Rollout>, Vec<Entry>),
    /// The rollout that the same request started before.
    Before(Arc<Rollout>),
}

impl Engine {
    /// Decides a creation, and answers at once where there is nothing to make durable.
    pub(super) async fn stage_creation(
        &mut self,
        id: RolloutId,
        new: NewRollout,
        reply: Reply<Created>,
        now: Timestamp,
    ) -> Option<Staged> {
        let answered = match self.creation(id, new, now).await {
            Ok(Start::New(..)) if self.condition.is_restrained() => Err(EngineError::OnReserve),
            Ok(Start::New(append, rollout, entries)) => {
                let answer = Answer::Create(reply);
                return Some(Staged { append, decided: Decided { rollout, entries, answer } });
            }
            Ok(Start::Before(rollout)) => Ok(Created::Before(rollout)),
            Err(error) => Err(error),
        };
        let _ = reply.send(answered);
        None
    }

    async fn creation(
        &mut self,
        id: RolloutId,
        new: NewRollout,
        now: Timestamp,
    ) -> Result<Start, EngineError> {
        if let Some(key) = &new.idempotency_key
            && let Some(row) = within(self.store.idempotency(key.clone())).await?
        {
            let before = self.find(row.rollout).await?;
            return match is_same_request(&row, &before, &new) {
                true => Ok(Start::Before(before)),
                false => Err(EngineError::KeyReused(key.clone())),
            };
        }
        check_free(self.board.live(), &new.plan, &new.url)?;
        for (phase, planned) in new.plan.numbered() {
            check_window(phase, planned)?;
        }
        let (wall, ahead) = (self.time.wall(), self.time.ahead());
        let request_digest: Hash = new.request_digest;
        let idempotency =
            new.idempotency_key.map(|key| IdempotencyRow { key, rollout: id, request_digest });
        let creation = Creation {
            id,
            digest: hex(&new.digest),
            url: new.url,
            start_at: new.start_at.unwrap_or(wall).max(wall),
            actor: Actor::Person(new.actor),
            reason: new.reason,
            plan: new.plan,
        };
        let event = Rollout::create(now, creation);
        let mut rollout = Rollout::replay([&event]).expect("a creation begins a journal");
        let mut entries = vec![Entry { seq: Seq::FIRST, event }];
        // What other rollouts were told when the wall clock was found behind holds for this one, too: a person looks first.
        if ahead >= CLOCK_JUMP_MIN {
            for event in self.judge(&rollout, now, Input::ClockJumped { by: -ahead })? {
                rollout.evolve(&event);
                entries.push(Entry { seq: rollout.seq(), event });
            }
        }
        let written = entries.iter().map(|entry| payload(id, entry.seq, &entry.event));
        let append = Append {
            rollout: id,
            after: 0,
            entries: written.collect::<Result<_, _>>()?,
            standing: Standing::Live,
            idempotency,
        };
        Ok(Start::New(append, Arc::new(rollout), entries))
    }
}

/// Whether the request that started `before` under a key was this one. Earlier versions digested the plan alone; for their rows
/// the rollout itself says when it was to start.
fn is_same_request(row: &IdempotencyRow, before: &Rollout, new: &NewRollout) -> bool {
    let created = before.created_at();
    let starts_as_asked = || new.start_at.unwrap_or(created).max(created) == before.start_at();
    row.request_digest == new.request_digest
        || (row.request_digest == new.digest && starts_as_asked())
}

/// Whether a plan for the deployment at `url` may be started beside these rollouts: one live rollout per deployment, and no flag
/// that an unresolved incident locks.
///
/// # Errors
///
/// [`EngineError::DeploymentBusy`] or [`EngineError::FlagLocked`], naming the rollout that is in the way.
pub fn check_free<'a>(
    rollouts: impl IntoIterator<Item = &'a Arc<Rollout>>,
    plan: &Plan,
    url: &str,
) -> Result<(), EngineError> {
    // Two names of one address are one deployment.
    let is_same = |rollout: &&Arc<Rollout>| {
        rollout.plan().deployment == plan.deployment || rollout.url() == url
    };
    for rollout in rollouts.into_iter().filter(is_same) {
        let by = rollout.id();
        if !rollout.status().is_terminal() {
            return Err(EngineError::DeploymentBusy { deployment: plan.deployment.clone(), by });
        }
        let wanted = plan.flags();
        for incident in rollout.incidents().iter().filter(|incident| incident.resolved.is_none()) {
            let phases = incident.phases.iter().filter_map(|number| rollout.plan().phase(*number));
            let locked =
                phases.flat_map(|phase| phase.flags.keys()).find(|flag| wanted.contains(flag));
            if let Some(flag) = locked.cloned() {
                return Err(EngineError::FlagLocked { flag, by, incident: incident.number });
            }
        }
    }
    Ok(())
}

fn check_window(phase: PhaseNumber, planned: &Phase) -> Result<(), EngineError> {
    let checked = planned.change_window.as_ref().map(schedule::check_change_window);
    checked.unwrap_or(Ok(())).map_err(|source| EngineError::ChangeWindow { phase, source })
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
