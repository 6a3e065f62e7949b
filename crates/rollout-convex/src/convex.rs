//! Owns the adapter itself: one deployment, effects in, outcomes out.
//!
//! Refuses to repeat: each request is sent once, the core decides about another try. Everything that the deployment says
//! passes the redaction of the key here, before anything else sees it.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures_util::future::{Either, select};
use rollout_core::{Effect, EffectKey, Fault, FaultClass, Outcome};
use secrecy::{ExposeSecret, SecretString};

use crate::calls::Stream;
use crate::error::{CallError, Stakes};
use crate::key::{KeyIdentity, KeyReport};
use crate::silence::Untold;
use crate::stops::Stops;
use crate::target::{self, ConvexError, Target};
use crate::text::Redaction;
use crate::transport::{Http, Transport};
use crate::wire::{self, Call, ErrorBody, FUNCTION_FAILED, Ran, Request, Response, Thrown};

/// A Convex deployment that effects can be performed on.
///
/// ```no_run
/// # async fn example() -> Result<(), rollout_convex::ConvexError> {
/// use rollout_convex::{Convex, Target};
///
/// let deployment = Convex::connect(Target {
///     name: "prod".into(),
///     url: "https://happy-otter-123.convex.cloud".into(),
///     key: "prod:happy-otter-123|…".into(),
///     timeout: Target::TIMEOUT_DEFAULT,
/// })?;
/// let report = deployment.check_key().await;
/// # Ok(())
/// # }
/// ```
pub struct Convex<T = Http> {
    pub(crate) name: String,
    transport: T,
    redaction: Redaction,
    warnings: Vec<String>,
    /// What the key says about itself; nothing of its secret.
    pub(crate) identity: KeyIdentity,
    /// Which spelling of the list path answered last: an index into the candidates of `flags`.
    pub(crate) list_route: AtomicUsize,
    /// The same for the update path.
    pub(crate) set_route: AtomicUsize,
    /// The stream of executions.
    pub(crate) stream: Stream,
    /// What the deployment does not tell about changes.
    pub(crate) untold: Untold,
    /// When it was stopped.
    pub(crate) stops: Stops,
}

impl Convex<Http> {
    /// Checks the target and prepares connections; sends nothing.
    ///
    /// # Errors
    ///
    /// [`ConvexError`] when URL or key cannot be right, or this machine has no root certificates.
    pub fn connect(target: Target) -> Result<Self, ConvexError> {
        let checked = target::check(target)?;
        let transport = Http::new(&checked)?;
        let mut convex = Self::over(checked.name, checked.key, transport);
        convex.warnings = checked.warnings;
        Ok(convex)
    }

    /// Takes the time that has passed from `elapsed` where spans are by a clock that is faster than time, as in a demonstration.
    #[must_use]
    pub fn in_time_of(mut self, elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.transport.set_own_elapsed(Box::new(elapsed));
        self
    }

    /// The deployment's origin, without a slash at its end.
    pub fn url(&self) -> &str {
        self.transport.url()
    }

    /// What the deployment said about the age of this client, if it did so far: a newer one is needed soon, or now.
    pub fn deprecation(&self) -> Option<&str> {
        self.transport.deprecation.said()
    }
}

impl<T: Transport> Convex<T> {
    /// Takes any transport, such as a simulated one. `key` is only used to redact it; the transport presents its own.
    pub fn over(name: String, key: SecretString, transport: T) -> Self {
        let (list_route, set_route) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self {
            name,
            transport,
            identity: KeyIdentity::of(key.expose_secret()),
            redaction: Redaction::new(key),
            warnings: Vec::new(),
            list_route,
            set_route,
            stream: Stream::new(),
            untold: Untold::default(),
            stops: Stops::default(),
        }
    }

    pub(crate) fn transport(&self) -> &T {
        &self.transport
    }

    /// The end of `asking`, or `None` when it takes longer than `bound`; it is dropped then.
    pub(crate) async fn within<R>(
        &self,
        bound: Duration,
        asking: impl Future<Output = R>,
    ) -> Option<R> {
        match select(pin!(asking), pin!(self.transport.wait(bound))).await {
            Either::Left((end, _)) => Some(end),
            Either::Right(((), _)) => None,
        }
    }

    pub(crate) fn redact(&self, text: String) -> String {
        self.redaction.apply(text)
    }

