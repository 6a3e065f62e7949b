//! Owns the loop that never forgets: gather what happened, decide, append durably, evolve, reply, perform.
//!
//! One task owns all rollouts. In each turn it takes at most one input per rollout, so that every decision sees durable
//! state; what is left over comes first in the next turn. All decisions of a turn share one commit, which is what makes
//! 64 concurrent requests as cheap as a few.
//!
//! What cannot be recorded is neither acknowledged nor acted on. When the store fails, the loop ends; with a place to open it
//! from again it does not while a flag is on: `failing.rs` finds out what landed and goes on, and as long as nothing can be
//! recorded `dark.rs` watches and puts flags back, and does nothing else; `comeback.rs` ends that.

mod acknowledged;
mod answers;
mod comeback;
mod condition;
mod creation;
mod dark;
mod failing;
mod restraint;
mod tell;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rollout_core::{
    EffectKey, Event, Fault, FaultClass, Input, Order, Outcome, Rejection, Rollout, RolloutId, Seq,
    Status,
};
use tokio::sync::{broadcast, mpsc};
use tracing::{debug, error, info, warn};

use crate::board::Board;
use crate::clock::{Clock, SteadyTime};
use crate::effects::{Effects, Perform};
use crate::error::EngineError;
use crate::handle::{
    Created, Entry, Handle, INBOX_MAX, NewRollout, Obeyed, Progress, Reply, Request,
};
use crate::reopen::OpenStore;
use crate::resume;
use crate::store::record::encode_event;
use crate::store::{Append, Standing, Store, StoreError, Writer, WriterHandle};

use self::acknowledged::Acknowledged;
use self::comeback::Arrived;
use self::condition::Condition;
use self::restraint::Tends;

pub use creation::check_free;

/// Inputs taken in one turn.
const TURN_MAX: usize = 256;
/// Times that the loop steps aside for other tasks before a commit.
const COALESCE_MAX: usize = 3;
/// Progress notices kept for slow followers; who lags behind reads the journal.
const PROGRESS_MAX: usize = 4_096;
/// A difference between wall clock and elapsed time, within one turn, from which on it is called a jump.
const CLOCK_JUMP_MIN: SignedDuration = SignedDuration::from_secs(30);
/// How often the engine asks itself whether every live rollout waits for something.
const AUDIT_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// How long the store may take for one answer. Real time; a busy disk needs seconds for a sync.
const STORE_MAX: Duration = Duration::from_secs(20);
/// How long a deadline is put off that would turn a flag on while none may be.
const PUT_OFF: SignedDuration = SignedDuration::from_mins(1);

/// The engine: open it, then run it.
pub struct Engine {
    /// `None` while the store is being opened again.
    writer: Option<Writer>,
    store: WriterHandle,
    /// Where the store comes from when it has failed; without one, its first error ends the engine.
    source: Option<Arc<dyn OpenStore>>,
    acknowledged: Acknowledged,
    condition: Condition,
    reopened: Option<Result<Arrived, StoreError>>,
    time: SteadyTime,
    board: Board,
    effects: Effects,
    inbox: mpsc::Receiver<Request>,
    backlog: VecDeque<Work>,
    progress: broadcast::Sender<Progress>,
    turns: Arc<AtomicU64>,
    stuck: Vec<RolloutId>,
    audited_at: Timestamp,
    stopping: bool,
}

/// One input on its way to one rollout.
enum Work {
    Create(Box<NewRollout>, Reply<Created>),
    Order(RolloutId, Order, Reply<Obeyed>),
    Ended(EffectKey, Outcome),
    Due(RolloutId),
    /// What kept it from advancing is gone.
    Nudged(RolloutId),
    /// Something looks like a breach.
    Stirred(RolloutId),
    Resumed(RolloutId),
    Jumped(RolloutId, SignedDuration),
}

/// A decision that is not durable yet: what the store gets, and what follows once it has it.
struct Staged {
    append: Append,
    decided: Decided,
}

/// A decision as it is shown, answered and performed.
struct Decided {
    rollout: Arc<Rollout>,
    entries: Vec<Entry>,
    answer: Answer,
}

/// Who is told once it is.
enum Answer {
    Nobody,
    Create(Reply<Created>),
    Order(Reply<Obeyed>, Tends),
}

