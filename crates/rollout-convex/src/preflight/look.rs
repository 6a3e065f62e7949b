//! Owns the asking of a preflight: every question once, side by side, none beyond the deadline.
//!
//! Refuses to judge: answers and failures are kept as they came. The health sources are asked last, and not at all when the
//! deployment is away or does not take the key.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::{join, join5};
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use rollout_core::{Source, Span, SpanEnd};
use tokio::time::timeout_at;

use crate::calls::{Lack, Told};
use crate::convex::Convex;
use crate::error::stopped::thrown_words;
use crate::error::{CallError, TransportError};
use crate::flags::Variables;
use crate::functions::{CALLS_AT_ONCE_MAX, bound_args};
use crate::key::KeyReport;
use crate::transport::Transport;
use crate::value::ConvexValue;
use crate::wire::{
    self, Call, DeployedFunction, DeploymentKind, Ran, Response, WireError, normal_path,
};

use super::Needs;
use super::functions::described;

/// One answer, or why there is none.
pub(super) type Answer<T> = Result<T, CallError>;

/// A health source's document, or why there is none, in words.
pub(super) enum Control {
    /// This is its document.
    Document(ConvexValue),
    /// This is its document, with what it stands on.
    Told(Told),
    /// It works, and has nothing to show.
    Missing(String),
    /// It was asked, and failed.
    Failed(String),
    /// The question or its answer was lost on the way: the function, and why.
    Lost(String, String),
    /// It was not asked, and what to do instead.
    NotAsked(String, &'static str),
}

/// Everything that was seen.
pub(super) struct Look {
    pub(super) key: Answer<KeyReport>,
    pub(super) name: Answer<String>,
    pub(super) version: Answer<String>,
    pub(super) kind: Answer<DeploymentKind>,
    pub(super) state: Answer<String>,
    pub(super) variables: Answer<Variables>,
    pub(super) functions: Answer<Vec<DeployedFunction>>,
    pub(super) controls: BTreeMap<String, Control>,
    /// The quickest exchange, and when it was; `None` = nothing was answered.
    pub(super) sighting: Option<Sighting>,
    /// The time given.
    pub(super) within: Duration,
}

/// One exchange with the deployment, for its clock and its distance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    /// Our clock before it was sent.
    pub(super) sent: Timestamp,
    /// Our clock once it was answered.
    pub(super) answered: Timestamp,
    /// The deployment's clock, in whole seconds.
    pub(super) date: Option<Timestamp>,
    /// How long it really took.
    pub(super) took: Duration,
}

/// What is known of the deployment when its sources are asked.
struct Seen<'a> {
    /// Its state, where that is another one than running.
    stopped: Option<&'a str>,
    /// Its functions, as far as they are known.
    deployed: &'a [DeployedFunction],
}

/// The way of one preflight's questions.
struct Asker<'a, T> {
    convex: &'a Convex<T>,
    now: &'a (dyn Fn() -> Timestamp + Sync),
    within: Duration,
    deadline: tokio::time::Instant,
}

impl Look {
    /// Asks everything.
    pub(super) async fn whole<T: Transport>(
        convex: &Convex<T>,
        needs: &Needs,
        within: Duration,
        now: &(dyn Fn() -> Timestamp + Sync),
    ) -> Self {
        let asker = Asker::new(convex, within, now);
        // First alone: the time of making a connection is then not in the other exchanges.
        let (key, first) = asker.exchange(&Call::CheckKey).await;
        let ((name, second), (version, _), (kind, _), state, (variables, functions)) = join5(
            asker.exchange(&Call::InstanceName),
            asker.exchange(&Call::ServerVersion),
            asker.exchange(&Call::DeploymentInfo),
            asker.in_time(convex.ask_state(None)),
            join(asker.in_time(convex.list_variables(None)), asker.in_time(functions(convex))),
        )
        .await;
        let key = key.and_then(|response| Ok(wire::decode_key(&response)?));
        let controls = match &key {
            Ok(_) => {
                let silence = timeout_at(asker.deadline, convex.look_for_silence());
                let deployed = functions.as_deref().unwrap_or_default();
                let controls = asker.controls(needs, state.as_ref().ok(), deployed);
                // What was not found out in time is not said to be missing.
                join(controls, silence).await.0
            }
            Err(_) => needs.sources.keys().map(|name| (name.clone(), not_asked())).collect(),
        };
        Self {
            key,
            name: name.and_then(|response| Ok(wire::decode_line(&response)?)),
            version: version.and_then(|response| Ok(wire::decode_line(&response)?)),
            kind: kind.and_then(|response| Ok(wire::decode_deployment_info(&response)?)),
            state,
            variables,
            functions,
            controls,
            sighting: [first, second].into_iter().flatten().min_by_key(|seen| seen.took),
            within,
        }
    }

