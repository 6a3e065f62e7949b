//! Owns the store's thread: one queue, one writer, one transaction for whatever is waiting.
//!
//! Commits that queue up while the disk is busy share the next transaction, and so the next fsync. A refused one does
//! not fail the others. Reads take the same queue, so a caller sees its own commits. A panic in the store is caught;
//! from then on every request fails with it, because nobody knows what the store still holds.

#[cfg(any(test, feature = "testing"))]
mod inline;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use rollout_core::{RolloutId, Seq};
use tokio::sync::{mpsc, oneshot};

use super::error::panic_message;
use super::{Append, Entry, Head, IdempotencyRow, Inventory, Store, StoreError};

/// The running store thread; whoever holds it closes it.
#[derive(Debug)]
pub struct Writer {
    handle: WriterHandle,
    /// `None` for a writer that works inline.
    thread: Option<JoinHandle<()>>,
}

/// Sends requests to the store thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WriterHandle {
    way: Way,
    transactions: Arc<AtomicU64>,
}

/// How requests reach the store.
#[derive(Clone, Debug)]
enum Way {
    /// Through the queue of its thread.
    Queue(mpsc::Sender<Request>),
    /// In the caller's task.
    #[cfg(any(test, feature = "testing"))]
    Inline(inline::Inline),
}

impl Writer {
    /// Gives `store` a thread of its own.
    ///
    /// # Errors
    /// `RO0205` when the system gives no thread.
    pub fn spawn(store: Box<dyn Store>) -> Result<(Self, WriterHandle), StoreError> {
        let transactions = Arc::new(AtomicU64::new(0));
        let keeper = Keeper { store, fate: Fate::Running, transactions: Arc::clone(&transactions) };
        #[cfg(any(test, feature = "testing"))]
        let keeper = match inline::Inline::adopt(keeper) {
            Ok(inline) => {
                let handle = WriterHandle { way: Way::Inline(inline), transactions };
                return Ok((Self { handle: handle.clone(), thread: None }, handle));
            }
            Err(keeper) => keeper,
        };
        let (requests, queue) = mpsc::channel(QUEUE_REQUESTS_MAX);
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || keeper.run(queue))
            .map_err(StoreError::io("start the store thread"))?;
        let handle = WriterHandle { way: Way::Queue(requests), transactions };
        Ok((Self { handle: handle.clone(), thread: Some(thread) }, handle))
    }

    /// From now on, writers that are spawned on this thread get no thread of their own: each request is served in the task
    /// that makes it, which is what makes a simulated run repeat itself. Once `died` is set, none is answered any more.
    #[cfg(any(test, feature = "testing"))]
    pub fn inline_on_this_thread(died: &Arc<std::sync::atomic::AtomicBool>) {
        inline::install(died);
    }

    /// Finishes what is queued, closes and drops the store, and ends its thread. Later requests fail with
    /// [`StoreError::Closed`].
    ///
    /// # Errors
    /// What [`Store::close`] says, or `RO0207` after a panic.
    pub async fn close(self) -> Result<(), StoreError> {
        let closed = self.handle.ask(|reply| Request::Close { reply }).await;
        // The thread answers as its last act, so this does not wait.
        let joined = self.thread.map_or(Ok(()), JoinHandle::join);
        joined.map_err(|panic| StoreError::Panicked { message: panic_message(&*panic) })?;
        closed
    }
}

impl WriterHandle {
    /// Commits `batch`; durable when it returns `Ok`. Errors are those of [`Store::commit`].
    ///
    /// Not undone by cancellation: a batch that is queued is committed even if nobody waits for the answer.
    ///
    /// # Errors
    /// A refusal concerns this batch alone. `RO0207` when the store thread is gone.
    pub async fn commit(&self, batch: Vec<Append>) -> Result<(), StoreError> {
        self.ask(|reply| Request::Commit(Commit { batch, reply })).await
    }

