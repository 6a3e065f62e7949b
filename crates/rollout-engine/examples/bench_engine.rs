//! Measures what the engine and its store cost on top of bare sled: the same disk, the same run, ratios rather than absolutes.
//!
//! `bench_engine [DIRECTORY]`, by default the directory of the binary itself, since a temporary directory is often no disk.
//! Three arms: bare sled (a 200 B and a 200 B row in two trees, one transaction, flush, fdatasync), the store alone
//! ([`WriterHandle::commit`] of one 200 B entry), and the engine ([`Handle::order`]: hold, resume, hold … on rollouts that
//! are scheduled for tomorrow, since a resume of one that runs asks for a reading as well). Each with one caller and with 64 at once. The arms take turns, so that a busy moment of the machine
//! hits all of them; a figure is the median of its rounds.
//!
//! Prints one row per goal for `rollout-bench`: what, figure, goal and verdict, separated by tabs.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use rollout_core::{
    Bound, Cadence, CadenceStep, Command, Comparison, Coverage, Criterion, FlagChange, FlagName,
    FunctionCall, Limit, MissedPolicy, Order, PendingEffect, Phase, Plan, PlanParts, Risk,
    RolloutId, Unit,
};
use rollout_engine::store::{
    Append, OpenOptions, SledStore, Standing, Store, Writer, WriterHandle,
};
use rollout_engine::{Clock as _, Engine, Handle, NewRollout, Perform, Performing, SystemClock};
use sled::transaction::{TransactionError, Transactional as _};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let beside_binary = || env::current_exe().map(|exe| exe.with_file_name(""));
    let parent = env::args_os().nth(1).map_or_else(beside_binary, |dir| Ok(PathBuf::from(dir)))?;
    let dir = tempfile::Builder::new().prefix("bench-engine-").tempdir_in(parent)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;

    let bare = Bare::open(&dir.path().join("bare"))?;
    let (writer, store) = Writer::spawn(open_store(&dir.path().join("store"))?)?;
    let journals = Journal::some(CALLERS)?;
    let opened = Engine::open(
        open_store(&dir.path().join("engine"))?,
        Arc::new(SystemClock::new()),
        Arc::new(Nobody),
    );
    let (engine, handle) = runtime.block_on(opened)?;
    let running = runtime.spawn(engine.run());
    let rollouts = runtime.block_on(start_rollouts(&handle))?;

    let mut rates: [[Vec<f64>; 3]; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (rates, callers) in rates.iter_mut().zip([1, CALLERS]) {
            rates[0].push(match callers {
                1 => bare.one_caller()?,
                _ => bare.callers_at_once(&runtime, callers)?,
            });
            let commits = journals[..callers].iter().map(|journal| journal.commits(store.clone()));
            rates[1].push(runtime.block_on(at_once(commits))?);
            let orders = rollouts[..callers].iter().map(|id| orders(handle.clone(), *id));
            rates[2].push(runtime.block_on(at_once(orders))?);
        }
    }
    runtime.block_on(handle.stop());
    runtime.block_on(running)??;
    runtime.block_on(writer.close())?;

    let [one, many] = rates;
    println!("{}", row("durable transitions/s, one after another", one));
    println!("{}", row(&format!("durable transitions/s, {CALLERS} rollouts at once"), many));
    Ok(())
}

fn row(what: &str, rates: [Vec<f64>; 3]) -> String {
    let [bare, store, engine] = rates.map(median);
    let ratio = engine / bare;
    let verdict = if ratio >= RATIO_MIN { "met" } else { "NOT MET" };
    let figure = format!(
        "{ratio:.2} of bare sled ({engine:.0}; store alone {store:.0}; bare sled {bare:.0})"
    );
    format!("{what}\t{figure}\t>= {RATIO_MIN:.2}\t{verdict}")
}

/// sled with nothing around it but the fdatasync that makes it safe.
struct Bare {
    db: sled::Db,
    trees: [sled::Tree; 2],
    file: File,
    next_key: AtomicU64,
}

