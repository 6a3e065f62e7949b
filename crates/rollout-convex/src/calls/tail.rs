//! Owns what is known of one deployment's executions: answers of the stream in, documents out. No sockets and no clock.
//!
//! Invariants: an execution is counted once, however often the stream tells it; a loss is never hidden. The stream has no
//! mark where something is missing, so it is told by four signs: an answer about as long as the server's whole buffer, a
//! buffer that shares nothing with what was seen before, a cursor that goes back, an entry that cannot be read. After every
//! failed request the buffer is asked for from its start, because only that shows whether it still reaches back.
//!
//! An execution counts when it ran after the start of the span (the flip is exact), and ended within the time that is looked
//! back: a call of ten minutes that fails is news when it fails.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rollout_core::{Basis, Calls, Extent, Span, SpanEnd};

use super::completion::{Answer, Completion, Cursor};
use super::news::{Interests, News, Recent};
use super::samples::{Filter, Samples, Tallies, When};
use super::seen::{Seen, Sight, Start};
use super::skew::Skew;
use super::told::{Document, Lack, Told};
use crate::wire::LONG_POLL;

/// What is known of one deployment's executions.
#[derive(Debug)]
pub(crate) struct Tail {
    phase: Phase,
    /// Until when somebody will ask again, by the time that really passed.
    wanted_until: Option<Duration>,
    cursor: Cursor,
    /// Where a process before this one had come to.
    resumed: Option<Cursor>,
    recent: Recent,
    /// Entries of the longest answer from the start: the server's buffer has at least this size.
    longest: usize,
    seen: Seen,
    samples: Samples,
    skew: Skew,
    /// Our wall clock minus the time that really passed, as of the last question about now, in microseconds.
    wall: Option<i64>,
    asked_before: Option<i64>,
    heard: Option<Moment>,
    /// When the newest execution ended, by the deployment's clock.
    newest: Option<i64>,
    interests: Interests,
}

/// One moment, twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Time that really passed since some moment: requests and silence are measured by it.
    pub(crate) passed: Duration,
    /// The same by the clock that spans are by, which is faster in a demonstration.
    pub(crate) own: Duration,
}

/// How the stream is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody needs it.
    Idle,
    /// Asked for, and not answered yet.
    Starting,
    /// Answered; the next request waits at the deployment.
    Live,
    /// The last requests failed.
    Failing { reason: String, times: u32, cause: Cause },
}

/// Whether the stream is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Somebody needs it.
    Following,
    /// Nobody does.
    Idle,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Something that passes.
    Passing,
    /// The deployment refused it, and will again.
    Refused,
}

