//! Owns what a situation of the catalogue is: what comes back, as bytes and in words, and where it is met.

use crate::cases;
use crate::raw::{Reply, http};

/// Which requests meet the situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Any.
    Any,
    /// Any that only reads.
    Reading,
    /// A write of flags.
    Write,
    /// A function.
    Function,
}

/// One situation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) situation: &'static str,
    pub(crate) place: Place,
    pub(crate) answer: Answer,
}

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Status, code and message as the deployment sends them.
    Coded(u16, &'static str, &'static str),
    /// A status and no body.
    Empty(u16),
    /// A status and a page, as a proxy sends it.
    Page(u16),
    /// A function that failed: status 200, the text after `Server Error`, and the state that the deployment tells.
    Failed(&'static str, &'static str),
    /// The same with the data of a `ConvexError`.
    Thrown(&'static str),
    /// The status 560 of old servers, with a text.
    Old(&'static str),
    /// A head that promises more than any answer has.
    TooLong,
    /// Half an answer, then the end of the connection.
    Half,
    /// No HTTP.
    Garbage,
    /// The end of the connection.
    Close,
    /// A reset of the connection.
    Reset,
    /// Nothing.
    Hang,
    /// No connection at all.
    NoConnection,
}

impl Answer {
    /// The answer as bytes. `None` where there is not even a connection.
    pub(crate) fn reply(self) -> Option<Reply> {
        let failed = |line: &str, more: serde_json::Value| {
            let message = format!("[Request ID: 0123456789abcdef] Server Error\n{line}");
            let mut body = serde_json::json!({"status": "error", "errorMessage": message});
            if !more.is_null() {
                body["errorData"] = more;
            }
            body.to_string()
        };
        Some(match self {
            Self::Coded(status, code, message) => {
                http(status, &serde_json::json!({"code": code, "message": message}).to_string())
            }
            Self::Empty(status) => http(status, ""),
            Self::Page(status) => http(status, "<html><body><h1>Oops</h1></body></html>"),
            Self::Failed(line, _) => http(200, &failed(line, serde_json::Value::Null)),
            Self::Thrown(line) => http(200, &failed(line, serde_json::json!({"code": "NO_DATA"}))),
            Self::Old(line) => http(560, &failed(line, serde_json::Value::Null)),
            Self::TooLong => {
                Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".to_vec())
            }
            Self::Half => {
                Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"environm".to_vec())
            }
            Self::Garbage => Reply::Bytes(b"\x16\x03\x01garbage\r\n\r\n".to_vec()),
            Self::Close => Reply::Close,
            Self::Reset => Reply::Reset,
            Self::Hang => Reply::Hang,
            Self::NoConnection => return None,
        })
    }

    /// What the deployment says about itself meanwhile.
    pub(crate) fn state(self) -> &'static str {
        match self {
            Self::Failed(_, state) => state,
            _ => "running",
        }
    }

    /// The answer in the words of the page.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Coded(status, code, _) => format!("{status} `{code}`"),
            Self::Empty(status) => format!("{status}, empty"),
            Self::Page(status) => format!("{status}, a page of HTML"),
            Self::Failed(_, "running") => String::from("200 `status:error`"),
            Self::Failed(_, state) => format!("200 `status:error`; state `{state}`"),
            Self::Thrown(_) => String::from("200 `status:error` with `errorData`"),
            Self::Old(_) => String::from("560"),
            Self::TooLong => String::from("200 with 95 MiB"),
            Self::Half => String::from("200, cut off in its body"),
            Self::Garbage => String::from("bytes that are no HTTP"),
            Self::Close => String::from("the connection ends"),
            Self::Reset => String::from("the connection is reset"),
            Self::Hang => String::from("silence"),
            Self::NoConnection => String::from("connection refused"),
        }
    }
}

/// Situations of one group: in words, where they are met, and what comes back.
pub(crate) type Cases = &'static [(&'static str, Place, Answer)];

/// All rows, in the order of the page.
pub(crate) fn all() -> Vec<Row> {
    let groups: [(&str, Cases); 7] = [
        ("The key", cases::KEY),
        ("Requests that are refused", cases::REFUSED),
        ("Flags that are refused", cases::FLAGS),
        ("Busy, restarting, failing", cases::BUSY),
        ("Functions", cases::FUNCTIONS),
        ("Stopped deployments", cases::STOPPED),
        ("No answer, or none that can be understood", cases::NO_ANSWER),
    ];
    let rows = groups.into_iter().flat_map(|(group, rows)| {
        rows.iter().map(move |(situation, place, answer)| Row {
            group,
            situation,
            place: *place,
            answer: *answer,
        })
    });
    rows.collect()
}
