//! Owns the way of an alarm to the engine: a source shows what looks like a breach, so its rollout looks at once.
//!
//! A reading that is under way keeps the engine from beginning another one, and it may have asked that source before
//! the alarm. So the alarm is remembered here, and passed on again as soon as that reading was judged. Refuses to
//! judge: what an alarm comes to is decided by a reading, in the core.

use std::collections::BTreeMap;

use rollout_core::{RolloutId, Seq};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::handle::Handle;

/// A source that follows a deployment's stream shows what looks like a breach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The deployment.
    pub deployment: String,
    /// Whose readings ask that source.
    pub rollout: RolloutId,
}

impl Alarm {
    /// How many may wait on their way; one for each deployment is enough, and what does not fit comes again.
    pub const WAITING_MAX: usize = 16;
}

/// Passes alarms on until `over`, or until the engine or whoever raises them is gone.
pub async fn pass_alarms_on(
    mut alarms: mpsc::Receiver<Alarm>,
    handle: Handle,
    over: impl Future<Output = ()>,
) {
    let mut progress = handle.subscribe();
    let mut remembered = Remembered::default();
    let pass_on = async {
        loop {
            tokio::select! {
                // In a fixed order, so that a simulated run repeats itself.
                biased;
                alarm = alarms.recv() => {
                    let Some(alarm) = alarm else { return };
                    // Looked up before it is passed on, which begins a reading where none is under way.
                    let reading = reading_of(&handle, alarm.rollout).await;
                    handle.stirred(alarm.deployment.clone()).await;
                    remembered.note(alarm, reading);
                }
                grown = progress.recv() => match grown {
                    Ok(grown) if !remembered.concerns(grown.rollout) => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => remembered.pass_on(&handle).await,
                    Err(RecvError::Closed) => return,
                },
            }
        }
    };
    tokio::select! {
        biased;
        () = pass_on => {}
        () = over => {}
    }
}

/// Alarms that came in the middle of a reading, with that reading's place in its journal.
#[derive(Debug, Default)]
struct Remembered(BTreeMap<RolloutId, (Alarm, Seq)>);

impl Remembered {
    fn note(&mut self, alarm: Alarm, reading: Option<Seq>) {
        if let Some(seq) = reading {
            self.0.insert(alarm.rollout, (alarm, seq));
        }
    }

    fn concerns(&self, rollout: RolloutId) -> bool {
        self.0.contains_key(&rollout)
    }

    /// Passes on what waited for a reading that is no longer under way.
    async fn pass_on(&mut self, handle: &Handle) {
        for (rollout, (alarm, seq)) in std::mem::take(&mut self.0) {
            match reading_of(handle, rollout).await {
                Some(reading) if reading == seq => drop(self.0.insert(rollout, (alarm, seq))),
                Some(_) | None => handle.stirred(alarm.deployment).await,
            }
        }
    }
}

/// Where the journal of a rollout has the reading that is under way.
async fn reading_of(handle: &Handle, rollout: RolloutId) -> Option<Seq> {
    let rollout = handle.get(rollout).await.ok()?;
    rollout.watch().observing.as_ref().map(|(seq, _)| *seq)
}