impl Tail {
    /// Knows nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Idle,
            wanted_until: None,
            cursor: Cursor::START,
            resumed: None,
            recent: Recent::default(),
            longest: 0,
            seen: Seen::default(),
            samples: Samples::default(),
            skew: Skew::default(),
            wall: None,
            asked_before: None,
            heard: None,
            newest: None,
            interests: Interests::default(),
        }
    }

    /// Notes that somebody asks, and will again within `stay`. `cursor` is what an earlier process had come to.
    pub(crate) fn want(&mut self, now: Duration, stay: SignedDuration, cursor: Option<&str>) {
        let stay = Duration::try_from(stay).unwrap_or_default();
        self.wanted_until = self.wanted_until.max(Some(now + stay.max(STAY_MIN)));
        if self.heard.is_none() {
            self.resumed = self.resumed.or(cursor.and_then(Cursor::read));
        }
        if self.phase == Phase::Idle {
            self.phase = Phase::Starting;
        }
    }

    /// How long the stream is still to be followed; `None` = nobody needs it.
    pub(crate) fn left(&self, now: Duration) -> Option<Duration> {
        self.wanted_until?.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Stops following when nobody needs it.
    pub(crate) fn rest(&mut self, now: Duration) -> Rest {
        if self.left(now).is_some() {
            return Rest::Following;
        }
        self.stop();
        Rest::Idle
    }

    /// Notes that the stream is no longer followed. What was seen stays.
    pub(crate) fn stop(&mut self) {
        self.phase = Phase::Idle;
        self.wanted_until = None;
    }

    /// True while a first answer is still to come.
    pub(crate) fn is_starting(&self) -> bool {
        self.phase == Phase::Starting
    }

    /// What to ask next: on from the last answer, or the whole buffer when something may have come between.
    pub(crate) fn cursor_to_ask(&self) -> Cursor {
        if self.phase == Phase::Live { self.cursor } else { Cursor::START }
    }

    /// How long to wait before the next request: nothing, or longer with every failure. This is the pace of a loop that asks
    /// again anyway, not a retry of something that had an effect.
    pub(crate) fn pause(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Failing { times, .. } => {
                let doubled = PAUSE_FIRST.saturating_mul(1 << times.saturating_sub(1).min(8));
                Some(doubled.min(PAUSE_MAX))
            }
            Phase::Idle | Phase::Starting | Phase::Live => None,
        }
    }

    /// Notes that a request failed.
    pub(crate) fn failed(&mut self, reason: String, cause: Cause) {
        let before = match &self.phase {
            Phase::Failing { times, .. } => *times,
            Phase::Idle | Phase::Starting | Phase::Live => 0,
        };
        self.phase = Phase::Failing { reason, times: before.saturating_add(1), cause };
    }

    /// Takes one answer: asked for with `asked` at `sent`, here at `received`.
    pub(crate) fn answered(
        &mut self,
        asked: Cursor,
        answer: &Answer,
        sent: Moment,
        received: Moment,
    ) -> News {
        let is_first = self.heard.is_none();
        let fresh: Vec<&Completion> =
            answer.completions.iter().filter(|one| !self.recent.knows(one.identity)).collect();
        let oldest_told = answer.completions.iter().map(|one| one.finished).min();
        let oldest_fresh = fresh.iter().map(|one| one.finished).min();
        if let Some(loss) = self.loss(asked, answer, fresh.len()) {
            let start = oldest_told.map_or(Start::Ours(micros(sent.own)), Start::Theirs);
            let end = self.newest.unwrap_or(i64::MIN);
            self.seen.begin(self.readable_start(start, answer), end);
            self.say_loss(loss, answer.cursor, oldest_told, is_first);
        }
        let is_news = fresh.iter().any(|one| self.interests.stirs(one));
        if asked == Cursor::START {
            self.longest = self.longest.max(answer.completions.len());
        }
        for one in &fresh {
            self.recent.learn(one.identity, self.longest);
            self.samples.push(one);
            self.newest = self.newest.max(Some(one.finished));
        }
        if let Some(newest) = fresh.iter().map(|one| one.finished).max() {
            self.skew.learn(newest, micros(received.own), oldest_fresh.zip(self.asked_before));
        }
        self.asked_before = Some(micros(sent.own));
        self.heard = Some(received);
        self.cursor = answer.cursor;
        self.phase = Phase::Live;
        if is_news { News::Stirring } else { News::Calm }
    }

    /// Why executions before this answer may be missing; `None` = it goes on where the last one ended.
    fn loss(&self, asked: Cursor, answer: &Answer, fresh: usize) -> Option<Loss> {
        let told = answer.completions.len() + answer.unreadable;
        let is_on = self.phase == Phase::Live && asked == self.cursor && self.heard.is_some();
        match () {
            () if self.heard.is_none() => Some(Loss::Beginning),
            () if answer.unreadable > 0 => Some(Loss::Unreadable),
            () if answer.cursor < self.cursor => Some(Loss::CursorBack),
            () if is_on && told >= BUFFER_NEAR.max(self.longest / 20 * 19) => Some(Loss::Full),
            () if !is_on && fresh == answer.completions.len() => Some(Loss::NothingShared),
            () => None,
        }
    }

    /// An entry that cannot be read has no place: only what comes after the whole answer is whole again.
    fn readable_start(&self, start: Start, answer: &Answer) -> Start {
        let newest = answer.completions.iter().map(|one| one.finished).max();
        match (answer.unreadable, newest.max(self.newest)) {
            (0, _) => start,
            (_, Some(newest)) => Start::Theirs(newest.saturating_add(1)),
            (_, None) => start,
        }
    }

    fn say_loss(&self, loss: Loss, cursor: Cursor, oldest: Option<i64>, is_first: bool) {
        match self.resumed.filter(|_| is_first) {
            Some(before) if cursor < before => {
                tracing::warn!(
                    "the stream of executions begins anew: the deployment was restarted"
                );
            }
            Some(before)
                if oldest.is_none_or(|oldest| oldest > before.micros().saturating_add(1_000)) =>
            {
                tracing::warn!("executions since the last reading before the restart were lost");
            }
            Some(_) => {}
            None if is_first => {}
            None => tracing::warn!(?loss, "some executions were lost"),
        }
    }

    /// Tells of the calls in a span, as asked about at `asked`: where the span ends now, that was then. [`Tail::want`] was
    /// called before. Whatever can be told, what fails from now on is news.
    ///
    /// # Errors
    ///
    /// [`Lack::Failed`] while the stream does not answer; [`Lack::Missing`] for a time that it does not reach back to.
    pub(crate) fn tell(&mut self, calls: &Calls, span: Span, asked: Moment) -> Result<Told, Lack> {
        let filter = Filter::of(calls);
        if span.end == SpanEnd::Now {
            let wall = span.to.as_microsecond().saturating_sub(micros(asked.own));
            self.wall = Some(wall);
            let ran_from = span.from.as_microsecond().saturating_add(self.ahead_of(wall));
            let until = self.wanted_until.unwrap_or(asked.passed);
            self.interests.remember(calls, filter.clone(), ran_from, asked.passed..until);
        }
        let heard = self.standing_at(asked.passed)?;
        let unknown = "the stream of executions was not followed at that time";
        let wall = self.wall.ok_or_else(|| Lack::Missing(unknown.into()))?;
        let ahead = self.ahead_of(wall);
        let looked_from = span.from.max(span.to.saturating_sub(calls.over).unwrap_or(span.from));
        let theirs = |at: Timestamp| at.as_microsecond().saturating_add(ahead);
        let ours =
            |at: i64| Timestamp::from_microsecond(at.saturating_sub(ahead)).unwrap_or(looked_from);
        let ended_to = match span.end {
            SpanEnd::Now => i64::MAX,
            SpanEnd::Past => theirs(span.to),
        };
        let when = When { ran_from: theirs(span.from), ended_from: theirs(looked_from), ended_to };
        let sight = self.seen.sight(when.ended_from, ended_to, wall.saturating_add(ahead));
        let (extent, from) = match (sight, self.samples.dropped_to()) {
            (Sight::None, _) => return Err(Lack::Missing(unknown.into())),
            (Sight::Whole, Some(dropped)) if dropped >= when.ended_from => {
                (Extent::Part, ours(dropped))
            }
            (Sight::Part(begins), dropped) => {
                (Extent::Part, ours(dropped.map_or(begins, |dropped| begins.max(dropped))))
            }
            (Sight::Whole, _) if !self.skew.is_sure(wall) => (Extent::Part, looked_from),
            (Sight::Whole, _) => (Extent::Whole, looked_from),
        };
        let to = match &self.phase {
            Phase::Failing { .. } => {
                Timestamp::from_microsecond(wall.saturating_add(micros(heard.own)))
            }
            Phase::Idle | Phase::Starting | Phase::Live => Ok(span.to),
        };
        let to = to.unwrap_or(span.to).min(span.to);
        if let Phase::Failing { reason, .. } = &self.phase
            && to <= looked_from
        {
            // What was heard last is of before the span.
            return Err(Lack::Failed(reason.clone()));
        }
        let tallies = self.samples.tallies(&filter, when);
        self.interests.learn_latencies(calls, &tallies);
        let basis = Basis { from: from.min(to), to, samples: Some(tallies.total.calls), extent };
        let cursor = Some(self.cursor.text());
        Ok(told(tallies, calls.calls_min, basis, cursor))
    }

    /// How far the deployment's clock is ahead of our wall clock, as far as is known.
    fn ahead_of(&self, wall: i64) -> i64 {
        self.skew.nearest(wall).saturating_sub(wall)
    }

    /// When the last answer came, if the stream can be relied on at `now`.
    fn standing_at(&self, now: Duration) -> Result<Moment, Lack> {
        let heard = match (&self.phase, self.heard) {
            (Phase::Failing { reason, cause: Cause::Refused, .. }, _)
            | (Phase::Failing { reason, .. }, None) => return Err(Lack::Failed(reason.clone())),
            (Phase::Idle | Phase::Starting, _) | (Phase::Live, None) => {
                let words = "the deployment has not yet told of its executions";
                return Err(Lack::Failed(words.into()));
            }
            (Phase::Live | Phase::Failing { .. }, Some(heard)) => heard,
        };
        let silent = now.saturating_sub(heard.passed);
        match &self.phase {
            Phase::Failing { reason, .. } if silent > LONG_POLL => {
                Err(Lack::Failed(reason.clone()))
            }
            Phase::Idle | Phase::Starting | Phase::Live | Phase::Failing { .. }
                if silent > LONG_POLL + PAUSE_MAX =>
            {
                let secs = silent.as_secs();
                let words =
                    format!("nothing was heard of the deployment's executions for {secs} s");
                Err(Lack::Failed(words))
            }
            Phase::Idle | Phase::Starting | Phase::Live | Phase::Failing { .. } => Ok(heard),
        }
    }
}

/// Why executions may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// What was before the first answer was not seen.
    Beginning,
    /// The answer holds entries that cannot be read.
    Unreadable,
    /// The server counts from an earlier place: it was restarted.
    CursorBack,
    /// The answer is about as long as the server's buffer.
    Full,
    /// Nothing of what was seen before is still in the buffer.
    NothingShared,
}

fn told(tallies: Tallies, calls_min: u32, basis: Basis, cursor: Option<String>) -> Told {
    let mut document = Document::new(calls_min, basis.extent);
    document.total(tallies.total);
    document.each("functions", tallies.functions);
    document.each("callers", tallies.callers);
    document.told(basis, cursor)
}

pub(crate) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// From so many entries on, an answer may be cut short: a server keeps its newest 1000 (wire contract, section 7.2), or as
/// many as it once told, if more. One that keeps fewer cannot be told from one that lost nothing.
const BUFFER_NEAR: usize = 950;
/// Shortest time for which the stream is followed after a question: starting costs more than a minute of it.
const STAY_MIN: Duration = Duration::from_secs(60);
/// First pause after a failed request; doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause between two failed requests.
const PAUSE_MAX: Duration = Duration::from_secs(16);
