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
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::clock::EmulatorClock;
use crate::connection::{Connections, CuttableListener, Cutter};
use crate::control;
use crate::delivery::{self, Cut, Delivery};
use crate::deployment::Deployment;
use crate::function_routes::CALL_BODY_BYTES_MAX;
use crate::wire::{Request, Response};

/// A deployment with everything that serves it.
#[derive(Debug)]
pub(crate) struct Shell {
    deployment: Mutex<Deployment>,
    pub(crate) clock: EmulatorClock,
    pub(crate) connections: Connections,
    /// Requests that are finished later, whether or not their client is still there.
    held: Mutex<JoinSet<()>>,
}

impl Shell {
    pub(crate) fn new(deployment: Deployment, clock: EmulatorClock) -> Self {
        Self {
            deployment: Mutex::new(deployment),
            clock,
            connections: Connections::new(),
            held: Mutex::default(),
        }
    }

    /// Calls `act` with the deployment and the time.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Deployment, Timestamp) -> T) -> T {
        let mut deployment = self.deployment.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        act(&mut deployment, now)
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
    let Ok(request) = read_request(request).await else {
        return to_http(Response::empty(408));
    };
    if request.path.starts_with(control::PREFIX) {
        let clock = shell.clock;
        return to_http(
            shell.with(|deployment, now| control::handle(deployment, &clock, now, &request)),
        );
    }
    match shell.with(|deployment, now| delivery::deliver(deployment, now, &request)) {
        Delivery::Respond { wait, response } => {
            hold(wait).await;
            to_http(response)
        }
        Delivery::FinishAfter { wait } => match shell.finish_later(request, wait).await {
            Ok(response) => to_http(response),
            Err(_) => cut_off(&cutter, Cut::Close),
        },
        Delivery::Cut { wait, cut } => {
            hold(wait).await;
            cut_off(&cutter, cut)
        }
    }
}

/// Waits in real time, as an injected fault of the network asks.
async fn hold(wait: Duration) {
    if !wait.is_zero() {
        tokio::time::timeout(wait, std::future::pending::<()>()).await.ok();
    }
}

/// Cuts the connection. The response is never sent: writing it fails.
fn cut_off(cutter: &Cutter, cut: Cut) -> axum::response::Response {
    cutter.cut(cut);
    to_http(Response::empty(500))
}

async fn read_request(request: axum::extract::Request) -> Result<Request, axum::Error> {
    let (parts, body) = request.into_parts();
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

fn to_http(response: Response) -> axum::response::Response {
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
    http
}