    /// Every head, in id order; see [`Store::heads`].
    ///
    /// # Errors
    /// Those of [`Store::heads`], or `RO0207` when the store thread is gone.
    pub async fn heads(&self) -> Result<Vec<Head>, StoreError> {
        self.ask(|reply| Request::Read(Read::Heads { reply })).await
    }

    /// The checked entries of one rollout; see [`Store::journal`].
    ///
    /// # Errors
    /// Those of [`Store::journal`], or `RO0207` when the store thread is gone.
    pub async fn journal(&self, rollout: RolloutId, from: Seq) -> Result<Vec<Entry>, StoreError> {
        self.ask(|reply| Request::Read(Read::Journal { rollout, from, reply })).await
    }

    /// At most `max` checked entries of one rollout; see [`Store::page`].
    ///
    /// # Errors
    /// Those of [`Store::page`], or `RO0207` when the store thread is gone.
    pub async fn page(
        &self,
        rollout: RolloutId,
        from: Seq,
        max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.ask(|reply| Request::Read(Read::Page { rollout, from, max, reply })).await
    }

    /// What an idempotency key was used for; see [`Store::idempotency`].
    ///
    /// # Errors
    /// Those of [`Store::idempotency`], or `RO0207` when the store thread is gone.
    pub async fn idempotency(&self, key: String) -> Result<Option<IdempotencyRow>, StoreError> {
        self.ask(|reply| Request::Read(Read::Idempotency { key, reply })).await
    }

    /// Everything but the journals, as of one moment.
    ///
    /// # Errors
    /// `RO0202` when a row is damaged, or `RO0207` when the store thread is gone.
    pub async fn inventory(&self) -> Result<Inventory, StoreError> {
        self.ask(|reply| Request::Read(Read::Inventory { reply })).await
    }

    /// Number of requests that wait for the store thread.
    pub fn backlog(&self) -> usize {
        match &self.way {
            Way::Queue(requests) => requests.max_capacity() - requests.capacity(),
            #[cfg(any(test, feature = "testing"))]
            Way::Inline(_) => 0,
        }
    }

    /// Number of transactions that were committed; each cost one fsync.
    pub fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        match &self.way {
            Way::Queue(requests) => {
                requests.send(request(reply)).await.map_err(|_| StoreError::Closed)?
            }
            #[cfg(any(test, feature = "testing"))]
            Way::Inline(inline) => inline.serve(request(reply)).await?,
        }
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

#[derive(Debug)]
enum Request {
    Commit(Commit),
    Read(Read),
    Close { reply: Reply<()> },
}

#[derive(Debug)]
enum Read {
    Heads { reply: Reply<Vec<Head>> },
    Journal { rollout: RolloutId, from: Seq, reply: Reply<Vec<Entry>> },
    Page { rollout: RolloutId, from: Seq, max: usize, reply: Reply<Vec<Entry>> },
    Idempotency { key: String, reply: Reply<Option<IdempotencyRow>> },
    Inventory { reply: Reply<Inventory> },
}

#[derive(Debug)]
struct Commit {
    batch: Vec<Append>,
    reply: Reply<()>,
}

/// The thread's side: the store and what became of it.
struct Keeper {
    store: Box<dyn Store>,
    fate: Fate,
    transactions: Arc<AtomicU64>,
}

enum Fate {
    Running,
    Panicked { message: String },
}

impl Keeper {
    fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut reply_to_close = None;
        while let Some(first) = queue.blocking_recv() {
            let mut group = Vec::new();
            let mut group_bytes = 0;
            let mut request = Some(first);
            while let Some(now) = request {
                match now {
                    Request::Commit(commit) => {
                        group_bytes += bytes_of(&commit.batch);
                        group.push(commit);
                        if group_bytes >= GROUP_BYTES_MAX || group.len() >= GROUP_COMMITS_MAX {
                            self.commit(std::mem::take(&mut group));
                            group_bytes = 0;
                        }
                    }
                    Request::Close { reply } => {
                        reply_to_close = Some(reply);
                        queue.close();
                    }
                    Request::Read(read) => {
                        self.commit(std::mem::take(&mut group));
                        self.read(read);
                    }
                }
                request = queue.try_recv().ok();
            }
            self.commit(group);
        }
        let closed = self.close();
        if let Some(reply) = reply_to_close {
            answer(reply, closed);
        }
    }