impl Engine {
    /// Takes up every live rollout of the store. When this returns, all of them are armed; announce readiness then. The
    /// store's first error ends this engine.
    ///
    /// # Errors
    ///
    /// Damage in the store, named; nothing is driven then.
    pub async fn open(
        store: Box<dyn Store>,
        clock: Arc<dyn Clock>,
        performer: Arc<dyn Perform>,
    ) -> Result<(Self, Handle), EngineError> {
        Self::begin(store, None, clock, performer).await
    }

    /// As [`Engine::open`], but an engine that opens the store from `source` again when it fails. While it cannot, and a flag
    /// is on, the watch goes on without a record.
    ///
    /// # Errors
    ///
    /// Damage in the store, named; nothing is driven then.
    pub async fn open_with(
        store: Box<dyn Store>,
        source: Arc<dyn OpenStore>,
        clock: Arc<dyn Clock>,
        performer: Arc<dyn Perform>,
    ) -> Result<(Self, Handle), EngineError> {
        Self::begin(store, Some(source), clock, performer).await
    }

    async fn begin(
        store: Box<dyn Store>,
        source: Option<Arc<dyn OpenStore>>,
        clock: Arc<dyn Clock>,
        performer: Arc<dyn Perform>,
    ) -> Result<(Self, Handle), EngineError> {
        let (writer, store) = Writer::spawn(store)?;
        let board = resume::load(&store).await?;
        let acknowledged = Acknowledged::of(store.heads().await?);
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let progress = broadcast::Sender::new(PROGRESS_MAX);
        let turns = Arc::new(AtomicU64::new(0));
        let handle =
            Handle { inbox: sender, progress: progress.clone(), turns: Arc::clone(&turns) };
        // What was decided lies in the past, whatever the wall clock says after a restart.
        let decided = board.live().map(|rollout| rollout.last_at()).max();
        let time = SteadyTime::new(clock);
        let mut engine = Self {
            writer: Some(writer),
            store,
            source,
            acknowledged,
            condition: Condition::Well,
            reopened: None,
            audited_at: time.now(),
            time,
            board,
            effects: Effects::new(performer),
            inbox,
            backlog: VecDeque::new(),
            progress,
            turns,
            stuck: Vec::new(),
            stopping: false,
        };
        if let Some(decided) = decided {
            engine.not_before(decided);
        }
        engine.find_reserve().await;
        engine.take_up().await?;
        Ok((engine, handle))
    }

    /// Runs until [`Handle::stop`], or until the last handle is gone.
    ///
    /// # Errors
    ///
    /// The store's first error, or, where it could be opened again, that nothing can be recorded. Start again to find out what
    /// became of the last commit.
    pub async fn run(mut self) -> Result<(), EngineError> {
        let ended = loop {
            if let Err(error) = self.turn().await {
                break Err(error);
            }
            if self.stopping && self.backlog.is_empty() {
                break self.unrecorded_end();
            }
        };
        // What waits in the inbox is told that the engine stopped when the receiver is dropped.
        let closed = match self.writer.take() {
            Some(writer) => writer.close().await.map_err(EngineError::from),
            None => Ok(()),
        };
        ended.and(closed)
    }

    /// Tells every live rollout that the engine is back, in one commit, and starts what each needs.
    async fn take_up(&mut self) -> Result<(), EngineError> {
        let ids: Vec<_> = self.board.live().map(|rollout| rollout.id()).collect();
        let live = ids.len();
        let resumed = ids.into_iter().map(Work::Resumed).collect();
        self.settle(resumed).await?;
        // Also for those to which nothing had to be told.
        self.start_all();
        self.audit();
        let (_, ended) = self.board.counts();
        info!(live, ended, "took up every live rollout");
        Ok(())
    }

    /// Starts whatever any live rollout needs.
    fn start_all(&mut self) {
        for rollout in self.board.live() {
            self.effects.start(rollout, &self.time);
        }
    }

    async fn turn(&mut self) -> Result<(), EngineError> {
        let work = self.gather().await;
        self.turns.fetch_add(1, Ordering::Relaxed);
        let work = self.tend_store(work).await?;
        if self.time.now().duration_since(self.audited_at) >= AUDIT_EVERY {
            self.audit();
        }
        self.settle(work).await
    }

