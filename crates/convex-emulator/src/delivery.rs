//! What becomes of a request: outages and faults first, then the deployment's own answer.
//!
//! Still without sockets: the answer says what to do with the connection, and the shell does it.
//! Every request is recorded here, and so is every write that a fault kept from the deployment.

use std::time::Duration;

use jiff::Timestamp;

use crate::access::Credential;
use crate::deployment::Deployment;
use crate::env_routes;
use crate::envvars::EnvChange;
use crate::faults::{FaultKind, html_response, status_response};
use crate::records::{RequestRecord, Write};
use crate::scenario::OutageKind;
use crate::sent::Sent;
use crate::streams;
use crate::wire::{self, Request, Response};

/// What to do with a request and its connection. Waits are in real time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Send the response after the wait.
    Respond {
        /// How long to hold the response; mostly zero.
        wait: Duration,
        /// The response.
        response: Response,
    },
    /// Wait, then [`finish`] the request and send its response, even when the client has left.
    FinishAfter {
        /// How long to hold the request.
        wait: Duration,
    },
    /// Close the connection after the wait, with no byte of a response.
    Cut {
        /// How long to hold the connection.
        wait: Duration,
        /// How to close it.
        cut: Cut,
    },
}

/// How a connection is closed without a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// In order: the client sees the end of the stream.
    Close,
    /// With a TCP reset.
    Reset,
}

/// Decides what becomes of `request` at `now`, and applies its effects unless told otherwise.
pub fn deliver(deployment: &mut Deployment, now: Timestamp, request: &Request) -> Delivery {
    if let Some(outage) = deployment.progress().outage(now) {
        let kind = outage.kind.clone();
        return during_outage(deployment, now, request, &kind);
    }
    match deployment.faults_mut().fire(&request.path) {
        Some(fault) => with_fault(deployment, now, request, fault),
        None => at_once(finish(deployment, now, request)),
    }
}

/// What the shell does with a request that has just arrived, or waits since it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// A long poll that finds nothing new: ask again after a change.
    Waits,
    /// Everything else.
    Delivered(Delivery),
}

/// Decides as [`deliver`] does, but lets a long poll wait that meets no outage and no fault.
pub fn arrive(deployment: &mut Deployment, now: Timestamp, request: &Request) -> Arrival {
    deployment.catch_up(now);
    let meets_nothing =
        deployment.progress().outage(now).is_none() && !deployment.faults().meets(&request.path);
    if meets_nothing && streams::waits(deployment, now, request) {
        return Arrival::Waits;
    }
    Arrival::Delivered(deliver(deployment, now, request))
}

/// Ends a long poll whose server went away.
pub fn go_down(deployment: &mut Deployment, now: Timestamp, request: &Request) -> Response {
    let message = Some("the server is shutting down");
    let response = status_response(500, Some("InternalServerError"), message);
    record(deployment, now, request, Some(response.status));
    response
}

/// Lets the deployment answer, meeting no outage and no fault.
pub fn finish(deployment: &mut Deployment, now: Timestamp, request: &Request) -> Response {
    let response = wire::handle(deployment, now, request);
    record(deployment, now, request, Some(response.status));
    response
}

/// Whether connections are closed as soon as they were accepted.
#[must_use]
pub fn refuses_connections(deployment: &Deployment, now: Timestamp) -> bool {
    deployment.progress().outage(now).is_some_and(|outage| outage.kind == OutageKind::Refuse)
}

fn during_outage(
    deployment: &mut Deployment,
    now: Timestamp,
    request: &Request,
    kind: &OutageKind,
) -> Delivery {
    match kind {
        OutageKind::Refuse => lose(deployment, now, request, Duration::ZERO, Cut::Close),
        OutageKind::Reset => lose(deployment, now, request, Duration::ZERO, Cut::Reset),
        OutageKind::Slow => lose(deployment, now, request, OUTAGE_SLOW_WAIT, Cut::Close),
        OutageKind::Status { status, code } => {
            let message = Some("the deployment cannot be reached");
            refuse(deployment, now, request, status_response(*status, code.as_deref(), message))
        }
    }
}

