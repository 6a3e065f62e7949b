//! Owns waiting on a rollout across restarts of the daemon: the event stream is opened again where it broke, by the last
//! entry's place, so that nothing is missed and nothing is seen twice. A journal that has no such place is another one, as after
//! a restore; that is told to the caller, never waited through.
//!
//! Only a daemon that was reached once is waited for; one that was never there is a failure at once.

use std::time::Duration;

use rollout_api::client::{Client, ClientError, EventStream};
use rollout_api::{Code, JournalEntry, Position, RolloutDetail};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::failure::Failure;
use crate::io::Io;

/// Time between two tries to reach a daemon that was there before. Short: `status --until` answers within a second.
const RECONNECT_EVERY: Duration = Duration::from_millis(250);

/// What a follower sees next.
pub(crate) enum Next {
    /// Something happened.
    Entry(JournalEntry),
    /// The journal is another one than before; it is followed from its first entry on.
    Anew,
}

/// Follows one rollout.
pub(crate) struct Follower<'a> {
    client: &'a Client,
    id: String,
    after: Position,
    stream: Option<EventStream>,
    ticks: Interval,
    /// Whether a stream was opened at the place before.
    has_been_there: bool,
}

impl<'a> Follower<'a> {
    /// Follows the rollout behind position `after`. The caller has reached the daemon before.
    pub(crate) fn new(client: &'a Client, id: &str, after: u64) -> Self {
        let mut ticks = interval(RECONNECT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            client,
            id: id.to_string(),
            after: after.into(),
            stream: None,
            ticks,
            has_been_there: false,
        }
    }

    /// Says that the journal is another one, and leaves out what stands before and at position `after` of it: what happened before a
    /// wait began does not count, in whichever journal.
    pub(crate) fn wait_anew(&mut self, io: &mut Io<'_>, after: u64) {
        io.say(&other_journal(&self.id));
        self.skip_to(after);
    }

    /// Leaves out what stands before and at position `after`.
    fn skip_to(&mut self, after: u64) {
        (self.after, self.stream) = (after.into(), None);
    }

    /// The next entry, however long that takes.
    pub(crate) async fn next(&mut self, io: &mut Io<'_>) -> Result<Next, Failure> {
        loop {
            let Some(stream) = &mut self.stream else {
                // At most one stream a tick, also from a daemon that ends each of them at once.
                self.ticks.tick().await;
                let (client, id, after) = (self.client, self.id.clone(), self.after.clone());
                let call = async || client.follow(&id, after.clone()).await;
                match self.reach(io, call).await {
                    Ok(stream) => self.stream = Some(stream),
                    // Somebody's own wish to begin there is refused; a place that was in the journal is no mistake of theirs.
                    Err(failure) if self.has_been_there && is_of_another(&failure) => {
                        self.skip_to(0);
                        return Ok(Next::Anew);
                    }
                    Err(failure) => return Err(failure),
                }
                self.has_been_there = true;
                continue;
            };
            match stream.next().await {
                // A daemon that repeats entries does no harm.
                Ok(Some(entry)) if entry.seq <= self.after.seq => {}
                Ok(Some(entry)) => {
                    self.after = Position::from(&entry);
                    return Ok(Next::Entry(entry));
                }
                Ok(None) => self.stream = None,
                Err(error) if Failure::may_pass(&error) => self.stream = None,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The rollout as it is now; waits for a daemon that is away.
    pub(crate) async fn detail(&mut self, io: &mut Io<'_>) -> Result<RolloutDetail, Failure> {
        let (client, id) = (self.client, self.id.clone());
        self.reach(io, async || client.get(&id).await).await
    }

    /// Repeats a reading call until the daemon is there again.
    async fn reach<T>(
        &mut self,
        io: &mut Io<'_>,
        call: impl AsyncFn() -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        let mut answer = call().await;
        if answer.as_ref().is_err_and(Failure::may_pass) {
            io.say("rolloutd is away; waiting for it to come back");
            while answer.as_ref().is_err_and(Failure::may_pass) {
                self.ticks.tick().await;
                answer = call().await;
            }
            if answer.is_ok() {
                io.say("rolloutd is back");
            }
        }
        Ok(answer?)
    }
}

/// What a person is told whose journal is not there any more.
pub(crate) fn other_journal(id: &str) -> String {
    format!("the journal of {id} is another one than before, as after a restore")
}

/// Whether the daemon has another journal than the one that was followed.
fn is_of_another(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Client(ClientError::Problem(problem)) if problem.known_code() == Some(Code::OtherJournal)
    )
}