    /// What is allowed but should be known: a key that travels unencrypted, a key for another deployment.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Performs an effect, trying each request once. `key` is sent as request id.
    ///
    /// Cancel safety: a dropped reading changes nothing. A dropped [`Effect::SetFlags`] may or may not have happened;
    /// performing it again is safe, because it reads first. A dropped [`Effect::Invoke`] may or may not have happened and
    /// is not safe to repeat: treat it as [`FaultClass::Unknown`]. Takes at most three times the target's timeout for
    /// flags (a few more on a server that knows none of the paths), and for a reading at most a minute and ten seconds.
    pub async fn perform(&self, key: EffectKey, effect: &Effect) -> Outcome {
        match effect {
            Effect::Observe(observation) => Outcome::Observed(self.observe(key, observation).await),
            Effect::SetFlags { changes, purpose: _ } => self.set_flags(key, changes).await,
            Effect::Invoke { call, pointer, bindings } => {
                self.invoke(key, call, pointer, bindings).await
            }
            Effect::FindChangeWindow { .. } => {
                let reason = "a change window is found in the calendar, not on a deployment";
                Outcome::failed(Fault::new(FaultClass::Permanent, None, reason))
            }
        }
    }

    /// Asks what the key may do. Changes nothing and runs no function.
    ///
    /// # Errors
    ///
    /// A fault as for any reading; [`FaultClass::Permanent`] when the key is refused.
    pub async fn check_key(&self) -> Result<KeyReport, Fault> {
        let report = self.send(None, &Call::CheckKey).await;
        report
            .and_then(|response| Ok(wire::decode_key(&response)?))
            .map_err(|error| error.fault(Stakes::Read, &self.name))
    }

    /// Sends one call once. An HTTP error is an error here, but for the status 560 of a function.
    pub(crate) async fn send(
        &self,
        key: Option<EffectKey>,
        call: &Call,
    ) -> Result<Response, CallError> {
        self.accepted(call, self.exchange(key, call).await?)
    }

    /// Sends one call once and takes the answer as it is, an HTTP error too.
    pub(crate) async fn exchange(
        &self,
        key: Option<EffectKey>,
        call: &Call,
    ) -> Result<Response, CallError> {
        let request = wire::encode(call, key);
        let Request { method, path, .. } = request;
        let answer = self.transport.send(request).await;
        let status = answer.as_ref().map_or(0, |response| response.status);
        tracing::debug!(deployment = self.name, ?method, path, status, "asked the deployment");
        answer.map_err(|error| self.redacted(error))
    }

    /// Takes an answer that is no HTTP error.
    pub(crate) fn accepted(&self, call: &Call, response: Response) -> Result<Response, CallError> {
        match (response.status, call) {
            (200..300, _) | (FUNCTION_FAILED, Call::Run { .. } | Call::Query { .. }) => {
                Ok(response)
            }
            (status, _) => {
                let ErrorBody { code, message } = wire::decode_error(&response);
                let redact = |text: Option<String>| text.map(|text| self.redaction.apply(text));
                Err(CallError::Refused {
                    status,
                    body: ErrorBody { code: redact(code), message: redact(message) },
                })
            }
        }
    }

    /// Runs a function, or a system query, and reads its end.
    pub(crate) async fn run(
        &self,
        key: impl Into<Option<EffectKey>>,
        call: &Call,
    ) -> Result<Ran, CallError> {
        self.read_ran(&self.send(key.into(), call).await?)
    }

    /// Reads the end of a function, without the key wherever it stands.
    pub(crate) fn read_ran(&self, response: &Response) -> Result<Ran, CallError> {
        let redact = |text| self.redaction.apply(text);
        Ok(match wire::decode_ran(response)? {
            Ran::Returned(value) => Ran::Returned(value.rewritten(&redact)),
            Ran::Threw(Thrown { line, data }) => Ran::Threw(Thrown {
                line: line.map(redact),
                data: data.map(|data| data.rewritten(&redact)),
            }),
        })
    }

    /// A transport's words come from outside as well: a proxy may be part of them.
    fn redacted(&self, error: crate::error::TransportError) -> CallError {
        use crate::error::TransportError::{Lost, NotSent, TimedOut, TooLong};
        CallError::Transport(match error {
            NotSent { cause } => NotSent { cause: self.redaction.apply(cause) },
            Lost { cause } => Lost { cause: self.redaction.apply(cause) },
            plain @ (TimedOut { .. } | TooLong { .. }) => plain,
        })
    }
}

impl<T> fmt::Debug for Convex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Convex")
            .field("name", &self.name)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}
