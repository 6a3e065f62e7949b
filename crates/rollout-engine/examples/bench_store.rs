//! Measures what the store costs on top of bare sled: the same disk, the same run, ratios rather than absolutes.
//!
//! `cargo run --release --example bench_store [DIRECTORY]`. Four arms: bare sled (a 200 B and a 200 B row in two trees,
//! one transaction, flush, fdatasync) and [`WriterHandle::commit`] (one 200 B entry with head, chain, witness), each with one
//! caller and with 64 at once behind one committer. The arms take turns for five rounds of about a second; the table
//! shows the median of each.

use std::env;
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rollout_core::RolloutId;
use rollout_engine::store::{
    Append, OpenOptions, SledStore, Standing, StoreError, Writer, WriterHandle,
};
use sled::transaction::{TransactionError, Transactional as _};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

fn main() -> Result<(), Box<dyn Error>> {
    let parent = env::args_os().nth(1).map_or_else(env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let bare = Bare::open(&dir.path().join("bare"))?;
    let (store, _) = SledStore::open(&dir.path().join("store"), OpenOptions::default())?;
    let (writer, handle) = Writer::spawn(Box::new(store))?;
    let ends: Ends = (1..=CALLERS).filter_map(RolloutId::new).map(|rollout| (rollout, 0)).collect();

    let mut next_key = 0;
    let mut rates: [Vec<f64>; 4] = Default::default();
    let mut alone = ends[..1].to_vec();
    let mut together = ends[1..].to_vec();
    for _ in 0..ROUNDS {
        rates[0].push(bare.one_caller(&mut next_key)?);
        rates[1].push(runtime.block_on(store_callers(&handle, &mut alone))?);
        rates[2].push(bare.callers_at_once(&runtime, &mut next_key)?);
        rates[3].push(runtime.block_on(store_callers(&handle, &mut together))?);
    }
    let per_transaction = handle.transactions();
    runtime.block_on(writer.close())?;

    let [bare_one, store_one, bare_many, store_many] = rates.map(median);
    println!(
        "{:<28}{:>12}{:>12}{:>9}",
        "durable commits/s (median)", "bare sled", "store", "ratio"
    );
    println!("{:<28}{bare_one:>12.0}{store_one:>12.0}{:>9.2}", "one caller", store_one / bare_one);
    println!(
        "{:<28}{bare_many:>12.0}{store_many:>12.0}{:>9.2}",
        "64 callers at once",
        store_many / bare_many
    );
    println!("transactions of the store: {per_transaction}");
    Ok(())
}

type Ends = Vec<(RolloutId, u64)>;

/// sled with nothing around it but the fdatasync that makes it safe.
struct Bare {
    db: sled::Db,
    trees: [sled::Tree; 2],
    file: File,
}

impl Bare {
    fn open(dir: &Path) -> Result<Self, Box<dyn Error>> {
        let db = sled::Config::new()
            .path(dir)
            .mode(sled::Mode::LowSpace)
            .segment_size(2 << 20)
            .cache_capacity(32 << 20)
            .flush_every_ms(Some(200))
            .open()?;
        let trees = [db.open_tree("rollouts")?, db.open_tree("events")?];
        let file = File::open(dir.join("db"))?;
        Ok(Self { db, trees, file })
    }

    fn commit(&self, keys: &[u64]) -> Result<(), Box<dyn Error>> {
        let written: Result<(), TransactionError<()>> = self.trees[..].transaction(|views| {
            for key in keys {
                views[0].insert(&(key % CALLERS).to_be_bytes(), &[1; ROW_BYTES][..])?;
                views[1].insert(&key.to_be_bytes(), &[2; ROW_BYTES][..])?;
            }
            Ok(())
        });
        written.map_err(|error| format!("{error:?}"))?;
        self.db.flush()?;
        self.file.sync_data()?;
        Ok(())
    }

    fn one_caller(&self, next_key: &mut u64) -> Result<f64, Box<dyn Error>> {
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < ROUND {
            self.commit(&[*next_key])?;
            *next_key += 1;
            count += 1;
        }
        Ok(rate(count, start))
    }

    fn callers_at_once(
        &self,
        runtime: &Runtime,
        next_key: &mut u64,
    ) -> Result<f64, Box<dyn Error>> {
        let (send, queue) = mpsc::channel::<oneshot::Sender<()>>();
        let start = Instant::now();
        for _ in 1..CALLERS {
            let send = send.clone();
            runtime.spawn(async move {
                while start.elapsed() < ROUND {
                    let (reply, done) = oneshot::channel();
                    if send.send(reply).is_err() || done.await.is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        thread::scope(|scope| {
            let committer = scope.spawn(move || {
                let mut count = 0;
                while let Ok(first) = queue.recv() {
                    let waiting: Vec<_> = std::iter::once(first).chain(queue.try_iter()).collect();
                    let keys: Vec<u64> = (*next_key..).take(waiting.len()).collect();
                    self.commit(&keys).map_err(|error| error.to_string())?;
                    *next_key += keys.len() as u64;
                    count += keys.len() as u64;
                    for reply in waiting {
                        let _ = reply.send(());
                    }
                }
                Ok::<u64, String>(count)
            });
            let count = committer.join().map_err(|_| "the committer panicked")??;
            Ok(rate(count, start))
        })
    }
}

/// One task per rollout in `ends`, each committing one entry after the other.
async fn store_callers(handle: &WriterHandle, ends: &mut Ends) -> Result<f64, StoreError> {
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for (rollout, before) in ends.drain(..) {
        let handle = handle.clone();
        callers.spawn(async move {
            let mut after = before;
            while start.elapsed() < ROUND {
                let entries = vec![vec![2; ROW_BYTES]];
                let standing = Standing::Live;
                handle
                    .commit(vec![Append { rollout, after, entries, standing, idempotency: None }])
                    .await?;
                after += 1;
            }
            Ok((rollout, before, after))
        });
    }
    let mut count = 0;
    for ended in callers.join_all().await {
        let (rollout, before, after) = ended?;
        count += after - before;
        ends.push((rollout, after));
    }
    Ok(rate(count, start))
}

fn rate(count: u64, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);
const ROW_BYTES: usize = 200;
/// One rollout for the single caller and 64 for the crowd.
const CALLERS: u64 = 65;
