//! Owns the way to a deployment: HTTP clients with bounds on time and size, and one connection for all that is asked.
//!
//! Refuses proxies from the environment, redirects (they would carry the key elsewhere), retries, and answers longer than
//! the deployment's own limit, which are dropped while they are read. HTTP/1.1 only: the few requests of a reading gain
//! nothing from multiplexing, and after a network failure one dead connection must not swallow several requests. Requests
//! share one connection unless the deployment is slow (`lanes`); one whose answer the deployment holds back until there is
//! something to tell has a connection of its own.
//!
//! TLS is rustls with ring and the roots of the operating system (`SSL_CERT_FILE` adds a private one).

use std::error::Error as _;
use std::fmt;
use std::io;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use crate::deprecation::Deprecation;
use crate::error::TransportError;
use crate::lanes::Lanes;
use crate::target::{CheckedTarget, ConvexError, Target};
use crate::wire::{Method, Request, Response};

/// Carries requests to one deployment and answers back. A simulator brings its own.
pub trait Transport: Send + Sync {
    /// Sends one request, once, and reads the whole answer. Adds the `Authorization` header.
    ///
    /// Cancel safety: when the future is dropped, the request may or may not have arrived.
    ///
    /// # Errors
    ///
    /// [`TransportError`] when there is no whole answer; an HTTP error is an answer.
    fn send(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response, TransportError>> + Send;

    /// Time that really passed since some moment; never goes back. A simulator gives its own.
    fn elapsed(&self) -> Duration {
        static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGINNING.elapsed()
    }

    /// The same by the clock that the spans of questions are by. Another one only where that clock is faster than time.
    fn own_elapsed(&self) -> Duration {
        self.elapsed()
    }

    /// Says that flags are written until the returned value is dropped: no request of it is to wait for a connection.
    fn hurry(&self) -> impl Send {}

    /// Longest time for one request, where the request does not say another.
    fn timeout(&self) -> Duration {
        Target::TIMEOUT_DEFAULT
    }

    /// Waits that long. A simulator waits in its own time.
    fn wait(&self, span: Duration) -> impl Future<Output = ()> + Send {
        async move { drop(tokio::time::timeout(span, std::future::pending::<()>()).await) }
    }
}

/// Carries requests over sockets.
#[derive(Debug)]
pub struct Http {
    client: reqwest::Client,
    lanes: Lanes,
    /// For what the deployment holds back.
    held: reqwest::Client,
    origin: Url,
    timeout: Duration,
    pub(crate) deprecation: Deprecation,
    own_elapsed: Option<OwnElapsed>,
}

/// Tells how much time has passed.
struct OwnElapsed(Box<dyn Fn() -> Duration + Send + Sync>);

impl fmt::Debug for OwnElapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnElapsed")
    }
}

impl Http {
    /// Prepares connections; opens none.
    pub(crate) fn new(target: &CheckedTarget) -> Result<Self, ConvexError> {
        let name = || target.name.clone();
        let strange = |_| ConvexError::KeyStrange { name: name() };
        let headers =
            HeaderMap::from_iter([(AUTHORIZATION, authorization(&target.key).map_err(strange)?)]);
        let lanes = Lanes::new(target.timeout);
        let builder = || builder(&target.origin, headers.clone(), target.timeout);
        let unusable = |cause| ConvexError::Client { name: name(), cause };
        let client = builder().connector_layer(lanes.clone()).build().map_err(unusable)?;
        let held = builder().build().map_err(unusable)?;
        let deprecation = Deprecation::new(name(), target.key.clone());
        let (origin, timeout) = (target.origin.clone(), target.timeout);
        Ok(Self { client, lanes, held, origin, timeout, deprecation, own_elapsed: None })
    }

    /// The deployment's origin, without a slash at its end.
    pub(crate) fn url(&self) -> &str {
        self.origin.as_str().trim_end_matches('/')
    }

    /// Takes the time that has passed from elsewhere.
    pub(crate) fn set_own_elapsed(&mut self, elapsed: Box<dyn Fn() -> Duration + Send + Sync>) {
        self.own_elapsed = Some(OwnElapsed(elapsed));
    }
}