    /// Waits until something happens, then takes what else is there.
    async fn gather(&mut self) -> Vec<Work> {
        let mut work: Vec<Work> = self.backlog.drain(..).collect();
        if work.is_empty() {
            let looks = [self.board.next_deadline(), self.condition.next_look()];
            let deadline = looks.into_iter().flatten().min();
            tokio::select! {
                // In a fixed order, so that a simulated run repeats itself; nothing starves, as all three are emptied below.
                biased;
                request = self.inbox.recv() => match request {
                    Some(request) => work.extend(self.sort(request).await),
                    None => self.stopping = true,
                },
                (key, outcome) = self.effects.next() => work.push(Work::Ended(key, outcome)),
                opened = self.condition.opened() => self.reopened = Some(opened),
                () = self.time.wait(deadline) => {}
            }
        }
        // Bounded by what is taken, not by what becomes work: readers alone must not keep the loop from turning. Those who
        // were just answered get a chance to ask again before the commit: one fsync then serves all of them.
        let mut chances = COALESCE_MAX;
        for _ in 0..TURN_MAX {
            match self.inbox.try_recv() {
                Ok(request) => work.extend(self.sort(request).await),
                Err(_) if chances == 0 || work.is_empty() => break,
                Err(_) => {
                    chances -= 1;
                    tokio::task::yield_now().await;
                }
            }
        }
        for _ in 0..TURN_MAX {
            let Some((key, outcome)) = self.effects.try_next() else { break };
            work.push(Work::Ended(key, outcome));
        }
        // First of all: whatever came in the same turn is judged by the new time, and that a clock was set decides about it.
        work.splice(0..0, self.read_clock());
        let now = self.time.now();
        work.extend(self.board.due(now).into_iter().take(TURN_MAX).map(Work::Due));
        work
    }

    /// Says aloud when a live rollout waits for nothing.
    fn audit(&mut self) {
        self.audited_at = self.time.now();
        // What is kept from advancing waits for the store.
        if self.condition.is_restrained() {
            return;
        }
        let stuck = self.board.live().filter(|rollout| rollout.is_stuck());
        self.stuck = stuck.map(|rollout| rollout.id()).collect();
        for id in &self.stuck {
            error!(rollout = %id, "nothing will wake this rollout; this is a defect of rolloutd, please report it");
        }
    }

    /// Reads the clocks, and tells every live rollout when the wall clock jumped.
    fn read_clock(&mut self) -> Vec<Work> {
        let by = self.time.read();
        if by.abs() < CLOCK_JUMP_MIN {
            return Vec::new();
        }
        self.jumped(by)
    }

    /// Goes on from a moment at which something was decided, and tells every live rollout when the clock shows an earlier one.
    fn not_before(&mut self, decided: Timestamp) {
        let behind = self.time.not_before(decided);
        if behind >= CLOCK_JUMP_MIN {
            let told = self.jumped(-behind);
            self.backlog.extend(told);
        }
    }

    /// Goes on from a moment that is ahead of what lives. To all that does, it is as if the wall clock had gone forward, which
    /// is no watched time, and back again.
    fn leap_to(&mut self, decided: Timestamp) {
        let by = self.time.not_before(decided);
        if by >= CLOCK_JUMP_MIN {
            let told = [by, -by].into_iter().flat_map(|by| self.jumped(by));
            self.backlog.extend(told.collect::<Vec<_>>());
        }
    }

    fn jumped(&self, by: SignedDuration) -> Vec<Work> {
        warn!(seconds = by.as_secs(), "the wall clock jumped");
        self.board.live().map(|rollout| Work::Jumped(rollout.id(), by)).collect()
    }

