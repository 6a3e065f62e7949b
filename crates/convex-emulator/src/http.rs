//! The HTTP shell: sockets in, pure functions called, sockets out.
//!
//! Decides nothing. The time of a request is read under the lock of the deployment, so requests
//! are handled in the order of their times.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, FromRequestParts as _, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::EmulatorClock;
use crate::connection::{Connections, CuttableListener, Cutter};
use crate::control;
use crate::delivery::{self, Arrival, Cut, Delivery};
use crate::deployment::Deployment;
use crate::function_routes::CALL_BODY_BYTES_MAX;
use crate::socket;
use crate::sync_routes::SWITCHING_PROTOCOLS;
use crate::wire::{Request, Response};

/// A deployment with everything that serves it.
#[derive(Debug)]
pub(crate) struct Shell {
    deployment: Mutex<Deployment>,
    pub(crate) clock: EmulatorClock,
    pub(crate) connections: Connections,
    /// Ticks whenever something happened that a websocket or a long poll may wait for.
    changes: watch::Sender<u64>,
    /// Requests that are finished later, whether or not their client is still there.
    held: Mutex<JoinSet<()>>,
}

impl Shell {
    pub(crate) fn new(deployment: Deployment, clock: EmulatorClock) -> Self {
        Self {
            deployment: Mutex::new(deployment),
            clock,
            connections: Connections::new(),
            changes: watch::Sender::new(0),
            held: Mutex::default(),
        }
    }