impl Bare {
    /// Opens with the settings of the store.
    fn open(dir: &Path) -> Result<Self, Failure> {
        let db = sled::Config::new()
            .path(dir)
            .mode(sled::Mode::LowSpace)
            .segment_size(2 << 20)
            .cache_capacity(32 << 20)
            .flush_every_ms(Some(200))
            .open()?;
        let trees = [db.open_tree("rollouts")?, db.open_tree("events")?];
        let file = File::open(dir.join("db"))?;
        Ok(Self { db, trees, file, next_key: AtomicU64::new(0) })
    }

    fn commit(&self, records: usize) -> Result<(), Failure> {
        let first = self.next_key.fetch_add(records as u64, Ordering::Relaxed);
        let written: Result<(), TransactionError<()>> = self.trees[..].transaction(|views| {
            for key in (first..).take(records) {
                // The keys of any journal: a row of the rollout that is written over, and one more event behind it.
                let (rollout, seq) = (key % CALLERS as u64, key / CALLERS as u64);
                let event = [rollout.to_be_bytes(), seq.to_be_bytes()].concat();
                views[0].insert(&rollout.to_be_bytes(), &[1; ROW_BYTES][..])?;
                views[1].insert(event, &[2; ROW_BYTES][..])?;
            }
            Ok(())
        });
        written.map_err(|error| format!("{error:?}"))?;
        self.db.flush()?;
        self.file.sync_data()?;
        Ok(())
    }

    fn one_caller(&self) -> Result<f64, Failure> {
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < ROUND {
            self.commit(1)?;
            count += 1;
        }
        Ok(rate(count, start))
    }

    /// Callers that wait for one committer, which takes all that are waiting into one transaction.
    fn callers_at_once(&self, runtime: &Runtime, callers: usize) -> Result<f64, Failure> {
        let (send, queue) = mpsc::channel::<oneshot::Sender<()>>();
        let start = Instant::now();
        for _ in 0..callers {
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
                    self.commit(waiting.len())?;
                    count += waiting.len() as u64;
                    for reply in waiting {
                        let _ = reply.send(());
                    }
                }
                Ok::<u64, Failure>(count)
            });
            let count = committer.join().map_err(|_| "the committer panicked")??;
            Ok(rate(count, start))
        })
    }
}

/// The journal of one rollout, as far as the store's arm wrote it.
struct Journal {
    rollout: RolloutId,
    end: Arc<AtomicU64>,
}

impl Journal {
    fn some(count: usize) -> Result<Vec<Self>, Failure> {
        let journal = |number| {
            let rollout = RolloutId::new(number).ok_or("a rollout has no number zero")?;
            Ok(Self { rollout, end: Arc::default() })
        };
        (1..=count as u64).map(journal).collect()
    }

    /// Commits one entry after the other for one round; how many.
    fn commits(
        &self,
        store: WriterHandle,
    ) -> impl Future<Output = Result<u64, Failure>> + Send + 'static {
        let (rollout, end) = (self.rollout, Arc::clone(&self.end));
        async move {
            let (start, mut count) = (Instant::now(), 0);
            while start.elapsed() < ROUND {
                let after = end.fetch_add(1, Ordering::Relaxed);
                let entries = vec![vec![2; ROW_BYTES]];
                let standing = Standing::Live;
                let append = Append { rollout, after, entries, standing, idempotency: None };
                store.commit(vec![append]).await?;
                count += 1;
            }
            Ok(count)
        }
    }
}

/// An outside that never answers. It is never asked either, as long as no rollout begins.
struct Nobody;

impl Perform for Nobody {
    fn perform(&self, _: PendingEffect) -> Performing {
        Box::pin(std::future::pending())
    }
}

/// Holds and resumes one rollout for one round; how many transitions that made.
async fn orders(handle: Handle, rollout: RolloutId) -> Result<u64, Failure> {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < ROUND {
        for command in [Command::Hold, Command::Resume] {
            let order = Order { command, actor: "ada".into(), reason: "measured".into() };
            let obeyed = handle.order(rollout, order).await?;
            if obeyed.entries.len() != 1 {
                return Err(format!("an order made {} entries", obeyed.entries.len()).into());
            }
            count += 1;
        }
    }
    Ok(count)
}

