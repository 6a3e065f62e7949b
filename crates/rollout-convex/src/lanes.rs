//! Owns one decision: whether a request opens another TCP connection, or waits a moment for one that is about to be free.
//!
//! A client with a pool opens a connection whenever none is idle at that very instant: for each of several requests that are
//! asked at once, and often for a request that follows another, because a connection returns to the pool a few microseconds
//! after its answer was read. Here requests go one after the other over one connection, and another one is opened only when
//! the deployment is slow. So a deployment usually sees one connection, and a slow answer still blocks nobody for long.
//!
//! Invariants: no request is refused a connection while it waits for one; nothing waits longer than [`WAITS_MAX`], nor for more than
//! a quarter of the time that a request has; while flags are being written nothing waits for a connection that others use;
//! what waits for a connection that nobody needs any more ends without one. A request that waits here still takes the first
//! connection that becomes idle: the pool watches both.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;

/// The requests of one client, as its connector sees them.
#[derive(Clone, Debug)]
pub(crate) struct Lanes(Arc<Mutex<Traffic>>);

#[derive(Debug)]
struct Traffic {
    /// How long a request may take: waiting here is a part of it.
    timeout: Duration,
    /// Writes that have begun and not ended.
    urgent: usize,
    /// Requests that have begun and not ended.
    under_way: usize,
    /// When one ended last.
    ended: Option<Instant>,
    /// When something happened last that soon makes a connection idle: one ended, or the first of several began.
    moved: Option<Instant>,
}

/// What a request that found no idle connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Open,
    Wait(Duration),
    /// Whoever wanted it has got another one.
    GiveUp,
}

/// A request under way; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(Lanes);

/// A write that is made; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Urgent(Lanes);

impl Drop for Urgent {
    fn drop(&mut self) {
        self.0.traffic().urgent -= 1;
    }
}

impl Lanes {
    /// For a client whose requests may take so long.
    pub(crate) fn new(timeout: Duration) -> Self {
        let traffic = Traffic { timeout, urgent: 0, under_way: 0, ended: None, moved: None };
        Self(Arc::new(Mutex::new(traffic)))
    }

    /// Lets no request wait for a connection that others use until the returned value is dropped.
    pub(crate) fn hurry(&self) -> Urgent {
        self.traffic().urgent += 1;
        Urgent(self.clone())
    }

