//! Owns the endpoints: web servers and Prometheus servers beside the deployment that know how the system does.
//!
//! The same rules as for a deployment: each request is sent once, goes to the configured place and nowhere else, through no
//! proxy, and is bounded in time and size. Nothing here changes anything: all requests are `GET`.
//!
//! * [`Endpoint::ask`] asks one source about one range of time; [`ask_all`] all sources of a reading, equal questions once.
//! * `document` and `prometheus` are the pure halves: what is asked, and what the answer means.
//! * [`Answer`] is what any source answers with.

mod answer;
mod document;
mod page;
mod prometheus;
mod target;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};
use rollout_core::{HttpGet, PromQuery, Source, Span, SpanEnd};

pub use answer::Answer;
pub use target::{EndpointCredential, EndpointError, EndpointTarget};

use crate::error::TransportError;
use crate::functions::CALLS_AT_ONCE_MAX;
use crate::transport;
use crate::wire;
use page::Page;
use prometheus::Query;
use target::Secret;

/// A web server that sources ask.
pub struct Endpoint {
    name: String,
    url: Url,
    client: reqwest::Client,
    timeout: Duration,
    secret: Secret,
    warnings: Vec<String>,
}

/// What is asked of an endpoint, complete.
enum Asking<'a> {
    Document { get: &'a HttpGet, span: Span, url: Url },
    Prometheus { query: Query<'a>, url: Url },
}

impl Endpoint {
    /// Checks the target and prepares connections; sends nothing.
    ///
    /// # Errors
    ///
    /// [`EndpointError`] when URL or credential cannot be right, or this machine has no root certificates.
    pub fn connect(target: EndpointTarget) -> Result<Self, EndpointError> {
        let EndpointTarget { name, url, credential, timeout } = target;
        let url = target::parsed(&url)?;
        if timeout.is_zero() {
            return Err(EndpointError::TimeoutZero { name });
        }
        let secret = Secret::new(&name, credential.as_ref())?;
        let headers = [
            (ACCEPT, Some(HeaderValue::from_static("application/json"))),
            (USER_AGENT, Some(HeaderValue::from_static(wire::USER_AGENT))),
            (AUTHORIZATION, secret.header.clone()),
        ];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let client = transport::client(&url, HeaderMap::from_iter(headers), timeout)
            .map_err(|cause| EndpointError::Client { name: name.clone(), cause })?;
        let warnings = target::warnings(&name, &url, &secret);
        Ok(Self { name, url, client, timeout, secret, warnings })
    }

    /// What is allowed but should be known: a credential that travels unencrypted.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where the endpoint is.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Asks one source about `span`, with one request or none. The source must be [`Source::Http`] or
    /// [`Source::Prometheus`] and be meant for this endpoint; another one fails, in words.
    ///
    /// Cancel safety: nothing is changed, whenever the future is dropped.
    pub async fn ask(&self, source: &Source, span: Span) -> Answer {
        match self.prepare(source, span) {
            Ok(asking) => self.read(&asking, &self.get(asking.url().clone()).await),
            Err(answer) => answer,
        }
    }

    /// Asks whether `source` could be asked: the server is reached, lets us in, and answers as its kind does. Of a
    /// Prometheus server also whether its clock is within 30 s of `now`. Says what it found.
    ///
    /// # Errors
    ///
    /// Words for an operator.
    pub async fn control(&self, source: &Source, now: Timestamp) -> Result<String, String> {
        match source {
            Source::Prometheus(_) => self.control_prometheus(now).await,
            Source::Http(get) => {
                let span = Span { from: now - CONTROL_SPAN, to: now, end: SpanEnd::Now };
                match self.ask(&Source::Http(get.clone()), span).await {
                    Answer::Told { document, .. } => {
                        Ok(format!("answers with {}", document.kind()))
                    }
                    Answer::Missing(words) | Answer::Failed(words) => Err(words),
                }
            }
            Source::Function(_) | Source::Executions(_) | Source::AppMetrics(_) => {
                Err(no_endpoint(source))
            }
        }
    }

    /// Asks whether anybody answers at the bare URL, for an endpoint that no plan asks yet. Says what it found.
    ///
    /// # Errors
    ///
    /// Words for an operator: nobody answers, or the credential is refused.
    pub async fn reach(&self) -> Result<String, String> {
        match self.get(self.url.clone()).await.map(|page| page.status) {
            Ok(status @ (401 | 403)) => Err(words::refused(&self.name, status)),
            Ok(status) => Ok(format!("answers ({status})")),
            Err(TransportError::TooLong { .. }) => Ok(String::from("answers")),
            Err(error) => Err(self.no_answer(&error)),
        }
    }

    async fn control_prometheus(&self, now: Timestamp) -> Result<String, String> {
        let asked = PromQuery {
            endpoint: self.name.clone(),
            query: String::from("vector(1)"),
            range: None,
        };
        let span = Span { from: now, to: now, end: SpanEnd::Now };
        let query = Query::new(&asked, span).map_err(words_of)?;
        let page = self.get(query.url_without_time(&self.url, self.timeout)).await;
        let page = page.map_err(|error| self.no_answer(&error))?;
        let (at, value) = query.control(&page).map_err(words_of)?;
        if value != 1.0 {
            return Err(format!("endpoint {} says that vector(1) is {value}", self.name));
        }
        let off = at.duration_since(now);
        if off.abs() > CLOCK_OFF_MAX {
            return Err(format!(
                "the clock of endpoint {} is {} s {} this machine's; set both by NTP",
                self.name,
                off.abs().as_secs(),
                if off.is_negative() { "behind" } else { "ahead of" }
            ));
        }
        Ok(format!(
            "answers queries; its clock is within {} s of this machine's",
            off.abs().as_secs() + 1
        ))
    }

    /// Works out what to send.
    fn prepare<'a>(&self, source: &'a Source, span: Span) -> Result<Asking<'a>, Answer> {
        match source {
            Source::Http(get) => {
                let url = self.below(&document::path(get, span)?)?;
                Ok(Asking::Document { get, span, url })
            }
            Source::Prometheus(asked) => {
                let query = Query::new(asked, span)?;
                let url = query.url(&self.url, self.timeout);
                Ok(Asking::Prometheus { query, url })
            }
            Source::Function(_) | Source::Executions(_) | Source::AppMetrics(_) => {
                Err(Answer::failed(&no_endpoint(source)))
            }
        }
    }

    /// A path and query below the endpoint's URL; it leads neither to another host nor out of the configured path.
    fn below(&self, path: &str) -> Result<Url, Answer> {
        let base = self.url.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}{path}")).ok().filter(|url| {
            let prefix = self.url.path().trim_end_matches('/');
            let below = url.path().strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
            path.starts_with('/') && below && url.fragment().is_none()
        });
        url.ok_or_else(|| {
            Answer::failed(&format!(
                "{path} is no path below endpoint {}; it begins with a slash and has no `#` and no `..`",
                self.name
            ))
        })
    }

    /// Sends one request.
    async fn get(&self, url: Url) -> Result<Page, TransportError> {
        let path = url.path().to_owned();
        let answer = transport::answer(self.client.get(url), ANSWER_BYTES_MAX, self.timeout).await;
        let answer = answer.map(|(_, response)| response);
        let status = answer.as_ref().map_or(0, |response| response.status);
        tracing::debug!(endpoint = self.name, path, status, "asked the endpoint");
        answer.map(|response| Page::new(response.status, &response.body, &self.secret))
    }

    fn read(&self, asking: &Asking<'_>, page: &Result<Page, TransportError>) -> Answer {
        match (asking, page) {
            (_, Err(error)) => Answer::failed(&self.no_answer(error)),
            (Asking::Document { get, span, .. }, Ok(page)) => document::read(get, *span, page),
            (Asking::Prometheus { query, .. }, Ok(page)) => query.read(page),
        }
    }

    /// A transport's words come from outside as well.
    fn no_answer(&self, error: &TransportError) -> String {
        self.secret.redact(words::no_answer(&self.name, error))
    }
}

