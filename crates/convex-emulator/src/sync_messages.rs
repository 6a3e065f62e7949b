//! The messages of the sync protocol: what clients send, and the frames that answer them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::wire::ApiError;

/// What the shell is to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text frame.
    Text(String),
    /// A close frame, after which nothing is sent or read.
    Close {
        /// The close code; `None` closes without one.
        code: Option<u16>,
        /// The reason; a code of the error catalogue where there is a close code.
        reason: String,
    },
}

/// The version of a session's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) query_set: u32,
    pub(crate) identity: u32,
    pub(crate) ts: u64,
}

/// What a client sends.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Message {
    #[serde(rename_all = "camelCase")]
    Connect {
        client_ts: Option<f64>,
    },
    #[serde(rename_all = "camelCase")]
    Authenticate {
        base_version: u32,
        token_type: TokenType,
        value: Option<String>,
    },
    #[serde(rename_all = "camelCase")]
    ModifyQuerySet {
        base_version: u32,
        new_version: u32,
        modifications: Vec<Modification>,
    },
    #[serde(rename_all = "camelCase")]
    Mutation {
        request_id: u32,
        udf_path: String,
        args: Json,
    },
    #[serde(rename_all = "camelCase")]
    Action {
        request_id: u32,
        udf_path: String,
        args: Json,
    },
    Event {},
}

#[derive(Deserialize)]
pub(crate) enum TokenType {
    Admin,
    User,
    None,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Modification {
    #[serde(rename_all = "camelCase")]
    Add { query_id: u32, udf_path: String, args: Json },
    #[serde(rename_all = "camelCase")]
    Remove { query_id: u32 },
}

impl Version {
    pub(crate) fn to_json(self) -> Json {
        json!({
            "querySet": self.query_set,
            "identity": self.identity,
            "ts": BASE64.encode(self.ts.to_le_bytes()),
        })
    }
}

pub(crate) fn to_nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0)
}

/// A message of the client that breaks the protocol.
pub(crate) fn fatal(error: &str) -> Vec<Frame> {
    let body = json!({ "type": "FatalError", "error": error });
    vec![Frame::Text(body.to_string()), Frame::Close { code: None, reason: String::new() }]
}

/// What the server refuses: its own overload with a close code, the client's mistakes in words.
pub(crate) fn refused(error: ApiError) -> Vec<Frame> {
    let code = match error.status {
        429 | 503 => Some(CLOSE_AGAIN),
        500.. => Some(CLOSE_ERROR),
        _ => return fatal(&format!("{}: {}", error.code, error.message)),
    };
    vec![Frame::Close { code, reason: error.code }]
}

/// Try again later: the server is overloaded.
const CLOSE_AGAIN: u16 = 1013;
/// The server failed.
const CLOSE_ERROR: u16 = 1011;
