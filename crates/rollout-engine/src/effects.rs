//! Owns effects under way: which are being performed, how many at once, and that each ends in an outcome.
//!
//! Invariants: an effect is performed by one task at a time per key, and not again until its outcome was judged; the flag
//! writes of one rollout never overlap, so that an enabling that is still on the wire cannot land after its own rollback, and
//! one that has not begun when its rollback is ordered never begins; a rollback waits for no other rollout's effects. Under
//! restraint (nothing, or little, can be recorded) only readings and rollbacks begin.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::Vacant;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rollout_core::{
    ChangeWindow, Effect, EffectKey, Fault, FaultClass, Outcome, PendingEffect, Rollout, RolloutId,
    Seq, WritePurpose,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::SteadyTime;
use crate::schedule::{self, ScheduleError};

/// A future that ends in an outcome.
pub type Performing = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Performs effects outside. Never retries: the core decides when to try again.
pub trait Perform: Send + Sync + 'static {
    /// Performs one effect. May be asked for the same key again after a crash.
    fn perform(&self, effect: PendingEffect) -> Performing;
}

/// Effects performed at once, over all rollouts; rollbacks come on top.
const AT_ONCE_MAX: usize = 64;
/// An effect that takes longer than this is given up. Real time: adapters have shorter limits of their own.
const EFFECT_MAX: Duration = Duration::from_secs(180);

/// The effects under way.
pub(crate) struct Effects {
    performer: Arc<dyn Perform>,
    running: JoinSet<Ended>,
    /// What is under way or not judged yet.
    under_way: BTreeMap<EffectKey, UnderWay>,
    permits: Arc<Semaphore>,
    lanes: BTreeMap<RolloutId, Arc<Semaphore>>,
    restraint: Restraint,
    /// Goes up when all that is under way is disowned: its keys may come again with another meaning.
    generation: u64,
}

/// What may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restraint {
    /// Whatever a rollout needs.
    None,
    /// Only what adds no risk: readings, and writes that put flags back.
    SafeOnly,
}

struct UnderWay {
    /// Whether it may still begin.
    wanted: Arc<AtomicBool>,
    is_safe: bool,
}

struct Ended {
    generation: u64,
    key: EffectKey,
    outcome: Outcome,
}

impl Effects {
    pub(crate) fn new(performer: Arc<dyn Perform>) -> Self {
        Self {
            performer,
            running: JoinSet::new(),
            under_way: BTreeMap::new(),
            permits: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            lanes: BTreeMap::new(),
            restraint: Restraint::None,
            generation: 0,
        }
    }

