//! Owns one rollout as a test follows it: entries of the event stream in order, across restarts of the daemon.
//!
//! Every entry is seen once and kept; a wait that is not fulfilled in time panics with the last of them.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use rollout_api::client::{Client, ClientError, EventStream, IdempotencyKey};
use rollout_api::{
    JournalEntry, OrderRequest, OrderResponse, OrderVerb, PhaseView, RolloutDetail, StartRequest,
    StartResponse,
};
use tokio::time::{Instant, timeout_at};

/// Longest wait for one thing, in real time.
const WAIT_MAX: Duration = Duration::from_secs(90);
/// Entries that a failed wait prints.
const SHOWN_MAX: usize = 25;

/// A rollout and what has happened to it.
pub struct Run {
    socket: PathBuf,
    /// `r1`.
    pub id: String,
    /// Everything that happened so far, in order and without gaps.
    pub entries: Vec<JournalEntry>,
}

impl Run {
    /// Follows the rollout `id` from its first entry on.
    pub fn new(socket: PathBuf, id: String) -> Self {
        Self { socket, id, entries: Vec::new() }
    }

    /// Starts a rollout of a plan and follows it.
    ///
    /// # Panics
    ///
    /// When the daemon refuses.
    pub async fn begin(socket: PathBuf, plan: &str) -> Self {
        let request = StartRequest { plan: plan.to_string(), start_at: None, reason: None };
        let run = Self::new(socket, String::new());
        let started = run.client().start(&request, &IdempotencyKey::random()).await;
        let StartResponse { rollout, .. } =
            started.unwrap_or_else(|error| panic!("the plan was not started: {error:?}"));
        Self { id: rollout.id, ..run }
    }

    /// Goes on following it where the daemon listens now.
    pub fn at(self, socket: PathBuf) -> Self {
        Self { socket, ..self }
    }

    /// Waits for the next entry of this kind.
    ///
    /// # Panics
    ///
    /// When it does not come in time.
    pub async fn until(&mut self, kind: &str) -> JournalEntry {
        self.until_that(kind, |entry| entry.kind == kind).await
    }

    /// Waits for the next entry that `fits`.
    ///
    /// # Panics
    ///
    /// When none comes in time, or the journal has a gap.
    pub async fn until_that(
        &mut self,
        what: &str,
        fits: impl Fn(&JournalEntry) -> bool,
    ) -> JournalEntry {
        let end = Instant::now() + WAIT_MAX;
        let mut stream = self.stream().await;
        loop {
            let next = timeout_at(end, stream.next()).await;
            let next =
                next.unwrap_or_else(|_| panic!("{what} did not come; {}", self.last_entries()));
            let entry = match next {
                Ok(Some(entry)) => entry,
                Ok(None) | Err(ClientError::Unreachable { .. }) => {
                    panic!("the stream ended while waiting for {what}; {}", self.last_entries())
                }
                Err(error) => panic!("{error:?} while waiting for {what}"),
            };
            assert_eq!(entry.seq, self.seq() + 1, "an entry is missing or came twice");
            self.entries.push(entry.clone());
            if fits(&entry) {
                return entry;
            }
        }
    }

    /// Reads everything that happened until now.
    ///
    /// # Panics
    ///
    /// When the daemon does not answer.
    pub async fn catch_up(&mut self) {
        loop {
            let page = self.client().events(&self.id, self.seq(), 500).await;
            let page = page.unwrap_or_else(|error| panic!("no journal: {error:?}"));
            if page.events.is_empty() {
                return;
            }
            self.entries.extend(page.events);
        }
    }

    /// Gives an order and takes the answer.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn order(
        &self,
        verb: OrderVerb,
        order: OrderRequest,
    ) -> Result<OrderResponse, ClientError> {
        self.client().order(&self.id, verb, &order).await
    }

    /// The rollout as it stands.
    ///
    /// # Panics
    ///
    /// When the daemon does not answer.
    pub async fn detail(&self) -> RolloutDetail {
        self.client().get(&self.id).await.unwrap_or_else(|error| panic!("no detail: {error:?}"))
    }

    /// One phase as it stands.
    ///
    /// # Panics
    ///
    /// When there is no such phase.
    pub async fn phase(&self, number: u8) -> PhaseView {
        let found = self.detail().await.phases.into_iter().find(|phase| phase.number == number);
        found.unwrap_or_else(|| panic!("there is no phase {number}"))
    }

    /// The rollout's log.
    ///
    /// # Panics
    ///
    /// When the daemon does not answer.
    pub async fn log(&self) -> String {
        self.client().log(&self.id).await.unwrap_or_else(|error| panic!("no log: {error:?}"))
    }

    /// Entries of one kind, so far.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a JournalEntry> {
        self.entries.iter().filter(move |entry| entry.kind == kind)
    }

    /// How often a kind came, so far.
    pub fn count(&self, kind: &str) -> usize {
        self.of_kind(kind).count()
    }

    /// The last entries in words, for failures.
    pub fn last_entries(&self) -> String {
        let from = self.entries.len().saturating_sub(SHOWN_MAX);
        let lines = self.entries[from..]
            .iter()
            .map(|entry| format!("\n  {} {} {}", entry.seq, entry.at, entry.text));
        format!("the last entries of {} are:{}", self.id, lines.collect::<String>())
    }

    fn seq(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.seq)
    }

    async fn stream(&self) -> EventStream {
        let stream = self.client().follow(&self.id, self.seq()).await;
        stream.unwrap_or_else(|error| panic!("no event stream: {error:?}"))
    }

    fn client(&self) -> Client {
        // A client per call: the daemon may have been killed since the last one.
        Client::unix(&self.socket).unwrap_or_else(|error| panic!("no client: {error}"))
    }
}

/// When an entry was decided.
///
/// # Panics
///
/// When its time cannot be read.
pub fn moment_of(entry: &JournalEntry) -> Timestamp {
    entry.at.parse().unwrap_or_else(|error| panic!("{}: {error}", entry.at))
}

/// The verdict of a reading or checkpoint; empty for other entries.
pub fn verdict_of(entry: &JournalEntry) -> &str {
    text_of(entry, "verdict")
}

/// A text among an entry's own fields; empty when it has none.
pub fn text_of<'a>(entry: &'a JournalEntry, field: &str) -> &'a str {
    entry.details.get(field).and_then(serde_json::Value::as_str).unwrap_or_default()
}

/// The rows of all checkpoint tables of a log.
///
/// # Panics
///
/// When a row has an empty cell or was not settled.
pub fn settled_rows(log: &str) -> Vec<&str> {
    let rows: Vec<_> = log.lines().filter(|line| line.starts_with("| T+")).collect();
    for row in &rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let settled = cells.iter().all(|cell| !cell.is_empty() && *cell != "⬜");
        assert!(settled, "an empty cell: {row}\n{log}");
    }
    rows
}
