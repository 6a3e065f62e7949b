//! Owns the daemon's answer to "how are you": `GET /v1/status`.

use serde::{Deserialize, Serialize};

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its version.
    pub version: String,
    /// When this process started.
    pub started_at: String,
    /// Rollouts that have not ended.
    pub live: u64,
    /// Rollouts that have ended.
    pub ended: u64,
    /// `ok`, or what is wrong with the store.
    pub store: String,
    /// The socket it listens on.
    pub socket: String,
}