    /// From now on only what `restraint` allows begins; what it does not and has not begun yet never does.
    pub(crate) fn restrain(&mut self, restraint: Restraint) {
        self.restraint = restraint;
        if restraint == Restraint::SafeOnly {
            for under_way in self.under_way.values().filter(|under_way| !under_way.is_safe) {
                under_way.wanted.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Disowns all that is under way, as a crash would: what has begun goes on, and its outcome is nobody's. Flag writes that
    /// follow still wait until it has ended.
    pub(crate) fn disown_all(&mut self) {
        self.generation += 1;
        for under_way in std::mem::take(&mut self.under_way).into_values() {
            under_way.wanted.store(false, Ordering::Relaxed);
        }
    }

    /// Starts what `rollout` needs and is not under way yet; what it no longer needs does not begin any more.
    pub(crate) fn start(&mut self, rollout: &Rollout, time: &SteadyTime) {
        let mut wanted = rollout.pending();
        if self.restraint == Restraint::SafeOnly {
            wanted.retain(|pending| is_safe(&pending.effect));
        }
        let first = EffectKey { rollout: rollout.id(), seq: Seq::FIRST };
        for (key, under_way) in
            self.under_way.range(first..).take_while(|(key, _)| key.rollout == rollout.id())
        {
            let still_wanted = wanted.iter().any(|pending| pending.key == *key);
            under_way.wanted.store(still_wanted, Ordering::Relaxed);
        }
        for pending in wanted {
            if let Vacant(place) = self.under_way.entry(pending.key) {
                let still_wanted = Arc::new(AtomicBool::new(true));
                let is_safe = is_safe(&pending.effect);
                place.insert(UnderWay { wanted: Arc::clone(&still_wanted), is_safe });
                self.spawn(pending, time, still_wanted);
            }
        }
        if rollout.is_over() {
            self.lanes.remove(&rollout.id());
        }
    }

    /// The next effect to end. Pends for ever while none is under way. Cancel-safe.
    pub(crate) async fn next(&mut self) -> (EffectKey, Outcome) {
        loop {
            match self.running.join_next().await {
                Some(Ok(ended)) if ended.generation == self.generation => {
                    return (ended.key, ended.outcome);
                }
                Some(Ok(_)) => {}
                // A task only waits for another one and maps its panic, so it neither panics nor is it cancelled.
                Some(Err(_)) | None => return std::future::pending().await,
            }
        }
    }

    /// An effect that ended already, without waiting.
    pub(crate) fn try_next(&mut self) -> Option<(EffectKey, Outcome)> {
        loop {
            let ended = self.running.try_join_next()?.ok()?;
            if ended.generation == self.generation {
                return Some((ended.key, ended.outcome));
            }
        }
    }

    /// Forgets an effect whose outcome is being judged: from now on the state says whether it is needed again.
    pub(crate) fn judged(&mut self, key: EffectKey) {
        self.under_way.remove(&key);
    }

    /// How many are under way.
    pub(crate) fn count(&self) -> usize {
        self.under_way.len()
    }

    fn spawn(&mut self, pending: PendingEffect, time: &SteadyTime, still_wanted: Arc<AtomicBool>) {
        let (key, generation) = (pending.key, self.generation);
        if let Effect::FindChangeWindow { window, .. } = &pending.effect {
            let outcome = match find_window(window, time) {
                Ok((opens, closes)) => Outcome::ChangeWindowFound { opens, closes },
                Err(error) => {
                    Outcome::failed(Fault::new(FaultClass::Permanent, None, error.to_string()))
                }
            };
            self.running.spawn(async move { Ended { generation, key, outcome } });
            return;
        }
        let (writes, rollback) = match &pending.effect {
            Effect::SetFlags { purpose: WritePurpose::RestoreSafe, .. } => (true, true),
            Effect::SetFlags { purpose: WritePurpose::Enable, .. } => (true, false),
            Effect::Invoke { .. } | Effect::Observe(_) | Effect::FindChangeWindow { .. } => {
                (false, false)
            }
        };
        let permits = (!rollback).then(|| Arc::clone(&self.permits));
        let lane = writes.then(|| {
            let lane = self.lanes.entry(key.rollout).or_insert_with(|| Arc::new(Semaphore::new(1)));
            Arc::clone(lane)
        });
        let performer = Arc::clone(&self.performer);
        self.running.spawn(async move {
            // Neither semaphore is ever closed, so a permit is always granted in the end. The permit comes first: whoever
            // holds the lane is already on the wire, and a rollback behind it waits for one request and not for a queue.
            let _permit = acquire(permits).await;
            let _lane = acquire(lane).await;
            if !still_wanted.load(Ordering::Relaxed) {
                let outcome = failed("was not begun: it is no longer needed".to_string());
                return Ended { generation, key, outcome };
            }
            let perform = async move { performer.perform(pending).await };
            let task = tokio::spawn(tokio::time::timeout(EFFECT_MAX, perform));
            let outcome = match task.await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => failed(format!("no answer within {} s", EFFECT_MAX.as_secs())),
                Err(_) => failed("the adapter panicked; this is a defect of rolloutd".to_string()),
            };
            Ended { generation, key, outcome }
        });
    }
}

/// When a change window opens and closes. A calendar goes by the wall clock, and the rollout by the engine's time.
fn find_window(
    window: &ChangeWindow,
    time: &SteadyTime,
) -> Result<(Timestamp, Timestamp), ScheduleError> {
    let found = schedule::next_opening(window, time.wall())?;
    let (opens, closes) = time.stretch_of(found);
    // What is as good as over would be looked for again at once, and again.
    match closes > time.now() {
        true => Ok((opens, closes)),
        false => schedule::next_opening(window, found.1).map(|next| time.stretch_of(next)),
    }
}

/// True for what adds no risk.
fn is_safe(effect: &Effect) -> bool {
    match effect {
        Effect::Observe(_) | Effect::SetFlags { purpose: WritePurpose::RestoreSafe, .. } => true,
        Effect::SetFlags { purpose: WritePurpose::Enable, .. }
        | Effect::Invoke { .. }
        | Effect::FindChangeWindow { .. } => false,
    }
}

async fn acquire(semaphore: Option<Arc<Semaphore>>) -> Option<tokio::sync::OwnedSemaphorePermit> {
    semaphore?.acquire_owned().await.ok()
}

fn failed(reason: String) -> Outcome {
    Outcome::failed(Fault::new(FaultClass::Unknown, None, reason))
}
