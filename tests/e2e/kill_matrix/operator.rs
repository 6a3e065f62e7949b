//! Owns a careful operator: follows one rollout, does what the script says, and is not thrown by a daemon that dies.
//!
//! What was asked is asked again until it is acknowledged. A refusal is taken only for an order that was sent before and
//! that the journal holds: then the answer got lost, not the order. The daemon may die once, by its own abort.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use rollout_api::client::{Client, ClientError, EventStream, IdempotencyKey};
use rollout_api::{JournalEntry, OrderRequest, OrderVerb, RolloutDetail, StartRequest};
use rollout_e2e::{Faults, World};
use tokio::time::{Instant, timeout_at};

use super::scripts::{Script, Step};

/// Longest wait for one entry, in real time.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The number of SIGABRT on every Linux.
const SIGABRT: i32 = 6;
/// Entries that a failed wait prints.
const SHOWN_MAX: usize = 20;

/// The operator and what was seen so far.
pub(super) struct Operator {
    world: World,
    rollout: String,
    stream: Option<EventStream>,
    entries: Vec<JournalEntry>,
    deaths: u32,
    refused_again: Vec<OrderVerb>,
}

/// A script that was played to its end.
pub(super) struct Played {
    /// The world afterwards.
    pub(super) world: World,
    /// The rollout afterwards.
    pub(super) detail: RolloutDetail,
    /// Its journal up to the end of the script.
    pub(super) entries: Vec<JournalEntry>,
    /// How often the daemon died.
    pub(super) deaths: u32,
    /// Orders that were carried out, whose answer got lost, and that were refused when they were repeated.
    pub(super) refused_again: Vec<OrderVerb>,
}

impl Operator {
    /// Plays a script in a world whose daemon does not run yet.
    pub(super) async fn play(world: World, script: &Script) -> Played {
        let mut operator = Self {
            world,
            rollout: String::new(),
            stream: None,
            entries: Vec::new(),
            deaths: 0,
            refused_again: Vec::new(),
        };
        if let Err(stillborn) = operator.world.try_restart().await {
            operator.after_death(stillborn.status.signal()).await;
        }
        operator.start(script).await;
        for step in &script.steps {
            match step {
                Step::Await(kind, phase) => operator.until(kind, *phase).await,
                Step::Order(verb, order) => operator.order(*verb, order).await,
                Step::Edit(name, value) => operator.world.emulator.edit(name, Some(value)).unwrap(),
                Step::ResumeUntil(kind) => operator.resume_until(kind).await,
            }
        }
        operator.end().await
    }

    async fn start(&mut self, script: &Script) {
        let request = StartRequest { plan: script.plan.clone(), start_at: None, reason: None };
        let key = IdempotencyKey::new(script.name).unwrap();
        self.rollout = loop {
            match self.client().start(&request, &key).await {
                Ok(started) => break started.rollout.id,
                Err(ClientError::Problem(problem)) => panic!("not started: {problem:?}"),
                Err(ClientError::Unreachable { .. } | ClientError::Protocol { .. }) => {
                    self.revive().await;
                }
            }
        };
    }

    async fn order(&mut self, verb: OrderVerb, order: &OrderRequest) {
        let deaths = self.deaths;
        loop {
            match self.client().order(&self.rollout, verb, order).await {
                Ok(_) => return,
                Err(ClientError::Problem(problem)) => {
                    let was_sent_before = self.deaths > deaths;
                    assert!(was_sent_before, "{verb:?} was refused: {problem:?}");
                    assert!(self.is_recorded(order).await, "{verb:?} is lost: {problem:?}");
                    self.refused_again.push(verb);
                    return;
                }
                Err(ClientError::Unreachable { .. } | ClientError::Protocol { .. }) => {
                    self.revive().await;
                }
            }
        }
    }

    async fn is_recorded(&mut self, order: &OrderRequest) -> bool {
        let journal = self.journal().await;
        journal.iter().any(|entry| entry.note.as_deref() == Some(&order.reason))
    }

