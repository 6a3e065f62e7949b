//! Owns typed calls to the daemon over its unix socket.
//!
//! Refuses to guess: an answer that is neither the promised type nor a [`Problem`] is [`ClientError::Protocol`]. Nothing is
//! repeated here; starting is made repeatable by its [`IdempotencyKey`], orders by being the same twice.

mod download;
mod stream;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;

use crate::detail::RolloutDetail;
use crate::doctor::{DeploymentView, DoctorReport, DoctorRequest};
use crate::journal::{EventPage, Position};
use crate::order::{OrderRequest, OrderResponse, OrderVerb, StartRequest, StartResponse};
use crate::problem::{PROBLEM_MEDIA_TYPE, Problem};
use crate::rollout::RolloutList;
use crate::server::ServerStatus;
use crate::verify::VerifyReport;

pub use download::Download;
pub use stream::EventStream;

/// How long an ordinary call may take. The slowest is an order, which waits for one durable commit.
const CALL_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a look at everything may take. The daemon gives all deployments together twenty seconds.
const DOCTOR_TIME_MAX: Duration = Duration::from_secs(45);

/// How long a stream may be silent before it counts as dead. The daemon sends a heartbeat at least every 15 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A daemon's socket, and how to talk to it. Cheap to make: no TLS, no proxies, no connection yet.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    socket: PathBuf,
}

/// Makes a start recognisable when it is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// Why a call gave no answer of the promised kind.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon does not answer.
    #[error("failed to reach rolloutd at {}", socket.display())]
    Unreachable {
        /// Where it was looked for.
        socket: PathBuf,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The daemon refused or failed, and says why.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// The answer is not of the promised kind: another program, or another version.
    #[error("the answer from {} is not rolloutd's: {what}", socket.display())]
    Protocol {
        /// Who answered.
        socket: PathBuf,
        /// What is wrong with the answer.
        what: String,
    },
}

impl Client {
    /// Takes the path of a daemon's socket. Connects with the first call.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unreachable`] when the platform cannot make such connections.
    pub fn unix(path: impl Into<PathBuf>) -> Result<Self, ClientError> {
        let socket = path.into();
        let builder = reqwest::Client::builder()
            .unix_socket(socket.as_path())
            .no_proxy()
            .http1_only()
            .read_timeout(SILENCE_MAX)
            .tls_backend_preconfigured(no_tls());
        match builder.build() {
            Ok(http) => Ok(Self { http, socket }),
            Err(source) => Err(ClientError::Unreachable { socket, source }),
        }
    }

    /// Where the daemon is looked for.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How the daemon is.
    ///
    /// # Errors
    ///
    /// Like every call: [`ClientError`].
    pub async fn status(&self) -> Result<ServerStatus, ClientError> {
        self.read(self.call(Method::GET, &["status"])).await
    }

    /// Starts a rollout. Repeating it with the same key and request gives the same rollout.
    ///
    /// # Errors
    ///
    /// Like every call: [`ClientError`]. `RO0101` and `RO0102` carry what is wrong with the plan.
    pub async fn start(
        &self,
        request: &StartRequest,
        key: &IdempotencyKey,
    ) -> Result<StartResponse, ClientError> {
        let call = self.call(Method::POST, &["rollouts"]).header("Idempotency-Key", &key.0);
        self.read(call.json(request)).await
    }

    /// All rollouts.
    ///
    /// # Errors
    ///
    /// Like every call: [`ClientError`].
    pub async fn list(&self) -> Result<RolloutList, ClientError> {
        self.read(self.call(Method::GET, &["rollouts"])).await
    }

    /// One rollout in full.
    ///
    /// # Errors
    ///
    /// Like every call: [`ClientError`].
    pub async fn get(&self, id: &str) -> Result<RolloutDetail, ClientError> {
        self.read(self.call(Method::GET, &["rollouts", id])).await
    }

    /// A rollout's log, in Markdown.
    ///
    /// # Errors
    ///
    /// Like every call: [`ClientError`].
    pub async fn log(&self, id: &str) -> Result<String, ClientError> {
        let response = self.send(self.call(Method::GET, &["rollouts", id, "log"])).await?;
        response.text().await.map_err(|source| self.unreachable(source))
    }

    /// A page of a rollout's journal: at most `limit` entries behind position `after`.
    ///
    /// # Errors
    ///
    /// Like every call: [`ClientError`]. `RO0310` when the journal ends before `after`.
    pub async fn events(&self, id: &str, after: u64, limit: u32) -> Result<EventPage, ClientError> {
        let call = self.call(Method::GET, &["rollouts", id, "events"]);
        self.read(call.query(&[("after", after), ("limit", u64::from(limit))])).await
    }

