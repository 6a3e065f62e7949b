//! Owns the way in: a cloneable handle that hides the channel to the driver, and what it hands out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use rollout_core::{Event, Order, Plan, Rollout, RolloutId, Seq};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::error::EngineError;
use crate::store::{self, BackupStream, Quarantined, Survey, WriterHandle};

/// Requests that may wait for the driver. More than that wait with their senders.
pub(crate) const INBOX_MAX: usize = 1_024;

/// What a person wants to start.
#[derive(Clone, Debug)]
pub struct NewRollout {
    /// The plan, checked.
    pub plan: Plan,
    /// SHA-256 of the plan file as it was sent.
    pub digest: [u8; 32],
    /// SHA-256 of all that was asked for: the plan file, the start time and the reason.
    pub request_digest: [u8; 32],
    /// Where the deployment answers.
    pub url: String,
    /// When the baseline may begin; `None` = now.
    pub start_at: Option<Timestamp>,
    /// Who starts it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// The client's key: the same key and the same request give the same rollout.
    pub idempotency_key: Option<String>,
}

/// A rollout that was started, now or by an earlier request with the same key.
#[derive(Clone, Debug)]
pub enum Created {
    /// By this request.
    New(Arc<Rollout>),
    /// By an earlier one.
    Before(Arc<Rollout>),
}

/// An order that was carried out.
#[derive(Clone, Debug)]
pub struct Obeyed {
    /// The rollout after it.
    pub rollout: Arc<Rollout>,
    /// What it changed; empty = it was so already.
    pub entries: Vec<Entry>,
}

/// One event with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place in the journal.
    pub seq: Seq,
    /// What happened.
    pub event: Event,
}

/// A journal grew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whose.
    pub rollout: RolloutId,
    /// Up to where.
    pub seq: Seq,
}

/// How the engine does.
#[derive(Clone, Debug)]
pub struct EngineStatus {
    /// Live rollouts.
    pub live: usize,
    /// Live rollouts that are held.
    pub held: usize,
    /// Ended rollouts.
    pub ended: usize,
    /// Effects under way.
    pub effects: usize,
    /// Live rollouts that nothing will wake, as of the last audit (at start, then hourly). Must be empty; a defect otherwise.
    pub stuck: Vec<RolloutId>,
    /// The engine's wall clock.
    pub now: Timestamp,
    /// How the store does.
    pub store: StoreCondition,
    /// Rollouts that were set aside as damaged, in order of creation.
    pub quarantined: Vec<Quarantined>,
}

/// How the store does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreCondition {
    /// In one word.
    pub state: StoreState,
    /// Since when, where it is not well.
    pub since: Option<Timestamp>,
    /// Why, where it is not well.
    pub why: Option<String>,
    /// Rollouts whose flags were put back, or are being, without a record.
    pub unrecorded: Vec<RolloutId>,
}

/// How the store does, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// All is recorded.
    Well,
    /// RO0211: the disk is full; all is recorded, on the reserve, and nothing is turned on.
    Reserve,
    /// RO0210: nothing is recorded and nothing accepted; flags are watched, and put back on a breach.
    Failing,
}

/// A way to the driver. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) inbox: mpsc::Sender<Request>,
    pub(crate) progress: broadcast::Sender<Progress>,
    pub(crate) turns: Arc<AtomicU64>,
}

/// What the driver is asked.
#[derive(Debug)]
pub(crate) enum Request {
    Create(Box<NewRollout>, Reply<Created>),
    Order(RolloutId, Order, Reply<Obeyed>),
    Get(RolloutId, Reply<Arc<Rollout>>),
    List(Reply<Vec<Arc<Rollout>>>),
    Journal(RolloutId, Seq, Reply<Vec<Entry>>),
    Page(RolloutId, Seq, usize, Reply<Vec<Entry>>),
    Status(Reply<EngineStatus>),
    Stirred(String),
    Store(Reply<WriterHandle>),
    Stop,
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, EngineError>>;

impl Handle {
    /// Starts a rollout. When this returns `Ok`, it is on disk.
    ///
    /// # Errors
    ///
    /// Refusals of [`EngineError`]; nothing was started then.
    pub async fn create(&self, new: NewRollout) -> Result<Created, EngineError> {
        self.ask(|reply| Request::Create(Box::new(new), reply)).await
    }