    async fn journal(&mut self) -> Vec<JournalEntry> {
        loop {
            match self.client().events(&self.rollout, 0, 500).await {
                Ok(page) => return page.events,
                Err(ClientError::Problem(problem)) => panic!("no journal: {problem:?}"),
                Err(ClientError::Unreachable { .. } | ClientError::Protocol { .. }) => {
                    self.revive().await;
                }
            }
        }
    }

    async fn until(&mut self, kind: &str, phase: Option<u8>) {
        let end = Instant::now() + WAIT_MAX;
        loop {
            let entry = self.next(kind, end).await;
            if entry.kind == kind && (phase.is_none() || entry.phase == phase) {
                return;
            }
        }
    }

    async fn resume_until(&mut self, kind: &str) {
        let resume =
            OrderRequest { reason: String::from("put it right"), ..OrderRequest::default() };
        self.order(OrderVerb::Resume, &resume).await;
        let end = Instant::now() + WAIT_MAX;
        loop {
            let entry = self.next(kind, end).await;
            if entry.kind == kind {
                return;
            }
            // A reading that was under way when the value was put right may be judged after the order.
            if entry.kind == "held" {
                self.order(OrderVerb::Resume, &resume).await;
            }
        }
    }

    /// The next entry, whoever it is from; across a death of the daemon.
    async fn next(&mut self, awaited: &str, end: Instant) -> JournalEntry {
        loop {
            if self.stream.is_none() {
                match self.client().follow(&self.rollout, self.seq()).await {
                    Ok(stream) => self.stream = Some(stream),
                    Err(ClientError::Problem(problem)) => panic!("no stream: {problem:?}"),
                    Err(ClientError::Unreachable { .. } | ClientError::Protocol { .. }) => {
                        self.revive().await;
                        continue;
                    }
                }
            }
            let Some(stream) = &mut self.stream else { continue };
            let Ok(next) = timeout_at(end, stream.next()).await else {
                panic!("{awaited} did not come; {}", self.last_entries())
            };
            match next {
                Ok(Some(entry)) => {
                    assert_eq!(entry.seq, self.seq() + 1, "an entry is missing or came twice");
                    self.entries.push(entry.clone());
                    return entry;
                }
                Ok(None) | Err(_) => {
                    self.stream = None;
                    self.revive().await;
                }
            }
        }
    }

    /// Waits for the daemon's end, and does what a service manager does.
    async fn revive(&mut self) {
        let status = self.world.daemon().wait().await;
        self.after_death(status.signal()).await;
    }

    async fn after_death(&mut self, signal: Option<i32>) {
        self.deaths += 1;
        assert_eq!((signal, self.deaths), (Some(SIGABRT), 1), "an end that nobody ordered");
        self.stream = None;
        self.world.set_faults(Faults::none());
        self.world.restart().await;
    }

    /// Reads the whole journal once more: its chain is checked by that, and what was shown before a death must be in it.
    async fn end(mut self) -> Played {
        let detail = loop {
            match self.client().get(&self.rollout).await {
                Ok(detail) => break detail,
                Err(ClientError::Problem(problem)) => panic!("no rollout: {problem:?}"),
                Err(ClientError::Unreachable { .. } | ClientError::Protocol { .. }) => {
                    self.revive().await;
                }
            }
        };
        let events = self.journal().await;
        assert!(events.starts_with(&self.entries), "the journal is not what was shown");
        let Self { world, entries, deaths, refused_again, .. } = self;
        Played { world, detail, entries, deaths, refused_again }
    }

    fn seq(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.seq)
    }

    fn client(&self) -> Client {
        // A client per call: the daemon may have died since the last one.
        self.world.client()
    }

    fn last_entries(&self) -> String {
        let from = self.entries.len().saturating_sub(SHOWN_MAX);
        let lines = self.entries[from..]
            .iter()
            .map(|entry| format!("\n  {} {} {}", entry.seq, entry.at, entry.text));
        format!("the last entries are:{}", lines.collect::<String>())
    }
}