    /// Commits a group in one transaction; if any of it is refused, each on its own, so that only that one fails.
    fn commit(&mut self, group: Vec<Commit>) {
        if group.is_empty() {
            return;
        }
        let mut merged = Vec::new();
        let mut members = Vec::with_capacity(group.len());
        for Commit { batch, reply } in group {
            let start = merged.len();
            merged.extend(batch);
            members.push((start..merged.len(), reply));
        }
        let together = self.transact(&merged);
        let is_alone = members.len() == 1;
        for (range, reply) in members {
            let result = match &together {
                Err(refusal) if refusal.is_refusal() && !is_alone => self.transact(&merged[range]),
                other => other.clone(),
            };
            answer(reply, result);
        }
    }

    fn transact(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        let result = self.guarded(|store| store.commit(batch));
        if result.is_ok() {
            self.transactions.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn read(&mut self, read: Read) {
        match read {
            Read::Heads { reply } => answer(reply, self.guarded(|store| store.heads())),
            Read::Journal { rollout, from, reply } => {
                answer(reply, self.guarded(|store| store.journal(rollout, from)));
            }
            Read::Page { rollout, from, max, reply } => {
                answer(reply, self.guarded(|store| store.page(rollout, from, max)));
            }
            Read::Idempotency { key, reply } => {
                answer(reply, self.guarded(|store| store.idempotency(&key)));
            }
            Read::Inventory { reply } => answer(reply, self.guarded(|store| inventory(store))),
        }
    }

    /// Closes and drops the store; dropping may panic too when the disk fails.
    fn close(mut self) -> Result<(), StoreError> {
        let closed = self.guarded(|store| store.close());
        let Self { store, .. } = self;
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(store)));
        closed
            .and(dropped.map_err(|panic| StoreError::Panicked { message: panic_message(&*panic) }))
    }

    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Fate::Panicked { message } = &self.fate {
            return Err(StoreError::Panicked { message: message.clone() });
        }
        let store = self.store.as_mut();
        catch_unwind(AssertUnwindSafe(|| work(store))).unwrap_or_else(|panic| {
            let message = panic_message(&*panic);
            self.fate = Fate::Panicked { message: message.clone() };
            Err(StoreError::Panicked { message })
        })
    }
}

fn inventory(store: &dyn Store) -> Result<Inventory, StoreError> {
    let (heads, keys) = (store.heads()?, store.idempotency_rows()?);
    Ok(Inventory { heads, keys, quarantined: store.quarantined(), age: store.age() })
}

fn answer<T>(reply: Reply<T>, result: Result<T, StoreError>) {
    // Nobody waits any more when the caller was cancelled; the commit stands all the same.
    let _ = reply.send(result);
}

fn bytes_of(batch: &[Append]) -> usize {
    batch.iter().flat_map(|append| &append.entries).map(Vec::len).sum()
}

/// Requests that may wait; beyond it, callers wait to be let in.
const QUEUE_REQUESTS_MAX: usize = 1024;

/// Commits that share a transaction at the most, so that the first of them is not kept waiting by a steady stream.
const GROUP_COMMITS_MAX: usize = 1024;