    /// Asks only what can keep a rollout from being started.
    pub(super) async fn definite<T: Transport>(
        convex: &Convex<T>,
        within: Duration,
        now: &(dyn Fn() -> Timestamp + Sync),
    ) -> Self {
        let asker = Asker::new(convex, within, now);
        let ((key, sighting), functions) =
            join(asker.exchange(&Call::CheckKey), asker.in_time(functions(convex))).await;
        Self {
            key: key.and_then(|response| Ok(wire::decode_key(&response)?)),
            name: Err(unasked()),
            version: Err(unasked()),
            kind: Err(unasked()),
            state: Err(unasked()),
            variables: Err(unasked()),
            functions,
            controls: BTreeMap::new(),
            sighting,
            within,
        }
    }
}

impl<'a, T: Transport> Asker<'a, T> {
    fn new(
        convex: &'a Convex<T>,
        within: Duration,
        now: &'a (dyn Fn() -> Timestamp + Sync),
    ) -> Self {
        let deadline = tokio::time::Instant::now() + within;
        Self { convex, now, within, deadline }
    }

    /// Sends one call. The sighting is there whenever the deployment answered, with an HTTP error too.
    async fn exchange(&self, call: &Call) -> (Answer<Response>, Option<Sighting>) {
        let (sent, started) = ((self.now)(), Instant::now());
        match self.in_time(self.convex.exchange(None, call)).await {
            Ok(response) => {
                let (answered, took) = ((self.now)(), started.elapsed());
                let sighting = Sighting { sent, answered, date: response.date, took };
                (self.convex.accepted(call, response), Some(sighting))
            }
            Err(error) => (Err(error), None),
        }
    }

    async fn in_time<V>(&self, asking: impl Future<Output = Answer<V>>) -> Answer<V> {
        match timeout_at(self.deadline, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(TransportError::TimedOut { after: self.within }.into()),
        }
    }

    /// Asks each source once, a few at a time.
    async fn controls(
        &self,
        needs: &Needs,
        state: Option<&String>,
        deployed: &[DeployedFunction],
    ) -> BTreeMap<String, Control> {
        let stopped = state.map(String::as_str).filter(|state| *state != RUNNING);
        let seen = Seen { stopped, deployed };
        // Endpoints are other servers; whoever knows them asks them.
        let asked = needs.sources.iter().filter(|(_, source)| is_on_deployment(source));
        let asked: Vec<_> = asked
            .map(|(name, source)| self.named(name, source, needs.pointers(name), &seen))
            .collect();
        stream::iter(asked).buffer_unordered(CALLS_AT_ONCE_MAX).collect().await
    }

    async fn named(
        &self,
        name: &str,
        source: &Source,
        pointers: Vec<&str>,
        seen: &Seen<'_>,
    ) -> (String, Control) {
        (name.to_owned(), self.control(source, &pointers, seen).await)
    }