    /// Decides, commits, answers and performs one turn's work.
    async fn settle(&mut self, work: Vec<Work>) -> Result<(), EngineError> {
        if self.condition.is_dark() {
            return self.settle_dark(work);
        }
        let (mut batch, mut decisions) = (Vec::new(), Vec::new());
        let mut touched = BTreeSet::new();
        let begun = self.time.now();
        for work in work {
            let id = work.rollout().unwrap_or_else(|| self.board.next_id());
            // A start is judged against the board, which does not show yet what this turn decided before.
            let is_start = matches!(work, Work::Create(..));
            // After a leap, whatever lives is told of it first.
            let has_leapt = self.time.now() != begun;
            if has_leapt || touched.contains(&id) || (is_start && !touched.is_empty()) {
                // A deadline is found again by itself.
                if !matches!(work, Work::Due(_)) {
                    self.backlog.push_back(work);
                }
                continue;
            }
            if let Some(Staged { append, decided }) = self.stage(id, work).await? {
                touched.insert(id);
                batch.push(append);
                decisions.push(decided);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.commit(batch).await {
            return self.store_failed(decisions, error).await;
        }
        decisions.into_iter().for_each(|decided| self.publish(decided));
        Ok(())
    }

    /// Makes a batch durable, and remembers by what the store is known from then on.
    async fn commit(&mut self, batch: Vec<Append>) -> Result<(), StoreError> {
        self.acknowledged.attempt(&batch)?;
        within(self.store.commit(batch)).await?;
        self.acknowledged.accept();
        Ok(())
    }

    async fn stage(&mut self, id: RolloutId, work: Work) -> Result<Option<Staged>, EngineError> {
        let now = self.time.now();
        match work {
            Work::Create(new, reply) => Ok(self.stage_creation(id, *new, reply, now).await),
            Work::Order(id, order, reply) => self.stage_order(id, order, reply, now).await,
            Work::Ended(key, outcome) => self.stage_ending(id, now, key, outcome),
            Work::Due(_) => {
                let decided = self.stage_input(id, now, Input::DeadlineReached)?;
                if decided.is_none() && self.board.due(now).contains(&id) {
                    let is_early =
                        self.board.get(id).is_some_and(|rollout| self.is_too_early(rollout));
                    if !self.condition.is_restrained() && !is_early {
                        error!(rollout = %id, "a deadline came and nothing followed; this is a defect of rolloutd");
                        debug_assert!(false, "a deadline of {id} came and nothing followed");
                    }
                    // Another deadline of it, such as the next try of a rollback, must not be lost with this one.
                    self.put_off(id, now);
                }
                Ok(decided)
            }
            Work::Nudged(_) => {
                let decided = self.stage_input(id, now, Input::DeadlineReached)?;
                if let (None, Some(rollout)) = (&decided, self.board.get(id)) {
                    self.effects.start(rollout, &self.time);
                }
                Ok(decided)
            }
            Work::Resumed(_) => {
                let last_seen = self.board.get(id).map_or(now, |rollout| rollout.last_at());
                self.stage_input(id, now, Input::EngineResumed { last_seen })
            }
            Work::Jumped(_, by) => self.stage_input(id, now, Input::ClockJumped { by }),
            Work::Stirred(_) => self.stage_input(id, now, Input::Stirred),
        }
    }

    async fn stage_order(
        &mut self,
        id: RolloutId,
        order: Order,
        reply: Reply<Obeyed>,
        now: Timestamp,
    ) -> Result<Option<Staged>, EngineError> {
        let tends = restraint::tends(order.command.verb());
        let decided = match self.find(id).await {
            Ok(_) if tends == Tends::On && self.condition.is_restrained() => {
                Err(EngineError::OnReserve)
            }
            Ok(rollout) => self
                .judge(&rollout, now, Input::Ordered(order))
                .map(|events| (rollout, events))
                .map_err(EngineError::from),
            Err(error) => Err(error),
        };
        match decided {
            Ok((rollout, events)) if events.is_empty() => {
                let _ = reply.send(Ok(Obeyed { rollout, entries: Vec::new() }));
                Ok(None)
            }
            Ok((rollout, events)) => {
                // One that ended before the last start, under a clock that was set back since, has its deadlines in that time.
                self.leap_to(rollout.last_at());
                stage_events(&rollout, events, Answer::Order(reply, tends)).map(Some)
            }
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
                Ok(None)
            }
        }
    }

    /// Asks the core; while no flag may be turned on, as if the rollout were held. Its start waits for the wall clock.
    fn judge(
        &self,
        rollout: &Rollout,
        now: Timestamp,
        input: Input,
    ) -> Result<Vec<Event>, Rejection> {
        let events = match self.condition.is_restrained() {
            true => restraint::decide(rollout, now, input),
            false => rollout.decide(now, input),
        }?;
        Ok(match self.is_too_early(rollout) {
            true => restraint::before_its_start(events),
            false => events,
        })
    }

    /// True while the wall clock shows an earlier time than a person said for the start; the engine's time may be ahead of it.
    fn is_too_early(&self, rollout: &Rollout) -> bool {
        rollout.status() == Status::Scheduled && rollout.start_at() > self.time.wall()
    }

    /// Puts off a deadline that came and that nothing may follow from now; the next reading is not put off with it.
    fn put_off(&mut self, id: RolloutId, now: Timestamp) {
        let later = now.checked_add(PUT_OFF).unwrap_or(Timestamp::MAX);
        let reading = self.board.get(id).and_then(|rollout| rollout.watch().next_at);
        let reading = reading.filter(|at| *at > now);
        self.board.put_off(id, reading.map_or(later, |at| at.min(later)));
    }

    /// An answer too large to be recorded is as good as none; it must not stop the watch over everybody else.
    fn stage_ending(
        &mut self,
        id: RolloutId,
        now: Timestamp,
        key: EffectKey,
        outcome: Outcome,
    ) -> Result<Option<Staged>, EngineError> {
        self.effects.judged(key);
        let staged = self.stage_input(id, now, Input::EffectEnded { key, outcome });
        let Err(EngineError::Record { why, .. }) = staged else { return staged };
        error!(rollout = %id, why, "an answer cannot be recorded");
        let reason = format!("the answer cannot be recorded: {why}");
        let outcome = Outcome::failed(Fault::new(FaultClass::Permanent, None, reason));
        self.stage_input(id, now, Input::EffectEnded { key, outcome })
    }

    fn stage_input(
        &self,
        id: RolloutId,
        now: Timestamp,
        input: Input,
    ) -> Result<Option<Staged>, EngineError> {
        let Some(rollout) = self.board.get(id) else {
            debug!(rollout = %id, "an input for a rollout that is not in memory");
            return Ok(None);
        };
        match self.judge(rollout, now, input) {
            Ok(events) if events.is_empty() => Ok(None),
            Ok(events) => stage_events(rollout, events, Answer::Nobody).map(Some),
            Err(refusal) => {
                warn!(rollout = %id, %refusal, "an input was refused");
                Ok(None)
            }
        }
    }

    /// After the commit: the new state is shown, people are answered, effects are started.
    fn publish(&mut self, decided: Decided) {
        let Decided { rollout, entries, answer } = decided;
        for entry in &entries {
            tell::tell(&rollout, entry);
        }
        self.board.put(Arc::clone(&rollout));
        let _ = self.progress.send(Progress { rollout: rollout.id(), seq: rollout.seq() });
        self.effects.start(&rollout, &self.time);
        match answer {
            Answer::Nobody => {}
            Answer::Create(reply) => {
                let _ = reply.send(Ok(Created::New(rollout)));
            }
            Answer::Order(reply, _) => {
                let _ = reply.send(Ok(Obeyed { rollout, entries }));
            }
        }
    }
}

impl Work {
    /// The rollout it is for; `None` for one that does not exist yet.
    fn rollout(&self) -> Option<RolloutId> {
        match self {
            Self::Create(..) => None,
            Self::Ended(key, _) => Some(key.rollout),
            Self::Order(id, ..)
            | Self::Due(id)
            | Self::Nudged(id)
            | Self::Stirred(id)
            | Self::Resumed(id)
            | Self::Jumped(id, _) => Some(*id),
        }
    }
}

/// Waits for the store, but not for ever: a disk that hangs must not keep the loop from watching. What is given up goes on
/// behind it; its fate is found out when the store is opened again, which waits until it has let go.
async fn within<T, E: From<StoreError>>(asked: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::time::timeout(STORE_MAX, asked).await.unwrap_or_else(|_| Err(StoreError::hangs().into()))
}

/// Makes decided events ready for the commit.
fn stage_events(
    rollout: &Arc<Rollout>,
    events: Vec<Event>,
    answer: Answer,
) -> Result<Staged, EngineError> {
    let (id, after) = (rollout.id(), rollout.seq());
    let mut next = (**rollout).clone();
    let mut entries = Vec::with_capacity(events.len());
    let mut payloads = Vec::with_capacity(events.len());
    for event in events {
        next.evolve(&event);
        let seq = next.seq();
        payloads.push(payload(id, seq, &event)?);
        entries.push(Entry { seq, event });
    }
    let standing = if next.is_over() { Standing::Ended } else { Standing::Live };
    let append =
        Append { rollout: id, after: after.get(), entries: payloads, standing, idempotency: None };
    Ok(Staged { append, decided: Decided { rollout: Arc::new(next), entries, answer } })
}

/// An event as the store keeps it.
fn payload(rollout: RolloutId, seq: Seq, event: &Event) -> Result<Vec<u8>, EngineError> {
    let bytes = encode_event(event);
    bytes.map_err(|error| EngineError::Record { rollout, seq: seq.get(), why: error.to_string() })
}

fn refuse_all(decisions: Vec<Decided>, error: &StoreError) {
    for decided in decisions {
        match decided.answer {
            Answer::Nobody => {}
            Answer::Create(reply) => drop(reply.send(Err(error.clone().into()))),
            Answer::Order(reply, _) => drop(reply.send(Err(error.clone().into()))),
        }
    }
}