/// Runs all callers at once, each in a task; together per second.
async fn at_once<C>(callers: impl IntoIterator<Item = C>) -> Result<f64, Failure>
where
    C: Future<Output = Result<u64, Failure>> + Send + 'static,
{
    let start = Instant::now();
    let callers: JoinSet<_> = callers.into_iter().collect();
    let count: Result<u64, Failure> = callers.join_all().await.into_iter().sum();
    Ok(rate(count?, start))
}

fn open_store(dir: &Path) -> Result<Box<dyn Store>, Failure> {
    let (store, _) = SledStore::open(dir, OpenOptions::default())?;
    Ok(Box::new(store))
}

/// One rollout per caller, each on a deployment of its own.
async fn start_rollouts(handle: &Handle) -> Result<Vec<RolloutId>, Failure> {
    let tomorrow = SystemClock::new().now() + SignedDuration::from_hours(24);
    let mut rollouts = Vec::new();
    for number in 0..CALLERS {
        let new = NewRollout {
            plan: plan(format!("deployment-{number}"))?,
            digest: [7; 32],
            request_digest: [8; 32],
            url: format!("https://deployment-{number}.convex.cloud"),
            start_at: Some(tomorrow),
            actor: "ada".into(),
            reason: "measured".into(),
            idempotency_key: None,
        };
        rollouts.push(handle.create(new).await?.rollout().id());
    }
    Ok(rollouts)
}

fn plan(deployment: String) -> Result<Plan, Failure> {
    let number = |comparison, number| Some(Bound { comparison, limit: Limit::Number(number) });
    let criterion = Criterion {
        name: "error_rate".into(),
        label: "Error Rate".into(),
        source: "health".into(),
        pointer: "/errorRate".into(),
        unit: Unit::Percent,
        target: number(Comparison::Less, 1.0),
        alert: number(Comparison::Greater, 5.0),
    };
    let health =
        FunctionCall { path: "monitoring/dashboard:getSystemHealth".into(), args: "{}".into() };
    let every = SignedDuration::from_mins(30);
    let cadence = Cadence::new(vec![CadenceStep { until: None, every }]);
    let parts = PlanParts {
        name: "measured".into(),
        title: "Measured".into(),
        deployment,
        sources: BTreeMap::from([("health".to_string(), health.into())]),
        criteria: vec![criterion],
        cadence: cadence.ok_or("the cadence is not accepted")?,
        coverage_min: Coverage::FULL,
        grace: SignedDuration::from_mins(5),
        missed: MissedPolicy::Extend,
        drift: rollout_core::DriftPolicy::Hold,
        code_push: rollout_core::PushPolicy::Hold,
        checklist: vec![],
        phases: vec![phase()?],
        smoke: None,
        reference: vec![],
    };
    Plan::try_new(parts).map_err(|wrong| format!("the plan is not accepted: {wrong:?}").into())
}

fn phase() -> Result<Phase, Failure> {
    let flag = FlagName::new("ENABLE_ONE").ok_or("the flag has no good name")?;
    let change = FlagChange { on: "true".into(), safe: "false".into() };
    Ok(Phase {
        name: "one".into(),
        group: String::new(),
        purpose: String::new(),
        risk: Risk::Low,
        rollback_impact: String::new(),
        flags: BTreeMap::from([(flag, change)]),
        bake: SignedDuration::from_hours(24),
        checkpoints: vec![SignedDuration::from_hours(24)],
        only_when: None,
        verify: vec![],
        before: vec![],
        after: vec![],
        approvals: 0,
        change_window: None,
    })
}

fn rate(count: u64, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(1);
const ROW_BYTES: usize = 200;
/// The crowd; the single caller is the first of it.
const CALLERS: usize = 64;
/// Share of bare sled's rate that the engine must reach.
const RATIO_MIN: f64 = 0.7;