impl Asking<'_> {
    fn url(&self) -> &Url {
        match self {
            Self::Document { url, .. } | Self::Prometheus { url, .. } => url,
        }
    }
}

/// Asks all of `asks`, at most four requests at a time and equal ones once; the answers are in the order asked. `find`
/// gives the endpoint of a name, or says why there is none. Takes a minute at most, however many are silent: what was not
/// answered by then has failed.
///
/// Cancel safety: nothing is changed, whenever the future is dropped.
pub async fn ask_all(
    asks: &[(&Source, Span)],
    find: impl Fn(&str) -> Result<Arc<Endpoint>, String>,
) -> Vec<Answer> {
    ask_within(READING_MAX, asks, find).await
}

async fn ask_within(
    bound: Duration,
    asks: &[(&Source, Span)],
    find: impl Fn(&str) -> Result<Arc<Endpoint>, String>,
) -> Vec<Answer> {
    let prepared: Vec<_> = asks
        .iter()
        .map(|(source, span)| {
            let name = source.endpoint().ok_or_else(|| no_endpoint(source));
            let endpoint = name.and_then(&find).map_err(|words| Answer::failed(&words))?;
            let asking = endpoint.prepare(source, *span)?;
            Ok((endpoint, asking))
        })
        .collect();
    let requests: BTreeSet<_> = prepared.iter().flatten().map(request).collect();
    let endpoints: BTreeMap<_, _> =
        prepared.iter().flatten().map(|(endpoint, _)| (endpoint.name.as_str(), endpoint)).collect();
    let mut pages = BTreeMap::new();
    let mut asking = stream::iter(requests)
        .filter_map(|(name, url)| {
            let endpoint = endpoints.get(name).copied();
            async move { Some(((name, url), endpoint?.get(url.clone()))) }
        })
        .map(|(request, page)| async move { (request, page.await) })
        .buffer_unordered(CALLS_AT_ONCE_MAX)
        .boxed();
    let all = async {
        while let Some((request, page)) = asking.next().await {
            pages.insert(request, page);
        }
    };
    // Where time is up, the pages that are there count.
    let _ = tokio::time::timeout(bound, all).await;
    let read = prepared.iter().map(|one| match one {
        Err(answer) => Answer::clone(answer),
        Ok(pair) => match pages.get(&request(pair)) {
            Some(page) => pair.0.read(&pair.1, page),
            None => Answer::failed(&words::not_in_time(&pair.0.name, bound)),
        },
    });
    read.collect()
}