    /// Ticks whenever variables, code, state or executions have changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Calls `act` with the deployment and the time.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Deployment, Timestamp) -> T) -> T {
        let mut deployment = self.deployment.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let done = act(&mut deployment, now);
        let ticks = deployment.ticks();
        self.changes.send_if_modified(|seen| std::mem::replace(seen, ticks) != ticks);
        done
    }

    /// Serves `listener` until the returned future is dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let gate = Arc::clone(&self);
        let listener = CuttableListener {
            listener,
            connections: self.connections.clone(),
            refuses: move || {
                gate.with(|deployment, now| delivery::refuses_connections(deployment, now))
            },
        };
        let service = Router::new()
            .fallback(serve_request)
            .with_state(self)
            .into_make_service_with_connect_info::<Cutter>();
        if let Err(error) = axum::serve(listener, service).await {
            tracing::warn!(%error, "the emulator stopped serving");
        }
    }

    fn to_http(&self, response: Response) -> axum::response::Response {
        to_http(response, self.clock.now())
    }

    /// Closes all connections, which ends their handlers, then ends the held requests.
    pub(crate) async fn close(&self) {
        self.connections.close_all().await;
        let mut held = std::mem::take(&mut *self.lock_held());
        held.shutdown().await;
    }

    /// Does what [`Shell::close`] does, without waiting for it.
    pub(crate) fn abandon(&self) {
        self.connections.cut_all();
        self.lock_held().abort_all();
    }

    /// Finishes a request after `wait`, in a task of its own: a client that leaves stops nothing.
    fn finish_later(
        self: &Arc<Self>,
        request: Request,
        wait: Duration,
    ) -> oneshot::Receiver<Response> {
        let (sender, receiver) = oneshot::channel();
        let shell = Arc::clone(self);
        let mut held = self.lock_held();
        while held.try_join_next().is_some() {}
        held.spawn(async move {
            hold(wait).await;
            let response =
                shell.with(|deployment, now| delivery::finish(deployment, now, &request));
            if sender.send(response).is_err() {
                tracing::debug!("the client left before its request was finished");
            }
        });
        receiver
    }

    fn lock_held(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve_request(
    State(shell): State<Arc<Shell>>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    request: axum::extract::Request,
) -> axum::response::Response {
    let (mut parts, body) = request.into_parts();
    // Taken out here, because only the parts of the real request know its connection.
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.ok();
    let Ok(request) = read_request(parts, body).await else {
        return shell.to_http(Response::empty(408));
    };
    let is_control = request.path.starts_with(control::PREFIX);
    cutter.note(&request, is_control);
    if is_control {
        let server = control::Server {
            clock: shell.clock,
            connections: shell.connections.counts(),
            carried: shell.connections.carried(),
        };
        let response =
            shell.with(|deployment, now| control::handle(deployment, &server, now, &request));
        return shell.to_http(response);
    }
    match long_poll(&shell, &request).await {
        Delivery::Respond { wait, response } => {
            hold(wait).await;
            match upgrade {
                Some(upgrade) if response.status == SWITCHING_PROTOCOLS => {
                    upgrade.on_upgrade(move |socket| socket::serve(shell, socket))
                }
                _ => shell.to_http(response),
            }
        }
        Delivery::FinishAfter { wait } => match shell.finish_later(request, wait).await {
            Ok(response) => shell.to_http(response),
            Err(_) => cut_off(&shell, &cutter, Cut::Close),
        },
        Delivery::Cut { wait, cut } => {
            hold(wait).await;
            cut_off(&shell, &cutter, cut)
        }
    }
}

/// Delivers a request; a long poll with nothing new is held until there is, or its time is over.
async fn long_poll(shell: &Shell, request: &Request) -> Delivery {
    let mut changes = shell.changes();
    let first = shell.with(|deployment, now| {
        (delivery::arrive(deployment, now, request), deployment.activity().restarts())
    });
    let (mut arrival, restarts) = first;
    let end = Instant::now() + POLL_WAIT_MAX;
    loop {
        if let Arrival::Delivered(delivery) = arrival {
            return delivery;
        }
        let left = end.saturating_duration_since(Instant::now());
        let next = shell.with(|deployment, now| deployment.next_execution_after(now));
        let next = next.map_or(left, |span| shell.clock.real_span(span).min(left));
        // Ends when something was logged or written, or when the app's next execution is due.
        tokio::time::timeout(next, changes.changed()).await.ok();
        let is_over = Instant::now() >= end;
        arrival = shell.with(|deployment, now| {
            let answer =
                |response| Arrival::Delivered(Delivery::Respond { wait: Duration::ZERO, response });
            if deployment.activity().restarts() != restarts {
                answer(delivery::go_down(deployment, now, request))
            } else if is_over {
                answer(delivery::finish(deployment, now, request))
            } else {
                delivery::arrive(deployment, now, request)
            }
        });
    }
}

/// Waits in real time, as an injected fault of the network asks.
pub(crate) async fn hold(wait: Duration) {
    if !wait.is_zero() {
        tokio::time::timeout(wait, std::future::pending::<()>()).await.ok();
    }
}

/// Cuts the connection. The response is never sent: writing it fails.
fn cut_off(shell: &Shell, cutter: &Cutter, cut: Cut) -> axum::response::Response {
    cutter.cut(cut);
    shell.to_http(Response::empty(500))
}

async fn read_request(parts: Parts, body: Body) -> Result<Request, axum::Error> {
    let query = Query::<BTreeMap<String, String>>::try_from_uri(&parts.uri);
    let headers = parts.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    Ok(Request {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: query.map(|Query(query)| query).unwrap_or_default(),
        headers: headers.collect(),
        body: read_body(body).await?,
    })
}

/// Reads a body; of one beyond the largest limit only so much that the limit is seen to be passed.
async fn read_body(mut body: Body) -> Result<Vec<u8>, axum::Error> {
    let mut bytes = Vec::new();
    while bytes.len() <= CALL_BODY_BYTES_MAX {
        let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await else {
            break;
        };
        if let Ok(chunk) = frame?.into_data() {
            bytes.extend_from_slice(&chunk);
        }
    }
    Ok(bytes)
}

fn to_http(response: Response, now: Timestamp) -> axum::response::Response {
    let mut http = axum::response::Response::new(Body::from(response.body));
    *http.status_mut() =
        StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(content_type) = response.content_type {
        http.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    for (name, value) in response.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            http.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    // The server's time: a client compares it with its own clock.
    if let Some(date) = http_date(now) {
        http.headers_mut().insert(header::DATE, date);
    }
    http
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`; none for a year that has no such form.
fn http_date(now: Timestamp) -> Option<HeaderValue> {
    let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok()?;
    HeaderValue::try_from(text).ok()
}

/// How long a poll of a stream waits for something new, in real time.
const POLL_WAIT_MAX: Duration = Duration::from_secs(60);
