//! Owns the event stream: every entry behind a position, once, in order, for as long as the reader stays.
//!
//! It listens for progress before it reads the journal, and what it sends always comes from the journal, by position. So
//! nothing is missed between the two, nothing comes twice, and a reader that lags behind only reads more at once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{Stream, unfold};
use rollout_api::Position;
use rollout_core::{Rollout, RolloutId, Seq};
use rollout_engine::{Entry, Handle, Progress};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tracing::debug;

use crate::view;

use super::App;
use super::events::{behind, check_place};
use super::refusal::Refused;

/// How often a silent stream says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Entries that are read at once; a reader that lags behind by more reads on when it has these.
const PAGE: usize = 500;

/// A reader's place in a journal.
struct Follower {
    handle: Handle,
    rollout: Arc<Rollout>,
    progress: Receiver<Progress>,
    stopping: watch::Receiver<bool>,
    /// The position that comes next; `None` where there can be none any more.
    next: Option<Seq>,
    ready: VecDeque<Entry>,
}

/// Opens the stream behind position `after`.
pub(super) async fn open(
    app: &App,
    id: RolloutId,
    after: Position,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, Refused> {
    let progress = app.handle.subscribe();
    let rollout = app.handle.get(id).await?;
    check_place(app, &rollout, &after).await?;
    let follower = Follower {
        rollout,
        handle: app.handle.clone(),
        progress,
        stopping: app.stopping.clone(),
        next: behind(after.seq),
        ready: VecDeque::new(),
    };
    let events = unfold(follower, |mut follower| async move {
        let entry = follower.entry().await?;
        Some((Ok(message(&entry, &follower.rollout)), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("still here")))
}

fn message(entry: &Entry, rollout: &Rollout) -> Event {
    let shown = view::entry(entry, rollout.plan());
    let event = Event::default().id(Position::from(&shown).to_string());
    // An entry is made of texts and numbers, so it can be written.
    event
        .json_data(shown)
        .unwrap_or_else(|_| Event::default().comment("an entry could not be shown"))
}

impl Follower {
    /// The next entry; `None` when the daemon stops.
    async fn entry(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                self.next = Some(entry.seq.next());
                return Some(entry);
            }
            match self.handle.page(self.rollout.id(), self.next?, PAGE).await {
                Ok(entries) if entries.is_empty() => self.grown().await?,
                Ok(entries) => self.ready = entries.into(),
                Err(error) => {
                    debug!(rollout = %self.rollout.id(), %error, "an event stream ends");
                    return None;
                }
            }
        }
    }

    /// Waits until the journal has something new, or may have.
    async fn grown(&mut self) -> Option<()> {
        loop {
            let progress = tokio::select! {
                progress = self.progress.recv() => progress,
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            };
            match progress {
                Ok(grown) if grown.rollout != self.rollout.id() => {}
                Ok(grown) if self.next.is_some_and(|next| grown.seq < next) => {}
                Ok(_) | Err(RecvError::Lagged(_)) => return Some(()),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
