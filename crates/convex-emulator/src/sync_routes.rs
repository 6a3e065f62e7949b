//! The upgrade of a request to the websocket of the sync protocol.
//!
//! Only says whether a request becomes a websocket: with status 101, which the shell performs. What
//! is said over it is [`crate::sync`]'s.

use crate::wire::{Request, Response};

/// Whether `path` is `/api/<semver>/sync`, or `/api/sync` of the oldest clients.
pub(crate) fn is_sync(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/api/") else { return false };
    let Some(version) = rest.strip_suffix("sync") else { return false };
    let Some(version) = version.strip_suffix('/') else { return version.is_empty() };
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    numbers.split('.').count() == 3 && numbers.split('.').all(|part| part.parse::<u32>().is_ok())
}

/// Status 101 for a websocket, 400 for anything else.
pub(crate) fn upgrade(request: &Request) -> Response {
    let header = |name: &str| request.headers.get(name).map(|value| value.to_ascii_lowercase());
    let upgrades = header("upgrade").is_some_and(|value| value == "websocket")
        && header("connection").is_some_and(|value| value.contains("upgrade"))
        && header("sec-websocket-key").is_some();
    if upgrades {
        Response::empty(SWITCHING_PROTOCOLS)
    } else {
        Response { status: 400, ..Response::text("the request does not upgrade to a websocket") }
    }
}

/// The answer to a request that becomes a websocket.
pub(crate) const SWITCHING_PROTOCOLS: u16 = 101;