    /// Counts a request until the returned value is dropped, which is after its whole answer.
    pub(crate) fn begin(&self) -> UnderWay {
        let mut traffic = self.traffic();
        if traffic.under_way == 0 {
            traffic.moved = Some(Instant::now());
        }
        traffic.under_way += 1;
        UnderWay(self.clone())
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until another connection is worth it.
    ///
    /// # Errors
    ///
    /// [`NotNeeded`] when no request is under way any more.
    async fn wait(self) -> Result<(), NotNeeded> {
        let since = Instant::now();
        loop {
            let next = self.traffic().next(Instant::now(), since);
            match next {
                Next::Open => return Ok(()),
                Next::GiveUp => return Err(NotNeeded),
                Next::Wait(span) => {
                    drop(tokio::time::timeout(span, std::future::pending::<()>()).await);
                }
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut traffic = self.0.traffic();
        let now = Some(Instant::now());
        (traffic.ended, traffic.moved) = (now, now);
        traffic.under_way -= 1;
    }
}

impl Traffic {
    /// Decides for a request that wants a connection since `since`.
    fn next(&self, now: Instant, since: Instant) -> Next {
        let (last, patience) = match self.under_way {
            0 => return Next::GiveUp,
            // Nobody else has a connection: either one is just returning to the pool, or there is none.
            1 => (self.ended, RETURN_MAX.min(self.timeout / 8)),
            _ if self.urgent > 0 => return Next::Open,
            _ => (self.moved, PATIENCE.min(self.timeout / 8)),
        };
        let still = |since: Instant, span: Duration| {
            span.saturating_sub(now.saturating_duration_since(since))
        };
        let left = last.map_or(Duration::ZERO, |last| still(last, patience));
        let left = left.min(still(since, WAITS_MAX.min(self.timeout / 4)));
        if left.is_zero() { Next::Open } else { Next::Wait(left) }
    }
}

impl<S> Layer<S> for Lanes {
    type Service = Connector<S>;

    fn layer(&self, inner: S) -> Connector<S> {
        Connector { inner, lanes: self.clone() }
    }
}

/// Opens a connection when [`Lanes`] says so.
#[derive(Clone, Debug)]
pub(crate) struct Connector<S> {
    inner: S,
    lanes: Lanes,
}

impl<S, R> Service<R> for Connector<S>
where
    S: Service<R> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: From<Box<dyn std::error::Error + Send + Sync>>,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: R) -> Self::Future {
        // The one that was ready is the one to call; the clone takes its place.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let waits = self.lanes.clone().wait();
        Box::pin(async move {
            waits.await.map_err(|unneeded| S::Error::from(Box::new(unneeded)))?;
            inner.call(target).await
        })
    }
}

/// Nobody waits for this connection any more. No request ever ends with it.
#[derive(Debug, thiserror::Error)]
#[error("this connection is not needed any more")]
struct NotNeeded;

/// Longest time in which a connection returns to the pool after its answer was read: a few turns of the runtime, on a machine
/// that has much else to do.
const RETURN_MAX: Duration = Duration::from_millis(100);
/// How long a deployment may be at nothing before what waits for it goes another way. Most answers come sooner, also from
/// another continent; what a person notices is longer.
const PATIENCE: Duration = Duration::from_millis(500);
/// Longest wait for a connection that others use; well below the time that connecting may take.
const WAITS_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(traffic: &Traffic, now: Instant) -> Next {
        traffic.next(now, now)
    }

    fn traffic(under_way: usize, ended: Option<Instant>, moved: Instant) -> Traffic {
        let timeout = Duration::from_secs(20);
        Traffic { timeout, urgent: 0, under_way, ended, moved: Some(moved) }
    }

    #[test]
    fn the_first_request_opens_a_connection_at_once() {
        let now = Instant::now();
        let traffic = traffic(1, None, now);
        assert_eq!(at(&traffic, now), Next::Open);
    }

    #[test]
    fn what_is_asked_with_it_waits_for_that_connection() {
        let now = Instant::now();
        let mut traffic = traffic(4, None, now);
        assert_eq!(at(&traffic, now + 10 * MS), Next::Wait(490 * MS));
        // Each answer is a sign of life.
        traffic.moved = Some(now + 400 * MS);
        assert_eq!(traffic.next(now + 500 * MS, now), Next::Wait(400 * MS));
        assert_eq!(traffic.next(now + 900 * MS, now), Next::Open);
    }

    #[test]
    fn what_follows_an_answer_waits_for_its_connection_to_return() {
        let now = Instant::now();
        let traffic = traffic(1, Some(now), now);
        assert_eq!(at(&traffic, now), Next::Wait(100 * MS));
        assert_eq!(at(&traffic, now + 100 * MS), Next::Open);
    }

    #[test]
    fn nobody_waits_for_ever_and_nothing_is_opened_for_nobody() {
        let now = Instant::now();
        let busy = now + 2_000 * MS;
        let mut traffic = traffic(3, Some(busy), busy);
        assert_eq!(traffic.next(busy, now), Next::Open);
        traffic.under_way = 0;
        assert_eq!(traffic.next(busy, now), Next::GiveUp);
    }

    #[test]
    fn a_write_waits_for_nobody_and_little_time_is_not_spent_on_waiting() {
        let now = Instant::now();
        let mut traffic = traffic(4, Some(now), now);
        assert_eq!(at(&traffic, now), Next::Wait(500 * MS));
        traffic.urgent = 1;
        assert_eq!(at(&traffic, now), Next::Open);
        traffic.urgent = 0;
        traffic.timeout = 400 * MS;
        assert_eq!(at(&traffic, now), Next::Wait(50 * MS));
        assert_eq!(traffic.next(now + 100 * MS, now), Next::Open);
    }
}