fn with_fault(
    deployment: &mut Deployment,
    now: Timestamp,
    request: &Request,
    fault: FaultKind,
) -> Delivery {
    match fault {
        FaultKind::Status { status, code, message } => {
            let response = status_response(status, code.as_deref(), message.as_deref());
            refuse(deployment, now, request, response)
        }
        FaultKind::Html { status } => refuse(deployment, now, request, html_response(status)),
        FaultKind::Slow { ms } => {
            let response = finish(deployment, now, request);
            Delivery::Respond { wait: Duration::from_millis(ms), response }
        }
        FaultKind::SlowApply { ms } => Delivery::FinishAfter { wait: Duration::from_millis(ms) },
        FaultKind::SlowDrop { ms } => {
            lose(deployment, now, request, Duration::from_millis(ms), Cut::Close)
        }
        FaultKind::CutBeforeCommit => lose(deployment, now, request, Duration::ZERO, Cut::Close),
        FaultKind::CutAfterCommit => {
            wire::handle(deployment, now, request);
            record(deployment, now, request, None);
            Delivery::Cut { wait: Duration::ZERO, cut: Cut::Close }
        }
        FaultKind::RevokeKey => {
            if let Ok(Credential::Key(key)) = Credential::read(request) {
                deployment.keys_mut().revoke(&key);
            }
            at_once(finish(deployment, now, request))
        }
        FaultKind::RestoreKey => {
            deployment.keys_mut().restore();
            at_once(finish(deployment, now, request))
        }
        FaultKind::Deprecated { state, message } => {
            let mut response = finish(deployment, now, request);
            response.headers.push(("x-convex-deprecation-state", state));
            response.headers.push(("x-convex-deprecation-message", message));
            at_once(response)
        }
        FaultKind::ForeignEdit { name, value } => {
            let edit = [EnvChange { name, value }];
            at_once(with_foreign_edit(deployment, now, request, &edit))
        }
    }
}

/// Lets somebody else write between a client's read and its write. An edit that is refused is
/// recorded as one that was not applied.
fn with_foreign_edit(
    deployment: &mut Deployment,
    now: Timestamp,
    request: &Request,
    edit: &[EnvChange],
) -> Response {
    if env_routes::is_update(&request.path) {
        deployment.edit(edit, now).ok();
        finish(deployment, now, request)
    } else {
        let response = finish(deployment, now, request);
        deployment.edit(edit, now).ok();
        response
    }
}

fn at_once(response: Response) -> Delivery {
    Delivery::Respond { wait: Duration::ZERO, response }
}

/// Answers in the deployment's place: nothing is applied.
fn refuse(
    deployment: &mut Deployment,
    now: Timestamp,
    request: &Request,
    response: Response,
) -> Delivery {
    record_lost_write(deployment, now, request);
    record(deployment, now, request, Some(response.status));
    at_once(response)
}

/// Closes the connection: nothing is applied.
fn lose(
    deployment: &mut Deployment,
    now: Timestamp,
    request: &Request,
    wait: Duration,
    cut: Cut,
) -> Delivery {
    record_lost_write(deployment, now, request);
    record(deployment, now, request, None);
    Delivery::Cut { wait, cut }
}

fn record_lost_write(deployment: &mut Deployment, now: Timestamp, request: &Request) {
    if env_routes::is_update(&request.path)
        && let Ok(changes) = env_routes::read_changes(request)
    {
        deployment.record_lost_write(Write::by_client(now, request, &changes));
    }
}

fn record(deployment: &mut Deployment, at: Timestamp, request: &Request, status: Option<u16>) {
    let (method, path) = (request.method.clone(), request.path.clone());
    let sent = Sent::new(request, status);
    deployment.record_request(RequestRecord { at, method, path, status }, sent);
}

/// Longer than any client of a deployment waits for an ordinary answer.
const OUTAGE_SLOW_WAIT: Duration = Duration::from_secs(90);
