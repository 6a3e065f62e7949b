//! Owns the adapter's side of the simulation: the real adapter performs effects, its requests go into the world, and
//! its time is simulated. Also sees to it that streams are followed, as the daemon does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rollout_convex::wire::{Request, Response};
use rollout_convex::{Convex, Followers, Transport, TransportError};
use rollout_core::PendingEffect;
use rollout_engine::{Alarm, Perform, Performing};
use tokio::sync::mpsc;

use crate::clock::SimClock;
use crate::net::key_of;
use crate::world::Shared;

/// Carries the requests of one adapter into the world.
pub(crate) struct SimTransport {
    deployment: String,
    world: Shared,
    clock: Arc<SimClock>,
}

/// Performs effects with the real adapter over the simulated network.
pub(crate) struct Performer {
    adapters: BTreeMap<String, Arc<Convex<SimTransport>>>,
    followers: Followers<SimTransport>,
    world: Shared,
    died: Arc<AtomicBool>,
}

impl Performer {
    /// Adapters as a new process makes them. The receiver gets the alarms of whoever follows a stream.
    pub(crate) fn new(
        world: &Shared,
        clock: &Arc<SimClock>,
        died: &Arc<AtomicBool>,
    ) -> (Self, mpsc::Receiver<Alarm>) {
        let names: Vec<String> = world.lock().deployments.keys().cloned().collect();
        let adapter = |name: String| {
            let (world, clock) = (world.clone(), Arc::clone(clock));
            let transport = SimTransport { deployment: name.clone(), world, clock };
            let convex = Convex::over(name.clone(), key_of(&name).into(), transport);
            (name, Arc::new(convex))
        };
        let adapters = names.into_iter().map(adapter).collect();
        let (alarms, told) = mpsc::channel(Alarm::WAITING_MAX);
        let heard = world.clone();
        let followers = Followers::new(move |deployment: &str, rollout| {
            heard.lock().note(|| format!("alarm: {deployment} shows what looks like a breach"));
            drop(alarms.try_send(Alarm { deployment: deployment.to_owned(), rollout }));
        });
        (Self { adapters, followers, world: world.clone(), died: Arc::clone(died) }, told)
    }
}

impl Perform for Performer {
    fn perform(&self, effect: PendingEffect) -> Performing {
        if self.died.load(Ordering::Relaxed) {
            // Nobody is there any more; what was decided in this very moment is never begun.
            return Box::pin(std::future::pending());
        }
        self.world.lock().effect_begins(&effect);
        let adapter = Arc::clone(&self.adapters[&effect.deployment]);
        let rollout = effect.key.rollout;
        self.followers.see_to(&effect.deployment, rollout, &adapter, &effect.effect);
        Box::pin(async move { adapter.perform(effect.key, &effect.effect).await })
    }
}

impl Transport for SimTransport {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let answer = self.world.lock().send(&self.deployment, request);
        answer.await.unwrap_or_else(|_| Err(TransportError::Lost { cause: "gone".into() }))
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn wait(&self, span: Duration) -> impl Future<Output = ()> + Send {
        self.clock.timer(span)
    }
}
