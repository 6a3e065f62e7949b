//! Owns the carrying of the stream: one request open at a time, while somebody needs it.
//!
//! Decides nothing: what answers and failures mean is the tail's. Refuses to spawn: whoever owns the adapter runs
//! [`Convex::follow`] and joins it.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use jiff::SignedDuration;
use rollout_core::{Calls, SourceQuery, Span};
use tokio::sync::watch;

use super::alarm::LastAsked;
use super::completion::{self, Answer, Cursor};
use super::news::News;
use super::tail::{Cause, Moment, Rest, Tail};
use super::told::{Lack, Told};
use crate::convex::Convex;
use crate::error::CallError;
use crate::measure::REASON_BYTES_MAX;
use crate::text::clip;
use crate::transport::Transport;
use crate::wire::Call;

/// The stream of one deployment: what is known of it, and who waits for what.
#[derive(Debug)]
pub(crate) struct Stream {
    tail: Mutex<Tail>,
    /// True while [`Convex::follow`] runs.
    followed: watch::Sender<bool>,
    /// Counts the questions.
    wanted: watch::Sender<u64>,
    /// Counts answers and failures.
    heard: watch::Sender<u64>,
    /// Counts news that should not wait for the next question.
    stirred: watch::Sender<u64>,
    /// What looks between two questions go by.
    pub(super) last_asked: LastAsked,
}

impl Stream {
    /// A stream that nobody follows yet.
    pub(crate) fn new() -> Self {
        Self {
            tail: Mutex::new(Tail::new()),
            followed: watch::Sender::new(false),
            wanted: watch::Sender::new(0),
            heard: watch::Sender::new(0),
            stirred: watch::Sender::new(0),
            last_asked: LastAsked::default(),
        }
    }

    /// Notes a question that was just asked, for the looks until the next one.
    pub(crate) fn note(&self, query: &SourceQuery, now: Duration) {
        self.last_asked.note(query, now);
    }

    /// Tells of the calls in a span as they are known now; asks for nothing.
    pub(super) fn told(&self, calls: &Calls, span: Span, asked: Moment) -> Result<Told, Lack> {
        self.tail().tell(calls, span, asked)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks the stream as no longer followed when [`Convex::follow`] is dropped.
struct Following<'a>(&'a Stream);

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.tail().stop();
        self.0.followed.send_replace(false);
    }
}

impl<T: Transport> Convex<T> {
    /// Follows the deployment's stream of executions while somebody asks about them; ends only when it is dropped, or at once
    /// when it already runs. At most one request is open, and none while nobody asks.
    ///
    /// Cancel safety: may be dropped at any time and started again; what was seen stays.
    pub async fn follow(&self) {
        let is_first =
            self.stream.followed.send_if_modified(|followed| !std::mem::replace(followed, true));
        if !is_first {
            return;
        }
        let _following = Following(&self.stream);
        let mut wanted = self.stream.wanted.subscribe();
        loop {
            wanted.mark_unchanged();
            // One look under one lock: a question that comes right after it changes `wanted`.
            if self.stream.tail().rest(self.transport().elapsed()) == Rest::Idle {
                // The sender lives in `self`, so this cannot fail.
                let _ = wanted.changed().await;
                continue;
            }
            let asking = pin!(self.poll());
            if let Either::Right(_) = select(asking, pin!(self.unwanted())).await {
                continue;
            }
            let pause = self.stream.tail().pause();
            if let Some(pause) = pause {
                self.transport().wait(pause).await;
            }
        }
    }

    /// Changes when a call that somebody asked about has failed, or was far slower than before: a reason to take a reading
    /// now. Many at once are one change; a deployment that always has some errors changes it with every answer, so the
    /// reader sets the pace.
    pub fn stirred(&self) -> watch::Receiver<u64> {
        self.stream.stirred.subscribe()
    }

    /// Tells of the calls in a span from the stream of executions. The stream is then followed for `stay` longer; `cursor` is
    /// what the last answer said, also that of an earlier process. Waits up to five seconds for a stream that just starts.
    ///
    /// # Errors
    ///
    /// [`Lack::Failed`] when the stream is not followed or does not answer, [`Lack::Missing`] when it does not reach back.
    pub async fn executions(
        &self,
        calls: &Calls,
        span: Span,
        stay: SignedDuration,
        cursor: Option<&str>,
    ) -> Result<Told, Lack> {
        self.executions_asked(self.moment(), calls, span, stay, cursor).await
    }