impl Transport for Http {
    fn own_elapsed(&self) -> Duration {
        self.own_elapsed.as_ref().map_or_else(|| self.elapsed(), |own| own.0())
    }

    fn hurry(&self) -> impl Send {
        self.lanes.hurry()
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let mut url = self.origin.clone();
        url.set_path(request.path);
        url.set_query(Some(request.query.as_str()).filter(|query| !query.is_empty()));
        let after = request.held.unwrap_or(self.timeout);
        let client = if request.held.is_some() { &self.held } else { &self.client };
        let mut builder = match request.method {
            Method::Get => client.get(url),
            Method::Post => client.post(url).body(request.body),
        };
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        if request.held.is_some() {
            builder = builder.timeout(after);
        }
        let _under_way = request.held.is_none().then(|| self.lanes.begin());
        let (headers, response) = answer(builder, ANSWER_BYTES_MAX, after).await?;
        self.deprecation.heed(&headers);
        Ok(response)
    }
}

/// A client that asks each thing once, there and nowhere else: `headers` with every request, which hold the secret.
///
/// # Errors
///
/// What the client says, as on a machine without root certificates.
pub(crate) fn client(
    url: &Url,
    headers: HeaderMap,
    timeout: Duration,
) -> Result<reqwest::Client, reqwest::Error> {
    builder(url, headers, timeout).build()
}

fn builder(url: &Url, headers: HeaderMap, timeout: Duration) -> reqwest::ClientBuilder {
    // The first to install one wins; whoever it is, from here on there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .default_headers(headers)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .timeout(timeout)
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(crate::functions::CALLS_AT_ONCE_MAX);
    if url.scheme() == "http" {
        // No need to read the system's root certificates, nor to fail where there are none.
        builder = builder.tls_certs_only([]);
    }
    builder
}

/// Sends a request once and reads the whole answer with its headers, of at most `bytes_max` bytes; `timeout` is what the client was given.
///
/// # Errors
///
/// [`TransportError`] when there is no whole answer; an HTTP error is an answer.
pub(crate) async fn answer(
    request: reqwest::RequestBuilder,
    bytes_max: usize,
    timeout: Duration,
) -> Result<(HeaderMap, Response), TransportError> {
    let sorted = |error: reqwest::Error| sort(&error, timeout);
    let mut response = request.send().await.map_err(sorted)?;
    let headers = std::mem::take(response.headers_mut());
    let too_long = TransportError::TooLong { bytes_max };
    if response.content_length().is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_long);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(sorted)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(too_long);
        }
        body.extend_from_slice(&chunk);
    }
    let date = headers.get(DATE).and_then(|value| moment(value.to_str().ok()?));
    Ok((headers, Response { status: response.status().as_u16(), body, date }))
}

/// Sorts what the client says by one question: can the request have arrived?
fn sort(error: &reqwest::Error, timeout: Duration) -> TransportError {
    match () {
        () if error.is_connect() && error.is_timeout() => {
            TransportError::NotSent { cause: String::from("no connection in time") }
        }
        () if error.is_connect() || error.is_builder() => {
            TransportError::NotSent { cause: cause(error) }
        }
        () if error.is_timeout() => TransportError::TimedOut { after: timeout },
        () => TransportError::Lost { cause: cause(error) },
    }
}

/// The header with the key, marked so that it is never shown.
fn authorization(key: &SecretString) -> Result<HeaderValue, reqwest::header::InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Convex {}", key.expose_secret()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A moment as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn moment(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text).ok()
}

/// The innermost cause in calm words.
fn cause(error: &reqwest::Error) -> String {
    if error.is_dns() {
        return String::from("its host name is not known");
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => String::from("connection refused"),
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            String::from("connection reset")
        }
        Some(io::ErrorKind::UnexpectedEof) => String::from("connection closed"),
        Some(_) | None if error.source().is_none() => String::from("the connection failed"),
        Some(_) | None => innermost.to_string(),
    }
}

/// Longest time for a connection, TLS included. Nothing has been sent until then.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time a connection waits for its next request; shorter than load balancers keep theirs, so that few writes meet
/// a connection that is just being closed.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Longest answer: the 16 MiB of a function's result, and 1 MiB for log lines and escapes.
const ANSWER_BYTES_MAX: usize = (16 + 1) << 20;