/// Payload after which a group is committed even if more waits, so that no transaction outgrows memory and patience.
const GROUP_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::sync::mpsc as gate;
    use std::time::Duration;

    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::super::Standing;
    use super::super::memory::{Failure, MemoryDisk, MemoryStore};
    use super::*;

    /// Says when a commit begins and waits for leave to go on.
    struct GatedStore {
        inner: MemoryStore,
        begun: gate::Sender<()>,
        leave: gate::Receiver<()>,
    }

    impl Store for GatedStore {
        fn heads(&self) -> Result<Vec<Head>, StoreError> {
            self.inner.heads()
        }

        fn journal(&self, rollout: RolloutId, from: Seq) -> Result<Vec<Entry>, StoreError> {
            self.inner.journal(rollout, from)
        }

        fn commit(&mut self, batch: &[Append]) -> Result<(), StoreError> {
            self.begun.send(()).unwrap();
            self.leave.recv().unwrap();
            self.inner.commit(batch)
        }

        fn idempotency(&self, key: &str) -> Result<Option<IdempotencyRow>, StoreError> {
            self.inner.idempotency(key)
        }

        fn idempotency_rows(&self) -> Result<Vec<IdempotencyRow>, StoreError> {
            self.inner.idempotency_rows()
        }

        fn close(&mut self) -> Result<(), StoreError> {
            self.inner.close()
        }
    }

    fn append(rollout: u64, after: u64) -> Append {
        Append {
            rollout: RolloutId::new(rollout).unwrap(),
            after,
            entries: vec![b"event".to_vec()],
            standing: Standing::Live,
            idempotency: None,
        }
    }

    async fn in_time<T>(work: impl Future<Output = T>) -> T {
        timeout(Duration::from_secs(20), work).await.expect("the writer answers in time")
    }

    /// Holds the first commit at the gate until `batches` wait behind it; answers their results in order.
    async fn queued_behind_one(
        disk: &MemoryDisk,
        batches: Vec<Vec<Append>>,
    ) -> (Vec<Result<(), StoreError>>, u64) {
        let (begun, has_begun) = gate::channel();
        let (let_go, leave) = gate::channel();
        let store = GatedStore { inner: disk.open(), begun, leave };
        let (writer, handle) = Writer::spawn(Box::new(store)).unwrap();
        let first = tokio::spawn({
            let handle = handle.clone();
            async move { handle.commit(vec![append(1000, 0)]).await }
        });
        let has_begun =
            tokio::task::spawn_blocking(move || has_begun.recv().map(|()| has_begun)).await;
        let _keep_open = has_begun.unwrap().unwrap();
        let mut waiting = JoinSet::new();
        for (at, batch) in batches.into_iter().enumerate() {
            let queue = handle.clone();
            waiting.spawn(async move { (at, queue.commit(batch).await) });
            in_time(async {
                while handle.backlog() <= at {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        for _ in 0..=waiting.len() + 1 {
            let_go.send(()).unwrap();
        }
        in_time(first).await.unwrap().unwrap();
        let mut results = in_time(waiting.join_all()).await;
        results.sort_by_key(|(at, _)| *at);
        in_time(writer.close()).await.unwrap();
        (results.into_iter().map(|(_, result)| result).collect(), handle.transactions())
    }

    #[tokio::test]
    async fn commits_that_wait_share_one_transaction() {
        let disk = MemoryDisk::new();
        let batches = (1..=64).map(|rollout| vec![append(rollout, 0)]).collect();
        let (results, transactions) = queued_behind_one(&disk, batches).await;
        assert!(results.iter().all(Result::is_ok) && results.len() == 64, "{results:?}");
        assert_eq!(transactions, 2, "one for the first commit, one for the 64 behind it");
        assert_eq!(disk.open().heads().unwrap().len(), 65);
    }

    #[tokio::test]
    async fn a_refused_commit_fails_alone() {
        let disk = MemoryDisk::new();
        let batches = vec![
            vec![append(1, 0)],
            vec![append(2, 0), append(3, 9)],
            vec![append(1, 1)],
            vec![append(1, 1)],
            vec![append(2, 0)],
        ];
        let (results, _) = queued_behind_one(&disk, batches).await;
        let refused: Vec<_> =
            results.iter().map(|result| result.as_ref().err().map(StoreError::code)).collect();
        assert_eq!(refused, [None, Some("RO0206"), None, Some("RO0206"), None]);
        let store = disk.open();
        let ends: Vec<_> = store
            .heads()
            .unwrap()
            .iter()
            .map(|head| (head.rollout.get(), head.seq.get()))
            .collect();
        assert_eq!(ends, [(1, 2), (2, 1), (1000, 1)]);
    }

    #[tokio::test]
    async fn a_panic_is_told_to_everyone_from_then_on() {
        let disk = MemoryDisk::new();
        disk.fail_commit(2, Failure::Panic);
        let (writer, handle) = Writer::spawn(Box::new(disk.open())).unwrap();
        in_time(handle.commit(vec![append(1, 0)])).await.unwrap();
        for _ in 0..2 {
            let failed = in_time(handle.commit(vec![append(1, 1)])).await.unwrap_err();
            assert!(
                matches!(&failed, StoreError::Panicked { message } if message == "injected panic"),
                "{failed:?}"
            );
        }
        assert_eq!(in_time(handle.heads()).await.unwrap_err().code(), "RO0207");
        assert_eq!(in_time(writer.close()).await.unwrap_err().code(), "RO0207");
        assert_eq!(disk.open().heads().unwrap()[0].seq, Seq::FIRST);
    }

    #[tokio::test]
    async fn a_failed_disk_fails_every_later_commit_but_not_the_reads() {
        let disk = MemoryDisk::new();
        disk.fail_commit(2, Failure::BeforeDurable);
        let (writer, handle) = Writer::spawn(Box::new(disk.open())).unwrap();
        in_time(handle.commit(vec![append(1, 0)])).await.unwrap();
        for _ in 0..2 {
            assert!(in_time(handle.commit(vec![append(2, 0)])).await.unwrap_err().is_disk_full());
        }
        let entries = in_time(handle.journal(RolloutId::FIRST, Seq::FIRST)).await.unwrap();
        assert_eq!(entries.len(), 1);
        assert!(in_time(writer.close()).await.unwrap_err().is_disk_full());
    }

    #[tokio::test]
    async fn reads_follow_the_commits_before_them_and_closing_ends_it() {
        let disk = MemoryDisk::new();
        let (writer, handle) = Writer::spawn(Box::new(disk.open())).unwrap();
        let row = IdempotencyRow {
            key: "k".to_owned(),
            rollout: RolloutId::FIRST,
            request_digest: [5; 32],
        };
        let keyed = Append { idempotency: Some(row.clone()), ..append(1, 0) };
        let (committed, heads, found) = in_time(async {
            tokio::join!(
                biased;
                handle.commit(vec![keyed]),
                handle.heads(),
                handle.idempotency("k".to_owned())
            )
        })
        .await;
        committed.unwrap();
        assert_eq!(heads.unwrap().len(), 1);
        assert_eq!(found.unwrap(), Some(row));
        in_time(writer.close()).await.unwrap();
        let late = in_time(handle.commit(vec![append(1, 1)])).await;
        assert!(matches!(late, Err(StoreError::Closed)), "{late:?}");
    }

    #[tokio::test]
    async fn a_cancelled_caller_does_not_undo_its_commit() {
        let disk = MemoryDisk::new();
        let (begun, has_begun) = gate::channel();
        let (let_go, leave) = gate::channel();
        let store = GatedStore { inner: disk.open(), begun, leave };
        let (writer, handle) = Writer::spawn(Box::new(store)).unwrap();
        let caller = tokio::spawn(async move { handle.commit(vec![append(1, 0)]).await });
        let begun = tokio::task::spawn_blocking(move || has_begun.recv()).await.unwrap();
        begun.unwrap();
        caller.abort();
        assert!(in_time(caller).await.unwrap_err().is_cancelled());
        let_go.send(()).unwrap();
        in_time(writer.close()).await.unwrap();
        assert_eq!(disk.commits(), 1);
    }
}