    /// Everything that happens to a rollout behind position `after`, as it happens. The stream ends with the daemon; open
    /// the next one with the [`Position`] of the last entry and nothing is missed or seen twice.
    ///
    /// # Errors
    ///
    /// Like every call: [`ClientError`]. `RO0310` when the journal is not the one that `after` is a place of.
    pub async fn follow(
        &self,
        id: &str,
        after: impl Into<Position>,
    ) -> Result<EventStream, ClientError> {
        let url = self.url(&["rollouts", id, "events"]);
        let call = self.http.get(url).header("Accept", "text/event-stream");
        let call = call.header("Last-Event-ID", after.into().to_string());
        Ok(EventStream::new(self.send(call).await?, self.socket.clone()))
    }

    /// A backup of everything, as it stands now.
    ///
    /// # Errors
    ///
    /// Like every call: [`ClientError`]. `RO0403` for who may not give orders.
    pub async fn backup(&self) -> Result<Download, ClientError> {
        let call = self.http.get(self.url(&["backup"]));
        Ok(Download::new(self.send(call).await?, self.socket.clone()))
    }

    /// Has the daemon check every entry of every journal. Takes seconds where there are a million.
    ///
    /// # Errors
    ///
    /// Like every call: [`ClientError`]. `RO0403` for who may not give orders.
    pub async fn verify(&self) -> Result<VerifyReport, ClientError> {
        self.read(self.http.get(self.url(&["verify"]))).await
    }

    /// Has the daemon look at everything that rollouts stand on. Takes up to half a minute where a deployment is away.
    ///
    /// # Errors
    ///
    /// Like every call: [`ClientError`]. `RO0403` for who may not give orders; `RO0101` and `RO0102` for a bad plan.
    pub async fn doctor(&self, request: &DoctorRequest) -> Result<DoctorReport, ClientError> {
        let call = self.http.request(Method::POST, self.url(&["doctor"]));
        self.read(call.timeout(DOCTOR_TIME_MAX).json(request)).await
    }

    /// What is on a deployment, for who writes a plan.
    ///
    /// # Errors
    ///
    /// Like every call: [`ClientError`]. `RO0403` for who may not give orders; `RO0305` for an unknown deployment.
    pub async fn deployment(&self, name: &str) -> Result<DeploymentView, ClientError> {
        self.read(self.call(Method::GET, &["deployments", name])).await
    }

    /// Gives a rollout an order.
    ///
    /// # Errors
    ///
    /// Like every call: [`ClientError`]. `RO0301` names the verbs that would be accepted.
    pub async fn order(
        &self,
        id: &str,
        verb: OrderVerb,
        order: &OrderRequest,
    ) -> Result<OrderResponse, ClientError> {
        self.read(self.call(Method::POST, &["rollouts", id, verb.path()]).json(order)).await
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = Url::parse("http://rolloutd/v1").expect("the text is a URL");
        url.path_segments_mut().expect("an http URL has path segments").extend(path);
        url
    }

    fn call(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.http.request(method, self.url(path)).timeout(CALL_TIME_MAX)
    }

    async fn read<T: DeserializeOwned>(&self, call: RequestBuilder) -> Result<T, ClientError> {
        let body =
            self.send(call).await?.bytes().await.map_err(|source| self.unreachable(source))?;
        serde_json::from_slice(&body).map_err(|error| self.protocol(error.to_string()))
    }

    /// Sends a call and takes only a success; everything else is read as a problem.
    async fn send(&self, call: RequestBuilder) -> Result<Response, ClientError> {
        let response = call.send().await.map_err(|source| self.unreachable(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let media_type = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !media_type.starts_with(PROBLEM_MEDIA_TYPE) {
            return Err(self.protocol(format!("status {status} without a problem")));
        }
        let body = response.bytes().await.map_err(|source| self.unreachable(source))?;
        let problem =
            serde_json::from_slice(&body).map_err(|error| self.protocol(error.to_string()))?;
        Err(ClientError::Problem(Box::new(problem)))
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable { socket: self.socket.clone(), source }
    }

    fn protocol(&self, what: String) -> ClientError {
        ClientError::Protocol { socket: self.socket.clone(), what }
    }
}

/// A TLS configuration that trusts nobody. Cargo unites features, so a build next to the adapter has TLS compiled in and
/// would otherwise read the machine's certificates for every call over a plain socket.
fn no_tls() -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

impl IdempotencyKey {
    /// A key that nobody has used.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// Takes a key that a person or script chose: 1 to 128 visible ASCII characters.
    pub fn new(text: &str) -> Option<Self> {
        let fits =
            (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_string()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ClientError {
    /// What the operating system said, where it was the one to refuse: no such socket, no permission, nobody listening.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        let mut error: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(current) = error {
            if let Some(io) = current.downcast_ref::<io::Error>() {
                return Some(io.kind());
            }
            error = current.source();
        }
        None
    }
}

#[cfg(test)]
mod tests;
