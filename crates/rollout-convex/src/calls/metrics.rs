//! Owns the asking for a deployment's own metrics: one request per list and figure, some at a time. Keeps nothing.

use futures_util::StreamExt;
use futures_util::stream;
use rollout_core::{Calls, Span};

use super::figures::{self, Answers, Ask, PERCENTILES_ASKED, RateOf};
use super::minutes::{self, Figures, Minutes};
use super::told::{Lack, Told};
use crate::convex::Convex;
use crate::error::CallError;
use crate::functions::CALLS_AT_ONCE_MAX;
use crate::measure::REASON_BYTES_MAX;
use crate::text::clip;
use crate::transport::Transport;
use crate::wire::{Call, MetricRoute};

impl<T: Transport> Convex<T> {
    /// Tells of the calls in a span from the deployment's own metrics of the last hour. `pointers` are those of the criteria:
    /// what none of them points at is not asked for.
    ///
    /// The document has besides `queued` (functions that waited), `scheduledJobLag` (seconds) and `cacheHitPercentage` (of
    /// the named functions), the first two the highest of all minutes. Latencies of several minutes are the greatest
    /// percentile of any of them, which the true one does not exceed. There are no callers.
    ///
    /// # Errors
    ///
    /// [`Lack::Failed`] when the deployment does not answer, [`Lack::Missing`] when it has nothing for that time, or
    /// holds calls that it refused because it was stopped.
    pub async fn app_metrics(
        &self,
        calls: &Calls,
        span: Span,
        pointers: &[&str],
    ) -> Result<Told, Lack> {
        if !calls.callers.is_empty() {
            let words = "the deployment's metrics do not know callers; use the source executions";
            return Err(Lack::Failed(words.into()));
        }
        let minutes = Minutes::of(calls, span)?;
        if self.stops.is_open() {
            // It may run again since then.
            self.state(None).await;
        }
        let now = self.transport().own_elapsed();
        if let Some(words) = self.stops.mar(now, span, minutes.range().0, calls.over) {
            return Err(Lack::Missing(words));
        }
        let mut answers = self.figures(figures::asks(calls, pointers), minutes).await;
        let more = figures::more_asks(&answers);
        answers.extend(self.figures(more, minutes).await);
        figures::told(calls, pointers, minutes, &answers)
    }

    async fn figures(&self, asks: Vec<Ask>, minutes: Minutes) -> Answers {
        let asked = asks.into_iter().map(|ask| async move {
            let answer = self.figure(&ask, minutes).await;
            (ask, answer)
        });
        stream::iter(asked).buffer_unordered(CALLS_AT_ONCE_MAX).collect().await
    }

    async fn figure(&self, ask: &Ask, minutes: Minutes) -> Result<Figures, Lack> {
        let (route, mut params) = request(ask);
        params.push(("window", minutes.window()));
        let answer = match self.send(None, &Call::AppMetrics { route, params }).await {
            Ok(response) => minutes::decode(route, &response).map_err(CallError::from),
            Err(error) => Err(error),
        };
        answer.map_err(|error| {
            let reason = error.reason(&self.name);
            let words = match &error {
                CallError::Refused { status: 403, .. } => {
                    format!("{reason}; reading metrics needs ViewMetrics")
                }
                CallError::Refused { status: 500, .. } => format!(
                    "{reason}; metrics answer so to a wrong question as well, so this may be a mistake of rolloutd"
                ),
                CallError::Refused { .. } | CallError::Transport(_) | CallError::Garbled(_) => reason,
            };
            Lack::Failed(clip(&words, REASON_BYTES_MAX))
        })
    }
}

fn request(ask: &Ask) -> (MetricRoute, Vec<(&'static str, String)>) {
    let k = || vec![("k", String::from(K_MAX))];
    match ask {
        Ask::Rate(name, of) => {
            let metric = match of {
                RateOf::Invocations => "invocations",
                RateOf::Errors => "errors",
                RateOf::CacheHits => "cacheHits",
                RateOf::CacheMisses => "cacheMisses",
            };
            let mut params = function(name);
            params.push(("metric", metric.into()));
            (MetricRoute::UdfRate, params)
        }
        Ask::Latencies(name) => {
            let mut params = function(name);
            params.push(("percentiles", PERCENTILES_ASKED.into()));
            (MetricRoute::LatencyPercentiles, params)
        }
        Ask::Failures => (MetricRoute::FailurePercentageTopK, k()),
        Ask::Counts => (MetricRoute::FunctionCallCountTopK, k()),
        Ask::Concurrency => (MetricRoute::FunctionConcurrency, vec![]),
        Ask::Lag => (MetricRoute::ScheduledJobLag, vec![]),
    }
}

/// The parameters that name a function. One with a space is an HTTP action: `GET /path`.
fn function(name: &str) -> Vec<(&'static str, String)> {
    let mut params = vec![("path", name.to_owned())];
    if name.contains(' ') {
        params.push(("udfType", String::from("HttpAction")));
    }
    params
}

/// Longest list of functions that a deployment gives. Shorter ones may leave out functions that fail.
const K_MAX: &str = "25";