/// What makes two askings one request.
fn request<'a>(pair: &'a (Arc<Endpoint>, Asking<'_>)) -> (&'a str, &'a Url) {
    (pair.0.name.as_str(), pair.1.url())
}

/// Asked of the wrong place: a defect of ours, said and not guessed around.
fn no_endpoint(source: &Source) -> String {
    let kind = match source {
        Source::Function(_) => "function",
        Source::Executions(_) => "executions",
        Source::AppMetrics(_) => "app_metrics",
        Source::Http(_) => "http",
        Source::Prometheus(_) => "prometheus",
    };
    format!("a source of the kind {kind} is not asked of an endpoint")
}

fn words_of(answer: Answer) -> String {
    match answer {
        Answer::Missing(words) | Answer::Failed(words) => words,
        Answer::Told { document, .. } => document.kind(),
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

/// Longest answer: a document of health is a few KiB, one series a few hundred.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Longest time for all questions of one reading together. The engine gives a reading up after three minutes, and with it
/// the flags and whatever else was read.
const READING_MAX: Duration = Duration::from_secs(60);
/// How far the clock of a Prometheus server may be from ours. More, and a reading shows another time than it says.
const CLOCK_OFF_MAX: SignedDuration = SignedDuration::from_secs(30);
/// The range of time that a control query is about, where its path has one.
const CONTROL_SPAN: SignedDuration = SignedDuration::from_mins(15);

#[cfg(test)]
mod tests;
