//! Owns one reading over several places: what the deployment tells, what endpoints tell, and who follows a stream between two
//! readings. Decides nothing about what was found.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join;
use rollout_convex::Convex;
use rollout_core::{Effect, EffectKey, Observation, Outcome, PendingEffect, RolloutId, Source};
use rollout_engine::{Perform, Performing};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::alarms::{ALARMS_MAX, Alarm};
use crate::endpoints::Endpoints;
use crate::wiring::Deployments;

/// Performs the engine's effects.
#[derive(Debug)]
pub(crate) struct Performer {
    deployments: Arc<Deployments>,
    endpoints: Arc<Endpoints>,
    alarms: mpsc::Sender<Alarm>,
    /// Who follows a stream, by deployment.
    following: Mutex<BTreeMap<String, Following>>,
}

impl Performer {
    /// Begins nothing yet. The receiver gets an alarm whenever a source that follows a deployment's stream shows what
    /// looks like a breach.
    pub(crate) fn new(
        deployments: Arc<Deployments>,
        endpoints: Arc<Endpoints>,
    ) -> (Self, mpsc::Receiver<Alarm>) {
        let (alarms, told) = mpsc::channel(ALARMS_MAX);
        (Self { deployments, endpoints, alarms, following: Mutex::default() }, told)
    }

    /// Sees to it that a deployment's stream is followed, by the adapter that asks and for the rollout that needs it.
    fn follow(&self, name: &str, rollout: RolloutId, convex: &Arc<Convex>) {
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        // A new credential comes with a new adapter, which knows nothing of what the old one follows.
        let is_current =
            |one: &&Following| Arc::ptr_eq(&one.convex, convex) && !one.task.is_finished();
        match following.get(name).filter(is_current) {
            Some(one) => drop(one.rollout.send_replace(rollout)),
            None => {
                let (name, convex) = (name.to_owned(), Arc::clone(convex));
                let begun = Following::begin(name.clone(), rollout, convex, self.alarms.clone());
                following.insert(name, begun);
            }
        }
    }
}

impl Perform for Performer {
    fn perform(&self, effect: PendingEffect) -> Performing {
        let convex = match self.deployments.adapter_for(&effect) {
            Ok(convex) => convex,
            Err(fault) => return Box::pin(ready(Outcome::failed(fault))),
        };
        if follows_a_stream(&effect.effect) {
            self.follow(&effect.deployment, effect.key.rollout, &convex);
        }
        let endpoints = Arc::clone(&self.endpoints);
        Box::pin(perform(convex, endpoints, effect.key, effect.effect))
    }
}

/// Performs an effect on a deployment; of a reading, the sources at endpoints are asked beside it.
async fn perform(
    convex: Arc<Convex>,
    endpoints: Arc<Endpoints>,
    key: EffectKey,
    effect: Effect,
) -> Outcome {
    let Effect::Observe(observation) = effect else { return convex.perform(key, &effect).await };
    let (theirs, ours): (Vec<_>, Vec<_>) =
        observation.sources.into_iter().partition(|query| query.ask.endpoint().is_some());
    let looked = Effect::Observe(Observation { sources: ours, ..observation });
    let asks: Vec<_> = theirs.iter().map(|query| (&query.ask, query.span)).collect();
    let (outcome, answers) = join(convex.perform(key, &looked), endpoints.ask(&asks)).await;
    match outcome {
        Outcome::Observed(mut reading) => {
            let told = theirs.iter().zip(&answers);
            reading
                .measurements
                .extend(told.flat_map(|(query, answer)| answer.measurements(&query.metrics)));
            Outcome::Observed(reading)
        }
        other @ (Outcome::FlagsSet { .. }
        | Outcome::Invoked { .. }
        | Outcome::ChangeWindowFound { .. }
        | Outcome::Failed { .. }) => other,
    }
}

/// True for a reading that needs the deployment's stream of executions.
fn follows_a_stream(effect: &Effect) -> bool {
    let Effect::Observe(observation) = effect else { return false };
    observation.sources.iter().any(|query| matches!(query.ask, Source::Executions(_)))
}

/// The task that follows one deployment's stream; ends when this is dropped.
#[derive(Debug)]
struct Following {
    /// Whose readings need it.
    rollout: watch::Sender<RolloutId>,
    convex: Arc<Convex>,
    task: JoinHandle<()>,
}

impl Following {
    /// Begins to follow. While nobody asks about executions, nothing is sent. The alarm goes to `alarms` when something
    /// looks like a breach; where nobody takes it in time, it comes again as long as it looks so.
    fn begin(
        name: String,
        rollout: RolloutId,
        convex: Arc<Convex>,
        alarms: mpsc::Sender<Alarm>,
    ) -> Self {
        let (rollout, current) = watch::channel(rollout);
        let followed = Arc::clone(&convex);
        let task = tokio::spawn(async move {
            let tell = || {
                let alarm = Alarm { deployment: name.clone(), rollout: *current.borrow() };
                drop(alarms.try_send(alarm));
            };
            join(followed.follow(), followed.alarms(tell)).await;
        });
        Self { rollout, convex, task }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}
