//! Owns one reading over several places: what the deployment tells, what endpoints tell, and that its stream is followed until
//! the next one. Decides nothing about what was found.

use std::future::ready;
use std::sync::Arc;

use futures_util::future::join;
use rollout_convex::{Convex, Followers};
use rollout_core::{Effect, EffectKey, Observation, Outcome, PendingEffect};
use rollout_engine::{Alarm, Perform, Performing};
use tokio::sync::mpsc;

use crate::endpoints::Endpoints;
use crate::wiring::Deployments;

/// Performs the engine's effects.
#[derive(Debug)]
pub(crate) struct Performer {
    deployments: Arc<Deployments>,
    endpoints: Arc<Endpoints>,
    followers: Followers,
}

impl Performer {
    /// Begins nothing yet. The receiver gets an alarm whenever a source that follows a deployment's stream shows what
    /// looks like a breach; where nobody takes it in time, it comes again as long as it looks so.
    pub(crate) fn new(
        deployments: Arc<Deployments>,
        endpoints: Arc<Endpoints>,
    ) -> (Self, mpsc::Receiver<Alarm>) {
        let (alarms, told) = mpsc::channel(Alarm::WAITING_MAX);
        let followers = Followers::new(move |deployment: &str, rollout| {
            drop(alarms.try_send(Alarm { deployment: deployment.to_owned(), rollout }));
        });
        (Self { deployments, endpoints, followers }, told)
    }
}

impl Perform for Performer {
    fn perform(&self, effect: PendingEffect) -> Performing {
        let convex = match self.deployments.adapter_for(&effect) {
            Ok(convex) => convex,
            Err(fault) => return Box::pin(ready(Outcome::failed(fault))),
        };
        let rollout = effect.key.rollout;
        self.followers.see_to(&effect.deployment, rollout, &convex, &effect.effect);
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