    /// Carries out a person's command. When this returns `Ok`, it is on disk.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] with what is allowed instead, and the others of [`EngineError`].
    pub async fn order(&self, rollout: RolloutId, order: Order) -> Result<Obeyed, EngineError> {
        self.ask(|reply| Request::Order(rollout, order, reply)).await
    }

    /// One rollout as it stands.
    ///
    /// # Errors
    ///
    /// [`EngineError::UnknownRollout`].
    pub async fn get(&self, rollout: RolloutId) -> Result<Arc<Rollout>, EngineError> {
        self.ask(|reply| Request::Get(rollout, reply)).await
    }

    /// All rollouts, ended ones too, in order of creation.
    ///
    /// # Errors
    ///
    /// Only when the engine has stopped or an ended rollout cannot be read.
    pub async fn list(&self) -> Result<Vec<Arc<Rollout>>, EngineError> {
        self.ask(Request::List).await
    }

    /// The events of one rollout from `from` on.
    ///
    /// # Errors
    ///
    /// [`EngineError::UnknownRollout`], or damage in the journal.
    pub async fn journal(&self, rollout: RolloutId, from: Seq) -> Result<Vec<Entry>, EngineError> {
        self.ask(|reply| Request::Journal(rollout, from, reply)).await
    }

    /// At most `max` events of one rollout from `from` on.
    ///
    /// # Errors
    ///
    /// [`EngineError::UnknownRollout`], or damage in what was read.
    pub async fn page(
        &self,
        rollout: RolloutId,
        from: Seq,
        max: usize,
    ) -> Result<Vec<Entry>, EngineError> {
        self.ask(|reply| Request::Page(rollout, from, max, reply)).await
    }

    /// How the engine does.
    ///
    /// # Errors
    ///
    /// Only when the engine has stopped.
    pub async fn status(&self) -> Result<EngineStatus, EngineError> {
        self.ask(Request::Status).await
    }

    /// Begins a backup that shows this moment; commits go on while it is read. `version` is the daemon's.
    ///
    /// # Errors
    ///
    /// Only when the engine has stopped or the store fails.
    pub async fn backup(
        &self,
        made_at: Timestamp,
        version: &str,
    ) -> Result<BackupStream, EngineError> {
        let store = self.ask(Request::Store).await?;
        Ok(BackupStream::begin(store, made_at.as_second(), version).await?)
    }

    /// Checks every entry of every journal; commits go on meanwhile. Damage is in the answer.
    ///
    /// # Errors
    ///
    /// Only when the engine has stopped or the store fails.
    pub async fn verify(&self) -> Result<Survey, EngineError> {
        let store = self.ask(Request::Store).await?;
        Ok(store::survey(&store).await?)
    }

    /// Tells of every journal that grows. A receiver that lags reads the journal and has missed nothing.
    pub fn subscribe(&self) -> broadcast::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Turns of the driver's loop so far. Grows at least every few seconds while the driver is well; feed a watchdog from
    /// it, never from a timer.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Resolves when the engine has stopped, for whatever reason. Cancel-safe.
    pub async fn closed(&self) {
        self.inbox.closed().await;
    }

    /// Says that a source on this deployment shows what looks like a breach: its rollout looks at once, and judges.
    pub async fn stirred(&self, deployment: String) {
        let _ = self.inbox.send(Request::Stirred(deployment)).await;
    }

    /// Asks the driver to stop after what it is doing now.
    pub async fn stop(&self) {
        let _ = self.inbox.send(Request::Stop).await;
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(request(reply)).await.map_err(|_| EngineError::Stopped)?;
        answer.await.unwrap_or(Err(EngineError::Stopped))
    }
}

impl Created {
    /// The rollout.
    pub fn rollout(&self) -> &Arc<Rollout> {
        match self {
            Self::New(rollout) | Self::Before(rollout) => rollout,
        }
    }
}
