//! Owns who follows the streams of executions between two readings: one task for each deployment whose readings ask
//! about them.
//!
//! Decides nothing about what a stream shows, and knows no engine: whatever looks like a breach is told to whoever
//! made this. Invariants: a stream is followed by the adapter that is asked, also after a new credential brought a
//! new adapter; all tasks end when this is dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join;
use rollout_core::{Effect, RolloutId, Source};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::convex::Convex;
use crate::transport::{Http, Transport};

/// Tells of a deployment and of the rollout whose readings ask about it.
type Tell = dyn Fn(&str, RolloutId) + Send + Sync;

/// Who follows a stream, by deployment.
pub struct Followers<T = Http> {
    following: Mutex<BTreeMap<String, Following<T>>>,
    tell: Arc<Tell>,
}

/// The task that follows one deployment's stream; ends when this is dropped.
struct Following<T> {
    /// Whose readings need it.
    rollout: watch::Sender<RolloutId>,
    convex: Arc<Convex<T>>,
    task: JoinHandle<()>,
}

impl<T: Transport + 'static> Followers<T> {
    /// Follows nothing yet. `tell` is called whenever a source that follows a stream shows a value beyond its alert
    /// threshold, and again and again while it stays so. It must not wait.
    pub fn new(tell: impl Fn(&str, RolloutId) + Send + Sync + 'static) -> Self {
        Self { following: Mutex::default(), tell: Arc::new(tell) }
    }

    /// Sees to it that a deployment's stream is followed, if `effect` is a reading for `rollout` that needs it.
    /// `convex` is the adapter that is asked. While nobody asks about executions, nothing is sent.
    ///
    /// To be called within a runtime, which runs the task.
    pub fn see_to(
        &self,
        deployment: &str,
        rollout: RolloutId,
        convex: &Arc<Convex<T>>,
        effect: &Effect,
    ) {
        if !follows_a_stream(effect) {
            return;
        }
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        // A new credential comes with a new adapter, which knows nothing of what the old one follows.
        let is_current =
            |one: &&Following<T>| Arc::ptr_eq(&one.convex, convex) && !one.task.is_finished();
        match following.get(deployment).filter(is_current) {
            Some(one) => drop(one.rollout.send_replace(rollout)),
            None => {
                let (name, tell) = (deployment.to_owned(), Arc::clone(&self.tell));
                let begun = Following::begin(name.clone(), rollout, Arc::clone(convex), tell);
                following.insert(name, begun);
            }
        }
    }
}

/// True for a reading that needs the deployment's stream of executions.
fn follows_a_stream(effect: &Effect) -> bool {
    let Effect::Observe(observation) = effect else { return false };
    observation.sources.iter().any(|query| matches!(query.ask, Source::Executions(_)))
}

impl<T: Transport + 'static> Following<T> {
    fn begin(name: String, rollout: RolloutId, convex: Arc<Convex<T>>, tell: Arc<Tell>) -> Self {
        let (rollout, current) = watch::channel(rollout);
        let followed = Arc::clone(&convex);
        let task = tokio::spawn(async move {
            let tell = || {
                let rollout = *current.borrow();
                tell(&name, rollout);
            };
            join(followed.follow(), followed.alarms(tell)).await;
        });
        Self { rollout, convex, task }
    }
}

impl<T> Drop for Following<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T> fmt::Debug for Followers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followers").finish_non_exhaustive()
    }
}