    /// The same where the question was asked at `asked` and had to wait since, for others to be answered.
    pub(crate) async fn executions_asked(
        &self,
        asked: Moment,
        calls: &Calls,
        span: Span,
        stay: SignedDuration,
        cursor: Option<&str>,
    ) -> Result<Told, Lack> {
        let mut heard = self.stream.heard.subscribe();
        let now = self.transport().elapsed();
        self.stream.tail().want(now, stay, cursor);
        self.stream.wanted.send_modify(|count| *count = count.wrapping_add(1));
        let mut followed = self.stream.followed.subscribe();
        let answered = async {
            // The senders live in `self`, so waiting for them cannot fail.
            let _ = followed.wait_for(|followed| *followed).await;
            while self.stream.tail().is_starting() && heard.changed().await.is_ok() {}
        };
        // Whichever ends first, the tail knows what can be told.
        let _ = select(pin!(answered), pin!(self.transport().wait(FIRST_ANSWER))).await;
        if !*self.stream.followed.borrow() {
            let words = "this process does not follow the deployment's executions";
            return Err(Lack::Failed(words.into()));
        }
        self.stream.tail().tell(calls, span, asked)
    }

    /// Tells of the calls in a span from what the deployment still keeps, with one request of its own: for a look before
    /// anything is followed. What is followed is not touched.
    ///
    /// # Errors
    ///
    /// [`Lack::Failed`] when the deployment does not answer, [`Lack::Missing`] when it has nothing to tell.
    pub(crate) async fn glance(&self, calls: &Calls, span: Span) -> Result<Told, Lack> {
        let (sent, mut tail) = (self.moment(), Tail::new());
        tail.want(sent.passed, SignedDuration::ZERO, None);
        let call = Call::StreamExecutions { cursor: Cursor::START.text() };
        // One that has something to tell answers at once.
        let asking = pin!(self.send(None, &call));
        let answer = match select(asking, pin!(self.transport().wait(FIRST_ANSWER))).await {
            Either::Left((Ok(response), _)) => {
                completion::decode(&response).map_err(CallError::from)
            }
            Either::Left((Err(error), _)) => Err(error),
            Either::Right(_) => {
                let words = "the deployment keeps no execution: no function has run for a while";
                return Err(Lack::Missing(words.into()));
            }
        };
        let answer = answer.map_err(|error| Lack::Failed(self.why(&error).0))?;
        tail.answered(Cursor::START, &self.without_key(answer), sent, self.moment());
        tail.tell(calls, span, sent)
    }

    /// Sends one request and gives what came of it to the tail.
    async fn poll(&self) {
        let cursor = self.stream.tail().cursor_to_ask();
        let sent = self.moment();
        let answer = match self.send(None, &Call::StreamExecutions { cursor: cursor.text() }).await
        {
            Ok(response) => completion::decode(&response).map_err(CallError::from),
            Err(error) => Err(error),
        };
        let received = self.moment();
        let news = match answer {
            Ok(answer) => {
                self.stream.tail().answered(cursor, &self.without_key(answer), sent, received)
            }
            Err(error) => {
                let (words, cause) = self.why(&error);
                tracing::warn!(deployment = self.name, reason = words, "executions are not told");
                self.stream.tail().failed(words, cause);
                News::Calm
            }
        };
        self.stream.heard.send_modify(|count| *count = count.wrapping_add(1));
        if news == News::Stirring {
            self.stream.stirred.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Ends when nobody needs the stream any longer.
    async fn unwanted(&self) {
        loop {
            let left = self.stream.tail().left(self.transport().elapsed());
            match left {
                Some(left) => self.transport().wait(left.min(LOOK_AGAIN)).await,
                None => return,
            }
        }
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { passed: self.transport().elapsed(), own: self.transport().own_elapsed() }
    }

    fn without_key(&self, mut answer: Answer) -> Answer {
        for one in &mut answer.completions {
            one.name = self.redact(std::mem::take(&mut one.name));
            one.caller = self.redact(std::mem::take(&mut one.caller));
        }
        answer
    }

    fn why(&self, error: &CallError) -> (String, Cause) {
        let reason = error.reason(&self.name);
        let (words, cause) = match error {
            CallError::Refused { status: 403, .. } => {
                (format!("{reason}; reading executions needs ViewLogs"), Cause::Refused)
            }
            CallError::Refused { status: 400..=407, .. } => (reason, Cause::Refused),
            CallError::Refused { .. } | CallError::Transport(_) | CallError::Garbled(_) => {
                (reason, Cause::Passing)
            }
        };
        (clip(&words, REASON_BYTES_MAX), cause)
    }
}

/// Longest wait for the first answer of a stream that just starts. One that has something to tell answers at once; one that
/// has nothing answers after a minute, which is too long for a reading.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// How often it is looked whether somebody asked again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