    /// Asks one source about the last quarter of an hour.
    async fn control(&self, source: &Source, pointers: &[&str], seen: &Seen<'_>) -> Control {
        match source {
            Source::Function(call) => {
                let to = (self.now)();
                let from = to.saturating_sub(CONTROL_SPAN).unwrap_or(to);
                let at = |moment: Timestamp| moment.as_millisecond().to_string();
                let args = call.args.replace(FROM, &at(from)).replace(TO, &at(to));
                let call = rollout_core::FunctionCall { path: call.path.clone(), args };
                self.function(&call, seen).await
            }
            Source::Executions(calls) => {
                let glance = self.convex.glance(calls, self.span(calls.over));
                self.counted(glance).await
            }
            Source::AppMetrics(calls) => {
                let span = self.span(calls.over);
                self.counted(self.convex.app_metrics(calls, span, pointers)).await
            }
            Source::Http(_) | Source::Prometheus(_) => {
                Control::NotAsked(String::from("it is not asked of the deployment"), AGAIN)
            }
        }
    }

    /// The time up to now.
    fn span(&self, over: SignedDuration) -> Span {
        let to = (self.now)();
        Span { from: to.saturating_sub(over).unwrap_or(to), to, end: SpanEnd::Now }
    }

    async fn counted(&self, asking: impl Future<Output = Result<Told, Lack>>) -> Control {
        match timeout_at(self.deadline, asking).await {
            Ok(Ok(told)) => Control::Told(told),
            Ok(Err(Lack::Missing(words))) => Control::Missing(words),
            Ok(Err(Lack::Failed(words))) => Control::Failed(words),
            Err(_) => {
                let secs = self.within.as_secs();
                Control::Failed(format!("no answer within {secs} s"))
            }
        }
    }

    /// Asks a query, and nothing that may be more than one.
    async fn function(&self, call: &rollout_core::FunctionCall, seen: &Seen<'_>) -> Control {
        let args = match bound_args(call, &BTreeMap::new()) {
            Ok(args) => args,
            Err(words) => return Control::Failed(words),
        };
        let path = call.path.clone();
        let known = seen.deployed.iter().find(|known| known.path == normal_path(&path));
        if let Some(known) = known.filter(|known| known.kind != "Query") {
            let kind = described(known);
            let words =
                format!("{path} is {kind}, which may change something, and this look may not");
            return Control::NotAsked(words, NO_QUERY);
        }
        let run = Call::Query { path: path.clone(), args };
        match self.in_time(self.convex.run(None, &run)).await {
            Ok(Ran::Returned(document)) => Control::Document(document),
            Ok(Ran::Threw(thrown)) => {
                Control::Failed(thrown_words(&path, &thrown, seen.stopped, &self.convex.name))
            }
            Err(error) => Control::Lost(path, error.reason(&self.convex.name)),
        }
    }
}

/// All functions of the app.
pub(super) async fn functions<T: Transport>(convex: &Convex<T>) -> Answer<Vec<DeployedFunction>> {
    match convex.run(None, &Call::ApiSpec).await? {
        Ran::Returned(value) => Ok(wire::decode_functions(value)?),
        Ran::Threw(_) => Err(WireError::Unexpected("a list of functions").into()),
    }
}

/// Whether the deployment itself is asked.
pub(super) fn is_on_deployment(source: &Source) -> bool {
    match source {
        Source::Function(_) | Source::Executions(_) | Source::AppMetrics(_) => true,
        Source::Http(_) | Source::Prometheus(_) => false,
    }
}

fn not_asked() -> Control {
    Control::NotAsked(String::from("the deployment has to take the key first"), AGAIN)
}

fn unasked() -> CallError {
    WireError::Unexpected("asked for here").into()
}

/// What helps where nothing was asked yet.
const AGAIN: &str = "put right what is said above, then run this again";
/// What helps where a source is no query.
const NO_QUERY: &str = "make it a query; what it answers is first seen in the rollout's baseline";
/// How far back a control query of a function looks, where it takes a range of time.
const CONTROL_SPAN: SignedDuration = SignedDuration::from_mins(15);
/// Where that range begins, in a function's arguments; see `FunctionCall`.
const FROM: &str = r#""$from""#;
/// Where it ends.
const TO: &str = r#""$to""#;
/// The state in which functions run.
pub(super) const RUNNING: &str = "running";
